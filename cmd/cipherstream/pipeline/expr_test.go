package pipeline

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/golden"
)

// TestExpr holds what the command says of expressions that are right.
func TestExpr(t *testing.T) {
	for _, c := range []struct {
		file string
		code int
		args []string
	}{
		{"expr.txt", 0, []string{"price * rate", "--columns", "price:decimal(12,2),rate:decimal(4,2) not null", "--row", `{"price": "1234567890.12", "rate": 0.75}`, "--row", `{"price": 10, "rate": 1}`}},
		{"expr_guessed.txt", 0, []string{"n == null ? 'none' : string(n) + ' of ' + what", "--row", `{"n": 12.50, "what": "x"}`, "--row", `{"n": null, "what": "y"}`}},
		{"expr_rows.txt", 1, []string{"n / m", "--row", `{"n": 7, "m": 2}`, "--row", `{"n": 7, "m": 0}`, "--row", `{"m": 1}`}},
		{"expr.json", 1, []string{"n / m", "--json", "--row", `{"n": 7, "m": 2}`, "--row", `{"n": 7, "m": 0}`}},
		{"expr_functions.txt", 0, []string{"--functions"}},
	} {
		t.Run(c.file, func(t *testing.T) {
			got := cmdtest.Call(t, append([]string{"expr"}, c.args...)...)
			if got.Code != c.code {
				t.Errorf("exit code %d, want %d", got.Code, c.code)
			}
			golden.Compare(t, c.file, got.Stdout+got.Stderr)
		})
	}
}

// TestExprProblems: what is wrong is shown at its place, and what to do is said; so for what people who know SQL write.
func TestExprProblems(t *testing.T) {
	var all strings.Builder
	for _, expression := range []string{
		"amout * 2", "amount = 5", "amount <> 5", "amount > 1 AND open", "open OR amount == 1", "NOT open", "note IS NULL", "note IS NOT NULL", "note == NULL",
		"note LIKE 'A%'", "note IN ('a', 'b')", "note || 'x'", "amount BETWEEN 1 AND 5", "note == 'O''Brien'", "`note` == 'a'", "CASE WHEN open THEN 1 ELSE 2 END",
		"CAST(amount AS CHAR)", "day + INTERVAL 1 DAY", "amount / 3", "amount + note", "ifnull(amount, 0)", "day + 1", "day == 20240229", "amount == '5'", "open ? 'a' : 1", "note", "note + 1",
		"round(amount)", "", "amount >", "(amount", "note.x", "size(note) >\n amuont",
	} {
		got := cmdtest.Call(t, "expr", expression, "--columns", "amount:decimal(10,2), open:boolean,note:string,day:date", "--row", "{}")
		if got.Code != 2 && expression != "note" || got.Code == 2 && got.Stdout != "" {
			t.Errorf("%s: %+v", expression, got)
		}
		all.WriteString(got.Stderr)
	}
	golden.Compare(t, "expr_problems.txt", all.String())
}

// TestExprPipeline: the columns and the parameters may be those of a pipeline.
func TestExprPipeline(t *testing.T) {
	const visits = "testdata/visits.yaml"
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"appointment_date >= params.since", "--pipeline", visits, "-p", "since=2024-01-31", "--row", `{"appointment_id": 1, "appointment_date": "2024-02-01"}`}, 0, "row 1  true"},
		{[]string{"appointment_date >= params.since", "--pipeline", visits}, 0, "boolean, never NULL"},
		{[]string{"appointment_date >= params.since", "--pipeline", visits, "--row", `{"appointment_id": 1, "appointment_date": "2024-02-01"}`}, 2, "give it with -p since=VALUE"},
		{[]string{"params.since", "--pipeline", visits, "-p", "since=never"}, 2, "expected a date as YYYY-MM-DD"},
		{[]string{"1", "--pipeline", visits, "-p", "sinc=1"}, 2, `no parameter "sinc"`},
		{[]string{"1", "-p", "a=1"}, 2, "--pipeline"}, {[]string{"1", "--pipeline", visits, "--columns", "a:date"}, 2, "both given"},
		{[]string{"1", "2"}, 2, "put it in quotes"}, {nil, 2, "takes one expression"}, {[]string{"1", "--functions"}, 2, "takes no expression"},
	} {
		got := cmdtest.Call(t, append([]string{"expr"}, c.args...)...)
		if got.Code != c.code || !strings.Contains(got.Stdout+got.Stderr, c.want) {
			t.Errorf("%s: %+v", c.args, got)
		}
	}
}

// TestExprInput: rows come from standard input, too.
func TestExprInput(t *testing.T) {
	p := cmdtest.Start(t, nil, "expr", "a * 2", "--row", "-", "--json")
	p.Stdin = strings.NewReader(`{"a": 1}` + "\n\n" + `{"a": 2.5}`)
	out, err := p.Output()
	if err != nil {
		t.Fatal(err)
	}
	var said struct {
		Type string
		Rows []struct{ Value string }
	}
	if err := json.Unmarshal(out, &said); err != nil || said.Type != "decimal(3,1)" || len(said.Rows) != 2 || said.Rows[1].Value != "5.0" {
		t.Errorf("%v: %s", err, out)
	}
}
