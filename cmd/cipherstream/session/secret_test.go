package session

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return "file:" + path
	}
	script := func(name, content string) string {
		file(name, "#!/bin/sh\n"+content)
		if err := os.Chmod(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		return "command:" + filepath.Join(dir, name)
	}
	t.Setenv("A_SECRET", "geheim")
	t.Setenv("EMPTY_SECRET", "")
	t.Setenv("BINARY_SECRET", "geheim\xff")
	long := strings.Repeat("geheim", maxSecret/6+1)
	key := base64.StdEncoding.EncodeToString([]byte("geheim, geheim, geheim, geheim, "))
	for _, c := range []struct{ name, reference, want, problem string }{
		{"variable", "env:A_SECRET", "geheim", ""},
		{"file", file("a", "geheim"), "geheim", ""},
		{"one line end goes", file("b", "geheim\n\n"), "geheim\n", ""},
		{"also of Windows", file("c", "geheim\r\n"), "geheim", ""},
		{"spaces stay", file("d", " geheim \n"), " geheim ", ""},
		{"longest", file("e", long[:maxSecret-1]+"\n"), long[:maxSecret-1], ""},
		{"command", "command:printf  gehe%s im", "geheim", ""},
		{"command without a shell", "command:printf %s $A_SECRET;x", "$A_SECRET;x", ""},
		{"command's input is empty", script("cat", "cat; echo geheim"), "geheim", ""},
		{"command's messages are not its output", script("both", "echo geheim; echo x >&2"), "geheim", ""},

		{"the secret itself", "geheim", "", "begins with env:, file: or command:"},
		{"another scheme", "geheim:geheim", "", "begins with env:, file: or command:"},
		{"nothing", "", "", "begins with"},
		{"key", key, "", "a key was given"},
		{"key without padding", strings.TrimRight(key, "="), "", "a key was given"},
		{"key after a scheme", "env:" + key, "", "a key was given"},
		{"key for a path", "file:" + key, "", "a key was given"},
		{"no variable", "env:NO_SUCH_SECRET", "", "variable NO_SUCH_SECRET is not set"},
		{"no name", "env:", "", "no name of an environment variable"},
		{"bad name", "env:geheim!", "", "no name of an environment variable"},
		{"empty variable", "env:EMPTY_SECRET", "", "EMPTY_SECRET is empty"},
		{"binary variable", "env:BINARY_SECRET", "", "is not UTF-8 text"},
		{"no file", "file:" + dir + "/none", "", "no such file"},
		{"a folder", "file:" + dir, "", "cannot be read"},
		{"no path", "file:", "", "no path follows"},
		{"empty file", file("f", "\n"), "", "is empty"},
		{"long file", file("g", long), "", "longer than a secret may be"},
		{"no program", "command:", "", "no program follows"},
		{"unknown program", "command:no-such-program geheim", "", "no-such-program could not be started"},
		{"program that fails", script("fails", "echo geheim; echo geheim >&2; exit 3"), "", "failed: exit status 3"},
		{"program that says nothing", "command:true geheim", "", "the output of true is empty"},
		{"program that says too much", script("long", "while echo geheim; do :; done"), "", "printed more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ReadSecret(t.Context(), c.reference)
			if c.problem == "" {
				if err != nil || got != c.want {
					t.Errorf("%d bytes, %v, want %d", len(got), err, len(c.want))
				}
				return
			}
			f := fault.From(err)
			if got != "" || f == nil || f.Code != codeSecret || f.Class != fault.Usage || !strings.Contains(f.Message, c.problem) {
				t.Fatalf("got %v, want %q", err, c.problem)
			}
			for _, secret := range []string{"geheim", key[:12]} {
				if strings.Contains(f.Message+f.Hint, secret) {
					t.Errorf("the secret is shown: %v %s", f, f.Hint)
				}
			}
		})
	}
}

// TestReadSecretCancelled interrupts a program that waits for ever.
func TestReadSecretCancelled(t *testing.T) {
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	ready, err := filepath.Abs(filepath.Join(t.TempDir(), "ready"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		// Opening waits for the program to open the other end.
		if f, err := os.OpenFile(ready, os.O_WRONLY, 0); err == nil {
			cancel(why)
			f.Close()
			return
		}
		cancel(nil)
	}()
	// It reads what never comes.
	if _, err := ReadSecret(ctx, "command:tail -f "+ready); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}
