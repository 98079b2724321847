package sqlrecord

import (
	"database/sql"
	"database/sql/driver"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// jobRow is a row of the table jobs: a job, with what only the record knows of it.
type jobRow struct {
	store.Job
	seq    int64
	server string    // who gave the lease
	lease  time.Time // its end; of the steady clock, as NotBefore is
	until  time.Time // the end of the last link to the object
	going  bool      // the object is being removed
}

// moment is a time of a value as a column.
type moment struct{ *time.Time }

// Scan reads it.
func (m moment) Scan(from any) error {
	var micros sql.NullInt64
	err := micros.Scan(from)
	*m.Time = Instant(micros.Int64)
	return err
}

// Value is what is written.
func (m moment) Value() (driver.Value, error) { return Micros(*m.Time), nil }

// column is a column of jobs, and where its value stands in a row.
type column struct {
	name  string
	value any
}

// fixed are the columns that are written once.
func (r *jobRow) fixed() []column {
	return []column{
		{"id", &r.ID}, {"customer", &r.Customer}, {`"procedure"`, &r.Procedure}, {"type", &r.Type},
		{"priority", &r.Priority}, {"reason", &r.Reason}, {"request", &r.Request}, {"format", &r.Format},
		{"compression", &r.Compression}, {"encrypted", &r.Encrypted}, {"from_date", &r.FromDate},
		{"to_date", &r.ToDate}, {"modifier", &r.Modifier}, {"webhook_url", &r.WebhookURL},
		{"request_id", &r.RequestID}, {"key_id", &r.KeyID}, {"address", &r.From}, {"trace", &r.Trace},
		{"created_at", moment{&r.CreatedAt}}, {"schedule", &r.Schedule}, {"state_epoch", &r.StateEpoch},
	}
}

// changing are those that every change of a job writes.
func (r *jobRow) changing() []column {
	return []column{
		{"status", &r.Status}, {"started_at", moment{&r.StartedAt}}, {"completed_at", moment{&r.CompletedAt}},
		{"updated_at", moment{&r.UpdatedAt}}, {"not_before", moment{&r.NotBefore}}, {"attempts", &r.Attempts},
		{"runs", &r.Runs}, {"transition", &r.Transition}, {`"rows"`, &r.Rows}, {"bytes", &r.Bytes},
		{"estimated_rows", &r.EstimatedRows}, {"estimated_bytes", &r.EstimatedBytes},
		{"cancel_asked", moment{&r.CancelAsked}}, {"error_code", &r.ErrorCode}, {"error_message", &r.ErrorMessage},
		{"suggestion", &r.Suggestion}, {"bucket", &r.Bucket}, {"object_key", &r.ObjectKey}, {"file_name", &r.FileName},
		{"media_type", &r.MediaType}, {"size", &r.Size}, {"sha256", &r.SHA256}, {"total_rows", &r.TotalRows},
		{"sealing_key", &r.SealingKey}, {"manifest", &r.Manifest}, {"data_as_of", moment{&r.DataAsOf}},
		{"peak_memory", &r.PeakMemory}, {"cpu_seconds", &r.CPUSeconds}, {"object_expires", moment{&r.ObjectExpires}},
		{"object_removed", moment{&r.ObjectRemoved}}, {"holder", &r.Holder}, {"server", &r.server},
		{"lease_until", moment{&r.lease}}, {"object_until", moment{&r.until}}, {"object_going", &r.going},
	}
}

// The statements of a job, whose arguments are the values of its columns.
var (
	jobColumns = names("", append((&jobRow{}).fixed(), (&jobRow{}).changing()...))
	insertJob  = "INSERT INTO jobs (" + jobColumns + ") VALUES (" + marks(strings.Count(jobColumns, ",")+1) + ")"
	updateJob  = "UPDATE jobs SET " + names(" = ?", (&jobRow{}).changing()) + " WHERE id = ?"
	selectJob  = "SELECT seq, " + jobColumns + " FROM jobs"
)

func names(suffix string, columns []column) string {
	var text []string
	for _, c := range columns {
		text = append(text, c.name+suffix)
	}
	return strings.Join(text, ", ")
}

func values(columns ...column) (all []any) {
	for _, c := range columns {
		all = append(all, c.value)
	}
	return all
}

// scanJob reads a row that selectJob gave.
func scanJob(row scanner) (*jobRow, error) {
	r := &jobRow{}
	return r, row.Scan(append([]any{&r.seq}, values(append(r.fixed(), r.changing()...)...)...)...)
}
