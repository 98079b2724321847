package mysqlpoll

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"

	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// position is how far the source is. Its JSON is the checkpoint that it gives, and takes.
type position struct {
	Version int `json:"v"`
	// Seen has the latest change that was delivered of every table that is copied, by the digest of its name: microseconds
	// since 1970 of the column's own clock, or beginning.
	Seen map[string]int64 `json:"seen,omitempty"`
	// Copying is the digest of the table that is being copied, Since what Seen will have of it, and Last the last id that
	// was delivered; nil before the first.
	Copying string  `json:"copying,omitempty"`
	Since   int64   `json:"since,omitempty"`
	Last    *string `json:"last,omitempty"`
}

const positionVersion = 1

// digestSize makes it unlikely by billions that two of a few hundred names have one digest.
const digestSize = 6

// digest is a short name of a table.
func digest(database, name string) string {
	sum := sha256.Sum256([]byte(database + "\x00" + name))
	return base64.RawURLEncoding.EncodeToString(sum[:digestSize])
}

func parsePosition(text string) (p position, err error) {
	if text != "" {
		if err := json.Unmarshal([]byte(text), &p); err != nil || p.Version != positionVersion {
			return p, fault.New(codePosition, fault.Usage, "the position is none of this source").WithDetail(fault.DetailSetting, "/position").
				WithHint("give it as this source gave it, or leave it empty to copy everything first")
		}
	}
	if p.Seen == nil {
		p.Seen = map[string]int64{}
	}
	return p, nil
}

func (p position) text() (string, error) {
	p.Version = positionVersion
	text, err := json.Marshal(p)
	if err == nil && len(text) > stage.LongestCheckpoint {
		err = fault.New(codePosition, fault.Source, "the position has %d bytes; at most %d are possible", len(text), stage.LongestCheckpoint).
			WithHint("follow fewer tables in one stream")
	}
	return string(text), err
}
