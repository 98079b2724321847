package document

import (
	"slices"
	"strings"

	"github.com/cipherstream/cipherstream/engine/diag"
)

// spellings are the words by which databases and programs call the types of columns.
var spellings = map[string]string{
	"tinyint": "int8", "smallint": "int16", "mediumint": "int32", "int": "int32", "integer": "int32", "bigint": "int64", "long": "int64",
	"year": "int16", "float": "float32", "real": "float64", "double": "float64", "bool": "boolean",
	"char": "string", "varchar": "string", "text": "string", "tinytext": "string", "mediumtext": "string", "longtext": "string",
	"utf8": "string", "str": "string", "enum": "string", "uuid": "string",
	"blob": "binary", "tinyblob": "binary", "mediumblob": "binary", "longblob": "binary", "varbinary": "binary", "bytes": "binary",
	"date32": "date", "datetime": "timestamp", "date-time": "timestamp", "duration": "time",
	"decimal": "decimal", "numeric": "decimal", "number": "decimal", "decimal128": "decimal", "jsonb": "json",
}

// withColumnType says which type of columns was probably meant by another word for it.
func withColumnType(d diag.Diagnostic, text string) diag.Diagnostic {
	if beginOfType().MatchString(text) {
		return d.WithHint(`inside { } a type with a comma stands in quotes, such as type: "decimal(10,2)"`)
	}
	word, unsigned := strings.CutSuffix(strings.ToLower(text), " unsigned")
	word, arguments, given := strings.Cut(word, "(")
	meant := spellings[word]
	if unsigned && strings.HasPrefix(meant, "int") {
		meant = "u" + meant
	}
	switch meant {
	case "":
		return d.WithSuggestion(text, ColumnTypes)
	case "decimal", "timestamp", "time":
		if given {
			meant += "(" + arguments
		}
		if meant == "decimal" && !given {
			return d.WithHint(`write digits and decimals, such as "decimal(10,2)"`)
		}
		if _, err := ParseColumnType(meant); err != nil {
			return d.WithSuggestion(text, ColumnTypes)
		}
	}
	d = d.WithHint("did you mean %q?", meant)
	d.Fix = meant
	return d
}

// withParameterType does the same for the type of a parameter: one of Types, each of which
// stands for several types of columns.
func withParameterType(d diag.Diagnostic, text string) diag.Diagnostic {
	word, _, _ := strings.Cut(strings.ToLower(text), "(")
	if column, ok := spellings[word]; ok {
		word = column
	}
	meant := word
	switch {
	case strings.HasPrefix(word, "int"), strings.HasPrefix(word, "uint"):
		meant = string(TypeInteger)
	case strings.HasPrefix(word, "float"):
		meant = string(TypeDecimal)
	}
	if !slices.Contains(Types, meant) {
		return d.WithSuggestion(text, Types)
	}
	d = d.WithHint("did you mean %q?", meant)
	d.Fix = meant
	return d
}
