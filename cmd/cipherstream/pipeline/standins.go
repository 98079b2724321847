package pipeline

import (
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/engine"
)

// standIns answers for the secrets of a plan that is only looked at: for all of them,
// given or not.
func standIns(name string) (string, bool) {
	if name == "dsn" {
		return noDSN, true
	}
	if session.KnownSecrets[name].Optional {
		return "", true
	}
	return "a secret that is not looked at here", true
}

// withDSN answers for secret.dsn, and leaves the others to next.
func withDSN(dsn string, ok bool, next engine.Lookup) engine.Lookup {
	return func(name string) (string, bool) {
		if name == "dsn" {
			return dsn, ok
		}
		return next(name)
	}
}

// Stand-ins in a plan that is only looked at.
const (
	noDSN = "mysql://nobody@localhost/nothing"
	noID  = "the-id-of-the-run"
)
