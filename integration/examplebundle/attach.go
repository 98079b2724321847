package examplebundle

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/program"
)

// patience is how long a run that somebody debugs, and the debugger, may take.
const patience = 3 * time.Minute

// Debugged is a process of a plugin that a run waits for.
type Debugged struct {
	// Command starts it, Debugger does it under a debugger, as the run prints them. Stage is the file with its code.
	Command, Debugger, Stage string
}

// Attach runs a pipeline that waits for the process of its first filter, whose code is in a file of the bundle. Start
// has to start it, and to come back when it has ended; then the run has to have made what it makes without.
func Attach(t *testing.T, dir, file string, start func(ctx context.Context, d Debugged)) {
	at := installed(t, dir)
	files, err := filepath.Glob(at("plugins/cipherstream-plugin-clinic-*/" + file))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	path, err := program.Path()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	run := exec.CommandContext(ctx, path, "run", at("pipeline.yaml"), "--plugins", at("plugins"),
		"--attach", "filter-1", "--json")
	said, err := run.StderrPipe()
	if err == nil {
		err = run.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	waits := false
	for lines := bufio.NewScanner(said); lines.Scan(); {
		log.WriteString(lines.Text() + "\n")
		var event struct{ Event, Command, Debugger string }
		if json.Unmarshal(lines.Bytes(), &event) == nil && event.Event == "awaiting" && !waits {
			waits = true
			start(ctx, Debugged{event.Command, event.Debugger, files[0]})
		}
	}
	if err := run.Wait(); err != nil || !waits {
		t.Fatalf("%v\n%s", err, log.String())
	}
	holds(t, at, "attached")
}

// AttachTooLate holds that who starts the process of a bundle when no run waits for it is told.
func AttachTooLate(t *testing.T, dir string) {
	command := exec.CommandContext(t.Context(), filepath.Join(dir, "plugin"))
	command.Env = append(os.Environ(), "CIPHERSTREAM_ATTACH="+t.TempDir()+"/gone/a")
	out, err := command.CombinedOutput()
	if command.ProcessState.ExitCode() != 1 ||
		!strings.Contains(string(out), "clinic: cannot attach: no run waits there any more\n") {
		t.Errorf("%v\n%s", err, out)
	}
}
