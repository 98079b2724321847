package mysql

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

// TestRowsDoNotWaitForTheirBatch: what the server has sent is given on while it works on
// the rest, which here takes an hour.
func TestRowsDoNotWaitForTheirBatch(t *testing.T) {
	db := dbtest.MariaDB(t)
	for _, protocol := range []string{"binary", "text"} {
		t.Run(protocol, func(t *testing.T) {
			p, err := newProbe(t, settings{"url": db.DSN(db.Database()), "protocol": protocol,
				"query": "SELECT seq, REPEAT('x', 20000), SLEEP(IF(seq > 3, 3600, 0)) FROM seq_1_to_100"})
			if err != nil {
				t.Fatal(err)
			}
			if p.Source.(*source).flushAfter != time.Second {
				t.Errorf("rows wait for %s, not for a second", p.Source.(*source).flushAfter)
			}
			p.Source.(*source).flushAfter = 10 * time.Millisecond
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if _, err := p.Open(ctx); err != nil {
				t.Fatal(err)
			}
			var rows int64
			for rows < 2 { // the server itself holds back the end of the third
				record, err := p.Next(ctx)
				if err != nil {
					t.Fatalf("after %d rows: %v", rows, err)
				}
				rows += record.NumRows()
				record.Release()
			}
			if rows > 3 {
				t.Errorf("%d rows came of 3", rows)
			}
		})
	}
}

// TestFlushLosesNothing gives on what there is whenever the next packet is not there as a
// whole, which cuts batches, and packets in the buffer, at any place.
func TestFlushLosesNothing(t *testing.T) {
	db := dbtest.MariaDB(t)
	with := settings{"url": db.DSN(db.Database()), "query": "SELECT seq, MD5(seq), REPEAT(CHAR(65 + seq % 26), " +
		"CASE WHEN seq % 97 = 0 THEN 700000 WHEN seq % 10 = 0 THEN 20000 ELSE seq % 300 END) FROM seq_1_to_2000"}
	for _, timeout := range []string{"0s", "30s"} {
		with["read_timeout"] = timeout
		want := mustRead(t, with).rows
		p, err := newProbe(t, with)
		if err != nil {
			t.Fatal(err)
		}
		p.Source.(*source).flushAfter = -1 // has passed when the first row is there
		_, got, batches, err := p.read()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("read_timeout %s: %d rows in %d batches differ from the %d of whole batches", timeout, len(got), batches, len(want))
		}
		if batches < 10 {
			t.Errorf("read_timeout %s: only %d batches, which shows nothing", timeout, batches)
		}
	}
}
