package store

import (
	"slices"
	"time"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// HeldStream is a stream with the lease that was last given of it.
type HeldStream struct {
	Stream
	Holder string // empty is nobody
	Fence  int64
	Until  time.Time // on the steady clock
}

// PutStreamStep makes a stream, or changes what is set up. Whether it is enabled, its fault and CreatedAt stay.
func PutStreamStep(before *Stream, s Stream, at Moment) Stream {
	now := instant(at.Now)
	s.Secret, s.Pins, s.Channels = slices.Clone(s.Secret), slices.Clone(s.Pins), slices.Clone(s.Channels)
	s.CreatedAt, s.UpdatedAt, s.Enabled, s.Fault = now, now, false, nil
	if before == nil {
		return s
	}
	s.CreatedAt, s.Enabled, s.Fault = before.CreatedAt, before.Enabled, before.Fault
	s.UpdatedAt = before.next(now)
	return s
}

// next is the time of a change, by which UpdatedAt grows.
func (s Stream) next(now time.Time) time.Time {
	if !now.After(s.UpdatedAt) {
		return s.UpdatedAt.Add(time.Microsecond)
	}
	return now
}

// SwitchStreamStep enables a stream, which ends its fault, or disables it. Changed is false where it is so already.
func SwitchStreamStep(s Stream, enabled bool, at Moment) (after Stream, changed bool) {
	if s.Enabled == enabled && (s.Fault == nil || !enabled) {
		return s, false
	}
	s.Enabled, s.UpdatedAt = enabled, s.next(instant(at.Now))
	if enabled {
		s.Fault = nil
	}
	return s, true
}

// ClaimStep gives a stream to a holder, for StreamLeaseTime: one that is enabled and has no fault, or, where disabled is
// asked for, one that is disabled. Ok is false where another has it.
func (s HeldStream) ClaimStep(holder string, disabled bool, at Moment) (after HeldStream, l StreamLease, ok bool) {
	switch {
	case s.Enabled == disabled, s.Fault != nil && !disabled:
		return s, l, false
	case s.Holder != "" && s.Holder != holder && at.Steady.Before(s.Until):
		return s, l, false
	}
	s.Holder, s.Until = holder, instant(at.Steady.Add(StreamLeaseTime))
	// A server that has taken another's place, or a copy that was restored, may not know of the latest ones.
	s.Fence = max(s.Fence+1, int64(at.FirstRun))
	return s, s.lease(), true
}

// RenewStep prolongs a lease. One whose time is over is renewed where nobody has taken the stream since.
func (s HeldStream) RenewStep(l StreamLease, at Moment) (HeldStream, StreamLease, error) {
	if !s.Has(l) || !s.Enabled {
		return s, l, LostStream(l)
	}
	s.Until = instant(at.Steady.Add(StreamLeaseTime))
	return s, s.lease(), nil
}

// FailStep notes why a stream stands. The lease stays.
func (s HeldStream) FailStep(l StreamLease, f StreamFault, at Moment) (HeldStream, error) {
	if !s.Has(l) || !s.Enabled {
		return s, LostStream(l)
	}
	f.At = instant(at.Now)
	s.Fault = &f
	return s, nil
}

// ReleaseStep gives a lease back. Changed is false of one that is another's.
func (s HeldStream) ReleaseStep(l StreamLease) (after HeldStream, changed bool) {
	if !s.Has(l) {
		return s, false
	}
	s.Holder, s.Until = "", time.Time{}
	return s, true
}

func (s HeldStream) lease() StreamLease {
	return StreamLease{Customer: s.Customer, Holder: s.Holder, Fence: s.Fence, ExpiresAt: s.Until}
}

// Has reports whether a lease is the one that was last given of the stream, and was not given back.
func (s HeldStream) Has(l StreamLease) bool {
	return s.Holder != "" && l.Customer == s.Customer && l.Holder == s.Holder && l.Fence == s.Fence
}

// LostStream is the error for a process that has a stream no more.
func LostStream(l StreamLease) error {
	return fault.New(CodeStreamLost, fault.Internal, "the stream of %q is not held by %q (fence %d) any more", l.Customer, l.Holder, l.Fence)
}

// EnabledStream is the error for what is possible only while a stream is disabled.
func EnabledStream(customer string) error {
	return fault.New(CodeStreamEnabled, fault.Usage, "the stream of %q is enabled", customer).WithHint("disable it first")
}

// Indexed is what the index of a stream has of a document.
type Indexed struct {
	Sequence int64
	Deleted  bool
	Digest   [32]byte
}

// Numbers reports whether a change gets a number. Known is nil of a document that never had one.
func (c Change) Numbers(known *Indexed) bool {
	switch {
	case c.Deleted && (known == nil || known.Deleted && !c.Again):
		return false
	case c.Same && known != nil && known.Deleted == c.Deleted && known.Digest == c.Digest:
		return false
	}
	return true
}

// LongestName bounds the names of channels and of types, in bytes.
const LongestName = 128

// Check refuses what cannot be written.
func (a Append) Check() error {
	for i, c := range a.Changes {
		for _, name := range []string{c.Channel, c.Type} {
			if name == "" || len(name) > LongestName {
				return fault.New(CodeStreamDocument, fault.Usage, "change %d: the channel or the type of a document is a text of %d bytes", i, len(name)).
					WithHint("both are texts of 1 to %d bytes", LongestName)
			}
		}
		if !utf8.ValidString(c.Channel) || !utf8.ValidString(c.Type) || !utf8.ValidString(c.ID) {
			return fault.New(CodeStreamDocument, fault.Usage, "change %d: the channel, the type or the identifier of a document is no UTF-8", i)
		}
	}
	return nil
}

// CheckFence refuses what is written with the fence of a lease that was followed by another.
func CheckFence(fence, seen int64) error {
	if fence < seen {
		return fault.New(CodeStreamLost, fault.Internal, "the stream was written to with the fence %d since, and %d is lower", seen, fence)
	}
	return nil
}

// CheckAcknowledged refuses a number that a receiver cannot have come to.
func (c ChannelState) CheckAcknowledged(channel string, sequence int64) error {
	if sequence < c.Acknowledged || sequence > c.Sequence {
		return fault.New(CodeStreamSequence, fault.Usage, "%d is no number of the channel %q that can be acknowledged: %d was already, and %d was given last",
			sequence, channel, c.Acknowledged, c.Sequence)
	}
	return nil
}

// CheckReset refuses a reset that means nothing.
func CheckReset(above int64, anew bool) error {
	if above < 0 || anew && above != 0 {
		return fault.New(CodeStreamSequence, fault.Usage, "a reset is above a number that is 0 or higher, and above 0 where all is copied anew; it was %d", above)
	}
	return nil
}

// ResetStep has what is above a number read again. What an earlier reset has left stays to be read: where there is some, all
// is read again from the lower of the two numbers on.
func (c ChannelState) ResetStep(above int64) ChannelState {
	if c.Again > 0 {
		above = min(above, c.ResetAbove)
	}
	c.ResetAbove, c.ResetUntil = above, c.Sequence
	return c
}
