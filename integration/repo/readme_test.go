package repo

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// TestReadme checks what the README claims about the tree: its commands, folders
// and links.
func TestReadme(t *testing.T) {
	t.Parallel()
	readme := read(t, "README.md")
	for _, command := range []string{
		"go run ./cmd/cipherstream run appointments --sandbox -p from_date=2024-01-01 -p to_date=2024-12-31 | head",
		"make test",
	} {
		if !strings.Contains(readme, "\n    "+command+"\n") {
			t.Errorf("the README has no line with the command %q", command)
		}
	}
	makefile := read(t, "Makefile")
	for _, m := range regexp.MustCompile("(?:`|    )make ([a-z-]+)").FindAllStringSubmatch(readme, -1) {
		if !regexp.MustCompile(`(?m)^` + m[1] + `:`).MatchString(makefile) {
			t.Errorf("the README has `make %s`, and the Makefile has no such target", m[1])
		}
	}
	files := listFiles(t)
	exists := func(p string) bool {
		for _, f := range files {
			if f == p || strings.HasPrefix(f, p+"/") {
				return true
			}
		}
		return false
	}
	for _, m := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllStringSubmatch(readme, -1) {
		if !strings.Contains(m[1], "://") && !exists(m[1]) {
			t.Errorf("the README links to %s, which is not there", m[1])
		}
	}
	for _, folder := range allowedTop {
		if !exists(folder) || strings.ContainsRune(folder, 0x2e) || folder == "LICENSE" || folder == "Makefile" {
			continue
		}
		if !regexp.MustCompile("(?m)^\\| `" + folder + "[`/]").MatchString(readme) {
			t.Errorf("the README's table of folders has no %s", folder)
		}
	}
}

// TestReadmeExitCodes holds the README's table against the program's own.
func TestReadmeExitCodes(t *testing.T) {
	t.Parallel()
	readme := read(t, "README.md")
	codes := regexp.MustCompile(`(?m)^\tExit[A-Z]\w* += (\d+)$`).FindAllStringSubmatch(read(t, "cmd/cipherstream/terminal/exit.go"), -1)
	if len(codes) == 0 {
		t.Fatal("no exit code was found in cmd/cipherstream/terminal/exit.go")
	}
	for _, m := range codes {
		if !strings.Contains(readme, fmt.Sprintf("\n| %s | ", m[1])) {
			t.Errorf("the README doesn't say what exit code %s means", m[1])
		}
	}
}
