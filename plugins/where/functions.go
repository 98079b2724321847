package where

import (
	"regexp"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// The functions that take the place of CEL's own, because those know neither
// decimals nor text for dates, and fail on NULL. Users cannot write these names.
const (
	funcEqual        = "@where_eq"
	funcNotEqual     = "@where_ne"
	funcLess         = "@where_lt"
	funcLessEqual    = "@where_le"
	funcGreater      = "@where_gt"
	funcGreaterEqual = "@where_ge"
	funcIn           = "@where_in"
	funcStartsWith   = "@where_startsWith"
	funcEndsWith     = "@where_endsWith"
	funcContains     = "@where_contains"
	funcMatches      = "@where_matches"
	funcHolds        = "@where_holds"   // a boolean column as a condition
	funcNumber       = "@where_number"  // a literal, and its text
	funcDecimal      = "@where_decimal" // a decimal parameter, by its text
)

// replaced maps what users write to what takes its place.
var replaced = map[string]string{
	operators.Equals: funcEqual, operators.NotEquals: funcNotEqual,
	operators.Less: funcLess, operators.LessEquals: funcLessEqual,
	operators.Greater: funcGreater, operators.GreaterEquals: funcGreaterEqual,
	operators.In: funcIn, "startsWith": funcStartsWith, "endsWith": funcEndsWith, "contains": funcContains, "matches": funcMatches,
}

// operation is a comparison as the set of orders for which it holds: bit 0 is
// less, bit 1 equal, bit 2 greater.
type operation uint8

const (
	less         operation = 1
	equal        operation = 2
	lessEqual    operation = 3
	greater      operation = 4
	notEqual     operation = 5
	greaterEqual operation = 6
)

// holds reports whether the comparison holds for an order of -1, 0 or 1.
func (o operation) holds(order int) bool { return o>>(uint(order+1)&3)&1 == 1 }

// mirror is the operation with its sides exchanged.
func (o operation) mirror() operation { return o&equal | o>>2&1 | o<<2&greater }

var operations = map[string]operation{
	funcEqual: equal, funcNotEqual: notEqual, funcLess: less, funcLessEqual: lessEqual, funcGreater: greater, funcGreaterEqual: greaterEqual,
}

// applyOperation compares two values, either of which may be NULL.
func applyOperation(o operation, a, b ref.Val) ref.Val {
	_, anull := a.(types.Null)
	_, bnull := b.(types.Null)
	switch {
	case anull && bnull:
		return types.Bool(o == equal)
	case anull || bnull:
		return types.Bool(o == notEqual)
	}
	order, ordered, err := compareAlike(a, b)
	switch {
	case err != nil:
		return types.WrapErr(err)
	case !ordered:
		return types.Bool(o == notEqual)
	}
	return types.Bool(o.holds(max(-1, min(1, order))))
}

// isIn is a chain of ==.
func isIn(v, list ref.Val) ref.Val {
	l, ok := list.(traits.Lister)
	if !ok {
		return types.WrapErr(errUnlike)
	}
	for it := l.Iterator(); it.HasNext() == types.True; {
		if result := applyOperation(equal, v, it.Next()); result != types.False {
			return result
		}
	}
	return types.False
}

// textFunctions are those of a text column and a literal.
var textFunctions = map[string]func(text, argument string) bool{
	funcStartsWith: strings.HasPrefix, funcEndsWith: strings.HasSuffix, funcContains: strings.Contains,
}

func onText(f func(text, argument string) bool) func(a, b ref.Val) ref.Val {
	return func(a, b ref.Val) ref.Val {
		_, anull := a.(types.Null)
		_, bnull := b.(types.Null)
		if anull || bnull {
			return types.False
		}
		x, xok := a.(types.String)
		y, yok := b.(types.String)
		if !xok || !yok {
			return types.WrapErr(errUnlike)
		}
		return types.Bool(f(string(x), string(y)))
	}
}

// environment declares the language, without columns. The patterns are those of
// matches, compiled, and the literals those with a point or an exponent, both by
// their texts.
func environment(patterns map[string]*regexp.Regexp, literals map[string]literal) (*cel.Env, error) {
	// dyn and type would take the types away that everything here is checked by.
	hidden := &env.LibrarySubset{ExcludeFunctions: []*env.Function{{Name: "dyn"}, {Name: "type"}}}
	options := []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(hidden)),
		cel.ParserExpressionSizeLimit(maxRunes), cel.ParserRecursionLimit(4 * maxDepth),
		cel.ExpressionNodeLimit(maxNodes), cel.ExpressionNestingDepthLimit(maxDepth),
		cel.Function("string", cel.Overload("where_decimal_to_string", []*cel.Type{decimalType}, cel.StringType,
			cel.UnaryBinding(func(v ref.Val) ref.Val { return v.ConvertToType(types.StringType) }))),
		cel.Function(funcHolds, cel.Overload(funcHolds, []*cel.Type{cel.DynType}, cel.BoolType,
			cel.UnaryBinding(func(v ref.Val) ref.Val { return types.Bool(v == types.True) }))),
		cel.Function(funcNumber, cel.Overload(funcNumber, []*cel.Type{cel.DoubleType, cel.StringType}, cel.DoubleType,
			cel.BinaryBinding(func(_, text ref.Val) ref.Val { return literals[string(text.(types.String))] }))),
	}
	options = append(options, cel.Function(funcDecimal, cel.Overload(funcDecimal, []*cel.Type{cel.StringType}, decimalType,
		cel.UnaryBinding(func(text ref.Val) ref.Val { return literals[string(text.(types.String))] }))))
	binary := func(name string, f func(a, b ref.Val) ref.Val) {
		options = append(options, cel.Function(name, cel.Overload(name, []*cel.Type{cel.DynType, cel.DynType}, cel.BoolType, cel.BinaryBinding(f))))
	}
	for name, o := range operations {
		binary(name, func(a, b ref.Val) ref.Val { return applyOperation(o, a, b) })
	}
	for name, f := range textFunctions {
		binary(name, onText(f))
	}
	binary(funcMatches, onText(func(text, pattern string) bool { return patterns[pattern].MatchString(text) }))
	binary(funcIn, isIn)
	return cel.NewCustomEnv(options...)
}

func timestamp(seconds, nanos int64) types.Timestamp {
	return types.Timestamp{Time: time.Unix(seconds, nanos).UTC()}
}

func duration(nanos int64) types.Duration { return types.Duration{Duration: time.Duration(nanos)} }

// inTime reports whether package time computes with that many seconds since 1970.
func inTime(seconds int64) bool { return seconds > -1<<62 && seconds < 1<<62 }
