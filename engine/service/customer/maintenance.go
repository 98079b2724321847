package customer

import (
	"context"
	"encoding/json"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Announcements are what customers are told that no job tells.
type Announcements interface {
	// PutOutbox puts events where deliveries are made of.
	PutOutbox(ctx context.Context, events []store.OutboxEvent, audit ...store.Audit) error
	// DeliveryQueues says how many deliveries wait and are dead, and since when the oldest waits.
	DeliveryQueues(ctx context.Context) (waiting, dead int64, oldest time.Time, err error)
	Clock(ctx context.Context) (time.Time, error)
}

// Deliveries is how it stands with what customers are told, whoever they are.
type Deliveries struct {
	Waiting int64 `json:"waiting"`
	// Dead are those that were given up, and can be sent again.
	Dead int64 `json:"dead"`
	// OldestSeconds is how long the oldest has waited.
	OldestSeconds float64 `json:"oldest_seconds"`
}

// Deliveries says how it stands with what customers are told.
func (m *Manager) Deliveries(ctx context.Context) (d Deliveries, err error) {
	waiting, dead, oldest, err := m.r.record.DeliveryQueues(ctx)
	if err != nil {
		return d, err
	}
	if d.Waiting, d.Dead = waiting, dead; !oldest.IsZero() {
		now, err := m.r.record.Clock(ctx) // its own: this machine's may be another
		if err != nil {
			return d, err
		}
		d.OldestSeconds = max(0, now.Sub(oldest)).Seconds()
	}
	return d, nil
}

// Mail are the addresses that a customer is written to at, and the events that it is written of. None are those of a
// customer that is not declared, or out of service.
func (r *Registry) Mail(ctx context.Context, id string) (addresses, events []string, err error) {
	c, err := r.Serves(ctx, id)
	switch {
	case fault.Is(err, CodeUnknown), fault.Is(err, CodeDisabled):
		return nil, nil, nil
	case err != nil:
		return nil, nil, err
	}
	return c.Emails, c.MailOf, nil
}

// Maintenance is a time in which the service may not answer, or not as it does otherwise.
type Maintenance struct {
	StartsAt time.Time `json:"starts_at"`
	EndsAt   time.Time `json:"ends_at"`
	// Message is for people.
	Message string `json:"message"`
}

// Announced is a maintenance of which customers are told.
type Announced struct {
	Maintenance
	// Customers is how many.
	Customers int `json:"customers"`
}

// MostMessage bounds the message of a maintenance, in bytes, and MostMaintenance its length.
const (
	MostMessage     = 2000
	MostMaintenance = 30 * 24 * time.Hour
)

// Check says what is wrong with a maintenance, by the names of its fields; nothing is that it can be announced.
func (m Maintenance) Check(now time.Time) (wrong map[string]string) {
	wrong = map[string]string{}
	switch {
	case m.EndsAt.IsZero() || m.StartsAt.IsZero():
	case !m.EndsAt.After(m.StartsAt):
		wrong["ends_at"] = "it is not after starts_at"
	case m.EndsAt.Sub(m.StartsAt) > MostMaintenance:
		wrong["ends_at"] = "it is more than 30 days after starts_at"
	case !m.EndsAt.After(now):
		wrong["ends_at"] = "it has passed"
	case m.StartsAt.After(now.AddDate(1, 0, 0)):
		wrong["starts_at"] = "it is more than a year from now"
	}
	if m.StartsAt.IsZero() {
		wrong["starts_at"] = "it is missing"
	}
	if m.EndsAt.IsZero() {
		wrong["ends_at"] = "it is missing"
	}
	switch {
	case m.Message == "":
		wrong["message"] = "it is missing"
	case len(m.Message) > MostMessage || !utf8.ValidString(m.Message) || !readable(m.Message):
		wrong["message"] = "it is not 1 to " + strconv.Itoa(MostMessage) + " bytes of text"
	}
	return wrong
}

// readable reports whether a text has no control characters but the ends of lines.
func readable(text string) bool {
	for _, r := range text {
		if r != '\n' && unicode.IsControl(r) {
			return false
		}
	}
	return true
}

// Announce tells every customer of a maintenance, but for those who are out of service.
func (m *Manager) Announce(ctx context.Context, want Maintenance) (Announced, error) {
	now := m.now()
	for _, field := range []string{"starts_at", "ends_at", "message"} {
		if wrong := want.Check(now)[field]; wrong != "" {
			return Announced{}, invalid("%s of the maintenance: %s", field, wrong)
		}
	}
	want.StartsAt, want.EndsAt = want.StartsAt.UTC(), want.EndsAt.UTC()
	data, err := json.Marshal(want)
	if err != nil {
		return Announced{}, invalid("the times of the maintenance cannot be written: %v", err)
	}
	a, err := m.r.current(ctx)
	if err != nil {
		return Announced{}, err
	}
	var events []store.OutboxEvent
	for _, c := range m.r.customers.Load().all {
		if !a.disabled[c.ID] {
			events = append(events, store.OutboxEvent{Customer: c.ID, Event: store.EventMaintenance, At: now, Data: data})
		}
	}
	err = m.r.record.PutOutbox(ctx, events, m.did("maintenance.announce", "", map[string]string{"starts_at": want.StartsAt.Format(time.RFC3339),
		"ends_at": want.EndsAt.Format(time.RFC3339), "customers": strconv.Itoa(len(events))}))
	if err != nil {
		return Announced{}, err
	}
	return Announced{want, len(events)}, nil
}

// Announce is that of a Manager, as the actor's.
func (r *Registry) Announce(ctx context.Context, by Actor, want Maintenance) (Announced, error) {
	return r.Manage(by).Announce(ctx, want)
}
