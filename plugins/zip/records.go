package zip

import (
	"encoding/binary"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Signatures, and the values of fields, by the sections of APPNOTE.TXT.
const (
	signLocal      = 0x04034b50 // 4.3.7
	signDescriptor = 0x08074b50 // 4.3.9
	signDirectory  = 0x02014b50 // 4.3.12
	signEnd64      = 0x06064b50 // 4.3.14
	signLocator64  = 0x07064b50 // 4.3.15
	signEnd        = 0x06054b50 // 4.3.16

	methodStore   = 0
	methodDeflate = 8

	flagDescriptor = 1 << 3
	flagUTF8       = 1 << 11

	versionDeflate = 20
	versionZip64   = 45
	madeByUnix     = 3 << 8

	extraZip64 = 1
	// elsewhere in a field of 32 bits says that the value is in the Zip64 form.
	elsewhere = 0xffffffff
	// ownerOnly is the mode of a regular file, -rw-------, where Unix has it.
	ownerOnly = 0o100600 << 16
)

// entry is the one entry of an archive. It stands at the start.
//
// The records are not archive/zip's (Writer.CreateRaw): from 4 GiB on it gives the entry's offset in
// the Zip64 field, although the usual field has it (golang.org/issue/23572), which section 4.5.3
// forbids; 7-Zip warns of such an archive, and readers of .NET and The Unarchiver have refused it.
type entry struct {
	name     string
	modified time.Time
	method   uint16
	// streamed says that checksum and sizes are not known before the data.
	streamed bool

	sum          uint32
	size, packed uint64
}

// long reports whether the sizes need the Zip64 form.
func (e *entry) long() bool { return e.size >= elsewhere || e.packed >= elsewhere }

func (e *entry) flags() (flags uint16) {
	if e.streamed {
		flags |= flagDescriptor
	}
	for i := range len(e.name) {
		if e.name[i] >= utf8.RuneSelf {
			return flags | flagUTF8
		}
	}
	return flags
}

// appendCommon appends what a local header and a directory entry share, from the
// flags to the checksum.
func (e *entry) appendCommon(b []byte, sum uint32) []byte {
	t := e.modified
	b = binary.LittleEndian.AppendUint16(b, e.flags())
	b = binary.LittleEndian.AppendUint16(b, e.method)
	b = binary.LittleEndian.AppendUint16(b, uint16(t.Hour()<<11|t.Minute()<<5|t.Second()/2))
	b = binary.LittleEndian.AppendUint16(b, uint16((t.Year()-1980)<<9|int(t.Month())<<5|t.Day()))
	return binary.LittleEndian.AppendUint32(b, sum)
}

// appendLocal appends the local header, which comes before the data. It never has
// a Zip64 field: whether one is needed shows later, and readers that go by the
// directory, like those that count as they read, do without.
func (e *entry) appendLocal(b []byte) []byte {
	var sum uint32
	var size, packed uint64
	if !e.streamed {
		sum, size, packed = e.sum, e.size, e.packed
	}
	b = binary.LittleEndian.AppendUint32(b, signLocal)
	b = binary.LittleEndian.AppendUint16(b, versionDeflate)
	b = e.appendCommon(b, sum)
	b = binary.LittleEndian.AppendUint32(b, uint32(packed))
	b = binary.LittleEndian.AppendUint32(b, uint32(size))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(e.name)))
	b = binary.LittleEndian.AppendUint16(b, 0)
	return append(b, e.name...)
}

// appendEnd appends everything behind the data: the data descriptor of a streamed
// entry, and the directory.
func (e *entry) appendEnd(b []byte) []byte {
	at := uint64(len(e.appendLocal(nil))) + e.packed
	start := len(b)
	if e.streamed {
		b = e.appendDescriptor(b)
		at += uint64(len(b) - start)
	}
	start = len(b)
	b = e.appendDirectory(b)
	return appendDirectoryEnd(b, at, uint64(len(b)-start))
}

func (e *entry) appendDescriptor(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, signDescriptor)
	b = binary.LittleEndian.AppendUint32(b, e.sum)
	if e.long() {
		b = binary.LittleEndian.AppendUint64(b, e.packed)
		return binary.LittleEndian.AppendUint64(b, e.size)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(e.packed))
	return binary.LittleEndian.AppendUint32(b, uint32(e.size))
}

