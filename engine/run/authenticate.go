package run

import (
	"log/slog"
	"time"

	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/envelope"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// notary authenticates the receipt of a run whose output is sealed. It stands in the host because only here it is known
// what was delivered, and that the run has succeeded; the encryptor's process knows neither.
type notary struct {
	ring       *envelope.Ring
	parameters string
}

// sealingSettings are those of the first-party encryptors that hold the keys.
const (
	settingKeys   = "keys"
	settingActive = "active"
)

// newNotary finds the keys with which a plan's own encryptor seals. It is nil when nothing is sealed, or by a plugin of
// others, whose keys are its own matter. An error is one of the keys, found before anything is started.
func newNotary(p *plan.Plan) (*notary, error) {
	for i := range p.Stages {
		s := &p.Stages[i]
		keys, ok := s.Config[settingKeys].(config.Secret)
		if s.Kind != stage.KindEncryptor || !s.FirstParty || !ok {
			continue
		}
		active, _ := s.Config[settingActive].(string)
		ring, err := envelope.ParseRing(keys.Reveal(), active)
		if err != nil {
			return nil, fault.InStage(err, s.ID)
		}
		values := map[string]any{}
		for _, v := range p.Parameters {
			values[v.Name] = v.Value
		}
		digest, err := envelope.Digest(values)
		if err != nil {
			return nil, fault.New("run.parameters", fault.Internal, "the parameters have no digest: %w", err)
		}
		return &notary{ring: ring, parameters: digest}, nil
	}
	return nil, nil
}

// authenticate completes the receipt. The output is there by now: where a sink's account is not one that can be
// authenticated, the receipt stays without, and decrypt will not take it.
func (r *run) authenticate(receipt *Receipt) {
	if r.notary == nil {
		return
	}
	statement, mac, err := r.notary.ring.Authenticate(envelope.Statement{
		RunID: receipt.RunID, Procedure: receipt.Pipeline, Parameters: r.notary.parameters,
		Rows: receipt.Rows, Bytes: receipt.Bytes, SHA256: receipt.SHA256,
		// As the statement has it, and never later than it was.
		Time: receipt.StartedAt.Truncate(time.Millisecond),
	})
	if err != nil {
		r.emit(Log{Level: int(slog.LevelWarn), Message: "the receipt is not authenticated: " + fault.From(err).Message})
		return
	}
	receipt.Statement, receipt.MAC = statement, mac
}
