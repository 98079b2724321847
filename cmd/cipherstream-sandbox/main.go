//go:build gms_pure_go

package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/cipherstream/cipherstream/engine/sandbox/embedded"
	"github.com/cipherstream/cipherstream/pipelines"
)

func main() {
	// Whoever started it may be gone, which standard input tells.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	sql, err := fs.Sub(pipelines.FS(), "sql")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(embedded.Program(ctx, sql, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
