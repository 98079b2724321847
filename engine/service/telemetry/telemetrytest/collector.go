// Package telemetrytest has a collector of traces for tests: it takes what is sent by OTLP over HTTP, and says which spans
// that was. It is not one of production.
package telemetrytest

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// Collector keeps what it is sent. URL is what OTEL_EXPORTER_OTLP_ENDPOINT is set to, beside OTEL_EXPORTER_OTLP_COMPRESSION=none.
type Collector struct {
	*httptest.Server
	mu   sync.Mutex
	sent [][]byte
}

// Span is a span as it was sent.
type Span struct {
	Trace, ID, Parent, Name string
	Start, End              uint64 // nanoseconds since 1970
	Attributes              map[string]string
	Events                  []string
	Failed                  bool
}

// New starts a collector, which ends with the test.
func New(t testing.TB) *Collector {
	c := &Collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/v1/traces" {
			http.Error(w, "no traces", http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.sent = append(c.sent, body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

// String is all that was sent, as it was.
func (c *Collector) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []byte
	for _, body := range c.sent {
		all = append(all, body...)
	}
	return string(all)
}

// Spans are all that were sent (opentelemetry/proto/collector/trace/v1 and opentelemetry/proto/trace/v1).
func (c *Collector) Spans(t testing.TB) (spans []Span) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, body := range c.sent {
		for _, resource := range fields(t, body)[1] {
			for _, scope := range fields(t, resource)[2] {
				for _, span := range fields(t, scope)[2] {
					spans = append(spans, spanOf(t, span))
				}
			}
		}
	}
	return spans
}

func spanOf(t testing.TB, message []byte) Span {
	f := fields(t, message)
	s := Span{Trace: hex.EncodeToString(last(f[1])), ID: hex.EncodeToString(last(f[2])), Parent: hex.EncodeToString(last(f[4])), Name: string(last(f[5])),
		Attributes: map[string]string{}}
	s.Start, s.End = number(last(f[7])), number(last(f[8]))
	for _, attribute := range f[9] {
		pair := fields(t, attribute)
		value := fields(t, last(pair[2]))
		switch {
		case len(value[1]) > 0:
			s.Attributes[string(last(pair[1]))] = string(last(value[1]))
		default:
			s.Attributes[string(last(pair[1]))] = fmt.Sprint(number(last(value[3])))
		}
	}
	for _, event := range f[11] {
		s.Events = append(s.Events, string(last(fields(t, event)[2])))
	}
	s.Failed = number(last(fields(t, last(f[15]))[3])) == 2
	return s
}

// fields are those of a message, by number. A number is in 8 bytes, little-endian.
func fields(t testing.TB, message []byte) map[protowire.Number][][]byte {
	out := map[protowire.Number][][]byte{}
	for len(message) > 0 {
		id, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			t.Fatalf("what was sent is no OTLP: %v", protowire.ParseError(n))
		}
		message = message[n:]
		var value []byte
		switch kind {
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			var v uint64
			v, n = protowire.ConsumeVarint(message)
			value = protowire.AppendFixed64(nil, v)
		case protowire.Fixed64Type:
			n = 8
			value = message[:min(n, len(message))]
		default:
			n = protowire.ConsumeFieldValue(id, kind, message)
		}
		if n < 0 || n > len(message) {
			t.Fatalf("what was sent is no OTLP: field %d", id)
		}
		out[id] = append(out[id], value)
		message = message[n:]
	}
	return out
}

func last(values [][]byte) []byte {
	if len(values) == 0 {
		return nil
	}
	return values[len(values)-1]
}

func number(value []byte) uint64 {
	v, n := protowire.ConsumeFixed64(value)
	if n < 0 {
		return 0
	}
	return v
}
