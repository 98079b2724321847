// Package python runs Python scripts that read what the program wrote with independent
// implementations: pyarrow, DuckDB and DataFusion (Run), and what Python itself has (Script). It owns the environment that
// the former are in, which integration/scripts/python.sh makes once, and the interpreters that the latter share; what a
// file must hold is said by the tests.
//
// A test whose readers cannot be had is skipped and says so, or fails where everything is required (package required).
package python

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/cipherstream/cipherstream/integration/required"
)

// Interpreter returns the path of the Python that has the packages of the readers.
var Interpreter = sync.OnceValues(func() (string, error) { return environment("requirements.txt") })

// Schemathesis returns the path of a Python that has schemathesis, in an environment of its own.
var Schemathesis = sync.OnceValues(func() (string, error) { return environment("schemathesis.txt") })

// StandardWebhooks returns the path of a Python that has the library of Standard Webhooks, in an environment of its own.
var StandardWebhooks = sync.OnceValues(func() (string, error) { return environment("webhooks.txt") })

// Mail returns the path of a Python that has aiosmtpd, in an environment of its own.
var Mail = sync.OnceValues(func() (string, error) { return environment("mail.txt") })

// Peers returns the path of a Python that has the peers of bench, in an environment of its own.
var Peers = sync.OnceValues(func() (string, error) { return environment("peers.txt") })

// DuckDB returns the path of a Python that has DuckDB with its extension for MySQL, in an environment of its own.
var DuckDB = sync.OnceValues(func() (string, error) { return environment("peers-duckdb.txt") })

// Plugins returns the path of a Python that has what the SDK for plugins in Python needs, in an environment of its own.
var Plugins = sync.OnceValues(func() (string, error) { return environment("plugins.txt") })

// Mypy returns the path of a Python that has mypy, in an environment of its own.
var Mypy = sync.OnceValues(func() (string, error) { return environment("typing.txt") })

// Bundle begins the folder of a plugin's bundle, with the packages of Plugins and the SDK of a folder in it.
func Bundle(dir, sdk string) error {
	interpreter, err := Plugins()
	if err != nil {
		return err
	}
	packages, err := exec.Command(interpreter, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").Output()
	if err != nil {
		return err
	}
	lib := filepath.Join(dir, "lib")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, from := range []string{strings.TrimSpace(string(packages)), filepath.Join(sdk, "cipherstream")} {
		if out, err := exec.Command("cp", "-R", from, lib).CombinedOutput(); err != nil {
			return fmt.Errorf("python: %w: %s", err, out)
		}
	}
	return nil
}

// environment makes the environment with the packages of a file of integration/scripts, if it is not there.
func environment(requirements string) (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("python: the sources are not known")
	}
	script := filepath.Join(filepath.Dir(file), "../scripts/python.sh")
	var stdout, stderr bytes.Buffer
	command := exec.Command("bash", script, requirements)
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("python: %s: %w: %s", script, err, end(stderr.Bytes()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// Run runs a script and returns what it prints. A script that fails ends the test.
func Run(tb testing.TB, script string, args ...string) []byte {
	tb.Helper()
	path, err := Interpreter()
	if err != nil {
		required.Missing(tb, err.Error())
	}
	out, err := Execute(tb.Context(), path, script, args...)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// Execute is Run for those who have an interpreter and are no test.
func Execute(ctx context.Context, interpreter, script string, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, interpreter, append([]string{"-c", script}, args...)...)
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("python: %w\n%s%s", err, end(stdout.Bytes()), end(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

// end is the part of a program's output that says what went wrong.
func end(text []byte) []byte { return text[max(0, len(text)-4000):] }
