package config

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/cipherstream/cipherstream/engine/document"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// Write writes the settings in effect as a document: what was written, the defaults of what was not, and references in the
// place of secrets. The arguments of a command stay out of it.
func (s *Settings) Write(w io.Writer) error {
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(s.document()); err != nil {
		return err
	}
	return e.Close()
}

// Values is the document that Write writes as maps, lists and scalars, for JSON.
func (s *Settings) Values() (map[string]any, error) {
	var values map[string]any
	err := s.document().Decode(&values)
	return values, err
}

func (s *Settings) document() *yaml.Node {
	spec := s.Spec
	spec.State = shownReference(spec.State)
	return mapping("apiVersion", scalar(document.APIVersion), "kind", scalar(Kind),
		"metadata", mapping("name", scalar(s.Name)), "spec", node(reflect.ValueOf(spec)))
}

func scalar(value any) *yaml.Node {
	n := &yaml.Node{}
	_ = n.Encode(value) // a single value
	return n
}

// mapping is a mapping of keys and nodes by turns.
func mapping(members ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i < len(members); i += 2 {
		n.Content = append(n.Content, scalar(members[i]), members[i+1].(*yaml.Node))
	}
	return n
}

func node(v reflect.Value) *yaml.Node {
	switch value := v.Interface().(type) {
	case config.Secret:
		return scalar(shownReference(value.Reveal()))
	case config.Size:
		return scalar(value.String())
	case time.Duration:
		return scalar(value.String())
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: value.String()}
	}
	switch v.Kind() {
	case reflect.Struct:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for name, member := range members(v) {
			n.Content = append(n.Content, scalar(name), node(member))
		}
		return n
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			n.Content = append(n.Content, node(v.Index(i)))
		}
		if len(n.Content) == 0 || n.Content[0].Kind == yaml.ScalarNode {
			n.Style = yaml.FlowStyle
		}
		return n
	case reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, key := range sortedKeys(v) {
			value := v.MapIndex(reflect.ValueOf(key))
			if value.Kind() == reflect.String {
				value = reflect.ValueOf(shownReference(value.String()))
			}
			n.Content = append(n.Content, scalar(key), node(value))
		}
		if len(n.Content) == 0 {
			n.Style = yaml.FlowStyle
		}
		return n
	}
	return scalar(v.Interface())
}

// members are the settings of a struct, by their names.
func members(v reflect.Value) func(yield func(string, reflect.Value) bool) {
	return func(yield func(string, reflect.Value) bool) {
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("config"), ",")
			if name != "" && !yield(name, v.Field(i)) {
				return
			}
		}
	}
}

func sortedKeys(v reflect.Value) []string {
	var keys []string
	for _, key := range v.MapKeys() {
		keys = append(keys, key.String())
	}
	slices.Sort(keys)
	return keys
}

// shownReference is a reference without what may be secret in it.
func shownReference(reference string) string {
	if command, is := strings.CutPrefix(reference, "command:"); is {
		if program, arguments, more := strings.Cut(strings.TrimSpace(command), " "); more && arguments != "" {
			return "command:" + program + " [arguments not shown]"
		}
	}
	return reference
}

// Change is a setting that differs between two documents.
type Change struct {
	// Path leads to it: customers.sunrise.networks.
	Path string
	// Restart says that only a restart can put it into effect.
	Restart bool
}

// reloaded are the settings that a reload puts into effect. All others are looked at once, when the service starts.
var reloaded = []string{"listen.certificate", "listen.key", "admin_networks", "trusted_proxies", "buckets", "limits.memory", "limits.run_memory",
	"limits.streams", "limits.max_wait", "limits.rates", "limits.spool.memory", "limits.spool.answer", "limits.spool.process", "shutdown.grace",
	"secrets", "customers", "schedules", "log"}

// Changes says what differs, in the order of the document. Of a secret it says that it differs, and nothing more.
func Changes(from, to *Settings) []Change {
	var out []Change
	add := func(path string) {
		now := slices.ContainsFunc(reloaded, func(p string) bool { return path == p || strings.HasPrefix(path, p+".") })
		out = append(out, Change{Path: path, Restart: !now})
	}
	for name, member := range members(reflect.ValueOf(from.Spec)) {
		if name != "customers" {
			differ(name, member, field(reflect.ValueOf(to.Spec), name), add)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(from.Buckets)) {
		was, is := from.Buckets[name], to.Buckets[name]
		if _, remains := to.Buckets[name]; remains && (was.AccessKeyID != is.AccessKeyID || was.SecretAccessKey != is.SecretAccessKey) {
			add("buckets." + name + " (the secrets)")
		}
	}
	changedSchedules(from, to, add)
	if from.Record != to.Record {
		add("state (the secret)")
	}
	if from.MailPassword != to.MailPassword {
		add("mail.password (the secret)")
	}
	before, after := byID(from.Customers), byID(to.Customers)
	for _, id := range slices.Sorted(maps.Keys(before)) {
		path := "customers." + id
		is, remains := after[id]
		if !remains {
			add(path + " (removed)")
			continue
		}
		was := before[id]
		differ(path, reflect.ValueOf(was.CustomerSpec), reflect.ValueOf(is.CustomerSpec), add)
		if was.DSN != is.DSN {
			add(path + ".dsn (the secret)")
		}
		if !slices.Equal(was.EncryptionKeys, is.EncryptionKeys) {
			add(path + ".encryption_keys (the secrets)")
		}
	}
	for _, id := range slices.Sorted(maps.Keys(after)) {
		if _, known := before[id]; !known {
			add("customers." + id + " (new)")
		}
	}
	return out
}

func field(v reflect.Value, name string) reflect.Value {
	for found, member := range members(v) {
		if found == name {
			return member
		}
	}
	panic(fmt.Sprintf("no setting is called %s", name))
}

func byID(customers []Customer) map[string]Customer {
	out := make(map[string]Customer, len(customers))
	for _, c := range customers {
		out[c.ID] = c
	}
	return out
}

// differ adds the paths of what differs, as deep as structs go.
func differ(path string, a, b reflect.Value, add func(string)) {
	if a.Kind() == reflect.Struct && a.Type() != reflect.TypeFor[config.Secret]() {
		for name, member := range members(a) {
			differ(path+"."+name, member, field(b, name), add)
		}
		return
	}
	empty := (a.Kind() == reflect.Slice || a.Kind() == reflect.Map) && a.Len() == 0 && b.Len() == 0
	if empty || reflect.DeepEqual(a.Interface(), b.Interface()) {
		return
	}
	if _, secret := a.Interface().(config.Secret); secret {
		path += " (the reference)"
	}
	add(path)
}
