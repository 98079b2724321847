// Package admin is the work of an operator over HTTP: the handler that a running service answers on admin.sock in its data
// directory, and to keys of operators on its public address, and the client of both that the commands use.
package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// Manage is what an operator can do. It is a *customer.Manager, or a *Client.
type Manage interface {
	Keys
	Customers
	SealingKeys
}

// Keys are what an operator does with bearer keys.
type Keys interface {
	CreateKey(ctx context.Context, want customer.NewKey) (customer.IssuedKey, error)
	ListKeys(ctx context.Context, customer string) ([]customer.KeyInfo, error)
	RevokeKey(ctx context.Context, id string) (customer.KeyInfo, error)
	RotateKey(ctx context.Context, id string, grace time.Duration) (customer.IssuedKey, error)
}

// Customers are what an operator does with customers.
type Customers interface {
	ListCustomers(ctx context.Context) ([]customer.Info, error)
	Enable(ctx context.Context, id string) (customer.Info, error)
	Disable(ctx context.Context, id string) (customer.Info, error)
}

// SealingKeys are what an operator does with the keys that deliveries are sealed with.
type SealingKeys interface {
	ListSealingKeys(ctx context.Context, customer string) ([]customer.SealingKeyInfo, error)
	NewSealingKey(ctx context.Context, customer string) (customer.IssuedSealingKey, error)
	ActivateSealingKey(ctx context.Context, customer, id string) (customer.SealingKeyInfo, error)
	RetireSealingKey(ctx context.Context, customer, id string) (customer.SealingKeyInfo, error)
}

// Prefix is where the operations stand, on the socket and on the public address.
const Prefix = "/v1/admin/"

// Config is what a handler needs.
type Config struct {
	// Manage says whose work a request is, and may refuse it.
	Manage func(r *http.Request) (Manage, error)
	// Fail answers an error; nil answers with the fault itself, as on the socket.
	Fail func(w http.ResponseWriter, r *http.Request, err error)
}

// NewHandler returns the handler of the operations under Prefix.
func NewHandler(cfg Config) http.Handler { panic("not built yet") }

// Server answers on the socket of a data directory.
type Server struct{}

// Listen begins to answer on admin.sock in the data directory, which the caller has locked. Manage gets the user's name.
func Listen(dir string, registry *customer.Registry) (*Server, error) { panic("not built yet") }

// Close ends it, when the requests that run are answered, and removes the socket. It may be called twice.
func (s *Server) Close() error { panic("not built yet") }

// Client is the work of an operator on a service that runs.
type Client struct{}

// Dial returns a client of the service that runs with a data directory; its error has CodeNotRunning when none does.
func Dial(ctx context.Context, dir string) (*Client, error) { panic("not built yet") }

// Connect returns a client of a service elsewhere, with a key of an operator.
func Connect(server string, key config.Secret, over *http.Client) (*Client, error) {
	panic("not built yet")
}

// CodeNotRunning is the code of Dial when no service runs with the data directory.
const CodeNotRunning = "admin.not_running"

// Pick returns a client of the service that runs with a data directory, or, where none does, what direct opens: the record
// itself. Done is to be called at the end.
func Pick(ctx context.Context, dir string, direct func() (m Manage, done func() error, err error)) (m Manage, done func() error, err error) {
	panic("not built yet")
}
