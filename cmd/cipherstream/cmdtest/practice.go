package cmdtest

import (
	"context"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/engine/sandbox"
	"github.com/cipherstream/cipherstream/engine/sandbox/embedded"
	"github.com/cipherstream/cipherstream/pipelines"
)

// All that the tests of commands have of the embedded server is in this file.

// sandboxName is the name of the file by which this test binary is the sandbox's program.
const sandboxName = "cipherstream-sandbox"

// The size of SmallPractice.
const (
	Patients     = 20
	Appointments = 300
)

// SmallPractice is Practice with data that most tests have enough of.
func SmallPractice(t *testing.T) string {
	return Practice(t, sandbox.Options{Patients: Patients, Appointments: Appointments})
}

// Practice serves a small practice for a test and returns its URL.
func Practice(t *testing.T, options sandbox.Options) string {
	t.Helper()
	sql, err := fs.Sub(pipelines.FS(), "sql")
	if err != nil {
		t.Fatal(err)
	}
	server, err := embedded.Start(t.Context(), embedded.Config{SQL: sql, Options: options})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server.DSN()
}

// beSandbox makes this test binary the sandbox's program as well, by another name of its file.
func beSandbox() (dir string) {
	executable, err := os.Executable()
	if err == nil {
		dir, err = os.MkdirTemp("", "programs")
	}
	path := filepath.Join(dir, sandboxName)
	if err == nil {
		err = os.Symlink(executable, path)
	}
	if err == nil {
		err = os.Setenv(session.EnvSandbox, path)
	}
	if err != nil {
		panic(err)
	}
	return dir
}

// isSandbox reports whether this process was started as the sandbox's program.
func isSandbox() bool { return filepath.Base(os.Args[0]) == sandboxName }

// serveSandbox is cmd/cipherstream-sandbox.
func serveSandbox() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	sql, err := fs.Sub(pipelines.FS(), "sql")
	if err != nil {
		panic(err)
	}
	return embedded.Program(ctx, sql, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}
