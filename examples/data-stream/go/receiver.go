package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"net/http"
	"slices"
	"time"
)

// MaxBody is more than a body has, in bytes, before it was compressed.
const MaxBody = 8 << 20

// Receiver answers the requests of a stream.
type Receiver struct {
	Secret       string
	Organization string
	Copy         *Copy
	// Most is how long a request is worked on.
	Most time.Duration
}

// refusal is the status of an answer, and why.
type refusal struct {
	status int
	why    string
}

func (r *refusal) Error() string { return r.why }

// posted is a request that was read.
type posted struct {
	channel   string
	documents []Document
}

func (r *Receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	p, err := r.read(w, request)
	if refused := (*refusal)(nil); errors.As(err, &refused) {
		if refused.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http.MethodPost)
		}
		http.Error(w, refused.why, refused.status)
		return
	}
	last, err := r.Copy.Take(request.Context(), p.channel, p.documents, time.Now().Add(r.Most))
	if err != nil {
		log.Printf("%s: %v", p.channel, err)
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	}
	// Where more is there than was sent, the answer is about what was sent.
	last = min(last, p.documents[len(p.documents)-1].Sequence)
	fmt.Printf("%s: %d documents came, up to %d\n", p.channel, len(p.documents), last)
	w.Header().Set("Content-Type", "application/json")
	// Whoever does not hear the answer sends the same again.
	_ = json.NewEncoder(w).Encode(struct {
		Status       string `json:"status"`
		Organization string `json:"organization_id"`
		Channel      string `json:"channel"`
		Last         int64  `json:"max_sequence_processed"`
	}{"ok", r.Organization, p.channel, last})
}

// read checks a request and takes it apart. Every error is a refusal.
func (r *Receiver) read(w http.ResponseWriter, request *http.Request) (*posted, error) {
	if request.Method != http.MethodPost {
		return nil, &refusal{http.StatusMethodNotAllowed, "documents are posted"}
	}
	// Hashes are compared, so that how long it takes tells nothing of the secret, not even its length.
	got, want := sha256.Sum256([]byte(request.Header.Get("Authorization"))), sha256.Sum256([]byte("bearer "+r.Secret))
	if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		return nil, &refusal{http.StatusUnauthorized, "the secret is not right"}
	}
	if media, _, err := mime.ParseMediaType(request.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, &refusal{http.StatusUnsupportedMediaType, "the type is not application/json"}
	}
	if request.Header.Get("Encoding") != "gzip" {
		return nil, &refusal{http.StatusUnsupportedMediaType, "the encoding is not gzip"}
	}
	body, err := inflate(http.MaxBytesReader(w, request.Body, MaxBody))
	if err != nil {
		return nil, err
	}
	var whole struct {
		Channel      string `json:"channel"`
		Organization string `json:"organization_id"`
		Documents    []struct {
			Document json.RawMessage `json:"document"`
			Sequence int64           `json:"sequence"`
		} `json:"documents"`
	}
	if err := json.Unmarshal(body, &whole); err != nil {
		return nil, &refusal{http.StatusBadRequest, "the body is not what a stream sends"}
	}
	switch {
	case whole.Organization != r.Organization:
		return nil, &refusal{http.StatusForbidden, "the documents of another organization are not taken"}
	case !slices.Contains(Channels, whole.Channel):
		return nil, &refusal{http.StatusBadRequest, "there is no such channel"}
	case len(whole.Documents) == 0:
		return nil, &refusal{http.StatusBadRequest, "there are no documents"}
	}
	p := &posted{channel: whole.Channel}
	before := int64(0)
	for _, d := range whole.Documents {
		document, err := parse(d.Document)
		if err != nil {
			return nil, err
		}
		if document.Sequence = d.Sequence; d.Sequence <= before {
			return nil, &refusal{http.StatusBadRequest, "the numbers do not ascend"}
		}
		before = d.Sequence
		p.documents = append(p.documents, document)
	}
	return p, nil
}

// parse finds what a document is about. Its members are looked up by their exact names, which encoding/json does only in a
// map: a column may be called ID or Deleted.
func parse(text []byte) (d Document, err error) {
	var members map[string]json.RawMessage
	problem := json.Unmarshal(text, &members)
	if problem == nil {
		problem = errors.Join(json.Unmarshal(members["type"], &d.Type), json.Unmarshal(members["id"], &d.ID))
	}
	if problem != nil || d.Type == "" {
		return d, &refusal{http.StatusBadRequest, "a document has no type and id"}
	}
	if string(members["deleted"]) != "true" {
		d.Body = text
	}
	return d, nil
}

// inflate reads a body that is compressed.
func inflate(compressed io.Reader) ([]byte, error) {
	whole, err := io.ReadAll(compressed)
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		return nil, &refusal{http.StatusRequestEntityTooLarge, "the body is too large"}
	} else if err != nil {
		return nil, &refusal{http.StatusBadRequest, "the body is cut off"}
	}
	z, err := gzip.NewReader(bytes.NewReader(whole))
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, "the body is not compressed with gzip"}
	}
	body, err := io.ReadAll(io.LimitReader(z, MaxBody+1))
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, "the body is not compressed with gzip"}
	}
	if len(body) > MaxBody {
		return nil, &refusal{http.StatusRequestEntityTooLarge, "the body is too large"}
	}
	return body, nil
}
