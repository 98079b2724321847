package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/cipherstream/cipherstream/engine/sandbox"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

const (
	modulePath  = "github.com/cipherstream/cipherstream"
	packagePath = modulePath + "/cmd/cipherstream"
	sandboxTag  = "gms_pure_go"
)

// handOver replaces this process, which was built without the sandbox, by one
// that has it, so that `go run ./cmd/cipherstream run … --sandbox` needs no build
// tag. That works where the program is being developed: built from its source,
// with the source in the current folder and the Go toolchain at hand. It returns
// only when it fails.
func (a *app) handOver(ctx context.Context) error {
	unavailable := fault.New(sandbox.CodeUnavailable, fault.Usage, "this program was built without the sandbox").
		WithHint("build it with: go build -tags %s %s", sandboxTag, packagePath)
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Path != modulePath || info.Main.Sum != "" {
		return unavailable
	}
	tool, err := exec.LookPath("go")
	if err != nil {
		return unavailable
	}
	list := exec.CommandContext(ctx, tool, "list", "-m")
	modules, err := list.Output()
	if err != nil || !slices.Contains(strings.Fields(string(modules)), modulePath) {
		return unavailable
	}
	args := append([]string{"go", "run", "-tags", sandboxTag, packagePath}, a.args...)
	if !a.json {
		fmt.Fprintf(a.err, "note: this build has no sandbox; building one that has: go run -tags %s %s\n", sandboxTag, packagePath)
	}
	err = syscall.Exec(tool, args, os.Environ())
	return fault.New(sandbox.CodeUnavailable, fault.Internal, "%s could not be started: %w", tool, err)
}
