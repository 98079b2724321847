package job

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/binding"
	"github.com/cipherstream/cipherstream/engine/service/store"
)

// Manifest says what the object of a completed job is. It is proved by its receipt where the object is sealed, and
// otherwise by who serves it.
type Manifest struct {
	JobID     string `json:"job_id" doc:"The job."`
	Customer  string `json:"customer_id" doc:"Whose data it is."`
	Procedure string `json:"procedure_name" doc:"What was asked for."`
	// Request has the fields as they came, without the address of a webhook.
	Request   map[string]any   `json:"request" doc:"The fields of the request as they came."`
	DataAsOf  time.Time        `json:"data_as_of" doc:"What is in the data was read after this time."`
	NextSince string           `json:"next_since,omitempty" doc:"from_date of a following request, with date_modifier Updated, that misses nothing: a day of the database's clock."`
	Rows      int64            `json:"rows" doc:"Number of rows."`
	Bytes     int64            `json:"bytes" doc:"Size of the object."`
	SHA256    string           `json:"sha256" doc:"SHA-256 of the object's bytes in hexadecimal."`
	FileName  string           `json:"file_name" doc:"Name of the object as a file."`
	MediaType string           `json:"media_type" doc:"Media type of the object's bytes."`
	Format    string           `json:"output_format" doc:"Format within compression and encryption."`
	Compress  string           `json:"compression" doc:"Compression."`
	Columns   []ManifestColumn `json:"columns" nullable:"false" doc:"Columns in their order, as the source delivered them."`
	// Warnings are those of the run's counters that are not 0, and Changes what they mean.
	Warnings []ManifestWarning `json:"warnings" nullable:"false" doc:"What stages have counted, such as zero dates and warnings of the server. Empty is good."`
	Changes  []string          `json:"changes,omitempty" nullable:"false" doc:"What differs from what is stored, in words."`
	KeyID    string            `json:"key_id,omitempty" doc:"The key that the object is sealed with."`
	Deletes  string            `json:"deletes" doc:"Whether rows that were deleted are told of."`
	Receipt  *binding.Receipt  `json:"receipt,omitempty" doc:"What proves rows, bytes and sha256 of a sealed object."`
}

// ManifestColumn is a column of the data.
type ManifestColumn struct {
	Name       string `json:"name" doc:"Name of the column."`
	Type       string `json:"type" doc:"Type, as in Parquet and Arrow."`
	Nullable   bool   `json:"nullable" doc:"Whether it may be null."`
	SourceType string `json:"source_type,omitempty" doc:"Name of the type in the database."`
}

// ManifestWarning is a count of something that is not as it should be.
type ManifestWarning struct {
	Name  string `json:"name" doc:"What was counted, and by which stage."`
	Count int64  `json:"count" doc:"How often it was."`
}

// noDeletes is what an extract says of rows that are no more.
const noDeletes = "none, use Data Stream"

// manifest is that of a job with a result.
func manifest(job store.Job, r store.Result, receipt *engine.Receipt, columns []engine.Column) []byte {
	m := Manifest{
		JobID: job.ID, Customer: job.Customer, Procedure: job.Procedure, Request: map[string]any{},
		DataAsOf: r.DataAsOf.UTC().Truncate(time.Millisecond), Rows: receipt.Rows, Bytes: r.Size, SHA256: r.SHA256,
		FileName: r.FileName, MediaType: r.MediaType, Format: job.Format, Compress: job.Compression,
		Columns: []ManifestColumn{}, Warnings: []ManifestWarning{}, Changes: receipt.Changes,
		KeyID: r.SealingKey, Deletes: noDeletes, Receipt: binding.ReceiptOf(receipt),
	}
	m.NextSince = nextSince(job, r.DataAsOf, zoneOf(receipt.Facts))
	if fields, err := binding.Fields(job.Request); err == nil {
		delete(fields, "webhook_url") // it may hold a secret, and the manifest goes where the data go
		m.Request = fields
	}
	for _, c := range columns {
		m.Columns = append(m.Columns, ManifestColumn(c))
	}
	for _, name := range slices.Sorted(maps.Keys(receipt.Counters)) {
		if n := receipt.Counters[name]; n > 0 {
			m.Warnings = append(m.Warnings, ManifestWarning{name, n})
		}
	}
	text, err := json.Marshal(m)
	if err != nil {
		panic("job: a manifest cannot be encoded: " + err.Error()) // it came as JSON
	}
	return text
}

// factZone ends the name of the fact in which a source says what its times without a zone mean.
const factZone = ".time_zone"

// zoneOf is the zone of the database's own clock; nil where it is not known.
func zoneOf(facts map[string]string) *time.Location {
	for name, zone := range facts {
		if !strings.HasSuffix(name, factZone) {
			continue
		}
		if inner, ok := strings.CutPrefix(zone, "SYSTEM ("); ok {
			zone = strings.TrimSuffix(inner, ")")
		}
		if at, err := time.Parse("-07:00", zone); err == nil {
			_, offset := at.Zone()
			return time.FixedZone(zone, offset)
		}
		if location, err := time.LoadLocation(zone); err == nil && zone != "" && zone != "Local" {
			return location
		}
	}
	return nil
}

// farWest is how far behind UTC a clock may be.
const farWest = 12 * time.Hour

// nextSince is the day from which a following request misses nothing: that on which this one read, by the database's
// clock, or the first one behind its range where that is earlier. Where the clock is not known it is the earliest day
// that it can be.
func nextSince(job store.Job, asOf time.Time, zone *time.Location) string {
	day := asOf.UTC().Add(-farWest)
	if zone != nil {
		day = asOf.In(zone)
	}
	since := day.Format(time.DateOnly)
	if to, err := time.Parse(time.DateOnly, job.ToDate); err == nil {
		since = min(since, to.AddDate(0, 0, 1).Format(time.DateOnly))
	}
	return since
}

// sealingKey is the key that a run has sealed with, by what is proved of it; empty when nothing was sealed.
func sealingKey(receipt *engine.Receipt) string {
	var statement struct {
		KeyID string `json:"key_id"`
	}
	if json.Unmarshal([]byte(receipt.Statement), &statement) != nil {
		return ""
	}
	return statement.KeyID
}
