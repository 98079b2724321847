package scaffold

import (
	_ "embed"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/stage"
)

// The modules that a plugin needs, of the versions that this program is built with, as "go mod tidy" lists them. They are
// written by go test -update, and a test holds them against this program's own go.mod and go.sum.
var (
	//go:embed modules/go.mod.txt
	knownModules string
	//go:embed modules/go.sum.txt
	knownSums string
)

const (
	sdkModule   = "github.com/cipherstream/cipherstream"
	arrowModule = "github.com/apache/arrow/go/v15"
)

// requirements are what go.mod says.
type requirements struct {
	GoVersion        string
	Direct, Indirect []string // "path version"
	// Replace is the SDK's folder as go.mod spells it; empty for none.
	Replace string
}

// requirements finds out what the module's go.mod says, and returns its go.sum as well.
func (m Module) requirements(dir string) (requirements, []byte, error) {
	goVersion, modules := parseModules(knownModules)
	sums := knownSums
	r := requirements{GoVersion: goVersion}
	if m.SDK != "" {
		text, err := readCheckout(m.SDK, "go.mod")
		if err != nil {
			return r, nil, err
		}
		var theirs map[string]string
		if r.GoVersion, theirs = parseModules(text); !isSDK(text) {
			return r, nil, notSDK(m.SDK)
		}
		same := true
		for path, version := range modules {
			if v, ok := theirs[path]; ok && v != version {
				modules[path], same = v, false
			}
		}
		if !same {
			// A checkout of another version. What it needs that this program has never heard of is added by go mod tidy.
			theirSums, err := readCheckout(m.SDK, "go.sum")
			if err != nil {
				return r, nil, err
			}
			sums = sumsOf(theirSums, knownSums)
		}
		if r.Replace, err = replacement(m.SDK, dir); err != nil {
			return r, nil, err
		}
	}
	for path, version := range modules {
		line := path + " " + version
		if path == arrowModule && usesArrow[m.Kind] {
			r.Direct = append(r.Direct, line)
		} else {
			r.Indirect = append(r.Indirect, line)
		}
	}
	r.Direct = append(r.Direct, sdkModule+" v"+m.SDKVersion)
	slices.Sort(r.Direct)
	slices.Sort(r.Indirect)
	return r, []byte(sums), nil
}

// usesArrow are the kinds whose code and tests import Arrow themselves.
var usesArrow = map[stage.Kind]bool{stage.KindSource: true, stage.KindFilter: true, stage.KindEncoder: true}

// parseModules reads the version of Go and the requirements of a go.mod as the go command writes it. What it does not know,
// it leaves out.
func parseModules(text string) (goVersion string, versions map[string]string) {
	versions = map[string]string{}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "//")
		fields := strings.Fields(strings.TrimPrefix(line, "require "))
		switch {
		case len(fields) != 2:
		case fields[0] == "go":
			goVersion = fields[1]
		case strings.HasPrefix(fields[1], "v") && strings.Contains(fields[0], "/"):
			versions[fields[0]] = fields[1]
		}
	}
	return goVersion, versions
}

// sumsOf are the lines of a go.sum that are about the modules of another.
func sumsOf(text, other string) string {
	wanted := map[string]bool{}
	for line := range strings.Lines(other) {
		path, _, _ := strings.Cut(line, " ")
		wanted[path] = true
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		if path, _, _ := strings.Cut(line, " "); wanted[path] {
			b.WriteString(line)
		}
	}
	return b.String()
}

// maxModFile bounds what is read of a checkout.
const maxModFile = 4 << 20

func readCheckout(dir, name string) (string, error) {
	file, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return "", usage(codeSDK, "%s is no checkout of the SDK: %w", dir, errors.Unwrap(err)).WithHint("give the folder that has the SDK's go.mod in it")
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxModFile+1))
	if err != nil {
		return "", usage(codeSDK, "the checkout of the SDK cannot be read: %w", err)
	}
	if len(text) > maxModFile {
		return "", usage(codeSDK, "%s is larger than 4 MiB", filepath.Join(dir, name))
	}
	return string(text), nil
}

// isSDK reports whether a go.mod is that of the SDK.
func isSDK(text string) bool {
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "module "+sdkModule {
			return true
		}
	}
	return false
}

func notSDK(dir string) error {
	return usage(codeSDK, "%s is no checkout of the SDK: its go.mod is another module's", dir).WithHint("give the folder of the module %s", sdkModule)
}

// IsCheckout reports whether dir is a checkout of the SDK.
func IsCheckout(dir string) bool {
	text, err := readCheckout(dir, "go.mod")
	return err == nil && isSDK(text)
}

// replacement spells the SDK's folder as the go.mod in dir needs it.
func replacement(sdk, dir string) (string, error) {
	path := filepath.Clean(sdk)
	if !filepath.IsAbs(path) {
		// Behind symbolic links, ".." is not what the path says.
		from, err := resolved(dir)
		if err != nil {
			return "", usage(codeFolder, "the folder cannot be found: %w", err)
		}
		to, err := resolved(path)
		if err != nil {
			return "", usage(codeSDK, "the checkout of the SDK cannot be found: %w", err)
		}
		if path, err = filepath.Rel(from, to); err != nil {
			return "", usage(codeSDK, "%s cannot be written into go.mod: %w", sdk, err)
		}
		if !strings.HasPrefix(path, ".") {
			path = "./" + path
		}
	}
	// A path with such characters stands in quotes there (go.dev/ref/mod, section "Lexical elements").
	if strings.ContainsAny(path, " \t\r\n\"'`,()[]{}") || strings.Contains(path, "//") {
		path = strconv.Quote(path)
	}
	return path, nil
}

// resolved is the whole path of a folder that may not be there yet, without symbolic links.
func resolved(dir string) (string, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real, nil
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(path))
	return filepath.Join(parent, filepath.Base(path)), err
}
