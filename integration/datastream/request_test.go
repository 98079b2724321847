package datastream

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
)

// The names of the channels.
const (
	entities = "entities"
	logs     = "logs"
)

// mostBody is more than a body may have, uncompressed.
const mostBody = 8 << 20

// numbered is a document of a request.
type numbered struct {
	Document json.RawMessage `json:"document"`
	Sequence int64           `json:"sequence"`
}

// request is the body of one.
type request struct {
	Channel      string     `json:"channel"`
	Organization string     `json:"organization_id"`
	Documents    []numbered `json:"documents"`
}

// answer is what a receiver says.
type answer struct {
	Status       string `json:"status"`
	Organization string `json:"organization_id"`
	Channel      string `json:"channel"`
	Last         int64  `json:"max_sequence_processed"`
}

// written is a document of a type with one more member, and gone one that is not there any more.
func written(sequence int64, kind, id, value string) numbered {
	text, _ := json.Marshal(struct { // strings can be written
		ID    string `json:"id"`
		Type  string `json:"type"`
		Value string `json:"value"`
	}{id, kind, value})
	return numbered{text, sequence}
}

func gone(sequence int64, kind, id string) numbered {
	text, _ := json.Marshal(struct { // strings can be written
		ID      string `json:"id"`
		Type    string `json:"type"`
		Deleted bool   `json:"deleted"`
	}{id, kind, true})
	return numbered{text, sequence}
}

func compressed(text []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(text) // to memory
	_ = z.Close()
	return out.Bytes()
}

// sender posts as a stream does.
type sender struct {
	client               *http.Client
	secret, organization string
}

// post sends documents, after change has made something else of the request, and returns the answer, or why it is none.
func (s *sender) post(url, channel string, change func(*http.Request, *[]byte), documents ...numbered) (a answer, status int, err error) {
	text, err := json.Marshal(request{channel, s.organization, documents})
	if err != nil {
		return a, 0, err
	}
	body := compressed(text)
	r, err := http.NewRequest(http.MethodPost, url, nil)
	if err != nil {
		return a, 0, err
	}
	r.Header.Set("Content-Type", "application/json; charset=utf8")
	r.Header.Set("Encoding", "gzip")
	r.Header.Set("Authorization", "bearer "+s.secret)
	if change != nil {
		change(r, &body)
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	came, err := s.client.Do(r)
	if err != nil {
		return a, 0, err
	}
	defer came.Body.Close()
	said, err := io.ReadAll(came.Body)
	if err == nil && came.StatusCode == http.StatusOK {
		err = json.Unmarshal(said, &a)
	}
	if err != nil {
		return a, came.StatusCode, fmt.Errorf("%s: %w: %s", came.Status, err, said)
	}
	return a, came.StatusCode, nil
}

// must sends documents, and wants them to be taken up to a number.
func (s *sender) must(t *testing.T, url, channel string, want int64, documents ...numbered) {
	t.Helper()
	a, status, err := s.post(url, channel, nil, documents...)
	if err != nil || status != http.StatusOK || a != (answer{"ok", s.organization, channel, want}) {
		t.Fatalf("%d documents of %s: %d %+v, %v; want up to %d", len(documents), channel, status, a, err, want)
	}
}
