package object

import (
	"fmt"
	"mime"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Codes of faults that every store gives in the same case. What else may happen is coded sink.…, whichever store it is.
const (
	// CodeKey: a name that not all stores can have.
	CodeKey = "sink.key"
	// CodeMissing: no object of that key is there.
	CodeMissing = "object.missing"
	// CodeOffset: reading was to begin behind the end of the object.
	CodeOffset = "object.offset"
)

// Missing is the fault of an object that is not there.
func Missing(key string) *fault.Fault {
	return fault.New(CodeMissing, fault.Sink, "there is no object %q", key).
		WithHint("it may have been removed when its time was over: deliver it again")
}

// BadOffset is the fault of an offset that does not lie in the object.
func BadOffset(key string, size, offset int64) *fault.Fault {
	return fault.New(CodeOffset, fault.Usage, "reading of object %q was to begin at byte %d, and it has %d", key,
		offset, size)
}

// Key is the key of what an attempt of a run delivers, such as appointments_1700000000000_0a1b2c3d.1.ndjson. It holds
// the attempt, from 1, so that one that was thought dead cannot replace what a later one has delivered; all attempts of
// a run have the prefix RUN. with the dot. Who saves it sees FileName.
func Key(run string, attempt int, extension string) string {
	return fmt.Sprintf("%s.%d%s", run, attempt, extension)
}

// FileName is the name of what a run delivers, whichever attempt made it.
func FileName(run, extension string) string { return run + extension }

// Disposition is the Content-Disposition (RFC 6266) with which an object is saved under its name.
func Disposition(key string, about About) string {
	name := about.FileName
	if name == "" {
		name = path.Base(key)
	}
	return mime.FormatMediaType("attachment", map[string]string{"filename": name})
}

const (
	// maxKey is the most bytes in the name of an object in S3.
	maxKey = 1024
	// maxPart is the most bytes between two slashes: a folder adds to it while the object is on its way, and takes 255.
	maxPart = 200
	// AttributesSuffix ends the names of the files in which a folder keeps what it knows of an object.
	AttributesSuffix = ".attrs"
)

// CheckKey refuses names that a folder or S3 would have to spell differently. Slashes make folders.
func CheckKey(key string) error {
	bad := func(why string) error {
		return fault.New(CodeKey, fault.Usage, "%q is no name for an object: %s", key, why).
			WithHint("use letters, digits, - _ . and single slashes between them")
	}
	switch {
	case key == "" || len(key) > maxKey:
		return bad("it has 1 to 1024 bytes")
	case !utf8.ValidString(key):
		return bad("it must be valid UTF-8")
	case strings.HasPrefix(key, "/") || strings.HasSuffix(key, "/") || strings.Contains(key, "//"):
		return bad("no part of it between slashes may be empty")
	case strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }):
		return bad("it holds a control character or a backslash")
	}
	for _, part := range strings.Split(key, "/") {
		switch {
		case part == "." || part == "..":
			return bad("no part of it may be . or ..")
		case strings.HasSuffix(part, AttributesSuffix) || strings.HasPrefix(part, "."):
			return bad("names with a dot in front, or " + AttributesSuffix + " behind, are kept for other things")
		case len(part) > maxPart:
			return bad("a part between slashes has at most 200 bytes")
		}
	}
	return nil
}
