package changes

import (
	"context"
	"crypto/rand"
	"slices"
	"strconv"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// endTime is how long it is waited for a stream that was disabled to end, here or in another process, which looks every
// half second.
const endTime = 10 * time.Second

// Check says whether a stream could be enabled: its channels have tables, its pipeline binds, and the source's own check finds
// nothing wrong.
func (m *Manager) Check(ctx context.Context, customer string) error {
	s, err := m.cfg.Record.Stream(ctx, customer)
	if err != nil {
		return err
	}
	_, note, position, err := m.state(ctx, customer)
	if err != nil {
		return err
	}
	source, err := m.cfg.Sources.Source(ctx, customer, Order{RunID: engine.NewRunID("check-"+customer, time.Now()), Position: position})
	if err != nil {
		return err
	}
	for _, channel := range s.Channels {
		if !slices.Contains(source.Channels(), channel) {
			return fault.New(CodeChannelEmpty, fault.Usage, "the channel %s has no tables", channel).
				WithHint("name some in the customer's pipeline of the stream, with channel: %s, or leave the channel out of the settings", channel)
		}
	}
	if err := followed(note, position, s.Channels); err != nil {
		return err
	}
	if _, err := m.secret(s); err != nil {
		return err
	}
	return source.Check(ctx)
}

// Enable checks a stream and has it run.
func (m *Manager) Enable(ctx context.Context, customer string, by store.Actor) (View, error) {
	if err := m.Check(ctx, customer); err != nil {
		return View{}, err
	}
	if _, err := m.cfg.Record.SwitchStream(ctx, customer, true, audited("data_stream.enable", customer, by, nil)); err != nil {
		return View{}, err
	}
	m.Wake()
	return m.Get(ctx, customer)
}

// Disable ends a stream. What waits stays. Where another process has the stream, that ends within a second or so.
func (m *Manager) Disable(ctx context.Context, customer string, by store.Actor) (View, error) {
	if _, err := m.cfg.Record.SwitchStream(ctx, customer, false, audited("data_stream.disable", customer, by, nil)); err != nil {
		return View{}, err
	}
	m.Wake()
	if h := m.holding(customer); h != nil {
		h.stop(nil)
		await(ctx, h.over, endTime)
	}
	return m.Get(ctx, customer)
}

// Reset has the documents of a channel whose latest numbers are above one read again, when the stream is enabled; it has to be
// disabled: store.CodeStreamEnabled. With anew, which needs above to be 0, the source's position is forgotten, which all
// channels share, so that all documents of all channels are copied and numbered again. A dry one only counts.
func (m *Manager) Reset(ctx context.Context, customer, channel string, above int64, anew, dry bool, by store.Actor) (result ResetResult, err error) {
	if !slices.Contains(Channels, channel) {
		return result, fault.New(CodeChannelUnknown, fault.Usage, "there is no channel %q", channel).WithHint("the channels are %s and %s", Entities, Logs)
	}
	s, err := m.cfg.Record.Stream(ctx, customer)
	switch {
	case err != nil:
		return result, err
	case s.Enabled:
		return result, store.EnabledStream(customer)
	case anew && above != 0:
		return result, wrongSetting("above", "what is copied anew is copied whole: above has to be 0, and is %d", above)
	}
	log, err := m.cfg.Record.Log(ctx, customer)
	if err != nil {
		return result, err
	}
	defer log.Close()
	channels := []string{channel}
	if anew {
		channels = Channels
	}
	state, err := log.State(ctx)
	if err != nil {
		return result, err
	}
	if last := state.Channels[channel].Sequence; above < 0 || above > last {
		return result, wrongSetting("above", "the channel %s has the numbers 1 to %d, and the reset is to %d", channel, last, above)
	}
	if dry {
		for _, one := range channels {
			n, err := log.Above(ctx, one, above)
			if err != nil {
				return result, err
			}
			result.Documents += n
		}
		return result, nil
	}
	lease, err := m.claimDisabled(ctx, customer)
	if err != nil {
		return result, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
		defer cancel()
		_ = m.cfg.Record.ReleaseStream(ctx, lease) // or it runs out
	}()
	// That it was done is written down first: what follows may be made in part, and is right all the same when it is made again.
	details := map[string]string{"channel": channel, "above": strconv.FormatInt(above, 10), "anew": strconv.FormatBool(anew)}
	if err := m.cfg.Record.AppendAudit(ctx, audited("data_stream.reset", customer, by, details)); err != nil {
		return result, err
	}
	if !anew {
		result.Documents, err = log.Reset(ctx, lease.Fence, channel, above, false)
		return result, err
	}
	return m.anew(ctx, s, log, lease)
}

// anew has everything copied. The position goes last, so that no channel is left without what it has lost by that.
func (m *Manager) anew(ctx context.Context, s store.Stream, log store.StreamLog, lease store.StreamLease) (result ResetResult, err error) {
	state, err := log.State(ctx)
	if err != nil {
		return result, err
	}
	note, _, err := readMemo(state.Position)
	if err != nil {
		return result, err
	}
	for i, channel := range Channels {
		n, err := log.Reset(ctx, lease.Fence, channel, 0, i == len(Channels)-1)
		if err != nil {
			return result, err
		}
		result.Documents += n
	}
	// The requests of the last minute count all the same. A process that ends here leaves no memo, and a full minute.
	note.Anew, note.Followed, note.Reading = true, nil, nil
	_, err = log.Append(ctx, lease.Fence, store.Append{Position: note.text("")})
	return result, err
}

// claimDisabled takes a stream that is disabled from whoever is about to end its work.
func (m *Manager) claimDisabled(ctx context.Context, customer string) (lease store.StreamLease, err error) {
	within, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	if h := m.holding(customer); h != nil {
		await(within, h.over, endTime)
	}
	for within.Err() == nil {
		lease, ok, err := m.cfg.Record.ClaimDisabled(ctx, customer, m.cfg.Holder+" reset "+rand.Text())
		if ok || err != nil {
			return lease, err
		}
		sleep(within, pollEvery/2)
	}
	if ctx.Err() != nil {
		return lease, context.Cause(ctx)
	}
	return lease, fault.New(CodeEnding, fault.Usage, "the stream was disabled, and another process has not ended its work yet").
		WithHint("try again in half a minute: the lease of a process that is gone runs out").WithRetry()
}
