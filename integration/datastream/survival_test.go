package datastream

import (
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/servers"
)

var kills = flag.Int("stream-kills", 20, "how often TestStreamSurvives kills a part of what a stream goes through, on all servers together. make soak does it 200 times")

// world is all that a stream goes through.
type world struct {
	*cluster
	source, record *servers.Server
	db             *sql.DB
	network        *proxy
	to             *recorder
	history        history
	patience       time.Duration // that settle has
}

// build starts all of it, on rows that are there before the stream is enabled.
func build(t *testing.T, source, state *servers.Server, processes int, of example, rows, documents, requests int) *world {
	t.Helper()
	practice(t, source, rows)
	w := &world{source: source, record: state, db: source.Open(source.Database()), network: between(t, source.Port()), to: record(t, keep(t, of)), patience: patience}
	w.cluster = form(t, processes, state, w.network.dsn(t, source.DSN(source.Database())), map[string]any{
		"url": w.to.URL, "shared_secret": w.to.to.secret, "certificate": w.to.certificate, "channels": []string{entities, logs},
		"records_per_request": documents, "rate_limit_per_minute": requests})
	w.history = history{Organization: "clinic", MostDocuments: documents, MostRequests: requests}
	t.Cleanup(func() {
		if t.Failed() {
			_, text := w.look()
			t.Logf("the stream is %s", text)
		}
	})
	return w
}

// kill kills a part, and starts it again when it is one that has to be. It says what it was.
func (w *world) kill(t *testing.T, turn int) string {
	t.Helper()
	kinds := []string{"service", "receiver", "network to the database", "database", "network to the receiver", "plugin", "receiver", "silence of the database"}
	if w.record != nil {
		kinds = append(kinds, "record")
	}
	kind := kinds[turn%len(kinds)]
	switch kind {
	case "service":
		n := w.nodes[rand.IntN(len(w.nodes))]
		n.kill()
		w.begin(t, n)
	case "receiver":
		w.to.to.kill()
		w.to.to.start(t)
	case "network to the database":
		w.network.cut()
	case "silence of the database":
		w.network.hold(true)
		<-time.After(time.Duration(rand.IntN(2000)) * time.Millisecond) // a moment is what the test is about
		w.network.cut()
		w.network.hold(false)
	case "network to the receiver":
		w.to.CloseClientConnections()
	case "database":
		w.source.Kill()
		w.source.Start()
	case "record":
		from := time.Now()
		w.record.Kill()
		w.record.Start()
		w.history.Records = append(w.history.Records, span{From: from, Until: time.Now()})
	case "plugin":
		if list := w.plugins(); len(list) > 0 {
			_ = syscall.Kill(list[rand.IntN(len(list))], syscall.SIGKILL) // it may have ended by itself
		}
	}
	return kind
}

// reset has a part of a channel sent again.
func (w *world) reset(t *testing.T, channel string) {
	t.Helper()
	from := time.Now()
	w.must(t, http.MethodPost, "/disable", nil)
	above := int64(0)
	v, _ := w.look()
	for _, c := range v.Channels {
		if c.Channel == channel && c.Sequence > 0 {
			above = rand.Int64N(c.Sequence + 1)
		}
	}
	w.must(t, http.MethodPost, "/reset", map[string]any{"channel": channel, "above": above})
	w.must(t, http.MethodPost, "/enable", nil)
	w.history.Resets = append(w.history.Resets, reset{From: from, Until: time.Now(), Channel: channel})
}

// halfEvent is what a server says that cannot read its log on.
const halfEvent = "truncated in the middle of event"

// mended has everything copied anew where a server that was killed has left half an event at the end of a file of its log:
// MariaDB keeps it and does not read on (MySQL cuts it off when it starts), so that the stream stands.
func (w *world) mended(t *testing.T, status string) bool {
	t.Helper()
	if !strings.Contains(status, halfEvent) {
		return false
	}
	t.Logf("half an event is left in the log, and all is copied anew: %s", status)
	from := time.Now()
	w.must(t, http.MethodPost, "/disable", nil)
	w.must(t, http.MethodPost, "/reset", map[string]any{"channel": entities, "above": 0, "anew": true})
	w.must(t, http.MethodPost, "/enable", nil)
	for _, channel := range []string{entities, logs} {
		w.history.Resets = append(w.history.Resets, reset{From: from, Until: time.Now(), Channel: channel})
	}
	return true
}

