package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// mostBody bounds a body, in bytes.
const mostBody = 64 << 10

// decode reads the body of a request: nothing, or one JSON object with the fields of a struct, by their exact names,
// each once, and nothing behind it. Its errors hold no value that was given.
func decode(r *http.Request, into any) error {
	text, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return fault.New(CodeTooLarge, fault.Usage, "the body has more than %d bytes", tooLarge.Limit)
	case err != nil:
		return badRequest("the body did not come whole: %w", err)
	case len(text) == 0:
		return nil
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return badRequest("the body is not declared as application/json")
	}
	if !utf8.Valid(text) {
		return badRequest("the body is not UTF-8")
	}
	if err := checkFields(text, fieldsOf(into)); err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			return badRequest("the field %s is not %s", wrong.Field, wrong.Type)
		}
		return badRequest("a value in the body is not what its field takes")
	}
	return nil
}

// fieldsOf are the names of a struct's fields in JSON.
func fieldsOf(into any) (names []string) {
	t := reflect.TypeOf(into).Elem()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// checkFields goes over the fields of an object. The standard library's reader would take a field in another case, and
// the last of those that are there twice.
func checkFields(text []byte, names []string) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return badRequest("the body is not a JSON object")
	}
	var seen []string
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		var value json.RawMessage
		if err != nil || !ok || d.Decode(&value) != nil {
			return badRequest("the body is not JSON, from byte %d on", d.InputOffset())
		}
		if !slices.Contains(names, name) {
			return badRequest("the body has a field%s that there is not", named(name)).
				WithHint("the fields are: %s", strings.Join(names, ", "))
		}
		if slices.Contains(seen, name) {
			return badRequest("the body has the field %s twice", name)
		}
		seen = append(seen, name)
	}
	if _, err := d.Token(); err != nil {
		return badRequest("the body is not JSON, from byte %d on", d.InputOffset())
	}
	if _, err := d.Token(); err != io.EOF {
		return badRequest("the body goes on behind its object, from byte %d on", d.InputOffset())
	}
	return nil
}

// named is a name that a person may have mistyped; what is no name, such as a key in the wrong place, is not repeated.
func named(name string) string {
	if len(name) > 30 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_") != "" {
		return ""
	}
	return " " + name
}
