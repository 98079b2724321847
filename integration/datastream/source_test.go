package datastream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/changes"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// follower applies what the source of changes gives to a copy in memory, each batch with the position behind it, as an ingest
// does that cannot fail.
type follower struct {
	dsn      string
	position string
	copy     map[key]kept
	batches  int
	anew     int // how often all was copied anew
	origins  map[string]int
}

// run follows until the source ends, or what the test does to it ends it. Where a server that was killed has left half an event in
// its log, all is copied anew; see mended.
func (f *follower) run(ctx context.Context, again *changes.Again) error {
	err := f.once(ctx, again)
	if err == nil || !strings.Contains(err.Error(), halfEvent) {
		return err
	}
	f.anew++
	f.position = ""
	clear(f.copy)
	return f.once(ctx, again)
}

func (f *follower) once(ctx context.Context, again *changes.Again) error {
	settings := map[string]any{"url": f.dsn, "position": f.position, "page_rows": 200, "reconnect": "30s"}
	var list []map[string]any
	for _, s := range streamed {
		table := map[string]any{"table": s.table, "type": s.kind, "channel": s.channel}
		if s.rename != nil {
			table["rename"] = s.rename
		}
		list = append(list, table)
	}
	settings["tables"] = list
	if again != nil {
		text, err := json.Marshal(again)
		if err != nil {
			return err
		}
		settings["again"] = string(text)
	}
	text, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	made, err := mysqlchanges.Stage().Make(text, sdk.Env{Memory: memory.NewGoAllocator(), Count: func(string, int64) {}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	source := made.(sdk.Source)
	defer source.Close()
	if _, err := source.Open(ctx); err != nil {
		return err
	}
	for {
		batch, err := source.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		err = f.apply(batch)
		batch.Release()
		if err != nil {
			return err
		}
		if position := made.(sdk.Checkpointer).Checkpoint(); position != "" {
			f.position = position
		}
		f.batches++
	}
}

func (f *follower) apply(batch arrow.Record) error {
	text := func(column, row int) string { return batch.Column(column).(*array.String).Value(row) }
	for row := range int(batch.NumRows()) {
		k := key{text(changes.ColumnChannel, row), text(changes.ColumnType, row), text(changes.ColumnID, row)}
		f.origins[text(changes.ColumnOrigin, row)+" "+text(changes.ColumnOperation, row)]++
		switch operation := text(changes.ColumnOperation, row); operation {
		case changes.OpWrite:
			f.copy[k] = kept{Document: text(changes.ColumnDocument, row)}
		case changes.OpDelete:
			delete(f.copy, k)
		case changes.OpTruncate:
			maps.DeleteFunc(f.copy, func(other key, _ kept) bool { return other.Channel == k.Channel && other.Type == k.Type })
		default:
			return fmt.Errorf("the operation %q", operation)
		}
	}
	return nil
}

// TestSourceFollows: the source of changes alone, ended at random moments, cut from its server, with a server that is killed, gives
// what the rows are in the end, from its first copy on.
func TestSourceFollows(t *testing.T) {
	t.Parallel()
	for name, args := range logging {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := servers.PrivateMySQL
			if name == "MariaDB" {
				start = servers.PrivateMariaDB
			}
			source := start(t, args...)
			practice(t, source, 2000)
			db := source.Open(source.Database())
			network := between(t, source.Port())
			f := &follower{dsn: network.dsn(t, source.DSN(source.Database())), copy: map[key]kept{}, origins: map[string]int{}}
			l := &load{db: db, large: 2000, pause: 10 * time.Millisecond}
			loading, stop := context.WithCancel(t.Context())
			defer stop()
			wait := l.start(loading, 2)
			ended := map[string]int{}
			const rounds = 12
			for n := range rounds {
				ctx, end := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- f.run(ctx, nil) }()
				<-time.After(time.Duration(200+rand.IntN(700)) * time.Millisecond) // a moment is what the test is about
				switch n % 4 {
				case 1:
					network.cut()
					<-time.After(time.Duration(rand.IntN(700)) * time.Millisecond)
				case 3:
					if n == 7 {
						source.Kill()
						source.Start()
						<-time.After(time.Duration(rand.IntN(2000)) * time.Millisecond)
					}
				}
				end()
				err := <-done
				// A run whose first connection is cut ends with a fault by which a service runs it again.
				if f := fault.From(err); err == nil || t.Context().Err() == nil && !errors.Is(err, context.Canceled) && !f.Retryable && f.Class != fault.Connect {
					t.Fatalf("round %d: the run ended: %v", n, err)
				}
				ended[fmt.Sprint(err)]++
			}
			stop()
			wait()
			done := l.report(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := f.run(ctx, &changes.Again{}); err != nil {
				t.Fatal(err)
			}
			c, err := compare(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			want, err := c.wanted(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			check := func(what string) {
				channels := map[string]*seen{entities: {latest: map[key]int64{}}, logs: {latest: map[key]int64{}}}
				h := &history{Wanted: want, Copy: c.spellAll(f.copy)}
				h.end(channels, func(format string, args ...any) { t.Errorf(what+": "+format, args...) })
			}
			check("followed")
			t.Logf("%d documents, %d batches of %v, copied anew %d times; the load: %s; ends: %v", len(want), f.batches, f.origins, f.anew, done, ended)

			// Documents that are asked for again come in the order that was asked, those that are not there as deleted.
			var asked changes.Again
			for k := range want {
				if asked.Documents = append(asked.Documents, changes.Document{Type: k.Type, ID: k.ID}); len(asked.Documents) == 300 {
					break
				}
			}
			asked.Documents = append(asked.Documents, changes.Document{Type: "patient", ID: "77777777"}, changes.Document{Type: "booking", ID: "no:1"})
			clear(f.origins)
			if err := f.run(ctx, &asked); err != nil {
				t.Fatal(err)
			}
			if f.origins[changes.OriginAgain+" "+changes.OpWrite] != 300 || f.origins[changes.OriginAgain+" "+changes.OpDelete] != 2 {
				t.Errorf("of 300 documents and 2 that there are not came %v", f.origins)
			}
			check("asked again")
		})
	}
}