// settle waits until the copy is the database, and returns what is seen of the stream by then.
func (w *world) settle(t *testing.T) *history {
	t.Helper()
	c, err := compare(t.Context(), w.db)
	if err != nil {
		t.Fatal(err)
	}
	if w.history.Wanted, err = c.wanted(t.Context(), w.db); err != nil {
		t.Fatal(err)
	}
	over := time.Now().Add(w.patience)
	for {
		v, text := w.look() // before the copy, which has all that was acknowledged by now
		behind := len(v.Channels) == 0
		for _, c := range v.Channels {
			behind = behind || c.Sequence != c.Acknowledged || c.Waiting > 0 || c.Again > 0
		}
		late := time.Now().After(over)
		there := map[key]string{}
		if !behind || late {
			copy, _, err := copied(w.to.to.db)
			if err != nil {
				t.Fatal(err)
			}
			w.history.Copy = c.spellAll(copy)
			for k, d := range w.history.Copy {
				if !d.Deleted {
					there[k] = d.Document
				}
			}
			if !behind && maps.Equal(there, w.history.Wanted) {
				break
			}
		}
		if v.Status == "stopped" && !w.mended(t, text) {
			t.Errorf("the stream stands: %s", text)
			break
		}
		if late {
			t.Errorf("after %v the copy is not the database: %d documents, want %d", w.patience, len(there), len(w.history.Wanted))
			break
		}
		<-time.After(300 * time.Millisecond)
	}
	w.history.Exchanges = w.to.all()
	return &w.history
}

// TestStreamSurvives kills services, their plugins, receivers, databases, records and the network between them at random moments, while
// rows change and the receiver takes requests in part, slowly, wrongly or not at all: in the end the copy is the database, and
// nothing of what was seen breaks what is promised.
func TestStreamSurvives(t *testing.T) {
	t.Parallel()
	worlds := []struct {
		name      string
		source    func(t *testing.T) *servers.Server
		record    func(t *testing.T) *servers.Server
		processes int
		of        func(testing.TB) example
	}{
		{"MariaDB, one process, a receiver in Python", func(t *testing.T) *servers.Server { return servers.PrivateMariaDB(t, logging["MariaDB"]...) }, nil, 1, inPython},
		{"MySQL, two processes with a record on MariaDB, a receiver in Go", func(t *testing.T) *servers.Server { return servers.PrivateMySQL(t, logging["MySQL"]...) },
			func(t *testing.T) *servers.Server { return servers.PrivateMariaDB(t) }, 2, inGo},
	}
	if *kills > 20 {
		worlds = append(worlds, worlds[0])
		worlds[2].name, worlds[2].source = "MySQL without GTID, one process, a receiver in Go", func(t *testing.T) *servers.Server {
			return servers.PrivateMySQL(t, logging["MySQL without GTID"]...)
		}
	}
	documents := 200
	rounds := (*kills + len(worlds) - 1) / len(worlds)
	if *kills > 20 {
		documents = 1000 // the load goes on for minutes, and is faster than what the rate limit allows of small requests
	}
	for _, of := range worlds {
		t.Run(of.name, func(t *testing.T) {
			t.Parallel()
			var record *servers.Server
			if of.record != nil {
				record = of.record(t)
			}
			w := build(t, of.source(t), record, of.processes, of.of(t), 3000, documents, 300)
			w.patience += time.Duration(rounds) * 5 * time.Second // for what waits
			w.survive(t, rounds)
		})
	}
}

