package e2e

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// TestSecretsOfProcesses looks at a run's processes from outside while rows flow:
// neither arguments nor environment nor files hold the password, and nothing that
// whoever started the program left open reaches a plugin.
func TestSecretsOfProcesses(t *testing.T) {
	t.Parallel()
	db := dbtest.MariaDB(t)
	dsn := db.DSN(db.Database())
	leaked := filepath.Join(t.TempDir(), "open-in-the-shell")
	open, err := os.Create(leaked)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	file := filepath.Join(t.TempDir(), "dsn")
	if err := os.WriteFile(file, []byte(dsn+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, isolation := range []string{"group", "stage"} {
		for _, from := range []string{"environment", "file"} {
			t.Run(isolation+"/"+from, func(t *testing.T) {
				w := newWorkspace(t, dsn)
				args := []string{"run", w.endless(), "--isolation", isolation}
				if from == "file" {
					w.dsn = ""
					args = append(args, "--dsn-file", file)
				}
				cmd := w.command(args...)
				cmd.ExtraFiles = []*os.File{open, open, open}
				// Nobody reads on, so the run stands still after the first row.
				stdout, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				defer func() { // where the test ends early
					_ = cmd.Process.Kill()
					_ = cmd.Wait()
				}()
				if _, err := stdout.Read(make([]byte, 1)); err != nil {
					t.Fatalf("%v: %s", err, &stderr)
				}
				plugins := 0
				for _, pid := range w.processes() {
					looked := []string{"cmdline"}
					if pid != cmd.Process.Pid {
						plugins++
						looked = append(looked, "environ")
						for _, fd := range names(t, "/proc/"+strconv.Itoa(pid)+"/fd") {
							if target, _ := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "fd", fd)); target == leaked {
								t.Errorf("a plugin process has inherited descriptor %s, which was open in the shell", fd)
							}
						}
					} else if from == "file" {
						looked = append(looked, "environ")
					}
					for _, what := range looked {
						text := string(readFile(t, filepath.Join("/proc", strconv.Itoa(pid), what)))
						for _, spelled := range spellings(db.Password()) {
							if strings.Contains(text, spelled) {
								t.Errorf("the password is in %s of process %d", what, pid)
							}
						}
					}
				}
				// Standard output is a sink of the program's own.
				if want := map[string]int{"group": 1, "stage": 2}[isolation]; plugins != want {
					t.Errorf("%d plugin processes, want %d", plugins, want)
				}
				files := 0
				err = filepath.WalkDir(w.tmp, func(path string, d fs.DirEntry, err error) error {
					if err != nil || d.IsDir() {
						return err
					}
					files++
					if d.Type().IsRegular() {
						for _, spelled := range spellings(db.Password()) {
							if bytes.Contains(readFile(t, path), []byte(spelled)) {
								t.Errorf("the password is in %s", path)
							}
						}
					}
					return nil
				})
				if err != nil || files == 0 {
					t.Errorf("%d files in private directories, %v", files, err)
				}
				if err := cmd.Process.Signal(os.Interrupt); err != nil {
					t.Fatal(err)
				}
				if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
					t.Errorf("interrupted, it ended with %v", err)
				}
				noSecret(t, result{stderr: stderr.String()}, db.Password())
			})
		}
	}
}
