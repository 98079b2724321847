package mysql

import "testing"

// TestUnknownVariables: what a server does not know is left out, in the words of every server, and nothing else is.
func TestUnknownVariables(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err     error
		unknown bool
	}{
		{&serverError{1193, "HY000", "Unknown system variable 'old_mode'"}, true},
		{&serverError{1231, "42000", "Variable 'old_mode' can't be set to the value of 'UTF8_IS_UTF8MB3'"}, true},
		{&serverError{1105, "HY000", "Unknown system variable 'show_gipk_in_create_table_and_information_schema'"}, true},
		{&serverError{1105, "HY000", "table not found: visits"}, false},
		{&serverError{1227, "42000", "Access denied"}, false},
		{nil, false},
	} {
		if got := unknownTo(c.err); got != c.unknown {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}
