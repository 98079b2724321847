// Package program gives tests cipherstream as it is built for users: without cgo, and without the race detector.
//
// It owns that this is linked once for all test binaries, which takes many seconds of a processor: the first of them
// builds it into dist/test of this checkout, those beside it wait, and for the others `go build` finds it up to date.
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
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("program: the sources are not known")
	}
	top := filepath.Join(filepath.Dir(file), "../..")
	built := filepath.Join(top, "dist", "test")
	path := filepath.Join(built, "bin", "cipherstream")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(built, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close() // which gives it up
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("program: %s: %w", lock.Name(), err)
	}
	build := exec.Command("go", "build", "-tags", "gms_pure_go", "-o", filepath.Dir(path)+"/", "./cmd/cipherstream", "./cmd/cipherstream-sandbox")
	build.Dir, build.Env = top, append(os.Environ(), "CGO_ENABLED=0", "PWD="+top)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("program: cipherstream cannot be built: %w: %s", err, out)
	}
	return path, nil
})
