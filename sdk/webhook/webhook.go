// Package webhook signs and verifies the events that CipherStream posts to its customers. It owns the form of their
// bodies, their signatures and the headers that these stand in; it never sends or receives a request, and keeps no
// secret.
//
// A receiver in Go is
//
//	verifier := webhook.Verifier{Secrets: []string{secret}}
//	var seen webhook.Seen
//	http.HandleFunc("POST /events", func(w http.ResponseWriter, r *http.Request) {
//		event, err := verifier.Request(w, r)
//		if err != nil {
//			http.Error(w, "not signed", http.StatusUnauthorized)
//			return
//		}
//		if !seen.First(event.DeliveryID) {
//			return // handled before: the answer got lost, or somebody sends it again
//		}
//		if err := handle(event); err != nil {
//			seen.Forget(event.DeliveryID) // it will come again
//			http.Error(w, "later", http.StatusServiceUnavailable)
//		}
//	})
//
// # Signatures
//
// A customer's secret is whsec_ and the standard base64 of 32 bytes. Each request is signed in three ways:
//
//   - X-CipherStream-Signature is sha256= and the hexadecimal HMAC-SHA256 (RFC 2104) of the raw body. Its key is the whole
//     text of the secret, whsec_ included. It has one value.
//   - webhook-id, webhook-timestamp and webhook-signature are those of Standard Webhooks (standardwebhooks.com): v1, and the
//     base64 HMAC-SHA256 of ID.TIMESTAMP.BODY under the decoded secret. While a secret is being rotated, two signatures
//     stand there with a space between them.
//   - the member signature of the body is sha256= and the hexadecimal HMAC-SHA256 of the body's bytes without that member,
//     from its name to the comma behind it, under the whole text of the secret. It stays with an event that is kept or
//     passed on without its headers.
//
// What is signed has the identifier of the delivery and the time of the attempt in it, so a request that somebody recorded
// is refused when it is sent again: later by its time, at once by its identifier.
package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The headers of a delivery.
const (
	HeaderSignature         = "X-CipherStream-Signature"
	HeaderID                = "Webhook-Id"
	HeaderTimestamp         = "Webhook-Timestamp"
	HeaderStandardSignature = "Webhook-Signature"
)

// Batch is the event whose Events came in one request.
const Batch = "batch"

// Codes of what is wrong with a delivery, or with a secret.
const (
	// CodeSecret: a secret is not whsec_ and the base64 of 32 bytes, or there is none.
	CodeSecret = "webhook.secret"
	// CodeSignature: there is no signature, or none is that of the body under one of the secrets.
	CodeSignature = "webhook.signature"
	// CodeTime: the delivery is older than the tolerance, or of the future.
	CodeTime = "webhook.time"
	// CodeBody: the body is no event, or cannot be read.
	CodeBody = "webhook.body"
)

// Event is a body, as it is posted.
type Event struct {
	// Event says what happened: job.completed, …; or Batch.
	Event string
	// Timestamp is when this attempt was made, to the millisecond.
	Timestamp time.Time
	// DeliveryID is the same at every attempt; a receiver handles it once.
	DeliveryID string
	// Attempt counts from 1.
	Attempt int
	// Data is a JSON object with the fields of its kind. A Batch has none.
	Data json.RawMessage
	// Events are those of a Batch, in order. Each has a DeliveryID of its own.
	Events []Event
}

// timeForm is that of timestamps in bodies.
const timeForm = "2006-01-02T15:04:05.000Z"

// document is an event in the order of its members. Signature is nil for the events of a batch, and where it is made.
type document struct {
	Event      string          `json:"event"`
	Timestamp  string          `json:"timestamp"`
	Signature  *string         `json:"signature,omitempty"`
	DeliveryID string          `json:"delivery_id"`
	Attempt    int             `json:"attempt"`
	Data       json.RawMessage `json:"data,omitempty"`
	Events     []document      `json:"events,omitempty"`
}

func (e Event) document() document {
	d := document{Event: e.Event, Timestamp: e.Timestamp.UTC().Format(timeForm), DeliveryID: e.DeliveryID, Attempt: e.Attempt, Data: e.Data}
	for _, member := range e.Events {
		d.Events = append(d.Events, member.document())
	}
	return d
}

// Sign makes the body of an event and the headers that it is posted with. The first secret is the one that is in force;
// further ones, of a rotation that is not over, sign for Standard Webhooks as well.
func Sign(e Event, secrets ...string) (body []byte, header http.Header, err error) {
	keys, err := parseSecrets(secrets)
	if err != nil {
		return nil, nil, err
	}
	d := e.document()
	unsigned, err := encode(d)
	if err != nil {
		return nil, nil, fault.New(CodeBody, fault.Internal, "an event cannot be written: %w", err)
	}
	signature := keys[0].hexadecimal(unsigned)
	d.Signature = &signature
	if body, err = encode(d); err != nil {
		return nil, nil, fault.New(CodeBody, fault.Internal, "an event cannot be written: %w", err)
	}
	at := strconv.FormatInt(e.Timestamp.Unix(), 10)
	var standard []string
	for _, key := range keys {
		standard = append(standard, standardVersion+base64.StdEncoding.EncodeToString(key.standard(e.DeliveryID, at, body)))
	}
	header = http.Header{}
	for name, value := range map[string]string{
		"Content-Type": "application/json", HeaderSignature: keys[0].hexadecimal(body),
		HeaderID: e.DeliveryID, HeaderTimestamp: at, HeaderStandardSignature: strings.Join(standard, " "),
	} {
		header.Set(name, value)
	}
	return body, header, nil
}

// encode writes a document as it is posted: links stay readable.
func encode(d document) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(d)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

const (
	secretPrefix    = "whsec_"
	secretSize      = 32
	ownPrefix       = "sha256="
	standardVersion = "v1,"
)

// NewSecret makes a secret.
func NewSecret() string {
	b := make([]byte, secretSize)
	_, _ = rand.Read(b) // it never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(b)
}

// CheckSecret says whether a text has the form of a secret.
func CheckSecret(text string) error {
	_, err := parseSecret(text)
	return err
}

// key is a secret: its text signs in our own ways, what it decodes to for Standard Webhooks.
type key struct{ text, decoded []byte }

func parseSecrets(texts []string) (keys []key, err error) {
	for _, text := range texts {
		k, err := parseSecret(text)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, fault.New(CodeSecret, fault.Usage, "there is no secret to sign or verify with")
	}
	return keys, nil
}

// parseSecret says nothing of the text in its error: it may be a secret with one letter missing.
func parseSecret(text string) (key, error) {
	encoded, ok := strings.CutPrefix(text, secretPrefix)
	decoded, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if !ok || err != nil || len(decoded) != secretSize || strings.ContainsAny(text, "\r\n") {
		return key{}, fault.New(CodeSecret, fault.Usage, "expected a webhook secret, %s and the base64 of %d bytes", secretPrefix, secretSize).
			WithHint("take the secret as it was shown: nothing before it, nothing behind it")
	}
	return key{[]byte(text), decoded}, nil
}

// hexadecimal is a signature in our own form.
func (k key) hexadecimal(body []byte) string {
	return ownPrefix + hex.EncodeToString(mac(k.text, body))
}

// standard is the signature of Standard Webhooks.
func (k key) standard(id, timestamp string, body []byte) []byte {
	return mac(k.decoded, []byte(id), []byte("."), []byte(timestamp), []byte("."), body)
}

func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}
