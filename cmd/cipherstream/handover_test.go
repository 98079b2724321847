package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHandOver puts a stand-in for the Go toolchain on the path.
func TestHandOver(t *testing.T) {
	tool := func(t *testing.T, module string) string {
		dir := t.TempDir()
		script := "#!/bin/sh\nif [ \"$1\" = list ]; then echo " + module + "; exit; fi\nfor a in \"$@\"; do echo \"<$a>\"; done\nexit 7\n"
		if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	args := []string{"run", "a b", "-p", "x=", "--sandbox"}
	for _, c := range []struct {
		name, path string
		code       int
		stdout     string
		stderr     string
	}{
		{"in the module", tool(t, modulePath), 7,
			"<run>\n<-tags>\n<gms_pure_go>\n<" + packagePath + ">\n<run>\n<a b>\n<-p>\n<x=>\n<--sandbox>\n", "note: this build has no sandbox; "},
		{"in another module", tool(t, "example.com/other"), exitUsage, "", "error[sandbox.unavailable]: "},
		{"without the toolchain", t.TempDir(), exitUsage, "", "go build -tags gms_pure_go " + packagePath},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, []string{envAs + "=handover", "PATH=" + c.path + ":/usr/bin:/bin"}, args...)
			var out bytes.Buffer
			p.Stdout = &out
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			if code := p.wait(t); code != c.code || out.String() != c.stdout || !strings.Contains(p.errs.String(), c.stderr) {
				t.Errorf("exit code %d\n%s%s", code, out.String(), p.errs.String())
			}
		})
	}
}
