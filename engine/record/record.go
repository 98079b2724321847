// Package record keeps what crosses the boundaries of a run, gives it to a stage again, and says where the stage now
// makes something else. A recording is a folder: an Arrow file for every boundary between two process groups, and a
// description. It holds the data of the run as it is, and none of its secrets. The run itself is package run's, to
// which a Recorder is a tap; a replay is one stage in a process of its own between two files.
package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Format is the format of a record's description.
const Format = "cipherstream.record/v1"

const (
	recordName    = "record.json"
	partialEnding = ".partial"
	maxRecord     = 16 << 20 // bytes of the description
)

// Codes of recordings.
const (
	// CodeRecordFolder is the code of a folder that cannot take a recording, or holds none.
	CodeRecordFolder = "record.folder"
	// CodeRecordWrite is the code of a recording that could not be written: a full disk.
	CodeRecordWrite = "record.write"
	// CodeRecordRead is the code of a recording that cannot be read.
	CodeRecordRead = "record.read"
)

// Record describes what was kept of a run: a folder with a file for every boundary
// between two process groups, and this description in record.json.
type Record struct {
	Format    string    `json:"format"`
	RunID     string    `json:"run_id"`
	Pipeline  string    `json:"pipeline"`
	StartedAt time.Time `json:"started_at"`
	// Complete is true when every boundary is whole. Fault is the code of what ended the
	// run before.
	Complete   bool        `json:"complete"`
	Fault      string      `json:"fault,omitempty"`
	Limits     plan.Limits `json:"limits"`
	Stages     []Stage     `json:"stages"`
	Boundaries []Boundary  `json:"boundaries"`
}

// Stage is a stage as it ran.
type Stage struct {
	ID         string      `json:"id"`
	Kind       stage.Kind  `json:"kind"`
	Plugin     string      `json:"plugin"`
	Use        string      `json:"use"`
	FirstParty bool        `json:"first_party"`
	In         stage.Shape `json:"in,omitempty"`
	Out        stage.Shape `json:"out,omitempty"`
	// Settings are the resolved settings, "[secret]" in the place of every secret.
	Settings map[string]any `json:"settings"`
	// Secrets are the places of the secrets in Settings, as JSON Pointers (RFC 6901).
	Secrets []string `json:"secrets,omitempty"`
}

// Boundary is what crossed from one stage to the next: an Arrow IPC file.
type Boundary struct {
	// File is the file's name; it ends in ".partial" while it is not whole.
	File string `json:"file"`
	From string `json:"from"`
	To   string `json:"to"`
	// Shape is what the stage before gives. Of records and bytes the file has one binary
	// column.
	Shape   stage.Shape `json:"shape"`
	Rows    int64       `json:"rows"`
	Batches int         `json:"batches"`
	// Bytes is the size of the batches' bodies.
	Bytes    int64 `json:"bytes"`
	Complete bool  `json:"complete"`
}

// Recorder records one run. It is a run.Tap.
type Recorder struct {
	dir    string
	root   *os.Root
	record Record
	tracks []*track // by boundary
}

// New makes a recorder that keeps a run in a folder, which is new or empty.
func New(dir string) *Recorder { return &Recorder{dir: dir} }

// Begin makes the folder, or takes an empty one, and writes the description.
func (r *Recorder) Begin(p *plan.Plan, id string, at time.Time) error {
	root, err := recordFolder(r.dir)
	if err != nil {
		return err
	}
	r.root = root
	r.record = Record{Format: Format, RunID: id, Pipeline: p.Name, StartedAt: at.UTC(), Limits: p.Limits}
	for i := range p.Stages {
		s := &p.Stages[i]
		r.record.Stages = append(r.record.Stages, Stage{
			ID: s.ID, Kind: s.Kind, Plugin: s.Plugin, Use: s.Name, FirstParty: s.FirstParty, In: s.In, Out: s.Out,
			Settings: s.Config, Secrets: secretPlaces(s),
		})
	}
	for i := 1; i < len(p.Groups); i++ {
		before, after := p.Groups[i-1].Stages, p.Groups[i].Stages
		from, to := p.Stages[before[len(before)-1]], p.Stages[after[0]]
		name := fmt.Sprintf("%02d-%s-to-%s.arrow", i, from.ID, to.ID)
		r.record.Boundaries = append(r.record.Boundaries,
			Boundary{File: name + partialEnding, From: from.ID, To: to.ID, Shape: from.Out})
		r.tracks = append(r.tracks, &track{name: name, plugin: p.Groups[i-1].Plugin})
	}
	err = r.write()
	for _, t := range r.tracks {
		if err == nil {
			err = t.create(root)
		}
	}
	if err != nil {
		r.close()
		return err
	}
	return nil
}

