// Package store holds the values of the record: what the service has to remember when it ends. They are the keys that
// customers and operators call with, the keys that deliveries are sealed with, the switch that takes a customer out of
// service, the requests of the last day, the jobs with all that is written when one changes, the webhooks and the
// deliveries of what customers are told, and the audit. It holds values, codes, and the pure functions that say what a
// change of a job or of a delivery comes to: the interfaces stand in the packages that use the record, the record
// itself in store/sqlite and store/mysql, its twin for tests in store/memory, and what all of them have to do in
// store/storetest. No row of a customer's data ever passes through the record, and no secret in the clear: of a bearer
// key it has the SHA-256, of a sealing key, of a webhook's secrets and of its headers a sealed text, and of how far a
// schedule's jobs have come, too.
//
// Every change is whole, and on disk, when its method returns without an error, and its audit row is part of it. A
// method that returns an error has changed nothing, but for CodeFailed and CodeClosed, of which it is not known.
package store

import "time"

// Codes of what goes wrong with the record.
const (
	// CodeUnknown: what is to be read or changed is not there.
	CodeUnknown = "store.unknown"
	// CodeExists: what is to be made is there already.
	CodeExists = "store.exists"
	// CodeTooManyKeys: the customer has as many active keys as it may have.
	CodeTooManyKeys = "store.too_many_keys"
	// CodeKeyEnded: a key that is to be rotated is revoked or has expired.
	CodeKeyEnded = "store.key_ended"
	// CodeLocked: another process has the data directory.
	CodeLocked = "store.locked"
	// CodeDirectory: the data directory cannot be used as one.
	CodeDirectory = "store.directory"
	// CodeURL: the connection URL of the record's server cannot be used.
	CodeURL = "store.url"
	// CodeServer: the record's server cannot be reached, or cannot hold a record: its version, its settings, the account.
	CodeServer = "store.server"
	// CodeNewer: a newer version of the program has written the record.
	CodeNewer = "store.newer_schema"
	// CodeDamaged: the file of the record is not one, or is broken.
	CodeDamaged = "store.damaged"
	// CodeDiskFull: there is no room for the change.
	CodeDiskFull = "store.disk_full"
	// CodeReadOnly: the file system of the record lets nothing be written, or its server takes no changes.
	CodeReadOnly = "store.read_only"
	// CodeAway: the record was removed from where it was, or moved, while it is in use.
	CodeAway = "store.away"
	// CodeFailed: reading or writing failed.
	CodeFailed = "store.failed"
	// CodeClosed: the record was closed.
	CodeClosed = "store.closed"
)

// KeyKind says whom a bearer key is for.
type KeyKind string

// The kinds of bearer keys.
const (
	Live  KeyKind = "live"  // a customer's
	Demo  KeyKind = "demo"  // a demo customer's, and good for nothing else
	Admin KeyKind = "admin" // an operator's; it belongs to no customer
)

// Key is a bearer key, without its text.
type Key struct {
	// ID names the key in lists, logs and the audit. It is no secret, and says nothing about the text.
	ID string
	// Hash is the SHA-256 of the text.
	Hash     [32]byte
	Kind     KeyKind
	Customer string // empty for Admin
	Label    string
	Scopes   []string
	// Times have a resolution of a microsecond and are UTC; the zero time is never.
	CreatedAt, ExpiresAt, LastUsedAt, RevokedAt time.Time
}

// Active reports whether the key opens anything at a time.
func (k Key) Active(at time.Time) bool {
	return k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || at.Before(k.ExpiresAt))
}

// SealingState says what a sealing key is used for.
type SealingState string

// The states of a sealing key.
const (
	SealingNew     SealingState = "new"     // issued; nothing is sealed with it yet
	SealingActive  SealingState = "active"  // seals; at most one of a customer
	SealingRetired SealingState = "retired" // seals no more
)

// SealingKey is a key that the service has issued to seal a customer's deliveries with.
type SealingKey struct {
	Customer string
	// ID is the first 16 hexadecimal digits of the key's SHA-256, as in the lines that it seals.
	ID string
	// Sealed is the key under the data directory's own; see package datakey.
	Sealed                            []byte
	State                             SealingState
	CreatedAt, ActivatedAt, RetiredAt time.Time
}

// Status is where a request stands.
type Status string

// The states of a request.
const (
	Running   Status = "running"
	Completed Status = "completed"
	Failed    Status = "failed"
	Cancelled Status = "cancelled"
)

// ServiceRestarted is the Code of a request that was running when the service's process ended.
const ServiceRestarted = "SERVICE_RESTARTED"

// Request is what is kept of a request for a day, so that whoever got a cut answer can ask why.
type Request struct {
	ID                                string // req_…
	RunID, Customer, KeyID, Procedure string
	Mode, Reason, Format              string
	Status                            Status
	StartedAt, EndedAt                time.Time
	Rows, Bytes                       int64
	SHA256                            string // of the delivered bytes, hexadecimal
	Code, Message                     string // of what failed
	Receipt                           []byte // of a sealed delivery, as it was signed
}

// Audit is one row of the audit, which is never changed, and removed when it is older than the audit is kept. It holds no
// row of data and no key.
type Audit struct {
	At time.Time
	// Who did it: "key:ID", "user:NAME" at the machine itself, or "service".
	Who string
	// What was done, dotted: "key.create", "request.end".
	What      string
	Customer  string
	From      string // the address, or "admin.sock", or "local"
	RequestID string
	RunID     string
	Outcome   string // "ok", or a code
	Details   map[string]string
}
