package api

import (
	"encoding/json"
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

// TestIdempotencyKeys: the header's bound is the document's.
func TestIdempotencyKeys(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	for length, want := range map[int]int{0: 200, 255: 200, 256: 400} {
		if a := s.post("visits", ask(""), "Idempotency-Key", strings.Repeat("k", length)); a.StatusCode != want {
			t.Errorf("%d bytes: %s %s", length, a.Status, a.body)
		}
	}
}
