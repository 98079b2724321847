package api

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// node is a part of the served document.
type node = map[string]any

// served is the document as it is served.
type served struct {
	*server
	document node
}

func newServed(t testing.TB) *served { return newServedBy(newServerOf(t, realCatalogue(), nil)) }

func newServedBy(s *server) *served {
	t := s.t
	a := s.do("GET", "/openapi.json", "", "Authorization", "-")
	if a.StatusCode != 200 || a.Header.Get("Content-Type") != typeJSON {
		t.Fatalf("%s %v", a.Status, a.Header)
	}
	out := &served{server: s}
	if err := json.Unmarshal(a.body, &out.document); err != nil {
		t.Fatal(err)
	}
	return out
}

// resolve follows a reference.
func (s *served) resolve(v any) node {
	n, _ := v.(node)
	pointer, ok := n["$ref"].(string)
	if !ok {
		return n
	}
	var at any = s.document
	for step := range strings.SplitSeq(strings.TrimPrefix(pointer, "#/"), "/") {
		m, _ := at.(node)
		at = m[step]
	}
	target, _ := at.(node)
	if target == nil {
		s.t.Errorf("nothing is at %s", pointer)
	}
	return target
}

// operation is an operation of the document.
type operation struct {
	method, path string
	node
}

// procedure reports whether the operation asks for a procedure, ofCustomer whether it belongs to something of a customer's, and
// ofJobs whether that is a job.
func (o operation) procedure() bool {
	return o.method == "POST" && strings.HasPrefix(o.path, "/v1/procedures/")
}

func (o operation) ofCustomer() bool {
	return strings.HasPrefix(o.path, "/v1/customers/") || strings.HasPrefix(o.path, objectsPath)
}

func (o operation) ofJobs() bool {
	return o.ofCustomer() && !strings.Contains(o.path, "/webhook")
}

func (s *served) operations() (out []operation) {
	paths := s.document["paths"].(node)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		for method, op := range paths[path].(node) {
			out = append(out, operation{strings.ToUpper(method), path, op.(node)})
		}
	}
	return out
}

// visit shows every object of a document.
func visit(v any, at string, see func(at string, n node)) {
	switch v := v.(type) {
	case node:
		see(at, v)
		for key, e := range v {
			visit(e, at+"/"+key, see)
		}
	case []any:
		for i, e := range v {
			visit(e, fmt.Sprintf("%s/%d", at, i), see)
		}
	}
}

