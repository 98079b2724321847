package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"mime"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/service/job"
	"github.com/cipherstream/cipherstream/engine/service/store"
)

// answers checks that an answer is one that the document describes for the operation: its status, its headers, its media type, and
// where it is JSON all of its members.
func (g *generator) answers(op operation, a answered, what string) {
	g.t.Helper()
	what = op.method + " " + op.path + " with " + what
	described, ok := op.node["responses"].(node)[fmt.Sprint(a.StatusCode)]
	if !ok {
		g.t.Errorf("%s: status %d is not described: %.200s", what, a.StatusCode, a.body)
		return
	}
	r := g.resolve(described)
	if r["headers"].(node)["X-Request-Id"] == nil || a.Header.Get("X-Request-Id") == "" {
		g.t.Errorf("%s: no X-Request-Id", what)
	}
	for _, name := range []string{"Location", "Link", "Retry-After", "Content-Disposition", "ETag", "Accept-Ranges", "Content-Range", "Preference-Applied", headerMode, headerRun, headerReplayed} {
		if a.Header.Get(name) != "" && r["headers"].(node)[name] == nil {
			g.t.Errorf("%s: the header %s is not described for status %d", what, name, a.StatusCode)
		}
	}
	content, _ := r["content"].(node)
	if len(a.body) == 0 {
		return
	}
	kind, _, _ := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if content[kind] == nil {
		g.t.Errorf("%s: the type %s is not described for status %d", what, kind, a.StatusCode)
		return
	}
	if kind == typeEvents {
		data := content[kind].(node)["schema"].(node)["x-event-data"].(node)
		for _, event := range strings.Split(strings.TrimSpace(string(a.body)), "\n\n") {
			name, text := "", ""
			for line := range strings.Lines(event) {
				if value, ok := strings.CutPrefix(line, "event: "); ok {
					name = strings.TrimSpace(value)
				}
				if value, ok := strings.CutPrefix(line, "data: "); ok {
					text = value
				}
			}
			if name != "" {
				g.json(data[name], []byte(text), what+", event "+name)
			}
		}
	}
	if kind == typeJSON && op.node["operationId"] != "get_object" || a.StatusCode >= 400 {
		g.json(content[kind].(node)["schema"], a.body, what)
	}
	if a.StatusCode >= 400 {
		if e := a.refusal(g.t); !slices.Contains(r["x-error-codes"].([]any), any(string(e.Code))) || e.Code == Internal {
			g.t.Errorf("%s: code %s is not described: %s", what, e.Code, a.body)
		}
	}
}

func (g *generator) json(schema any, body []byte, what string) {
	g.t.Helper()
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		g.t.Errorf("%s: %v: %s", what, err, body)
	}
	if problem := g.holds(schema, value, "$"); problem != "" {
		g.t.Errorf("%s: the answer is not what is described: %s: %s", what, problem, body)
	}
}

