package where

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/parse/parsetest"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// selectedWith is selected, with parameters.
func selectedWith(t *testing.T, expression string, params config.Parameters, in arrow.Record) (string, error) {
	t.Helper()
	var results [2]string
	for i, rowByRow := range []bool{false, true} {
		f := newTestFilter(t, memory.DefaultAllocator, expression, rowByRow)
		f.settings.Params = params
		if _, err := f.Bind(in.Schema()); err != nil {
			return "", err
		}
		b := &batch{}
		b.begin(context.Background(), in)
		set, err := b.run(f.root)
		if err != nil {
			return "", err
		}
		results[i] = strings.Trim(fmt.Sprint(appendIndexes(nil, set)), "[]")
	}
	if results[0] != results[1] {
		t.Errorf("%s: over columns %s, row by row %s", expression, results[0], results[1])
	}
	return results[0], nil
}

var given = config.Parameters{
	"who":    {Type: "string", Value: "x' || true || name == 'y"},
	"name":   {Type: "string", Value: "Anna"},
	"day":    {Type: "date", Value: "2024-02-29"},
	"count":  {Type: "integer", Value: int64(9007199254740993)},
	"live":   {Type: "boolean", Value: true},
	"fee":    {Type: "decimal", Value: json.Number("12345678901234567890.0001")},
	"whole":  {Type: "decimal", Value: json.Number("10")},
	"tenth":  {Type: "decimal", Value: json.Number("0.1")},
	"absent": {Type: "string"}, "no_day": {Type: "date"}, "no_fee": {Type: "decimal"}, "no_flag": {Type: "boolean"},
}

func TestParameters(t *testing.T) {
	t.Parallel()
	in := parsetest.Table(t, []string{"name string", "day date", "at timestamp", "n int64", "fee decimal(30,4)", "f float64", "live boolean", "params string"},
		[]string{"Anna", "2024-02-29", "2024-02-29 00:00:00", "9007199254740992", "12345678901234567890.0001", "0.1", "true", "p"},
		[]string{"x' || true || name == 'y", "2024-03-01", "2024-03-01 10:00:00", "9007199254740993", "12345678901234567890.0002", "10", "false", "q"},
		[]string{"-", "-", "-", "-", "-", "-", "-", "-"},
	)
	for expression, want := range map[string]string{
		// What stands in a parameter is a value, never a part of the expression.
		"name == params.who": "1", "name == params.name": "0", "name != params.name": "1 2", "name.startsWith(params.name)": "0",
		"name in [params.name, 'z']": "0", "params.name == name": "0",
		"day == params.day": "0", "day > params.day": "1", "at >= params.day": "0 1", "at == params.day": "0",
		"n == params.count": "1", "n < params.count": "0", // no float64 tells these apart
		"fee == params.fee": "0", "fee > params.fee": "1", "fee >= params.whole": "0 1", "f == params.tenth": "0", "f == params.whole": "1",
		"string(params.fee) == '12345678901234567890.0001'": "0 1 2",
		"params.live": "0 1 2", "live == params.live": "0", "live && params.live": "0", "!params.live": "",
		// Null is a value of its own, as for columns.
		"params.absent == null || name == params.absent": "0 1 2", "name == params.absent": "2", "params.name == null || name == params.name": "0",
		"params.no_day == null || day > params.no_day": "0 1 2", "day > params.no_day": "", "fee <= params.no_fee": "", "name.contains(params.absent)": "",
		"has(params.absent)": "", "has(params.name) && name == params.name": "0", "!has(params.absent)": "0 1 2",
		"params.no_flag": "", "!params.no_flag": "0 1 2", "params.no_flag || n == 9007199254740993": "1",
		// A column of that name stays one.
		"params == 'p'": "0", `row["params"] == 'q' && params.live`: "1",
		"['p'].exists(params, params == 'p')": "0 1 2",
	} {
		got, err := selectedWith(t, expression, given, in)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
		} else if got != want {
			t.Errorf("%s: got rows %s, want %s", expression, got, want)
		}
	}
}

func TestParametersThatDoNotFit(t *testing.T) {
	t.Parallel()
	in := parsetest.Table(t, []string{"name string", "day date", "n int64", "fee decimal(30,4)"})
	for _, c := range []struct{ expression, message, hint string }{
		{"name == params.names", `there is no parameter "names"; did you mean "name"`, ""},
		{"n == params.name", "int is compared with text", ""},
		{"day == params.name", `expected a date or timestamp as 'YYYY-MM-DD' or 'YYYY-MM-DD HH:MM:SS', not "Anna"`, ""},
		{"name.matches(params.name)", "a pattern stands in the expression; a parameter cannot be one", "contains"},
		{"fee > params.fee + 1.0", "no matching overload", "decimals have no arithmetic"},
		{"row[params.name] == 1", `expected the name of a column in quotes`, ""},
	} {
		_, err := selectedWith(t, c.expression, given, in)
		if err == nil || !strings.Contains(err.Error(), c.message) || !strings.Contains(fault.From(err).Hint, c.hint) {
			t.Errorf("%s: %v, hint %q", c.expression, err, fault.From(err).Hint)
		}
	}
	// Where values are not known yet, types are.
	unknown := config.Parameters{"text": {Type: "string", Unknown: true}, "day": {Type: "date", Unknown: true}, "n": {Type: "integer", Unknown: true}, "fee": {Type: "decimal", Unknown: true}, "b": {Type: "boolean", Unknown: true}}
	if _, err := selectedWith(t, "day == params.text && name == params.text && day >= params.day && n < params.n && fee == params.fee && params.b", unknown, in); err != nil {
		t.Error(err)
	}
	if _, err := selectedWith(t, "name == params.n", unknown, in); err == nil {
		t.Error("text and a number compare")
	}
}