// TestDocument: there is an operation for each procedure of the catalogue; what is referred to is there; every answer is
// described, and every code of the table stands in one.
func TestDocument(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	if s.document["openapi"] != "3.1.0" {
		t.Errorf("version %v", s.document["openapi"])
	}
	names, _ := fs.Glob(realCatalogue(), "*.yaml")
	procedures, ids, documented := 0, map[any]bool{}, map[string]bool{}
	for _, op := range s.operations() {
		id := op.node["operationId"]
		if ids[id] || id == nil || op.node["summary"] == nil || op.node["tags"] == nil {
			t.Errorf("%s %s has no name of its own, no summary or no tag", op.method, op.path)
		}
		ids[id] = true
		declared := map[string]bool{}
		parameters, _ := op.node["parameters"].([]any)
		for _, p := range parameters {
			p := p.(node)
			declared[p["name"].(string)] = p["in"] == "path"
			if p["description"] == nil || p["schema"] == nil {
				t.Errorf("%s %s: parameter %v is not described", op.method, op.path, p["name"])
			}
		}
		for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(op.path, -1) {
			if !declared[m[1]] {
				t.Errorf("%s %s: %s is not declared", op.method, op.path, m[1])
			}
		}
		responses := op.node["responses"].(node)
		wanted := []string{"200", "401", "403", "429", "500"}
		switch op.node["operationId"] {
		case "download_job":
			wanted[0] = "307"
		case "delete_webhook":
			wanted[0] = "204"
		case "test_webhook":
			wanted[0] = "202"
		case "get_object": // whoever has the link may
			wanted = []string{"200", "206", "304", "403", "410", "416", "500"}
			if security, ok := op.node["security"].([]any); !ok || len(security) > 0 {
				t.Errorf("%s needs %v", op.path, op.node["security"])
			}
		}
		for _, status := range wanted {
			if responses[status] == nil {
				t.Errorf("%s %s: status %s is not described", op.method, op.path, status)
			}
		}
		for status, r := range responses {
			r := s.resolve(r)
			if r["description"] == "" {
				t.Errorf("%s %s: status %s says nothing", op.method, op.path, status)
			}
			codes, _ := r["x-error-codes"].([]any)
			for _, c := range codes {
				documented[c.(string)] = true
			}
		}
		if !op.procedure() {
			continue
		}
		procedures++
		body := op.node["requestBody"].(node)["content"].(node)[typeJSON].(node)
		if n := len(body["examples"].(node)); n < 5 {
			t.Errorf("%s has %d examples", op.path, n)
		}
		content := responses["200"].(node)["content"].(node)
		for _, name := range mediaTypes() {
			if content[name] == nil {
				t.Errorf("%s: %s is not described", op.path, name)
			}
		}
		if reference := op.node["x-procedure-class"] == classReference; reference == (responses["202"] != nil) || reference == (content[typeJSON].(node)["schema"].(node)["oneOf"] != nil) {
			t.Errorf("%s: a job is described wrongly", op.path)
		}
		row := s.resolve(content[typeLines].(node)["schema"].(node)["oneOf"].([]any)[0])
		if op.path != "/v1/procedures/custom_table" && len(row["properties"].(node)) < 3 {
			t.Errorf("%s: the row has no columns", op.path)
		}
	}
	if procedures != len(names) || procedures != 39 {
		t.Errorf("%d operations for %d procedures", procedures, len(names))
	}
	for _, e := range table {
		// Nobody is answered with it, it is not of a single operation, or of no pipeline of the catalogue.
		never := []Code{ClientGone, ServiceRestarted, MethodNotAllowed, WorkerLost, NotServed, ScheduleRequired,
			ScheduleReplaced,
			ScheduleStateOther}
		if !documented[string(e.Code)] && !slices.Contains(never, e.Code) {
			t.Errorf("no operation has %s", e.Code)
		}
	}
	visit(s.document, "#", func(at string, n node) {
		if _, ok := n["$ref"]; ok {
			s.resolve(n)
		}
		if pattern, ok := n["pattern"].(string); ok {
			if _, err := regexp.Compile(pattern); err != nil {
				t.Errorf("%s: %v", at, err)
			}
		}
	})
}

