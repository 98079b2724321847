package changes

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	"github.com/cipherstream/cipherstream/sdk/changes"
)

func newTestSealer(t testing.TB) *sealer {
	t.Helper()
	key, err := datakey.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return newSealer(key, clinic)
}

// sealedDocuments are documents that wait, with numbers as long as there are.
func sealedDocuments(s *sealer, n, width int) (waiting []store.Waiting) {
	for i := range n {
		id := strconv.Itoa(i)
		text := fmt.Appendf(nil, `{"id":%q,"type":"patient","value":%q}`, id, strings.Repeat("x", width))
		waiting = append(waiting, store.Waiting{Sequence: 1<<62 + int64(i), Type: "patient", ID: id, Sealed: s.seal(Entities, "patient", id, text)})
	}
	return waiting
}

// TestBody: a body has as many of the first documents as fit, one at least, and never 8 MiB.
func TestBody(t *testing.T) {
	t.Parallel()
	s := &sender{stream: store.Stream{Customer: clinic, OrganizationID: "\u0001\"<é>"}, channel: Entities, sealer: newTestSealer(t)}
	for _, c := range []struct{ n, width, want int }{
		{1, 10, 1}, {1000, 10, 1000}, {20, 1 << 20, 7}, {3, mostDocument - 100, 1}, {1000, 8320, 998},
	} {
		body, n, err := s.make(sealedDocuments(s.sealer, c.n, c.width))
		var parsed struct {
			Channel      string `json:"channel"`
			Organization string `json:"organization_id"`
			Documents    []struct {
				Document map[string]string `json:"document"`
				Sequence int64             `json:"sequence"`
			} `json:"documents"`
		}
		if err != nil || len(body) >= 8<<20 || json.Unmarshal(body, &parsed) != nil {
			t.Fatalf("%+v: %d bytes, %v", c, len(body), err)
		}
		if n != c.want || len(parsed.Documents) != n || parsed.Channel != Entities || parsed.Organization != s.stream.OrganizationID {
			t.Errorf("%+v: %d documents, %d of them there, %q", c, n, len(parsed.Documents), parsed.Organization)
		}
		for i, d := range parsed.Documents {
			if d.Document["id"] != strconv.Itoa(i) || d.Sequence != 1<<62+int64(i) {
				t.Fatalf("%+v: %d has the number %d", c, i, d.Sequence)
			}
		}
	}
}

// BenchmarkBody makes bodies of 1,000 documents of 500 bytes.
func BenchmarkBody(b *testing.B) {
	s := &sender{stream: store.Stream{Customer: clinic}, channel: Entities, sealer: newTestSealer(b)}
	waiting := sealedDocuments(s.sealer, 1000, 500)
	b.ReportAllocs()
	for b.Loop() {
		body, _, err := s.make(waiting)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(body)))
	}
	b.ReportMetric(float64(b.N*len(waiting))/b.Elapsed().Seconds(), "documents/s")
}

// nowhere is a stream's database that keeps nothing.
type nowhere struct{ store.StreamLog }

func (nowhere) State(context.Context) (store.StreamState, error) { return store.StreamState{}, nil }
func (nowhere) Append(_ context.Context, _ int64, a store.Append) (int, error) {
	return len(a.Changes), nil
}

// BenchmarkSink takes batches of 8,192 documents of 500 bytes: all that is done of them but writing.
func BenchmarkSink(b *testing.B) {
	const rows = 8192
	var events []event
	for i := range rows {
		id := strconv.Itoa(i)
		events = append(events, event{key: key{Entities, "patient", id}, operation: changes.OpWrite,
			document: fmt.Sprintf(`{"id":%q,"type":"patient","value":%q}`, id, strings.Repeat("x", 450))})
	}
	rec := batchOf(changes.OriginLog, events)
	defer rec.Release()
	h := &held{m: &Manager{cfg: Config{Observer: nobody{}, Limits: Limits{Documents: 1 << 40, Bytes: 1 << 50}}},
		book: &book{log: nowhere{}, limit: newLimit(60, sent{}, time.Now())}}
	s := &sink{reader: &reader{held: h, stream: store.Stream{Channels: Channels}, sealer: newTestSealer(b)}, waiting: map[string]store.ChannelState{}}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Write(b.Context(), engine.Rows{Record: rec, Checkpoint: "p"}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "documents/s")
}