// TestJobsAsDescribed: driven by the served document alone, every operation on jobs answers as it says, for jobs in every state and for
// those that there are not, with what its parameters take and with what they do not.
func TestJobsAsDescribed(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := newJobServerOf(t, realCatalogue(), nil)
	g := &generator{newServedBy(s.server), rand.New(rand.NewPCG(seed, 0))}
	order := func() string {
		// Its pipelines cannot be run here, and what cannot be run is not accepted.
		j, _, err := s.jobs.Create(t.Context(), store.NewJob{Job: store.Job{ID: "appointments_1_" + g.letters(8), Customer: "clinic-7", Procedure: "appointments", Type: "extract",
			Reason: "requested", Format: "csv", Compression: "gzip", FromDate: "2024-01-01", Modifier: "All", Request: []byte("{}")}})
		if err != nil {
			t.Fatal(err)
		}
		return j.ID
	}
	ids := map[string]string{"completed": order()}
	lease := s.begin()
	s.progress(lease, 3, 10)
	manifest, err := json.Marshal(job.Manifest{Request: map[string]any{"from_date": "2024-01-01"}, Columns: []job.ManifestColumn{}, Warnings: []job.ManifestWarning{{Name: "zero_dates", Count: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	s.jobs.manifest = manifest
	s.complete(lease, []byte("{}\n"))
	ids["failed"] = order()
	s.end(s.begin(), store.Ending{Event: store.JobFailed, ErrorCode: "SOURCE_FAILED", ErrorMessage: "m", Suggestion: "s"})
	ids["cancelled"] = order()
	s.end(s.begin(), store.Ending{Event: store.JobCancelled, ErrorCode: "TIME_LIMIT"})
	ids["running"] = order()
	s.progress(s.begin(), 1, 0)
	ids["queued"] = order()
	ids["unknown"], ids["%FF"], ids["long"] = "appointments_1_00000000", "%FF", strings.Repeat("x", 3000)
	seen := map[string]bool{}
	for _, op := range g.operations() {
		if !op.ofJobs() {
			continue
		}
		fill := func(customer, id, signed string) string {
			return strings.NewReplacer("{customer_id}", customer, "{job_id}", id, "{signed}", signed).Replace(op.path)
		}
		link := strings.TrimPrefix(s.linkOf(ids["completed"]), objectsPath)
		for _, name := range slices.Sorted(maps.Keys(ids)) {
			if op.node["operationId"] == "job_events" && (name == "queued" || name == "running") {
				continue // they do not end
			}
			for _, customer := range []string{"clinic-7", "clinic-8", "a%20b"} {
				for _, header := range [][2]string{{"X-Nothing", "1"}, {"Authorization", "Bearer bad"}, {"Prefer", "wait=0"}, {"Last-Event-ID", "3"}, {"Last-Event-ID", "2"}, {"Last-Event-ID", "x"}, {"Range", "bytes=0-0"}, {"Range", "bytes=0-0,2-2"}, {"Range", "bytes=9-"}, {"If-None-Match", "*"}} {
					if customer != "clinic-7" && header[0] != "X-Nothing" {
						continue
					}
					a := s.do(op.method, fill(customer, ids[name], link), "", header[0], header[1])
					g.answers(op, a, name+" of "+customer+", "+header[0]+": "+header[1])
					seen[fmt.Sprint(op.node["operationId"], a.StatusCode)] = true
				}
			}
		}
		g.answers(op, s.do(op.method, fill("clinic-7", ids["completed"], "x."+link), ""), "a link that is none")
		parameters, _ := op.node["parameters"].([]any)
		for _, p := range parameters {
			p := p.(node)
			if p["in"] != "query" {
				continue
			}
			name, path := p["name"].(string), fill("clinic-7", ids["completed"], link)
			for _, value := range g.good(p["schema"].(node)) {
				if number, ok := value.(float64); ok {
					value = int64(number)
				}
				a := s.do(op.method, path+"?"+name+"="+url.QueryEscape(fmt.Sprint(value)), "")
				if g.answers(op, a, fmt.Sprint(name, " ", value)); a.StatusCode != 200 {
					t.Errorf("%s: %s = %v is refused: %s", op.path, name, value, a.body)
				}
			}
			for _, value := range g.bad(p["schema"].(node)) {
				asText, ok := value.(string)
				if !ok {
					asText = text(value)
				}
				a := s.do(op.method, path+"?"+name+"="+url.QueryEscape(asText), "")
				g.answers(op, a, name+" "+asText)
				if e := a.refusal(t); e.mistakes() != "INVALID_PARAMETER "+name {
					t.Errorf("%s: %s = %.60q is taken: %s", op.path, name, asText, e.mistakes())
				}
			}
		}
	}
	for _, want := range []string{"get_job200", "cancel_job200", "cancel_job409", "job_events200", "job_events204", "job_events400", "get_manifest200", "get_manifest409", "download_job307", "get_object200", "get_object206",
		"get_object304", "get_object416", "list_jobs200", "list_audit200"} {
		if !seen[want] {
			t.Errorf("%s was not seen", want)
		}
	}
}

// TestKickOffAsDescribed: what a request for a procedure is answered with when it becomes a job is what the document says.
func TestKickOffAsDescribed(t *testing.T) {
	t.Parallel()
	s := newJobServer(t, nil)
	g := &generator{newServedBy(s.server), rand.New(rand.NewPCG(1, 0))}
	for _, op := range g.operations() {
		if op.path != "/v1/procedures/visits" || op.method != "POST" {
			continue
		}
		for _, header := range [][]string{nil, {"Prefer", "respond-async"}, {"Idempotency-Key", "k"}, {"Idempotency-Key", "k", "Prefer", "respond-async"}} {
			g.answers(op, s.post("visits", ask(`,"mode":"job"`), header...), fmt.Sprint(header))
		}
		for _, a := range []answered{s.post("visits", ask(`,"mode":"job","priority":"low"`), "Idempotency-Key", "k"), s.post("visits", ask(`,"mode":"job"`), "Idempotency-Key", ""),
			s.post("visits", ask(`,"mode":"job"`), "Authorization", "Bearer jobless"), s.post("visits", ask(`,"mode":"job","encrypted":true`))} {
			if g.answers(op, a, "a mistake"); a.StatusCode < 400 {
				t.Errorf("%s %s", a.Status, a.body)
			}
		}
		return
	}
	t.Error("there is no such operation")
}
