package scaffold

import (
	"regexp"
	"strings"
	"testing"
)

// FuzzModules: whatever a checkout's go.mod says, each line of ours has one path and one version.
func FuzzModules(f *testing.F) {
	for _, seed := range []string{
		"", "go 1.26\n", "module x\n\nrequire example.org/x v1.0.0 // indirect\n", "require (\n\texample.org/x v1\n)\n",
		"require example.org/x v1 v2\n", "replace a/b => v1/c\n", "require\x00a/b v1\n", "require \"a/b\" v1\n", knownModules,
	} {
		f.Add(seed)
	}
	word := regexp.MustCompile(`^\S+$`)
	f.Fuzz(func(t *testing.T, text string) {
		goVersion, versions := parseModules(text)
		if goVersion != "" && !word.MatchString(goVersion) {
			t.Errorf("the version of Go is %q", goVersion)
		}
		for path, version := range versions {
			if !word.MatchString(path) || !word.MatchString(version) || !strings.HasPrefix(version, "v") {
				t.Errorf("%q %q", path, version)
			}
		}
	})
}
