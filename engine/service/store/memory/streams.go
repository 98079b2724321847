package memory

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

func stream(s store.Stream) store.Stream {
	s.Secret, s.Pins, s.Channels = bytes.Clone(s.Secret), slices.Clone(s.Pins), slices.Clone(s.Channels)
	if s.Fault != nil {
		why := *s.Fault
		s.Fault = &why
	}
	return s
}

func (s *Store) stream(customer string) (*store.HeldStream, error) {
	if found := s.streams[customer]; found != nil {
		return found, nil
	}
	return nil, unknown("stream of", customer)
}

// Streams are all that are set up.
func (s *Store) Streams(ctx context.Context) (all []store.Stream, err error) {
	err = s.do(ctx, false, nil, func() error {
		for _, one := range s.streams {
			all = append(all, stream(one.Stream))
		}
		return nil
	})
	slices.SortFunc(all, func(a, b store.Stream) int { return cmp.Compare(a.Customer, b.Customer) })
	return all, err
}

// Stream is one of them.
func (s *Store) Stream(ctx context.Context, customer string) (found store.Stream, err error) {
	err = s.do(ctx, false, nil, func() error {
		one, err := s.stream(customer)
		if err == nil {
			found = stream(one.Stream)
		}
		return err
	})
	return found, err
}

// PutStream sets a stream up, or changes what is set up.
func (s *Store) PutStream(ctx context.Context, put store.Stream, audit store.Audit) (after store.Stream, err error) {
	err = s.do(ctx, false, []store.Audit{audit}, func() error {
		var before *store.Stream
		held := s.streams[put.Customer]
		if held != nil {
			before = &held.Stream
		} else {
			held = &store.HeldStream{}
			s.streams[put.Customer] = held
		}
		held.Stream = store.PutStreamStep(before, put, s.jobs.moment())
		after = stream(held.Stream)
		return nil
	})
	return after, err
}

// SwitchStream enables or disables a stream.
func (s *Store) SwitchStream(ctx context.Context, customer string, enabled bool, audit store.Audit) (after store.Stream, err error) {
	err = s.do(ctx, false, nil, func() error {
		held, err := s.stream(customer)
		if err != nil {
			return err
		}
		next, changed := store.SwitchStreamStep(held.Stream, enabled, s.jobs.moment())
		if changed {
			held.Stream = next
			s.audit = append(s.audit, kept(audit))
		}
		after = stream(next)
		return nil
	})
	return after, err
}

// FailStream notes why a stream stands.
func (s *Store) FailStream(ctx context.Context, l store.StreamLease, f store.StreamFault, audit store.Audit) error {
	return s.do(ctx, false, []store.Audit{audit}, func() error {
		held, err := s.stream(l.Customer)
		if err != nil {
			return err
		}
		after, err := held.FailStep(l, f, s.jobs.moment())
		if err == nil {
			*held = after
		}
		return err
	})
}

// ClaimStream gives a stream that is enabled to a holder.
func (s *Store) ClaimStream(ctx context.Context, customer, holder string) (l store.StreamLease, ok bool, err error) {
	err = s.do(ctx, false, nil, func() error {
		held, err := s.stream(customer)
		if err == nil && !s.disabled[customer] {
			*held, l, ok = held.ClaimStep(holder, false, s.jobs.moment())
		}
		return err
	})
	return l, ok, err
}

// ClaimDisabled gives a stream that is disabled to a holder.
func (s *Store) ClaimDisabled(ctx context.Context, customer, holder string) (l store.StreamLease, ok bool, err error) {
	err = s.do(ctx, false, nil, func() error {
		held, err := s.stream(customer)
		switch {
		case err != nil:
			return err
		case held.Enabled:
			return store.EnabledStream(customer)
		}
		*held, l, ok = held.ClaimStep(holder, true, s.jobs.moment())
		return nil
	})
	return l, ok, err
}

// RenewStream prolongs a lease.
func (s *Store) RenewStream(ctx context.Context, l store.StreamLease) (renewed store.StreamLease, err error) {
	err = s.do(ctx, false, nil, func() error {
		held, err := s.stream(l.Customer)
		switch {
		case err != nil:
			return err
		case s.disabled[l.Customer]:
			return store.LostStream(l)
		}
		*held, renewed, err = held.RenewStep(l, s.jobs.moment())
		return err
	})
	return renewed, err
}

// ReleaseStream gives a lease back.
func (s *Store) ReleaseStream(ctx context.Context, l store.StreamLease) error {
	return s.do(ctx, false, nil, func() error {
		held, err := s.stream(l.Customer)
		if err == nil {
			*held, _ = held.ReleaseStep(l)
		}
		return err
	})
}

// Log opens the database of a stream.
func (s *Store) Log(ctx context.Context, customer string) (log store.StreamLog, err error) {
	err = s.do(ctx, false, nil, func() error {
		if _, err := s.stream(customer); err != nil {
			return err
		}
		if s.logs[customer] == nil {
			s.logs[customer] = &streamData{channels: map[string]*streamChannel{}}
		}
		log = &streamLog{of: s, data: s.logs[customer]}
		return nil
	})
	return log, err
}

// closedStream is the error of a log that was closed.
func closedStream() error {
	return fault.New(store.CodeClosed, fault.Internal, "the database of the stream is closed")
}