func (r *Recorder) close() {
	for _, t := range r.tracks {
		if t.out != nil {
			t.out.Close() // once more, where it is whole
		}
	}
	r.root.Close()
}

// recordFolder opens a folder that is new or empty, and this user's alone.
func recordFolder(dir string) (*os.Root, error) {
	refuse := func(err error) error {
		return fault.New(CodeRecordFolder, fault.Usage, "the recording cannot go to %s: %w", dir, err)
	}
	err := os.Mkdir(dir, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, refuse(errors.Unwrap(err))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, refuse(errors.Unwrap(err))
	}
	list, err := fs.ReadDir(root.FS(), ".")
	if err == nil && len(list) > 0 {
		root.Close()
		return nil, fault.New(CodeRecordFolder, fault.Usage, "the folder for the recording, %s, is not empty", dir).
			WithHint("name one that is not there yet; it holds the data of one run")
	}
	if err == nil {
		err = root.Chmod(".", 0o700)
	}
	if err != nil {
		root.Close()
		return nil, refuse(errors.Unwrap(err))
	}
	return root, nil
}

// secretPlaces lists where the secrets stand in a stage's settings, but for those that are empty.
func secretPlaces(s *plan.Stage) (places []string) {
	for place, secret := range s.Secrets() {
		if secret.Reveal() != "" {
			places = append(places, place)
		}
	}
	return places
}

// write writes the description; it is never there in part.
func (r *Recorder) write() error {
	text, err := json.MarshalIndent(r.record, "", "  ")
	if err != nil {
		return fault.New(CodeRecordWrite, fault.Internal, "the recording cannot be described: %w", err)
	}
	file, err := r.root.OpenFile(recordName+partialEnding, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = file.Write(append(text, '\n'))
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
	}
	if err == nil {
		err = r.root.Rename(recordName+partialEnding, recordName)
	}
	if err != nil {
		return writeFailed(recordName, err)
	}
	return nil
}

func writeFailed(name string, err error) *fault.Fault {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return fault.New(CodeRecordWrite, fault.Sink, "the recording could not be written, at %s: %w", name, err).
		WithHint("make room for it, or run without a recording")
}

// gather takes over what the tracks, which have ended, have to say.
func (r *Recorder) gather() (complete bool) {
	complete = true
	for i, t := range r.tracks {
		b := &r.record.Boundaries[i]
		if f := t.file; f != nil {
			b.Rows, b.Batches, b.Bytes = f.rows, f.batches, f.bytes
		}
		if b.Complete = t.whole; b.Complete {
			b.File = t.name
		}
		complete = complete && b.Complete
	}
	return complete
}

// Complete completes the record before the run is committed.
func (r *Recorder) Complete() error {
	r.record.Complete = r.gather()
	if !r.record.Complete {
		return fault.New(CodeRecordWrite, fault.Internal,
			"a boundary of the recording is not whole, and no reason is known")
	}
	return r.write()
}

// End closes the record. One of a run that has failed stays, with what there is.
func (r *Recorder) End(err error) {
	defer r.close()
	if err == nil || r.record.Complete {
		return
	}
	r.gather()
	r.record.Fault = fault.From(err).Code
	_ = r.write() // the run's own fault is what is told
}
