package run

import (
	"time"

	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Receipt is the account of a run. A run that failed or was cancelled has a receipt as well, of what was read, counted
// and used until then; it has no digest, location or link. The receipt does not say whether the run succeeded: the
// error of the run does.
type Receipt struct {
	RunID    string `json:"run_id"`
	Pipeline string `json:"pipeline"`
	// Rows is the number of rows in the output: those that reached the encoder, or the sink of rows.
	Rows int64 `json:"rows"`
	// RowsRead is the number of rows that the source delivered.
	RowsRead int64 `json:"rows_read"`
	// EncodedBytes is what the encoder made of the rows, before it was compressed or sealed; 0 without an encoder, or
	// when its program does not say.
	EncodedBytes int64 `json:"encoded_bytes,omitempty"`
	// Bytes and SHA256 describe the output as it was delivered. A sink of rows that leaves no object of its own says
	// neither: no bytes, and no digest. Nor has a file a digest that was run with digest: none.
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256,omitempty"`
	// Location says where the output is: a path, a URL without credentials, "stdout".
	Location string `json:"location"`
	// Streamed is true when the output was seen as it came, before the run had succeeded.
	Streamed        bool       `json:"streamed,omitempty"`
	Link            string     `json:"link,omitempty"`
	LinkExpires     *time.Time `json:"link_expires,omitempty"`
	MediaType       string     `json:"media_type,omitempty"`
	ContentEncoding string     `json:"content_encoding,omitempty"`
	StartedAt       time.Time  `json:"started_at"`
	FinishedAt      time.Time  `json:"finished_at"`
	// Seconds is the wall time.
	Seconds float64 `json:"seconds"`
	// Counters are the stages' own, by "STAGE.NAME": zero dates, replaced characters.
	Counters map[string]int64 `json:"counters,omitempty"`
	// Facts are what stages say of the run that no number tells, by "STAGE.NAME": how a
	// connection was protected, which time zone held.
	Facts map[string]string `json:"facts,omitempty"`
	// Changes lists in plain words which values in the output differ from what is stored, or from what the pipeline's
	// columns say.
	Changes []string `json:"changes,omitempty"`
	// Processes tells what each process used.
	Processes []ProcessUse `json:"processes"`
	// Statement is the line that is authenticated where the output is sealed, and MAC what authenticates it under the
	// key that sealed: sdk/envelope/RECEIPT.md has their bytes. All else in the receipt can be written by anybody.
	Statement string `json:"statement,omitempty"`
	MAC       string `json:"mac,omitempty"`
}

// ProcessUse is what one process of the run used.
type ProcessUse struct {
	Plugin          string   `json:"plugin"`
	Stages          []string `json:"stages"`
	CPUSeconds      float64  `json:"cpu_seconds"`
	PeakMemoryBytes int64    `json:"peak_memory_bytes"`
	// NotConfined names what the system did not keep a third-party plugin from: of files, network, processes and
	// memory.
	NotConfined []string `json:"not_confined,omitempty"`
}

func (r *Receipt) deliver(from stage.Receipt) {
	r.Bytes, r.SHA256, r.Location, r.Link = from.Bytes, from.SHA256, from.Location, from.Link
	if !from.LinkExpires.IsZero() {
		expires := from.LinkExpires
		r.LinkExpires = &expires
	}
}
