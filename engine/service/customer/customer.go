// Package customer answers who is calling and what they may have: it owns the customers that the configuration
// declares, the bearer keys and sealing keys that the service issues for them, and the switch that takes one out of
// service. It speaks no HTTP and no SQL, and logs nothing; what it refuses it refuses with a code.
package customer

import (
	"net/netip"
	"slices"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// Codes of what is refused. Those of one line have to look alike to the one who is refused.
const (
	CodeKeyMissing      = "customer.key_missing"         // 401: no key was given, or it cannot be read as one
	CodeKeyUnknown      = "customer.key_unknown"         // 401
	CodeKeyRevoked      = "customer.key_revoked"         // 401
	CodeKeyExpired      = "customer.key_expired"         // 401
	CodeUnknown         = "customer.unknown"             // 404: another's customer, or nobody's
	CodeDisabled        = "customer.disabled"            // 403
	CodeScope           = "customer.scope_missing"       // 403
	CodeAddress         = "customer.address_not_allowed" // 403
	CodeInvalid         = "customer.invalid"             // a declaration, or a value of a command, is wrong
	CodeNoSealingKey    = "customer.no_sealing_key"      // encryption is asked for, and there is no key
	CodeSealingSpent    = "customer.sealing_key_spent"   // the key has sealed all that it may
	CodeSealingAlmost   = "customer.sealing_key_almost_spent"
	CodeSealingUnknown  = "customer.sealing_key_unknown"
	CodeSealingUnopened = "customer.sealing_key_unreadable" // it is sealed under another key of the data directory
	CodeTooManyKeys     = "customer.too_many_keys"
	CodeNoKey           = "customer.no_such_key" // a command names a key that there is not
	CodeKeyEnded        = "customer.key_ended"
)

// Scope is something that a key may be used for.
type Scope string

// The scopes.
const (
	Procedures Scope = "procedures"
	Jobs       Scope = "jobs"
	Webhooks   Scope = "webhooks"
	DataStream Scope = "data_stream"
	Admin      Scope = "admin" // of keys of the kind store.Admin, and of no others
)

// CustomerScopes are those that a customer's key may have, and has when nothing else is said.
var CustomerScopes = Scopes{Procedures, Jobs, Webhooks, DataStream}

// Scopes is a set of scopes.
type Scopes []Scope

// Has reports whether a scope is in the set.
func (s Scopes) Has(scope Scope) bool { return slices.Contains(s, scope) }

// texts are the scopes as the record has them.
func (s Scopes) texts() []string {
	texts := make([]string, len(s))
	for i, scope := range s {
		texts[i] = string(scope)
	}
	return texts
}

// scopesOf are the scopes of a key of the record.
func scopesOf(k store.Key) Scopes {
	scopes := make(Scopes, len(k.Scopes))
	for i, text := range k.Scopes {
		scopes[i] = Scope(text)
	}
	return scopes
}

// Customer is one that the configuration declares. It does not change: a reload makes new ones.
type Customer struct {
	// ID is 1 to 64 letters, digits, underscores and dashes.
	ID string
	// Name is for people.
	Name string
	// Demo: the data are made up. A demo key reaches no other customer.
	Demo bool
	// DSN is the connection URL of the practice's database.
	DSN config.Secret
	// Bucket is the name, in the settings, of the bucket that the objects of its jobs go to; empty is none.
	Bucket string
	// SealingKeys are keys that the configuration gives, standard base64 of 32 bytes each. The first seals while the
	// record has no active one.
	SealingKeys []config.Secret
	// Allow is what custom_table may be asked for.
	Allow engine.AllowList
	// Networks are where its keys may be used from; none is anywhere.
	Networks []netip.Prefix
	// Streams is how many may run at once; 0 is the service's default.
	Streams int
	// Attributes are ${customer.NAME} of pipelines.
	Attributes map[string]any
	// Emails are who is written to, of the events MailOf.
	Emails, MailOf []string
}

// MailEvents are the events that mail is sent of.
var MailEvents = []string{"job." + string(store.JobCompleted), "job." + string(store.JobFailed), "job." + string(store.JobCancelled),
	store.EventMaintenance, store.EventRateLimit, store.EventDisabled}

// Principal is who a bearer key says is calling, and from where.
type Principal struct {
	KeyID    string
	Kind     store.KeyKind
	Customer string // empty for an operator
	Scopes   Scopes
	From     netip.Addr
}
