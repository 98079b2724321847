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

// notary authenticates the receipt of a run whose output is sealed. The host does this, and not the encryptor: only the
// host knows what was delivered, and that the run has succeeded.
type notary struct {
	ring       *envelope.Ring
	parameters string
}

// sealingSettings are those of the first-party encryptors that hold the keys.
const (
	settingKeys   = "keys"
	settingActive = "active"
	// settingDigest is that of the first-party sink that can leave the digest out, with digestNone.
	settingDigest = "digest"
	digestNone    = "none"

	// CodeNoDigest is the code of a run that would seal its output and make no digest of it.
	CodeNoDigest = "run.no_digest"
)

// newNotary reads the keys of the plan's first-party encryptor. It returns nil when nothing is sealed, or a third-party
// plugin does it, whose keys the host does not know. It fails when the keys are wrong, before anything is started.
func newNotary(p *plan.Plan) (*notary, error) {
	for i := range p.Stages {
		s := &p.Stages[i]
		keys, ok := s.Config[settingKeys].(config.Secret)
		if s.Kind != stage.KindEncryptor || !s.FirstParty || !ok {
			continue
		}
		if sink := p.Stages[len(p.Stages)-1]; sink.FirstParty && sink.Config[settingDigest] == digestNone {
			return nil, fault.InStage(fault.New(CodeNoDigest, fault.Usage,
				"the output is sealed, and without a digest its receipt would prove nothing").
				WithHint("leave out digest: none, or do not seal the output"), sink.ID)
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

// authenticate adds the statement and the MAC to the receipt. The output is visible by now, so it does not fail: if
// what the sink reports cannot be authenticated, the receipt has neither, and decrypt refuses it.
func (r *run) authenticate(receipt *Receipt) {
	if r.notary == nil {
		return
	}
	statement, mac, err := r.notary.ring.Authenticate(envelope.Statement{
		RunID: receipt.RunID, Procedure: receipt.Pipeline, Parameters: r.notary.parameters,
		Rows: receipt.Rows, Bytes: receipt.Bytes, SHA256: receipt.SHA256,
		// The precision of the statement. It is cut and not rounded, so that the time is never later than the real one.
		Time: receipt.StartedAt.Truncate(time.Millisecond),
	})
	if err != nil {
		r.emit(Log{Level: int(slog.LevelWarn), Message: "the receipt is not authenticated: " + fault.From(err).Message})
		return
	}
	receipt.Statement, receipt.MAC = statement, mac
}
