package mysql

import (
	"errors"
	"slices"
	"strings"
)

// readingPrivileges are those that let an account read, and nothing else. CREATE TEMPORARY
// TABLES and LOCK TABLES change nothing that others see.
var readingPrivileges = []string{
	"USAGE", "SELECT", "SHOW VIEW", "SHOW DATABASES", "SHOW ROUTINE", "SHOW CREATE ROUTINE", "EXECUTE", "PROCESS",
	"CREATE TEMPORARY TABLES", "LOCK TABLES", "REPLICATION CLIENT", "BINLOG MONITOR", "REPLICATION SLAVE", "SLAVE MONITOR", "PROXY",
}

// writingGrant is what an account may write to, as the server names it, and by which privileges, sorted.
type writingGrant struct {
	on         string
	privileges []string
}

func (g writingGrant) String() string { return strings.Join(g.privileges, ", ") + " on " + g.on }

// writingGrants reads the answer to SHOW GRANTS, a line for each grant, and lists the
// privileges by which the account may write. EXECUTE is not among them, although a
// procedure may write with the rights of whoever made it; nor are MySQL's dynamic
// privileges, whose names hold an underscore and which are about running the server.
func writingGrants(grants []string) (writing []writingGrant) {
	for _, line := range grants {
		list, ok := strings.CutPrefix(line, "GRANT ")
		list, target, on := strings.Cut(list, " ON ")
		if !ok || !on { // of a role
			continue
		}
		var privileges []string
		depth := 0
		for _, privilege := range strings.FieldsFunc(list, func(r rune) bool {
			switch r {
			case '(':
				depth++
			case ')':
				depth--
			}
			return r == ',' && depth == 0
		}) {
			privilege, _, _ = strings.Cut(privilege, "(") // the columns that it is about
			privilege = strings.ToUpper(strings.TrimSpace(privilege))
			if !slices.Contains(readingPrivileges, privilege) && !strings.Contains(privilege, "_") {
				privileges = append(privileges, privilege)
			}
		}
		if len(privileges) > 0 {
			slices.Sort(privileges)
			target, _, _ = strings.Cut(target, " TO ")
			writing = append(writing, writingGrant{strings.NewReplacer("`", "", `"`, "").Replace(target), slices.Compact(privileges)})
		}
	}
	return writing
}

// grants asks the server for the grants of the session's account, those of its active
// roles included. A server that does not answer gives none.
func (ses *session) grants() ([]string, error) {
	show := "SHOW GRANTS"
	if !ses.mariaDB { // which counts roles in by itself
		role, err := ses.run("SELECT CURRENT_ROLE()")
		if roles := strings.Join(role, ""); err == nil && roles != "" && roles != "NONE" {
			ses.hasRole = true
			show += " FOR CURRENT_USER() USING " + roles // as the server quotes them
		} else if err != nil && !isServerError(err) {
			return nil, err
		}
	}
	var lines []string
	err := ses.runRows(show, func(row []string) { lines = append(lines, strings.Join(row, "")) })
	if isServerError(err) {
		err = nil
	}
	return lines, err
}

func isErrno(err error, errno uint16) bool {
	var server *serverError
	return errors.As(err, &server) && server.errno == errno
}

func isServerError(err error) bool {
	var server *serverError
	return errors.As(err, &server)
}