func (e *entry) appendDirectory(b []byte) []byte {
	version, packed, size := uint16(versionDeflate), uint32(e.packed), uint32(e.size)
	var extra []byte
	if e.long() {
		version, packed, size = versionZip64, elsewhere, elsewhere
		extra = binary.LittleEndian.AppendUint16(extra, extraZip64)
		extra = binary.LittleEndian.AppendUint16(extra, 16)
		extra = binary.LittleEndian.AppendUint64(extra, e.size)
		extra = binary.LittleEndian.AppendUint64(extra, e.packed)
	}
	b = binary.LittleEndian.AppendUint32(b, signDirectory)
	b = binary.LittleEndian.AppendUint16(b, madeByUnix|version)
	b = binary.LittleEndian.AppendUint16(b, version)
	b = e.appendCommon(b, e.sum)
	b = binary.LittleEndian.AppendUint32(b, packed)
	b = binary.LittleEndian.AppendUint32(b, size)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(e.name)))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(extra)))
	b = append(b, 0, 0, 0, 0, 0, 0) // no comment, first disk, not known to be text
	b = binary.LittleEndian.AppendUint32(b, ownerOnly)
	b = binary.LittleEndian.AppendUint32(b, 0) // the entry stands at the start
	b = append(b, e.name...)
	return append(b, extra...)
}

// appendDirectoryEnd appends the end records of a directory of one entry that
// stands at an offset and has a size.
func appendDirectoryEnd(b []byte, at, size uint64) []byte {
	short := uint32(at)
	if at >= elsewhere {
		short = elsewhere
		b = binary.LittleEndian.AppendUint32(b, signEnd64)
		b = binary.LittleEndian.AppendUint64(b, 44) // bytes that follow
		b = binary.LittleEndian.AppendUint16(b, madeByUnix|versionZip64)
		b = binary.LittleEndian.AppendUint16(b, versionZip64)
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0) // the only disk
		b = binary.LittleEndian.AppendUint64(b, 1)
		b = binary.LittleEndian.AppendUint64(b, 1)
		b = binary.LittleEndian.AppendUint64(b, size)
		b = binary.LittleEndian.AppendUint64(b, at)

		b = binary.LittleEndian.AppendUint32(b, signLocator64)
		b = binary.LittleEndian.AppendUint32(b, 0)
		b = binary.LittleEndian.AppendUint64(b, at+size)
		b = binary.LittleEndian.AppendUint32(b, 1)
	}
	b = binary.LittleEndian.AppendUint32(b, signEnd)
	b = append(b, 0, 0, 0, 0) // the only disk
	b = append(b, 1, 0, 1, 0) // one entry, of one
	b = binary.LittleEndian.AppendUint32(b, uint32(size))
	b = binary.LittleEndian.AppendUint32(b, short)
	return append(b, 0, 0) // no comment
}

// checkName refuses names that a tool might extract to somewhere else, or not at
// all.
func checkName(name string) error {
	bad := func(r rune) bool { return unicode.IsControl(r) || strings.ContainsRune(`/\:*?"<>|`, r) }
	if name == "" || !utf8.ValidString(name) || strings.ContainsFunc(name, bad) || strings.Trim(name, ". ") != name {
		return fault.New("zip.name", fault.Usage, "%q is no name for an entry", name).
			WithHint(`give a plain file name without an ending, without / \ : * ? " < > | and without a dot or a space at its ends`)
	}
	return nil
}

// earliest is the first time that an archive can hold.
var earliest = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

func parseTime(text string) (time.Time, error) {
	if text == "" {
		return earliest, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fault.New("zip.modified", fault.Usage, "%q is no time", text).
			WithHint("write it as 2024-01-31T10:00:00Z")
	}
	t = t.UTC()
	if t.Before(earliest) || t.Year() > 2107 {
		return t, fault.New("zip.modified", fault.Usage, "a zip archive cannot hold the time %s", text).
			WithHint("times from 1980 to 2107 can be held")
	}
	return t, nil
}