// TestExamplesWork: the bodies of the document are taken as they are.
func TestExamplesWork(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	for _, op := range s.operations() {
		if !op.procedure() {
			continue
		}
		for name, example := range op.node["requestBody"].(node)["content"].(node)[typeJSON].(node)["examples"].(node) {
			body := maps.Clone(example.(node)["value"].(node))
			body["customer_id"] = "nobody" // as far as it goes: its pipelines cannot be run here
			if e := s.do("POST", op.path, text(body)).refusal(t); e.Code != CustomerNotFound {
				t.Errorf("%s, %s: %s %s", op.path, name, e.Code, e.mistakes())
			}
		}
	}
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// generator makes values of a schema, and values that are none.
type generator struct {
	*served
	*rand.Rand
}

// kindOf is the type of a schema, beside which there may be null.
func kindOf(schema node) string {
	kind, _ := schema["type"].(string)
	if several, ok := schema["type"].([]any); ok {
		kind, _ = several[0].(string)
	}
	return kind
}

// good are values that a schema takes.
func (g *generator) good(schema node) (out []any) {
	schema = g.resolve(schema)
	if options, ok := schema["oneOf"].([]any); ok {
		for _, o := range options {
			out = append(out, g.good(o.(node))...)
		}
		return out
	}
	if enum, ok := schema["enum"].([]any); ok {
		return enum
	}
	if examples, ok := schema["examples"].([]any); ok {
		out = append(out, examples...)
	}
	switch kindOf(schema) {
	case "null":
		return []any{nil}
	case "boolean":
		return append(out, true, false)
	case "integer":
		low, high := 0.0, 1000.0
		if m, ok := schema["minimum"].(float64); ok {
			low = m
		}
		if m, ok := schema["maximum"].(float64); ok {
			high = m
		}
		return append(out, low, high, low+float64(g.IntN(int(high-low)+1)))
	case "array":
		return append(out, []any{"a"}, []any{"2024-01-31", 12.5, nil})
	}
	switch schema["format"] {
	case "date":
		return append(out, fmt.Sprintf("20%02d-%02d-%02d", g.IntN(100), 1+g.IntN(12), 1+g.IntN(28)), "2024-02-29")
	case "date-time":
		return append(out, "2024-02-01T03:04:05Z", "2024-02-01T03:04:05.678+01:00")
	case "uri":
		return append(out, "https://hooks.example.com/"+g.letters(1+g.IntN(20)))
	}
	if schema["pattern"] != nil {
		most, _ := schema["maxLength"].(float64)
		return append(out, g.letters(1+g.IntN(max(int(most), 1))))
	}
	return append(out, g.letters(1+g.IntN(50)))
}

// bad are values that it does not take.
func (g *generator) bad(schema node) (out []any) {
	schema = g.resolve(schema)
	kinds := map[string]bool{}
	options, ok := schema["oneOf"].([]any)
	if !ok {
		options = []any{schema}
	}
	limited := true
	for _, o := range options {
		o := g.resolve(o)
		kind := kindOf(o)
		kinds[kind] = true
		if kind == "string" && o["enum"] == nil && o["format"] == nil && o["pattern"] == nil {
			limited = false
		}
	}
	out = append(out, node{"a": 1})
	if !kinds["array"] {
		out = append(out, []any{}, []any{1, 2})
	}
	if !kinds["boolean"] {
		out = append(out, true)
	}
	if !kinds["integer"] {
		out = append(out, g.IntN(1_000_000), 1.5)
	} else {
		out = append(out, 1.5, 1e300)
		for key, beyond := range map[string]float64{"minimum": -1, "maximum": 1} {
			if m, ok := schema[key].(float64); ok {
				out = append(out, m+beyond)
			}
		}
	}
	if limited {
		out = append(out, "", " ", "nothing of it", "2024-02-30", "ALL", strings.Repeat("x", 5000), "\u202e\x00")
	}
	most, bounded := schema["maxLength"].(float64)
	if pattern, ok := schema["pattern"].(string); ok {
		matching := regexp.MustCompile(pattern)
		out = slices.DeleteFunc(out, func(v any) bool {
			text, ok := v.(string)
			return ok && matching.MatchString(text) && (!bounded || len(text) <= int(most))
		})
	}
	if bounded && kinds["string"] {
		out = append(out, strings.Repeat("x", int(most)+1))
	}
	return out
}

func (g *generator) letters(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz0123456789_-"[g.IntN(38)]
	}
	return string(b)
}

// described checks that an answer is one that the document describes.
func (g *generator) described(op operation, a answered, what string) {
	g.t.Helper()
	described, ok := op.node["responses"].(node)[fmt.Sprint(a.StatusCode)]
	if !ok {
		g.t.Errorf("%s %s with %s: status %d is not described", op.method, op.path, what, a.StatusCode)
		return
	}
	r := g.resolve(described)
	for name := range r["headers"].(node) {
		if name == "X-Request-Id" && a.Header.Get(name) == "" {
			g.t.Errorf("%s %s with %s: no %s", op.method, op.path, what, name)
		}
	}
	var value any
	if err := json.Unmarshal(a.body, &value); err != nil {
		g.t.Errorf("%s %s with %s: %v", op.method, op.path, what, err)
	}
	if problem := g.holds(r["content"].(node)[typeJSON].(node)["schema"], value, "$"); problem != "" {
		g.t.Errorf("%s %s with %s: the answer is not what is described: %s", op.method, op.path, what, problem)
	}
	if a.StatusCode < 400 {
		return
	}
	if e := a.refusal(g.t); !slices.Contains(r["x-error-codes"].([]any), any(string(e.Code))) {
		g.t.Errorf("%s %s with %s: code %s is not described", op.method, op.path, what, e.Code)
	} else if e.Code == Internal {
		g.t.Errorf("%s %s with %s: %s", op.method, op.path, what, a.body)
	}
}

