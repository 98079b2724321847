package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// harness lets a program use package dbtest, which is made for tests: it has the
// methods of testing.TB that dbtest calls. A failure is a panic with a
// harnessFailure, which end turns into an error.
type harness struct {
	testing.TB // nil: nothing else is called
	cleanups   []func()
}

type harnessFailure string

func (h *harness) Helper()             {}
func (h *harness) Logf(string, ...any) {}
func (h *harness) Cleanup(f func())    { h.cleanups = append(h.cleanups, f) }
func (h *harness) Fatal(args ...any)   { panic(harnessFailure(fmt.Sprint(args...))) }
func (h *harness) Skip(args ...any)    { panic(harnessFailure(fmt.Sprint(args...))) }
func (h *harness) Fatalf(format string, args ...any) {
	panic(harnessFailure(fmt.Sprintf(format, args...)))
}

// end is deferred: it stops what dbtest started, and reports its failure.
func (h *harness) end(err *error) {
	failed := func(failure any) {
		text, ok := failure.(harnessFailure)
		if !ok && failure != nil {
			panic(failure)
		}
		if ok && *err == nil {
			*err = fmt.Errorf("%s", text)
		}
	}
	failed(recover())
	for len(h.cleanups) > 0 {
		last := h.cleanups[len(h.cleanups)-1]
		h.cleanups = h.cleanups[:len(h.cleanups)-1]
		func() {
			defer func() { failed(recover()) }()
			last()
		}()
	}
}

// bench is one invocation.
type bench struct {
	options
	dir     string // for outputs; removed at the end
	program string
	plugins string // the folder of the third-party plugin

	server        *dbtest.Server
	serverVersion string
	serverPID     int
	columns       int

	outputs map[string]output // the first output of each product
	others  []written         // Parquet files of the same rows
	key     string            // for sealed outputs
	use     embeddedUse
	gate    gated

	measured figures // for -json
}

// start starts the server, with memory for the whole table where the machine has
// it, so that no subject waits for a disk.
func (b *bench) start(ctx context.Context, h *harness) error {
	pool := max(256<<20, b.rows*400)
	if total := totalMemory(); total > 0 {
		pool = min(pool, total/3)
	}
	b.server = dbtest.Private(h, fmt.Sprintf("--innodb-buffer-pool-size=%dM", pool>>20), "--innodb-log-file-size=512M")
	facts := strings.Split(strings.TrimSpace(b.server.Query("SELECT VERSION(), @@pid_file")), "\t")
	if len(facts) != 2 {
		return fmt.Errorf("the server answers %q", facts)
	}
	b.serverVersion, _, _ = strings.Cut(facts[0], "-")
	pid, err := os.ReadFile(facts[1])
	if err != nil {
		return err
	}
	b.serverPID, err = strconv.Atoi(strings.TrimSpace(string(pid)))
	return err
}

// environment gives a subject the server's address, out of the list of processes.
func (b *bench) environment() []string {
	return append(os.Environ(), "CIPHERSTREAM_DSN="+b.server.SocketDSN(b.server.Database()))
}

func (b *bench) load(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, b.program, "sandbox", "load", "--progress", "none",
		"--patients", fmt.Sprint(max(1, b.rows/10)), "--appointments", fmt.Sprint(b.rows))
	if !b.options.start { // which reads the lists
		cmd.Args = append(cmd.Args, "--table", "patient", "--table", "appointment", "--table", "appointment_type")
	}
	cmd.Env = b.environment()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("sandbox load: %w\n%s", err, out)
	}
	return nil
}
