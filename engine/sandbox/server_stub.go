//go:build !gms_pure_go

package sandbox

import (
	"context"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Available says whether this build holds the embedded server.
const Available = false

// Server is the embedded server. This build has none.
type Server struct{}

// Start returns a fault with CodeUnavailable.
func Start(context.Context, Config) (*Server, error) {
	return nil, fault.New(CodeUnavailable, fault.Usage, "this program was built without the sandbox").
		WithHint("build with -tags gms_pure_go")
}

// DSN is empty.
func (*Server) DSN() string { return "" }

// Close does nothing.
func (*Server) Close() error { return nil }