// survive does the rounds.
func (w *world) survive(t *testing.T, rounds int) {
	w.to.behave(moody(9))
	l := &load{db: w.db, large: 1500, pause: 60 * time.Millisecond}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	wait := l.start(ctx, 2)
	began := time.Now()
	w.must(t, http.MethodPost, "/enable", nil)
	killed := map[string]int{}
	start := rand.IntN(9)
	for n := range rounds {
		<-time.After(time.Duration(rand.IntN(2500)) * time.Millisecond) // a moment is what the test is about
		before := w.to.count()
		killed[w.kill(t, start+n)]++
		if n%4 == 3 {
			eventually(t, "documents behind a kill", func() bool {
				if v, text := w.look(); v.Status == "stopped" && !w.mended(t, text) {
					t.Fatalf("the stream stands: %s", text)
				}
				return w.to.count() > before
			})
		}
		if n%8 == 5 {
			w.reset(t, []string{entities, logs}[rand.IntN(2)])
		}
		if v, text := w.look(); v.Status == "stopped" && !w.mended(t, text) {
			t.Fatalf("the stream stands: %s", text)
		}
	}
	stop()
	wait()
	done := l.report(t)
	killing := time.Since(began)
	w.to.behave(func() mood { return mood{} })
	h := w.settle(t)
	for _, fault := range h.faults() {
		t.Error(fault)
	}
	documents, deleted := 0, 0
	for _, e := range h.Exchanges {
		documents += len(e.Documents)
	}
	for _, d := range h.Copy {
		if d.Deleted {
			deleted++
		}
	}
	for _, n := range w.nodes {
		for what, hidden := range map[string]string{"the shared secret": w.to.to.secret, "the password of the database": w.source.Password()} {
			if strings.Contains(n.log.String(), hidden) {
				t.Errorf("a log has %s", what)
			}
		}
	}
	t.Logf("%d rounds in %.0f s, settled after %.0f s: killed %v, %d resets; %d requests with %d documents, moods %s; the copy has %d documents and %d that are gone; the load: %s",
		rounds, killing.Seconds(), time.Since(began).Seconds(), killed, len(h.Resets), len(h.Exchanges), documents, w.to.misbehaved(), len(h.Copy)-deleted, deleted, done)
}

// TestStream: a first copy and the changes behind it come once each, in order, on every server, and nothing is asked twice.
func TestStream(t *testing.T) {
	t.Parallel()
	for name, args := range logging {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := servers.PrivateMySQL
			if name == "MariaDB" {
				start = servers.PrivateMariaDB
			}
			w := build(t, start(t, args...), nil, 1, inGo(t), 3000, 300, 300)
			l := &load{db: w.db, large: 3000, pause: 20 * time.Millisecond}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			wait := l.start(ctx, 2)
			over := time.After(5 * time.Second)
			w.must(t, http.MethodPost, "/enable", nil)
			// Logs have no first copy: what was written before the stream follows the server is never sent.
			eventually(t, "changes behind the first copy", func() bool {
				return slices.ContainsFunc(w.to.all(), func(e exchange) bool { return e.Channel == logs })
			})
			<-over
			stop()
			wait()
			done := l.report(t)
			h := w.settle(t)
			for _, fault := range h.faults() {
				t.Error(fault)
			}
			// Without faults nothing is sent twice.
			numbers := map[string]int{}
			for _, e := range h.Exchanges {
				for _, d := range e.Documents {
					if numbers[fmt.Sprint(e.Channel, d.Number)]++; numbers[fmt.Sprint(e.Channel, d.Number)] == 2 {
						t.Errorf("%s %d was sent twice", e.Channel, d.Number)
					}
				}
			}
			t.Logf("%d requests with %d documents; the load: %s", len(h.Exchanges), len(numbers), done)

			// A reset counts first, and then sends what it counted, with new numbers.
			w.must(t, http.MethodPost, "/disable", nil)
			var dry, wet struct{ Documents int64 }
			if err := json.Unmarshal(w.must(t, http.MethodPost, "/reset", map[string]any{"channel": logs, "above": 0, "dry_run": true}), &dry); err != nil {
				t.Fatal(err)
			}
			from := time.Now()
			if err := json.Unmarshal(w.must(t, http.MethodPost, "/reset", map[string]any{"channel": logs, "above": 0}), &wet); err != nil {
				t.Fatal(err)
			}
			w.must(t, http.MethodPost, "/enable", nil)
			w.history.Resets = append(w.history.Resets, reset{From: from, Until: time.Now(), Channel: logs})
			already := len(h.Exchanges)
			eventually(t, "the reset to be over", func() bool {
				v, text := w.look()
				if v.Status == "stopped" {
					t.Fatalf("the stream stands: %s", text)
				}
				return !strings.Contains(text, "reset_remaining")
			})
			h = w.settle(t)
			for _, fault := range h.faults() {
				t.Error(fault)
			}
			again := int64(0)
			for _, e := range h.Exchanges[already:] {
				if e.Channel == logs {
					again += int64(len(e.Documents))
				}
			}
			if dry != wet || wet.Documents == 0 || again != wet.Documents {
				t.Errorf("a reset counts %d documents, then %d, and sends %d", dry.Documents, wet.Documents, again)
			}
		})
	}
}