// holds says where a value is not what a schema describes.
func (s *served) holds(schema, value any, at string) string {
	n := s.resolve(schema)
	kinds, _ := n["type"].([]any)
	if kind, ok := n["type"].(string); ok {
		kinds = []any{kind}
	}
	kind := map[bool]string{true: "null"}[value == nil]
	switch v := value.(type) {
	case string:
		kind = "string"
	case bool:
		kind = "boolean"
	case float64:
		if kind = "number"; v == float64(int64(v)) && slices.Contains(kinds, any("integer")) {
			kind = "integer"
		}
	case []any:
		kind = "array"
		for i, e := range v {
			if problem := s.holds(n["items"], e, fmt.Sprintf("%s[%d]", at, i)); n["items"] != nil && problem != "" {
				return problem
			}
		}
	case node:
		kind = "object"
		properties, _ := n["properties"].(node)
		for name, e := range v {
			known, ok := properties[name]
			if !ok && n["additionalProperties"] == false {
				return at + "." + name + " is not described"
			}
			if problem := s.holds(known, e, at+"."+name); ok && problem != "" {
				return problem
			}
		}
		required, _ := n["required"].([]any)
		for _, name := range required {
			if _, ok := v[name.(string)]; !ok {
				return at + "." + name.(string) + " is missing"
			}
		}
	}
	if len(kinds) > 0 && !slices.Contains(kinds, any(kind)) {
		return fmt.Sprintf("%s is of type %s, and not %v", at, kind, kinds)
	}
	if enum, ok := n["enum"].([]any); ok && !slices.Contains(enum, value) {
		return fmt.Sprintf("%s is %v, which is none of %v", at, value, enum)
	}
	return ""
}

// TestEveryFieldOfEveryOperation: driven by the served document alone, each field of each operation is given values that
// its schema takes, which are taken, and values that it does not, which are refused by the field's name.
func TestEveryFieldOfEveryOperation(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := &generator{newServed(t), rand.New(rand.NewPCG(seed, 0))}
	// The rules of a procedure are about several fields, and come after those of each.
	rules := []Code{ConflictingParameters, InvalidDateRange, MissingParameter, CustomerNotFound}
	for _, op := range g.operations() {
		if !op.procedure() {
			continue
		}
		content := op.node["requestBody"].(node)["content"].(node)[typeJSON].(node)
		schema := g.resolve(content["schema"])
		base := maps.Clone(content["examples"].(node)["ndjson"].(node)["value"].(node))
		base["customer_id"] = "nobody" // as far as it goes: its pipelines cannot be run here
		if schema["additionalProperties"] != false {
			t.Errorf("%s takes fields that it does not name", op.path)
		}
		properties := schema["properties"].(node)
		send := func(name string, value any, what string) refused {
			body := maps.Clone(base)
			body[name] = value
			a := g.do("POST", op.path, text(body))
			g.described(op, a, fmt.Sprintf("%s %s %.60s", what, name, text(value)))
			return a.refusal(t)
		}
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			field := properties[name].(node)
			for _, value := range g.good(field) {
				if e := send(name, value, "good"); !slices.Contains(rules, e.Code) && e.Code != InvalidRequest || e.Code == InvalidRequest && strings.Contains(e.mistakes(), "INVALID_PARAMETER "+name) {
					t.Errorf("%s: %s = %s is refused: %s %s", op.path, name, text(value), e.Code, e.mistakes())
				}
			}
			for _, value := range g.bad(field) {
				if e := send(name, value, "bad"); !strings.Contains(e.mistakes()+",", " "+name+",") {
					t.Errorf("%s: %s = %.80s is taken: %s %s", op.path, name, text(value), e.Code, e.mistakes())
				}
			}
		}
		unknown := g.letters(12)
		if e := send(unknown, 1, "unknown"); e.mistakes() != "UNKNOWN_FIELD "+unknown {
			t.Errorf("%s: a field that is not there: %s %s", op.path, e.Code, e.mistakes())
		}
		required, _ := schema["required"].([]any)
		for _, name := range required {
			body := maps.Clone(base)
			delete(body, name.(string))
			if e := g.do("POST", op.path, text(body)).refusal(t); e.mistakes() != "MISSING_PARAMETER "+name.(string) {
				t.Errorf("%s without %s: %s %s", op.path, name, e.Code, e.mistakes())
			}
		}
	}
}

