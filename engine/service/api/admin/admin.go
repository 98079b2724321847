// Package admin is the work of an operator over HTTP: the handler that a running service answers on admin.sock in its
// data directory, and to keys of operators on their own listener, and the client of both that the commands use. It
// changes nothing itself: it reads requests strictly, has a Manage do what they say, and writes down what came of it.
package admin

import (
	"context"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/customer"
)

// Codes of what goes wrong between a command and a service.
const (
	// CodeRequest: the request is none that there is, or its body cannot be read.
	CodeRequest = "admin.request"
	// CodeTooLarge: the body is larger than any that has a meaning.
	CodeTooLarge = "admin.too_large"
	// CodePeer: the process at the other end of the socket is another user's.
	CodePeer = "admin.peer"
	// CodeSocket: the socket cannot be made.
	CodeSocket = "admin.socket"
	// CodeNotRunning: no service runs with the data directory.
	CodeNotRunning = "admin.not_running"
	// CodeServer: the address of a service is not one that a key may be sent to.
	CodeServer = "admin.server"
	// CodeConnection: the service cannot be reached, or its answer cannot be read.
	CodeConnection = "admin.connection"
)

// Manage is what an operator can do. It is a *customer.Manager, or a *Client.
type Manage interface {
	Keys
	Customers
	SealingKeys
	Announcements
}

// Announcements are what an operator tells customers.
type Announcements interface {
	// Announce tells every customer of a maintenance.
	Announce(ctx context.Context, want customer.Maintenance) (customer.Announced, error)
	// Deliveries says how it stands with what customers are told.
	Deliveries(ctx context.Context) (customer.Deliveries, error)
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

// Prefix is where the operations stand, on the socket and on the operators' listener.
const Prefix = "/v1/admin/"

// The bodies that are not types of package customer.
type (
	keyList struct {
		Keys []customer.KeyInfo `json:"keys"`
	}
	customerList struct {
		Customers []customer.Info `json:"customers"`
	}
	sealingKeyList struct {
		SealingKeys []customer.SealingKeyInfo `json:"sealing_keys"`
	}
	rotation struct {
		GraceSeconds int64 `json:"grace_seconds,omitempty"`
	}
	nothing struct{}
	// problem is the answer of an error, in the shape of the public API with what a fault has besides.
	problem struct {
		Error problemBody `json:"error"`
	}
	problemBody struct {
		Code       string            `json:"code"`
		Message    string            `json:"message"`
		Suggestion string            `json:"suggestion,omitempty"`
		Details    map[string]string `json:"details,omitempty"`
		Class      string            `json:"class,omitempty"`
		Retryable  bool              `json:"retryable,omitempty"`
	}
)

// mostGrace bounds the grace of a rotation: ten years.
const mostGrace = 10 * 366 * 24 * time.Hour
