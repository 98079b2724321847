package sandbox

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Definitions are the statements that make a practice database.
type Definitions struct {
	Tables     []Definition
	Keys       []Definition // named like their table
	Procedures []Definition
}

// Definition is one statement, and the name of what it makes.
type Definition struct{ Name, Statement string }

var (
	createTable     = regexp.MustCompile(`^CREATE TABLE (\w+) \(`)
	addKeys         = regexp.MustCompile(`^ALTER TABLE (\w+)\n  ADD KEY `)
	createProcedure = regexp.MustCompile(`(?m)^CREATE PROCEDURE (\w+)\(`)
)

// ReadDefinitions reads schema.sql, a file of CREATE TABLE and ALTER TABLE … ADD
// KEY statements that each end with a semicolon at the end of a line, and
// procedures/*.sql, each one CREATE PROCEDURE statement named like its file.
func ReadDefinitions(files fs.FS) (Definitions, error) {
	var defs Definitions
	if files == nil {
		return defs, sqlFault("no SQL files were given")
	}
	schema, err := fs.ReadFile(files, "schema.sql")
	if err != nil {
		return defs, sqlFault("schema.sql cannot be read: %w", err)
	}
	for _, statement := range splitStatements(string(schema)) {
		if m := createTable.FindStringSubmatch(statement); m != nil {
			defs.Tables = append(defs.Tables, Definition{m[1], statement})
		} else if m := addKeys.FindStringSubmatch(statement); m != nil {
			defs.Keys = append(defs.Keys, Definition{m[1], statement})
		} else {
			return defs, sqlFault("schema.sql holds a statement that neither creates a table nor adds keys: %.60q", statement)
		}
	}
	names, err := fs.Glob(files, "procedures/*.sql")
	if err != nil {
		return defs, sqlFault("procedures cannot be listed: %w", err)
	}
	for _, name := range names {
		statement, err := fs.ReadFile(files, name)
		if err != nil {
			return defs, sqlFault("%s cannot be read: %w", name, err)
		}
		want := strings.TrimSuffix(path.Base(name), ".sql")
		m := createProcedure.FindAllStringSubmatch(string(statement), -1)
		if len(m) != 1 || m[0][1] != want {
			return defs, sqlFault("%s must hold exactly one CREATE PROCEDURE statement, of %s", name, want)
		}
		defs.Procedures = append(defs.Procedures, Definition{want, strings.TrimSpace(string(statement))})
	}
	return defs, nil
}

// splitStatements splits at semicolons that end a line, and drops the comments
// and blank lines before each statement.
func splitStatements(script string) []string {
	var out []string
	var statement strings.Builder
	for line := range strings.Lines(script) {
		content := strings.TrimRight(line, " \t\r\n")
		if statement.Len() == 0 && (content == "" || strings.HasPrefix(content, "--")) {
			continue
		}
		body, ends := strings.CutSuffix(content, ";")
		fmt.Fprintf(&statement, "%s\n", body)
		if ends {
			out = append(out, strings.TrimSpace(statement.String()))
			statement.Reset()
		}
	}
	if rest := strings.TrimSpace(statement.String()); rest != "" {
		out = append(out, rest)
	}
	return out
}

func sqlFault(format string, args ...any) *fault.Fault {
	return fault.New(CodeSQL, fault.Internal, "the practice database's SQL: "+format, args...)
}
