package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/wire"
)

// Read reads the description of the recording in a folder.
func Read(dir string) (*Record, error) {
	path := filepath.Join(dir, recordName)
	file, err := os.Open(path)
	if err != nil {
		return nil, fault.New(CodeRecordFolder, fault.Usage, "there is no recording in %s: %w", dir, errors.Unwrap(err)).
			WithHint("a recording is made with: cipherstream run … --record FOLDER")
	}
	defer file.Close()
	record := &Record{}
	decoder := json.NewDecoder(io.LimitReader(file, maxRecord))
	decoder.UseNumber()
	if err := decoder.Decode(record); err != nil {
		return nil, fault.New(CodeRecordRead, fault.Usage, "%s cannot be read: %w", path, err)
	}
	if record.Format != Format {
		return nil, fault.New(CodeRecordRead, fault.Usage, "%s has the format %q; expected %q", path, record.Format, Format)
	}
	return record, nil
}

// recorded is an open file of a recording.
type recorded struct {
	file *os.File
	cursor
}

func (r *recorded) close() {
	if r != nil {
		r.release()
		r.file.Close()
	}
}

// errEmpty is a file in which not even a schema is.
var errEmpty = errors.New("it ends before its schema")

func recordUnreadable(err error) error {
	return fault.New(CodeRecordRead, fault.Usage, "the recording cannot be read: %w", err)
}

// openRecorded opens the file of a boundary, or what there is of it.
func openRecorded(dir string, b Boundary) (*recorded, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, recordUnreadable(err)
	}
	defer root.Close()
	name := strings.TrimSuffix(b.File, partialEnding)
	partial := false
	file, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		partial = true
		file, err = root.Open(name + partialEnding)
	}
	if err != nil {
		return nil, recordUnreadable(err)
	}
	r := &recorded{file: file, cursor: cursor{partial: partial}}
	opening := make([]byte, len(arrowOpening))
	if n, err := io.ReadFull(file, opening); err == nil && string(opening) == arrowOpening {
		r.reader, err = wire.NewReader(file)
		if err == nil {
			return r, nil
		}
		file.Close()
		if partial && errors.Is(err, wire.ErrTruncated) {
			return nil, fault.New(CodeRecordRead, fault.Usage, "the recording ends before anything crossed to stage %q: %w", b.To, errEmpty)
		}
		return nil, recordUnreadable(fmt.Errorf("%s: %w", file.Name(), err))
	} else if partial && n == 0 {
		file.Close()
		return nil, fault.New(CodeRecordRead, fault.Usage, "the recording ends before anything crossed to stage %q: %w", b.To, errEmpty)
	}
	file.Close()
	return nil, recordUnreadable(fmt.Errorf("%s is no Arrow file", file.Name()))
}
