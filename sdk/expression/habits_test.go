package expression

import "testing"

func TestHint(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"id = 4":                      "write == for =, as in id == 4",
		"id == 4 && a <= 3 && b != 2": "",
		"a == 1 AND b == 2":           "write && for AND",
		"a == 1 or b == 2":            "write || for OR",
		"name LIKE 'A%'":              "write x.startsWith('a'), x.endsWith('a'), x.contains('a') or x.matches('^a.*b$') for LIKE",
		"name IS NOT NULL":            "write != null for IS NOT NULL",
		"name is null":                "write == null for IS NULL",
		"name == NULL":                "write null in lower case",
		"a <> 1":                      "write != for <>",
		"a IN (1, 2)":                 "write x in ['a', 'b'] for IN",
		"a NOT IN (1, 2)":             "write !(x in ['a', 'b']) for NOT IN",
		"x BETWEEN 1 AND 2":           "write x >= a && x <= b for BETWEEN",
		"x BETWEEN 1 AND 2 AND y":     "write x >= a && x <= b for BETWEEN; write && for AND",
		"CASE WHEN a THEN 1 END":      "write condition ? value : other for CASE WHEN",
		"CAST(a AS DECIMAL(10,2))":    "write string(x), int(x), decimal(x, precision, scale), date(x) or timestamp(x) for CAST",
		"d + INTERVAL 3 DAY":          "write addDays(d, n), addMonths(d, n) or addYears(d, n) for INTERVAL",
		"a DIV 2":                     "write / for DIV, which cuts the rest off for integers",
		"a MOD 2":                     "write % for MOD",
		"`last name` == 'x'":          "write a column's name as it is, or row[\"its name\"], without backquotes",
		"name == 'O''Brien'":          `write \' for a quote inside of text: 'O\'Brien'`,
		"a in ['x', ''] && b == ''":   "",
		"NOT live = TRUE":             "write ! for NOT; write true and false in lower case; write == for =, as in id == 4",
		"text == 'this AND that = x'": "",
		`row["a OR b"] == 1`:          "",
		"android == 1 && orbit == 2":  "",
	} {
		if got := Hint(text); got != want {
			t.Errorf("%s:\n got  %s\n want %s", text, got, want)
		}
	}
}
