package pipeline

import (
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/pipelines"
	"github.com/cipherstream/cipherstream/plugins/bundle"
)

// preparedPipeline prepares a pipeline of the catalogue as a service does, and says what a request gives it.
func preparedPipeline(t testing.TB, name string) (*engine.Prepared, engine.Inputs) {
	t.Helper()
	e, err := engine.New(t.Context(), engine.Config{FirstParty: bundle.Bundle("0.0.0"), Catalogue: pipelines.FS(), NoFiles: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	prepared, diags := e.Prepare(name)
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	in := engine.Inputs{Secrets: standIns, Customer: engine.Customer{ID: "c1"}, End: engine.EndOutput,
		Parameters:  map[string]any{"output_format": "csv", "compression": "gzip", "encrypted": true},
		Destination: engine.Destination{Object: &engine.ObjectDestination{Bucket: "file:///b"}}}
	for _, p := range prepared.Document().Parameters {
		switch {
		case p.Name == "from_date":
			in.Parameters[p.Name] = "2024-01-01"
		case p.Required:
			in.Parameters[p.Name] = "2024-01-31"
		case p.Name == "table_name":
			in.Parameters[p.Name], in.Parameters["date_modifier"] = "patient", "Created"
		}
	}
	return prepared, in
}

// TestBindAllocations bounds what a request of a service costs before anything runs, of every pipeline, sealed and compressed.
func TestBindAllocations(t *testing.T) {
	e, err := session.Loader()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, name := range e.Names() {
		prepared, in := preparedPipeline(t, name)
		allocations := testing.AllocsPerRun(10, func() {
			if plan, diags := prepared.Bind(in); plan == nil {
				t.Fatal(diags.Err())
			}
		})
		if allocations >= 1500 {
			t.Errorf("%s: %v allocations", name, allocations)
		}
	}
}

func BenchmarkBind(b *testing.B) {
	prepared, in := preparedPipeline(b, "appointments")
	b.ReportAllocs()
	for b.Loop() {
		if plan, diags := prepared.Bind(in); plan == nil {
			b.Fatal(diags.Err())
		}
	}
}

// BenchmarkPrepare is what is done once.
func BenchmarkPrepare(b *testing.B) {
	e, err := session.Loader()
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	b.ReportAllocs()
	for b.Loop() {
		if prepared, diags := e.Prepare("appointments"); prepared == nil {
			b.Fatal(diags.Err())
		}
	}
}
