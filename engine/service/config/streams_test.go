package config

import (
	"os"
	"path/filepath"
	"testing"
)

// TestStreamPipelines: what names a pipeline is a name, or a path that is relative to the document.
func TestStreamPipelines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	beside := filepath.Join(dir, "streams.yaml")
	for written, want := range map[string]string{"": "", "practice": "practice", "streams.yaml": beside, "./streams.yaml": beside, beside: beside} {
		document := filepath.Join(t.TempDir(), "service.yaml")
		if written != beside {
			document = filepath.Join(dir, "service.yaml")
		}
		for file, text := range map[string]string{beside: "{}", document: `apiVersion: cipherstream/v1
kind: Service
metadata: {name: streams}
spec: {customers: [{id: demo, dsn: "env:DEMO_DSN", data_stream: {pipeline: "` + written + `"}}]}`} {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, said := load(t, document, Options{Secret: secret})
		if s == nil || s.Customers[0].DataStream.Pipeline != want {
			t.Errorf("%q: %+v, %s", written, s, said)
		}
	}
}
