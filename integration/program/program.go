// Package program gives tests cipherstream as it is built for users, without cgo and without the race detector, and test
// binaries themselves that are built like it.
//
// It owns that cipherstream is linked once for all test binaries, which takes many seconds of a processor: the first of
// them builds it into dist/test of this checkout, those beside it wait, and for the others `go build` finds it up to date.
// It is never an old one: every test binary asks `go build` once. `make clean` removes it.
package program

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
)

// Path returns the whole path of the program, called cipherstream, in a folder that holds nothing else but the
// sandbox's, where the program finds it.
var Path = sync.OnceValues(func() (string, error) {
	built, err := folder()
	if err != nil {
		return "", err
	}
	path := filepath.Join(built, "bin", "cipherstream")
	return path, compile(built, "build", "-o", filepath.Dir(path)+"/", "./cmd/cipherstream", "./cmd/cipherstream-sandbox")
})

// Self returns this test binary, for tests that start it hundreds of times as what it is besides, such as a plugin. Where the
// race detector is in it, it is another one without: a process starts several times quicker then, and the detector is for
// the process that tests. The package is the one of the working folder, so call it before that changes.
var Self = sync.OnceValues(func() (string, error) {
	if !raced {
		return os.Executable()
	}
	built, err := folder()
	if err != nil {
		return "", err
	}
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	below, err := filepath.Rel(filepath.Dir(filepath.Dir(built)), here)
	if err != nil {
		return "", err
	}
	path := filepath.Join(built, "self", filepath.ToSlash(below), "self.test")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	return path, compile(built, "test", "-c", "-vet=off", "-ldflags=-s -w", "-o", path, "./"+filepath.ToSlash(below))
})

// folder is where all of it is built: dist/test of this checkout.
func folder() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("program: the sources are not known")
	}
	built := filepath.Join(filepath.Dir(file), "../../dist/test")
	return built, os.MkdirAll(filepath.Join(built, "bin"), 0o755)
}

// tags are those of the Makefile.
const tags = "gms_pure_go,grpcnotrace"

// compile runs the go command at the top of this checkout, while no other test binary does.
func compile(built, command string, args ...string) error {
	lock, err := os.OpenFile(filepath.Join(built, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close() // which gives it up
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("program: %s: %w", lock.Name(), err)
	}
	top := filepath.Dir(filepath.Dir(built))
	build := exec.Command("go", append([]string{command, "-tags", tags}, args...)...)
	build.Dir, build.Env = top, append(os.Environ(), "CGO_ENABLED=0", "PWD="+top)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("program: %v: %w: %s", build.Args, err, out)
	}
	return nil
}
