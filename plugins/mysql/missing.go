package mysql

import (
	"slices"
	"strconv"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The values of the setting warnings.
const (
	warningsFail  = "fail"
	warningsCut   = "cut"
	warningsCount = "count"
)

// cutWarnings are the numbers of warnings that say that something is missing from a
// result: GROUP_CONCAT cut it, a text grew larger than max_allowed_packet and became NULL,
// or a query ended before its end (MariaDB's LIMIT ROWS EXAMINED and max_recursive_iterations).
var cutWarnings = []string{"1260", "1301", "1931"}

// mostWarningsShown is how many kinds of warnings a log line names.
const mostWarningsShown = 3

// checkWarnings looks at what the server had to say about the statement. Counted is how
// many warnings and notes its packets told of. Those of the statements before the last one
// of a procedure can have been forgotten; they are counted all the same.
func (s *source) checkWarnings(counted int64) error {
	if counted == 0 {
		return nil
	}
	var texts, codes []string
	var cut string
	seen, notes := int64(0), int64(0)
	err := s.session.runRows("SHOW WARNINGS", func(row []string) {
		if len(row) != 3 {
			return
		}
		if seen++; row[0] == "Note" {
			notes++
			return
		}
		text := row[1] + " " + row[2]
		if slices.Contains(cutWarnings, row[1]) && cut == "" {
			cut = text
		}
		if len(texts) < mostWarningsShown && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
		if len(codes) < mostWarningsShown && !slices.Contains(codes, row[1]) {
			codes = append(codes, row[1])
		}
	})
	if err != nil {
		return err
	}
	warnings := counted - notes
	if warnings <= 0 {
		return nil
	}
	policy := s.settings.Warnings
	switch {
	case cut != "" && policy != warningsCount:
		return fault.New(codeWarning, fault.Data, "%s: something is missing from the result: the server warns %s", s.doing, cut).
			WithHint("mend what the warning names (such as a procedure that sets group_concat_max_len), or take the rest with warnings: count")
	case policy == warningsFail:
		return fault.New(codeWarning, fault.Data, "%s: the server gave %d warnings: %s", s.doing, warnings, strings.Join(texts, "; ")).
			WithHint("mend what they name, or set warnings to cut or count")
	}
	s.env.Count("warnings", warnings)
	// Their texts quote what is stored, which a log is not told; warnings: fail has them in its error.
	s.env.Log.Warn("the server gave warnings", "warnings", strconv.FormatInt(warnings, 10), "codes", strings.Join(codes, ", "))
	return nil
}

// checkResultSets looks at the result sets that were not delivered.
func (s *source) checkResultSets() error {
	dropped := s.sets - 1
	if s.out {
		dropped = s.sets
	}
	switch {
	case dropped == 0:
		return nil
	case s.wanted == 0 && !s.wantOut:
		return fault.New(codeResultSets, fault.Source, "%s: it gave %d result sets, and one is delivered", s.doing, s.sets).
			WithHint("choose one with result_set, from 1 to %d; the others are dropped then", s.sets)
	}
	s.env.Count("result_sets_dropped", int64(dropped))
	return nil
}

// checkReadable fails when the account may not read every column of a table, all of which
// are asked for: information_schema names only those that it may do something with.
func (s *source) checkReadable(table string) error {
	stmt, err := prepare(s.session.c, "SELECT * FROM "+quoteName(table))
	switch {
	case isErrno(err, 1143), isErrno(err, 1142):
		return fault.New(codeAccessDenied, fault.Source, "table %s has columns that the account may not read, and all columns were asked for", shown(table)).
			WithHint("name with columns those that are wanted, or grant SELECT on the table").WithDetail("parameter", "columns")
	case isServerError(err):
		return nil // reading the table will tell
	case err != nil:
		return err
	}
	return s.session.c.forget(stmt.id)
}