// TestEveryRead: the operations that read, with what their parameters take and with anything else.
func TestEveryRead(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := &generator{newServed(t), rand.New(rand.NewPCG(seed, 0))}
	anything := []string{"x", "%00", "..", "%2e%2e", "a%2Fb", "%F0%9F%98%80", "%FF", strings.Repeat("a", 5000), "'%20OR%201=1", "*", "{x}"}
	for _, op := range g.operations() {
		if op.method != "GET" || op.ofCustomer() {
			continue // see TestJobsAsDescribed and TestWebhooksAsDescribed
		}
		var values [][]string // of the path's parameters
		var name string
		parameters, _ := op.node["parameters"].([]any)
		for _, p := range parameters {
			if p := p.(node); p["in"] == "path" {
				name = p["name"].(string)
				enum, _ := g.resolve(p["schema"])["enum"].([]any)
				for _, v := range enum {
					values = append(values, []string{v.(string), "known"})
				}
			}
		}
		for _, v := range anything {
			values = append(values, []string{v, "unknown"})
		}
		for _, v := range values {
			path := strings.ReplaceAll(op.path, "{"+name+"}", v[0])
			query := ""
			if strings.HasSuffix(path, "/rows") {
				// Its pipelines cannot be run here: a customer that is not there is as far as it goes.
				query = "?customer_id=nobody&output_format=csv"
			}
			a := g.do("GET", path+query, "")
			if name == "" || v[1] == "known" {
				g.described(op, a, v[0])
			}
			if want := v[1] == "known" || name == ""; want != (a.StatusCode == 200 || query != "" && a.StatusCode == 404 && a.refusal(t).Code == CustomerNotFound) {
				t.Errorf("%s: %s", path, a.Status)
			}
			if name == "" {
				break
			}
		}
	}
	for query, want := range map[string]string{
		"": "MISSING_PARAMETER customer_id", "?customer_id=a:b": "INVALID_PARAMETER customer_id", "?customer_id=a&customer_id=b": "DUPLICATE_FIELD customer_id",
		"?customer_id=clinic-7&output_format=xls": "INVALID_PARAMETER output_format", "?customer_id=clinic-7&x=1": "UNKNOWN_FIELD x",
		"?customer_id=clinic-7&from_date=x": "INVALID_PARAMETER from_date", "?customer_id=" + url.QueryEscape("a\x00b"): "INVALID_PARAMETER customer_id",
	} {
		if e := g.do("GET", "/v1/procedures/locations/rows"+query, "").refusal(t); e.mistakes() != want {
			t.Errorf("%q: %s %s, want %s", query, e.Code, e.mistakes(), want)
		}
	}
	if a := g.do("GET", "/v1/procedures/locations/rows?%zz", ""); a.StatusCode != http.StatusBadRequest {
		t.Errorf("a query that is none: %s", a.Status)
	}
}

// FuzzBody: whatever a body holds, the answer is an error of the table, and never that something is broken.
func FuzzBody(f *testing.F) {
	s := newServed(f)
	for _, body := range []string{`{}`, `{"customer_id":"clinic-7","webhook_url":"https://x"}`, `[1,{"a":[]}]`, `{"a":"\ud800"}`, `{"a":1e999}`, "{\"\":\"\x7f\"}", `{"a/b":{"~":1,"~":2}}`} {
		f.Add([]byte(body), uint(0))
	}
	var paths []string
	for _, op := range s.operations() {
		if op.procedure() {
			paths = append(paths, op.path)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, which uint) {
		p := s.api.procedures[strings.TrimPrefix(paths[which%uint(len(paths))], "/v1/procedures/")]
		c, err := p.read(body)
		if err == nil && (c.customer == "" || c.format == "") || err != nil && (err.Entry == nil || err.Code == Internal) {
			t.Errorf("%q: %+v, %v", body, c, err)
		}
	})
}
