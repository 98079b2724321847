// Package changerow makes rows of the table of changes (sdk/changes) of rows of a database's tables: it owns the setting
// "tables" of every source of changes, what a document and its id look like, and the batches that such a source gives.
// It spells no value itself (package jsonrow does, as for the encoder ndjson), and knows no log and no database.
package changerow

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/changes"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The codes of faults.
const (
	// CodeMember: a member of a document would have a name that is taken.
	CodeMember = "changes.member"
	// CodeTables: two entries of the setting contradict one another.
	CodeTables = "changes.tables"
	// CodeColumn: a column that a setting names is not there.
	CodeColumn = "changes.column"
	// CodeKey: a column of the key, or a value of it, that has no text of its own.
	CodeKey = "changes.key"
	// CodeID: a text that is not the id of a document.
	CodeID = "changes.id"
)

// Table is one entry of the setting "tables": a table whose rows become documents of one type.
type Table struct {
	Table   string            `config:"table,required" min:"1" doc:"The table: its name, or database.name."`
	Type    string            `config:"type,required" min:"1" max:"64" doc:"The type of its documents. Tables have different ones."`
	Channel string            `config:"channel,required" enum:"entities,logs" doc:"The channel that its documents go to: entities for clinical data and configuration, logs for entries of audit and application logs."`
	Columns []string          `config:"columns" doc:"The columns that documents have, in this order, by their exact names. All of them, in the table's order, when it is empty. The id is made of the primary key, whether or not its columns are named."`
	Rename  map[string]string `config:"rename" doc:"Names of members, by the names of their columns. A column called id, type or deleted has to be renamed or left out, because a document has those members already."`
}

// Name is the table's name, and its database's where the setting says it.
func (t *Table) Name() (database, table string) {
	if database, table, ok := strings.Cut(t.Table, "."); ok {
		return database, table
	}
	return "", t.Table
}

// Member is the name of a column in documents.
func (t *Table) Member(column string) string {
	if name, ok := t.Rename[column]; ok {
		return name
	}
	return column
}

// taken are the members that every document has, or may have.
var taken = []string{"id", "type", "deleted"}

// CheckTables finds what is wrong with the setting as far as it shows without a database. The fault says where.
func CheckTables(tables []Table) error {
	if len(tables) == 0 {
		return fault.New(CodeTables, fault.Usage, "no table is named").WithDetail(fault.DetailSetting, "/tables").
			WithHint("name the tables of the stream: tables: [{table: patients, type: patient, channel: entities}]")
	}
	names, types := map[string]int{}, map[string]int{}
	for i := range tables {
		t := &tables[i]
		if database, table := t.Name(); t.Table == "" || table == "" || database == "" && strings.Contains(t.Table, ".") {
			return fault.New(CodeTables, fault.Usage, "%q is not the name of a table", t.Table).
				WithDetail(fault.DetailSetting, pointer(i, "table")).WithHint("write table or database.table")
		}
		if other, ok := names[t.Table]; ok {
			return fault.New(CodeTables, fault.Usage, "the table %q is named twice, in entries %d and %d", t.Table, other+1, i+1).
				WithDetail(fault.DetailSetting, pointer(i, "table")).WithHint("a table has one type of documents: leave one of the entries out")
		}
		if other, ok := types[t.Type]; ok {
			return fault.New(CodeTables, fault.Usage, "the tables %q and %q have documents of one type, %q, so that their ids would mix",
				tables[other].Table, t.Table, t.Type).
				WithDetail(fault.DetailSetting, pointer(i, "type")).WithHint("give each table a type of its own")
		}
		names[t.Table], types[t.Type] = i, i
		if err := t.check(i); err != nil {
			return err
		}
	}
	return nil
}

func (t *Table) check(index int) error {
	members := map[string]string{}
	for i, column := range t.Columns {
		setting := pointer(index, "columns", strconv.Itoa(i))
		if slices.Contains(t.Columns[:i], column) {
			return fault.New(CodeTables, fault.Usage, "table %q: the column %q is named twice", t.Table, column).
				WithDetail(fault.DetailSetting, setting).WithHint("name it once")
		}
		if _, renamed := t.Rename[column]; renamed {
			setting = pointer(index, "rename", column)
		}
		if err := t.claim(members, column); err != nil {
			return err.WithDetail(fault.DetailSetting, setting)
		}
	}
	for _, column := range sorted(t.Rename) {
		setting := pointer(index, "rename", column)
		if len(t.Columns) > 0 && !slices.Contains(t.Columns, column) {
			return fault.New(CodeColumn, fault.Usage, "table %q: rename names the column %q, which is not one of columns", t.Table, column).
				WithDetail(fault.DetailSetting, setting).WithHint("columns are named exactly as they are written in columns")
		}
		if len(t.Columns) > 0 {
			continue
		}
		if err := t.claim(members, column); err != nil {
			return err.WithDetail(fault.DetailSetting, setting)
		}
	}
	return nil
}

// ReadAgain reads the setting "again" of a source of tables; nil where it is not given. The error says what is wrong with it.
func ReadAgain(text string, tables []Table) (*changes.Again, error) {
	if text == "" {
		return nil, nil
	}
	a := &changes.Again{}
	if err := json.Unmarshal([]byte(text), a); err != nil {
		return nil, fmt.Errorf("again is not a list of documents: %w", err)
	}
	if len(a.Documents) > changes.MostAgain {
		return nil, fmt.Errorf("again names %d documents; at most %d are possible", len(a.Documents), changes.MostAgain)
	}
	types := map[string]bool{}
	for i := range tables {
		types[tables[i].Type] = true
	}
	for _, d := range a.Documents {
		if !types[d.Type] {
			return nil, fmt.Errorf("again names a document of the type %q, which no table has", d.Type)
		}
	}
	return a, nil
}

// claim notes a column's member, and refuses one that is taken.
func (t *Table) claim(members map[string]string, column string) *fault.Fault {
	name := t.Member(column)
	other, twice := members[name]
	switch {
	case name == "":
		return fault.New(CodeMember, fault.Usage, "table %q: the column %q would become a member without a name", t.Table, column).
			WithHint("give it a name in rename")
	case slices.Contains(taken, name):
		return fault.New(CodeMember, fault.Usage, "table %q: the column %q would become the member %q, which documents have already",
			t.Table, column, name).
			WithHint("rename it: rename: {%s: %s_%s}, or leave it out of columns", column, t.Type, name)
	case twice:
		return fault.New(CodeMember, fault.Usage, "table %q: the columns %q and %q would become one member, %q", t.Table, other, column, name).
			WithHint("give one of them another name in rename")
	}
	members[name] = column
	return nil
}

// pointer is the JSON Pointer of a place in an entry of the setting.
func pointer(index int, path ...string) string {
	text := "/tables/" + strconv.Itoa(index)
	for _, step := range path {
		text += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(step)
	}
	return text
}

func sorted(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
