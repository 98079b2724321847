// Package aesgcm is the two encryptor stages: aes-256-gcm-rows, which seals each record
// of an NDJSON stream, and aes-256-gcm, which seals any byte stream in chunks of 1 MiB.
// It owns what becomes a unit, in which order and under which index, and counts what a
// key has sealed; what a sealed unit looks like is package envelope's. It never opens
// anything, and never compresses.
package aesgcm

import (
	"sync/atomic"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/envelope"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Settings are the settings of both stages.
type Settings struct {
	Keys     config.Secret `config:"keys,required" kind:"keys" doc:"Keys of 32 bytes in standard base64, one a line or with commas between them; what follows a # is left out. The first is the active one, which seals."`
	Active   string        `config:"active" max:"16" doc:"Id of the key that seals, where it is not the first: the first 16 hexadecimal digits of its SHA-256."`
	Customer string        `config:"customer,required" min:"1" max:"128" doc:"Id of the customer that the data is for. It is part of what is authenticated, so that the data opens for this customer only."`
}

const typeNDJSON = "application/x-ndjson"

// seals seals units and counts them.
type seals struct {
	sealer *envelope.Sealer
	count  func(name string, n int64)
	// counters are the names that every unit is counted under.
	counters []string
	total    atomic.Int64
}

func newSeals(s Settings, env sdk.Env, counters ...string) (*seals, error) {
	ring, err := envelope.ParseRing(s.Keys.Reveal(), s.Active)
	if err != nil {
		return nil, err
	}
	sealer, err := ring.Sealer(s.Customer)
	if err != nil {
		return nil, err
	}
	count := env.Count
	if count == nil {
		count = func(string, int64) {}
	}
	return &seals{sealer: sealer, count: count, counters: append(counters, "seals_"+sealer.KeyID())}, nil
}

// begin makes the counters appear in the receipt of a stream without units too.
func (s *seals) begin() {
	for _, name := range s.counters {
		s.count(name, 0)
	}
}

// take counts n units that are about to be sealed.
func (s *seals) take(n int64) error {
	if total := s.total.Add(n); total > envelope.MaxSeals {
		return fault.New("aesgcm.key_spent", fault.Data, "the key %s would seal more than %d units in this run",
			s.sealer.KeyID(), int64(envelope.MaxSeals)).
			WithHint("extract a part of the data at a time, each with a key of its own")
	}
	for _, name := range s.counters {
		s.count(name, n)
	}
	return nil
}

// refuseSealed returns a fault when the stream is sealed already.
func refuseSealed(in sdk.Media) error {
	if !in.Sealed {
		return nil
	}
	return fault.New("aesgcm.sealed_input", fault.Usage, "the stream is sealed already").
		WithHint("keep one encryptor in the pipeline")
}
