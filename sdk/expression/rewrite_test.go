package expression

import "testing"

func TestRewrite(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"status = 'Cancelled' AND amount <> 0":        "status == 'Cancelled' && amount != 0",
		"a IS NULL OR b is not null":                  "a == null || b != null",
		"a == 'x AND y = z' && b >= 1 && c != NULL":   "a == 'x AND y = z' && b >= 1 && c != null",
		`a=1 and "NULL"=b`:                            `a==1 && "NULL"==b`,
		"x LIKE 'a%' AND TRUE":                        "x LIKE 'a%' && true",
		"params.from_date <= d && !(x in ['a', 'b'])": "params.from_date <= d && !(x in ['a', 'b'])",
		"": "",
	} {
		if got := Rewrite(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
