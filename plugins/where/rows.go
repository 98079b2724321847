package where

import (
	"context"
	"errors"
	"math/bits"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/cipherstream/cipherstream/plugins/internal/naming"
	"github.com/cipherstream/cipherstream/plugins/internal/parse"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// rowByRow is a condition that CEL evaluates, one row after the other.
type rowByRow struct {
	program cel.Program
	pool    *sync.Pool // of *row
}

// row is what a program sees.
type row struct {
	columns []arrow.Array
	row     int
	// index saves taking names apart.
	index map[string]int
}

func (r *row) Parent() interpreter.Activation { return nil }

func (r *row) ResolveName(name string) (any, bool) {
	index, ok := r.index[name]
	if !ok {
		return nil, false
	}
	return valueOf(r.columns[index], r.row), true
}

// rows makes a node of any condition.
func (c *compiler) rows(e ast.Expr) (node, error) {
	program, err := c.program(e)
	if err != nil {
		return nil, err
	}
	index := map[string]int{}
	for i := range c.used {
		index[variable(i)] = i
	}
	return &rowByRow{program, &sync.Pool{New: func() any { return &row{index: index} }}}, nil
}

// program makes a part of the expression executable. Only macros loop, so only
// with them can a row cost more than the expression is long.
func (c *compiler) program(e ast.Expr) (cel.Program, error) {
	loops := false
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(x ast.Expr) { loops = loops || x.Kind() == ast.ComprehensionKind }))
	part := ast.NewCheckedAST(ast.NewAST(e, c.info), c.checked.TypeMap(), c.checked.ReferenceMap())
	message, err := ast.ToProto(part)
	if err != nil {
		return nil, fault.New(codeExpression, fault.Internal, "the expression cannot be compiled: %w", err)
	}
	var options []cel.ProgramOption
	if loops {
		options = append(options, cel.CostLimit(maxCost))
	}
	program, err := c.env.Program(cel.CheckedExprToAst(message), options...)
	if err != nil {
		return nil, fault.New(codeExpression, fault.Usage, "%s", naming.Printable(err.Error()))
	}
	return program, nil
}

func (r *rowByRow) cheap() bool { return false }

// checkEvery is after how many rows cancellation is looked for.
const checkEvery = 256

func (r *rowByRow) eval(b *batch, need []uint64) (truth, error) {
	t := truth{holds: b.take()}
	fill(t.holds, 0)
	active := r.pool.Get().(*row)
	active.columns = b.columns
	defer func() {
		active.columns = nil
		r.pool.Put(active)
	}()
	evaluated := 0
	for i, w := range need {
		for ; w != 0; w &= w - 1 {
			if evaluated++; evaluated%checkEvery == 0 && b.ctx.Err() != nil {
				return t, context.Cause(b.ctx)
			}
			active.row = i*64 + bits.TrailingZeros64(w)
			bit := w & -w
			result, _, err := r.program.Eval(active)
			if err == nil {
				holds, ok := result.(types.Bool)
				if ok {
					t.holds[i] |= bit * one(bool(holds))
					continue
				}
				err = errOperand
			}
			if strings.Contains(err.Error(), "actual cost limit exceeded") {
				return t, fault.New("where.too_costly", fault.Usage, "the condition takes more than %d steps for a row", maxCost).InRow(active.row).
					WithHint("write it without nested exists, all or map")
			}
			b.fail(&t, active.row, err)
		}
	}
	return t, nil
}

const errOperand = plainError("a function or an operator got a NULL, or a value of a type that it does not take")

// harmless are CEL's messages that hold no values of rows.
var harmless = []string{"division by zero", "modulus by zero", "integer overflow", "unsigned integer overflow",
	"duration overflow", "timestamp overflow"}

// reason tells why a condition failed, without any value.
func reason(err error) string {
	var plain plainError
	if errors.As(err, &plain) {
		return plain.Error()
	}
	if err == nil {
		return "a function failed"
	}
	text := err.Error()
	if strings.HasPrefix(text, "no such overload") {
		return errOperand.Error()
	}
	if slices.Contains(harmless, text) {
		return text
	}
	return "a function or an operator cannot take the values"
}

// valueOf returns a value of a column as CEL sees it.
func valueOf(a arrow.Array, i int) ref.Val {
	if a.DataType().ID() == arrow.NULL || a.IsNull(i) {
		return types.NullValue
	}
	switch a := a.(type) {
	case *array.Boolean:
		return types.Bool(a.Value(i))
	case *array.Int8:
		return types.Int(a.Value(i))
	case *array.Int16:
		return types.Int(a.Value(i))
	case *array.Int32:
		return types.Int(a.Value(i))
	case *array.Int64:
		return types.Int(a.Value(i))
	case *array.Uint8:
		return types.Int(a.Value(i))
	case *array.Uint16:
		return types.Int(a.Value(i))
	case *array.Uint32:
		return types.Int(a.Value(i))
	case *array.Uint64:
		return types.Uint(a.Value(i))
	case *array.Float32:
		return types.Double(a.Value(i))
	case *array.Float64:
		return types.Double(a.Value(i))
	case *array.Decimal128:
		return decimal{a.Value(i).BigInt(), int(a.DataType().(*arrow.Decimal128Type).Scale)}
	case *array.Decimal256:
		return decimal{a.Value(i).BigInt(), int(a.DataType().(*arrow.Decimal256Type).Scale)}
	case *array.String:
		return types.String(a.Value(i))
	case *array.LargeString:
		return types.String(a.Value(i))
	case *array.Binary:
		return types.Bytes(a.Value(i))
	case *array.LargeBinary:
		return types.Bytes(a.Value(i))
	case *array.FixedSizeBinary:
		return types.Bytes(a.Value(i))
	case *array.Date32:
		return timeValue(int64(a.Value(i))*secondsPerDay, 1)
	case *array.Date64:
		return timeValue(int64(a.Value(i)), 1e3)
	case *array.Timestamp:
		return timeValue(int64(a.Value(i)), parse.PerSecond(a.DataType().(*arrow.TimestampType).Unit))
	case *array.Time32:
		return spanValue(int64(a.Value(i)), parse.PerSecond(a.DataType().(*arrow.Time32Type).Unit))
	case *array.Time64:
		return spanValue(int64(a.Value(i)), parse.PerSecond(a.DataType().(*arrow.Time64Type).Unit))
	case *array.Duration:
		return spanValue(int64(a.Value(i)), parse.PerSecond(a.DataType().(*arrow.DurationType).Unit))
	}
	return types.WrapErr(errUnlike)
}

const secondsPerDay = 86400

func timeValue(v, perSecond int64) ref.Val {
	seconds := v / perSecond
	rest := v % perSecond
	if !inTime(seconds) {
		return types.WrapErr(errRange)
	}
	return timestamp(seconds, rest*(1e9/perSecond))
}

func spanValue(v, perSecond int64) ref.Val {
	nanos := v * (1e9 / perSecond)
	if nanos/(1e9/perSecond) != v {
		return types.WrapErr(errRange)
	}
	return duration(nanos)
}
