package mysqlchanges

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"

	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/binlog"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// checkpoint is how far the source is. Its JSON is the position that it gives, and takes.
type checkpoint struct {
	Version int `json:"v"`
	// At is where the transaction begins that comes next, or that is being delivered: Taken of its rows, of the tables of
	// the stream, are delivered already.
	At    binlog.Position `json:"at"`
	Taken int64           `json:"taken,omitempty"`
	// Of is a digest of which tables they are of.
	Of string `json:"of,omitempty"`
	// Tables are digests of name and columns of the tables that are copied, and of the one that is being copied.
	Tables []string `json:"tables,omitempty"`
	// Copying is the last of Tables, with the id of the last row of it that was delivered.
	Copying *string `json:"copying,omitempty"`
	// Unread are digests of the names of tables that are to be read again, because of foreign keys that cascade.
	Unread []string `json:"unread,omitempty"`
}

const checkpointVersion = 1

// digestSize makes two digests of one table name a pair of billions unlikely to be the same.
const digestSize = 6

// digest is a short name of a text.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:digestSize])
}

// entry is a table's in checkpoint.Tables.
func (t *table) entry() string { return t.digest() + digest(t.shape) }

// digest is the table's name in checkpoint.Unread.
func (t *table) digest() string { return digest(t.database + "." + t.name) }

func parseCheckpoint(text string) (c checkpoint, err error) {
	if len(text) > stage.LongestCheckpoint {
		return c, settingFault("/position", "a position of %d bytes; at most %d are possible", len(text), stage.LongestCheckpoint)
	}
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return c, fault.New(codePosition, fault.Usage, "the position cannot be read: %w", err).
			WithDetail(fault.DetailSetting, "/position").WithHint("give it as this source gave it, or leave it empty to copy everything first")
	}
	if c.Version != checkpointVersion {
		return c, fault.New(codePosition, fault.Usage, "the position is of version %d, and this source reads version %d", c.Version, checkpointVersion).
			WithDetail(fault.DetailSetting, "/position").WithHint("run the version that gave it, or reset the stream from 0")
	}
	return c, nil
}

// text is the position as it is given.
func (c checkpoint) text() (string, error) {
	c.Version = checkpointVersion
	text, err := json.Marshal(c)
	if err != nil {
		return "", fault.New(codePosition, fault.Internal, "the position cannot be written: %w", err)
	}
	if len(text) > stage.LongestCheckpoint {
		return "", fault.New(codePositionSize, fault.Source, "the position has %d bytes, of which the GTIDs are %d; at most %d are possible",
			len(text), len(c.At.GTIDs), stage.LongestCheckpoint).
			WithHint("the server's gtid_executed has gaps: fill them with empty transactions, or follow fewer tables")
	}
	return string(text), nil
}

// copied says whether a table is among those that are copied, and whether its columns are as they were then.
func (c *checkpoint) copied(t *table) (copied, same bool) {
	entry := t.entry()
	name := entry[:len(entry)/2]
	at := slices.IndexFunc(c.Tables, func(e string) bool { return len(e) == len(entry) && e[:len(name)] == name })
	if at < 0 {
		return false, true
	}
	return c.Copying == nil || at < len(c.Tables)-1, c.Tables[at] == entry
}

// order is the place of a table in the copy: the one that is being copied comes first.
func (c *checkpoint) order(t *table) int {
	if entry := t.entry(); c.Copying != nil && len(c.Tables) > 0 && c.Tables[len(c.Tables)-1] == entry {
		return 0
	}
	return 1
}
