package sqlrecord

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// span is a duration of a value as a column, in microseconds.
type span struct{ of *time.Duration }

// Scan reads it.
func (s span) Scan(from any) error {
	var micros sql.NullInt64
	err := micros.Scan(from)
	*s.of = time.Duration(micros.Int64) * time.Microsecond
	return err
}

// Value is what is written.
func (s span) Value() (driver.Value, error) { return s.of.Microseconds(), nil }

// array is a list of text as a column, in JSON.
type array struct{ of *[]string }

// Scan reads it.
func (a array) Scan(from any) error {
	var text sql.NullString
	if err := text.Scan(from); err != nil {
		return err
	}
	return json.Unmarshal([]byte(text.String), a.of)
}

// Value is what is written.
func (a array) Value() (driver.Value, error) {
	text, err := json.Marshal(*a.of)
	return string(text), err
}

// deliveryRow is a row of the table deliveries: a delivery, with what only the record knows of it.
type deliveryRow struct {
	store.Delivery
	endpoint       string // see store.EndpointKey
	holder, server string
	lease          time.Time // its end
	// behind: another of the same job goes to the endpoint before it. The first of those that wait, and are not behind, is
	// found in an index, whatever else waits.
	behind bool
}

// columns are all but seq.
func (r *deliveryRow) columns() []column {
	return []column{
		{"id", &r.ID}, {"customer", &r.Customer}, {"channel", &r.Channel}, {"target", &r.Target}, {"own", &r.Own},
		{"event", &r.Event}, {"job", &r.Job}, {"data", &r.Data}, {"state", &r.State}, {"batch", &r.Batch},
		{"attempts", &r.Attempts}, {"tries", &r.Tries}, {"created_at", moment{&r.CreatedAt}},
		{"next_at", moment{&r.NextAt}}, {"last_at", moment{&r.LastAt}}, {"ended_at", moment{&r.EndedAt}},
		{"http_status", &r.HTTPStatus}, {"code", &r.Code}, {"message", &r.Message}, {"fence", &r.Fence},
		{"endpoint", &r.endpoint}, {"holder", &r.holder}, {"server", &r.server}, {"lease_until", moment{&r.lease}},
		{"behind", &r.behind},
	}
}

// The columns of deliveries and the statements that name all of them.
var (
	deliveryColumns = names("", (&deliveryRow{}).columns())
	insertDelivery  = "INSERT INTO deliveries (" + deliveryColumns + ") VALUES (" + marks(strings.Count(deliveryColumns, ",")+1) + ")"
	selectDelivery  = "SELECT seq, " + deliveryColumns + " FROM deliveries"
)

// scanDelivery reads a row that selectDelivery gave.
func scanDelivery(row scanner) (*deliveryRow, error) {
	r := &deliveryRow{}
	return r, row.Scan(append([]any{&r.Seq}, values(r.columns()...)...)...)
}

// deliveryRows asks for deliveries within a change.
func (tx Tx) deliveryRows(query string, args ...any) (all []*deliveryRow, err error) {
	err = tx.Rows(func(rows *sql.Rows) error {
		d, err := scanDelivery(rows)
		all = append(all, d)
		return err
	}, query, args...)
	return all, err
}

// endpointRow is a row of the table endpoints.
type endpointRow struct {
	store.Endpoint
	id  string    // see store.EndpointKey
	due time.Time // see store.Receiver
	// made: there is no row yet.
	made bool
}

// columns are all but id.
func (r *endpointRow) columns() []column {
	return []column{
		{"customer", &r.Customer}, {"channel", &r.Channel}, {"target", &r.Target}, {"own", &r.Own},
		{"failures", &r.Failures}, {"failing_since", moment{&r.FailingSince}}, {"open_until", moment{&r.OpenUntil}},
		{"open_for", span{&r.OpenFor}}, {"disabled_at", moment{&r.DisabledAt}}, {"disabled_reason", &r.DisabledReason},
		{"in_flight", &r.InFlight}, {"served", &r.Served}, {"paced_until", moment{&r.PacedUntil}}, {"due", moment{&r.due}},
	}
}

// The columns of endpoints and the statements that name all of them.
var (
	endpointColumns = names("", (&endpointRow{}).columns())
	insertEndpoint  = "INSERT INTO endpoints (" + endpointColumns + ", id) VALUES (" + marks(strings.Count(endpointColumns, ",")+2) + ")"
	updateEndpoint  = "UPDATE endpoints SET " + names(" = ?", (&endpointRow{}).columns()) + " WHERE id = ?"
	selectEndpoint  = "SELECT id, " + endpointColumns + " FROM endpoints"
)

// scanEndpoint reads a row that selectEndpoint gave.
func scanEndpoint(row scanner) (*endpointRow, error) {
	r := &endpointRow{}
	return r, row.Scan(append([]any{&r.id}, values(r.columns()...)...)...)
}

func webhookValues(w *store.Webhook) []column {
	return []column{
		{"customer", &w.Customer}, {"url", &w.URL}, {"events", array{&w.Events}}, {"enabled", &w.Enabled},
		{"headers", &w.Headers}, {"durable", &w.Retry.Durable}, {"max_attempts", &w.Retry.MaxAttempts},
		{"multiplier", &w.Retry.Multiplier}, {"initial_delay", span{&w.Retry.InitialDelay}},
		{"timeout", span{&w.Timeout}}, {"batch", &w.Batch}, {"per_minute", &w.PerMinute}, {"tls12", &w.TLS12},
		{"created_at", moment{&w.CreatedAt}}, {"updated_at", moment{&w.UpdatedAt}},
	}
}

// The columns of webhooks and the statements that name all of them.
var (
	webhookColumns = names("", webhookValues(&store.Webhook{}))
	insertWebhook  = "INSERT INTO webhooks (" + webhookColumns + ") VALUES (" + marks(strings.Count(webhookColumns, ",")+1) + ")"
	updateWebhook  = "UPDATE webhooks SET " + names(" = ?", webhookValues(&store.Webhook{})) + " WHERE customer = ?"
	selectWebhook  = "SELECT " + webhookColumns + " FROM webhooks WHERE customer = ?"
)

func scanWebhook(row scanner) (w store.Webhook, err error) {
	err = row.Scan(values(webhookValues(&w)...)...)
	return w, err
}

// webhook is a customer's, or nil.
func (tx Tx) webhook(customer string) (*store.Webhook, error) {
	w, err := scanWebhook(tx.Row(selectWebhook, customer))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &w, err
}

// in is a condition that a column has one of the values, of which there is at least one, and its arguments. Their number is
// brought to a power of two by repeating the last, so that there are few texts of a statement to be prepared.
func in[T any](column string, all []T) (condition string, args []any) {
	for _, one := range all {
		args = append(args, one)
	}
	for len(args)&(len(args)-1) != 0 {
		args = append(args, args[len(args)-1])
	}
	return column + " IN (" + marks(len(args)) + ")", args
}
