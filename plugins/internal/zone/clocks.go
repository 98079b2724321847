package zone

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk"
)

// Change is a change of clocks: from the second At since 1970 on they are Offset seconds ahead of UTC.
type Change struct{ At, Offset int64 }

// mostChanges bounds the changes of clocks: a file of the system numbers its kinds of time with a byte. Two a year of
// all that a TIMESTAMP can be in are 136.
const mostChanges = 254

// Clocks is a zone that has no name of its own, in which instants are stored as those of UTC. Its clocks are Offset
// seconds ahead at first, and change later. It is false where the changes are not in order, or are none that a zone can
// have.
func Clocks(offset int64, changes []Change) (*Zone, bool) {
	// The form in which package time reads a zone is that of files of the system (RFC 8536, version 1).
	data := append([]byte("TZif"), make([]byte, 28)...) // version, reserved, and counts of what is not there
	for _, count := range []int{len(changes), len(changes) + 1, 1} {
		data = binary.BigEndian.AppendUint32(data, uint32(count))
	}
	last := int64(math.MinInt64)
	for _, c := range changes {
		if c.At <= last || c.At != int64(int32(c.At)) {
			return nil, false
		}
		data = binary.BigEndian.AppendUint32(data, uint32(c.At))
		last = c.At
	}
	if len(changes) > mostChanges {
		return nil, false
	}
	for i := range changes {
		data = append(data, byte(i+1))
	}
	text := strconv.FormatInt(offset, 10)
	for i, at := range append([]Change{{Offset: offset}}, changes...) {
		if at.Offset <= -day || at.Offset >= day {
			return nil, false
		}
		data = binary.BigEndian.AppendUint32(data, uint32(int32(at.Offset)))
		data = append(data, 0, 0)
		if i > 0 {
			text += fmt.Sprintf(",%d=%d", at.At, at.Offset)
		}
	}
	location, err := time.LoadLocationFromTZData("", append(data, 0))
	if err != nil {
		return nil, false
	}
	return &Zone{Name: UTC, location: location, clocks: text}, true
}

// Text is what MetaClocks says of such a zone; empty of all others.
func (z *Zone) Text() string { return z.clocks }

// Of is the zone whose clocks an instant's column shows as local time; false where it is not known, or the column has
// none.
func Of(f arrow.Field) (*Zone, bool) {
	t, is := f.Type.(*arrow.TimestampType)
	if !is {
		return nil, false
	}
	text, has := f.Metadata.GetValue(sdk.MetaClocks)
	if !has {
		return Load(t.TimeZone)
	}
	var offset int64
	var changes []Change
	for i, part := range strings.Split(text, ",") {
		var c Change
		var err error
		at, ahead, has := strings.Cut(part, "=")
		if i == 0 {
			at, ahead = "0", part
		} else if !has {
			return nil, false
		}
		if c.At, err = strconv.ParseInt(at, 10, 64); err == nil {
			c.Offset, err = strconv.ParseInt(ahead, 10, 64)
		}
		if err != nil || i > mostChanges {
			return nil, false
		}
		if i == 0 {
			offset = c.Offset
			continue
		}
		changes = append(changes, c)
	}
	return Clocks(offset, changes)
}
