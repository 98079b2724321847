package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestDescribedInFull: the document names every member of the answers that it describes, and allows no others.
func TestDescribedInFull(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	var document struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]any
			}
		}
	}
	if err := json.Unmarshal(s.do("GET", "/openapi.json", "").body, &document); err != nil {
		t.Fatal(err)
	}
	for schema, path := range map[string]string{"ProcedureList": "/v1/procedures", "Procedure": "/v1/procedures/visits"} {
		var answer map[string]any
		if err := json.Unmarshal(s.do("GET", path, "").body, &answer); err != nil || len(answer) == 0 {
			t.Fatalf("%s: %v", path, err)
		}
		for member := range answer {
			if document.Components.Schemas[schema].Properties[member] == nil {
				t.Errorf("%s: the schema does not have %s", path, member)
			}
		}
	}
}

// TestIdempotencyKeys: the header's form is the document's, with and without jobs.
func TestIdempotencyKeys(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]*server{"without jobs": newServer(t, nil), "with jobs": newJobServer(t, nil).server} {
		for key, want := range map[string]int{"": 400, "k": 200, " ~": 200, strings.Repeat("k", 255): 200, strings.Repeat("k", 256): 400, "k\u00e9": 400, "k\tk": 400} {
			a := s.post("visits", ask(""), "Idempotency-Key", key)
			if a.StatusCode != want || want == 400 && a.refusal(t).mistakes() != "INVALID_PARAMETER Idempotency-Key" {
				t.Errorf("%s, %d bytes: %s %s", name, len(key), a.Status, a.body)
			}
		}
		if e := s.send(http.Header{"Authorization": {"Bearer good"}, "Idempotency-Key": {"a", "b"}}, "POST", "/v1/procedures/visits", ask("")).refusal(t); e.mistakes() != "INVALID_PARAMETER Idempotency-Key" {
			t.Errorf("%s, two keys: %s", name, e.mistakes())
		}
	}
}
