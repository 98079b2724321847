package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
)

// Decode checks settings in JSON against the specification and returns them as
// S, defaults filled in. The error joins every Problem. Empty input is an empty
// object.
func Decode[S any](spec *Spec, raw []byte) (S, error) {
	var settings S
	tree := map[string]any{}
	if len(bytes.TrimSpace(raw)) > 0 {
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		if err := decoder.Decode(&tree); err != nil {
			// The decoder's own message may quote the input.
			return settings, errors.New("the settings are not a JSON object")
		}
		if _, err := decoder.Token(); err != io.EOF {
			return settings, errors.New("the settings are more than one JSON object")
		}
	}
	if problems := spec.Check(tree); len(problems) > 0 {
		errs := make([]error, len(problems))
		for i, p := range problems {
			errs[i] = p
		}
		return settings, errors.Join(errs...)
	}
	setObject(spec.Fields, tree, reflect.ValueOf(&settings).Elem())
	return settings, nil
}

func setObject(fields []Field, tree map[string]any, into reflect.Value) {
	for i := range fields {
		f := &fields[i]
		if value, ok := tree[f.Name]; ok {
			f.set(value, into.Field(f.index), false)
		} else if f.Default != "" {
			f.set(f.Default, into.Field(f.index), true)
		} else if f.Type == TypeObject {
			setObject(f.Fields, nil, into.Field(f.index))
		}
	}
}

// set stores a checked value. Defaults of lists are written as JSON.
func (f *Field) set(value any, into reflect.Value, isDefault bool) {
	if isDefault && (f.Type == TypeList || f.Type == TypeMap) {
		if err := json.Unmarshal([]byte(value.(string)), into.Addr().Interface()); err != nil {
			panic(fmt.Sprintf("config: default of %q: %v", f.Name, err))
		}
		return
	}
	switch f.Type {
	case TypeParameters:
		given, _ := parameters(value)
		into.Set(reflect.ValueOf(given))
		return
	case TypeCursor:
		given, _ := cursor(value)
		into.Set(reflect.ValueOf(given))
		return
	case TypeObject:
		setObject(f.Fields, value.(map[string]any), into)
		return
	case TypeList:
		list := value.([]any)
		slice := reflect.MakeSlice(into.Type(), len(list), len(list))
		for i, v := range list {
			f.Items.set(v, slice.Index(i), false)
		}
		into.Set(slice)
		return
	case TypeMap:
		m := reflect.MakeMap(into.Type())
		for k, v := range value.(map[string]any) {
			element := reflect.New(into.Type().Elem()).Elem()
			f.Items.set(v, element, false)
			m.SetMapIndex(reflect.ValueOf(k).Convert(into.Type().Key()), element)
		}
		into.Set(m)
		return
	}
	parsed, _ := f.scalar(value, isDefault)
	switch v := parsed.(type) {
	case nil:
		into.SetZero()
	case string:
		switch {
		case f.Type == TypeSecret:
			into.Set(reflect.ValueOf(NewSecret(v)))
		case into.Kind() == reflect.Interface:
			into.Set(reflect.ValueOf(v))
		default:
			into.SetString(v)
		}
	case int64:
		if into.Kind() == reflect.Interface {
			into.Set(reflect.ValueOf(v))
			return
		}
		into.SetInt(v)
	default:
		into.Set(reflect.ValueOf(parsed).Convert(into.Type()))
	}
}
