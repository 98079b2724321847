package mysql

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/dbtest"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// keeper keeps what a source announces.
type keeper struct {
	announced []sdk.Resource
	released  int
}

func (k *keeper) announce(_ context.Context, r sdk.Resource) (func(), error) {
	k.announced = append(k.announced, r)
	return func() { k.released++ }, nil
}

// announcing makes a source that announces to a keeper.
func announcing(t *testing.T, k *keeper, with settings) (*probe, *source) {
	t.Helper()
	p, err := newProbe(t, with)
	if err != nil {
		t.Fatal(err)
	}
	s := p.Source.(*source)
	s.env.Announce = k.announce
	return p, s
}

// eventually waits for something that takes milliseconds.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s did not come", what)
		}
	}
}

// sessions are those of a database but the one that asks.
func sessions(db *dbtest.Server) string {
	return strings.TrimSpace(db.Query("SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"))
}

// TestAnnounces: the host hears of the session before the query, without a secret, and of its end.
func TestAnnounces(t *testing.T) {
	db := dbtest.MariaDB(t)
	for _, whole := range []bool{true, false} {
		k := &keeper{}
		p, s := announcing(t, k, settings{"url": db.DSN(db.Database()), "query": "SELECT seq FROM seq_1_to_1000000"})
		if _, err := p.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		var of announced
		if len(k.announced) != 1 || k.released != 0 {
			t.Fatalf("announced are %v, %d released", k.announced, k.released)
		}
		if err := json.Unmarshal(k.announced[0].State, &of); err != nil || of.ID != s.session.id || !isLockName(of.Lock) || strings.Contains(fmt.Sprint(k.announced[0]), db.Password()) {
			t.Errorf("announced is %+v (%v)", k.announced[0], err)
		}
		if whole {
			for {
				record, err := p.Next(t.Context())
				if err != nil {
					break
				}
				record.Release()
			}
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		// A server under load may not answer the KILL in time. The session is then left to the host, and the source tells of it.
		left := strings.Count(p.told(), complaint)
		if k.released+left != 1 {
			t.Errorf("to the end %t: %d are released, and %d could not be ended", whole, k.released, left)
		}
		if left > 0 {
			if err := s.Undo(t.Context(), k.announced[0]); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestUndoEndsSession: another process ends the session of a dead one at once, though the server thinks, and again is
// no error.
func TestUndoEndsSession(t *testing.T) {
	db := dbtest.MariaDB(t)
	k := &keeper{}
	with := settings{"url": db.DSN(db.Database()), "query": "SELECT SLEEP(600)"}
	p, _ := announcing(t, k, with)
	ended := make(chan error, 1)
	go func() {
		_, err := p.Open(context.Background())
		if err == nil {
			_, err = p.Next(context.Background())
		}
		ended <- err
	}()
	eventually(t, "the query", func() bool {
		return strings.TrimSpace(db.Query("SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE 'SELECT SLEEP%'")) != "0"
	})
	_, killer := announcing(t, &keeper{}, with)
	for range 2 {
		if err := killer.Undo(t.Context(), k.announced[0]); err != nil {
			t.Error(err)
		}
	}
	if err := <-ended; err == nil {
		t.Error("the query went on to its end")
	}
	eventually(t, "the end of the session", func() bool { return sessions(db) == "0" })
}

// TestUndoHostile: no session is ended but the one that was announced, whatever is announced.
func TestUndoHostile(t *testing.T) {
	db := dbtest.MariaDB(t)
	k := &keeper{}
	with := settings{"url": db.DSN(db.Database()), "query": "SELECT seq FROM seq_1_to_200000000"}
	theirs, of := announcing(t, k, with)
	if _, err := theirs.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	var real announced
	if err := json.Unmarshal(k.announced[0].State, &real); err != nil {
		t.Fatal(err)
	}
	other := lockPrefix + strings.Repeat("A", 26)
	_, killer := announcing(t, &keeper{}, with)
	for _, c := range []struct {
		what string
		say  func(*announced)
		code string
	}{
		{"a session without its mark", func(a *announced) { a.Lock = "" }, stage.CodeForeign},
		{"a session with another mark", func(a *announced) { a.Lock = other }, stage.CodeForeign},
		{"a mark of another session", func(a *announced) { a.ID++ }, stage.CodeForeign},
		{"a mark that is a statement", func(a *announced) {
			a.Lock = lockPrefix + "x'); KILL " + fmt.Sprint(of.session.id) + "; -- AAAAAAAAAAAAAAAAAAAAAAAAAA"
		}, stage.CodeForeign},
		{"no session", func(a *announced) { a.ID = 0 }, stage.CodeForeign},
		{"another address", func(a *announced) { a.Address = "127.0.0.1:1" }, stage.CodeElsewhere},
		{"another user", func(a *announced) { a.User = "somebody" }, stage.CodeElsewhere},
		{"another server", func(a *announced) { a.Server = "another" }, codeConnect},
	} {
		said := real
		c.say(&said)
		state, err := json.Marshal(said)
		if err != nil {
			t.Fatal(err)
		}
		if err := killer.Undo(t.Context(), sdk.Resource{State: state}); !fault.Is(err, c.code) {
			t.Errorf("%s: %v, want %s", c.what, err, c.code)
		}
	}
	for _, garbage := range []string{"", "null", "{}", "[]", "\xff", strings.Repeat("{", 1<<20)} {
		if err := killer.Undo(t.Context(), sdk.Resource{State: []byte(garbage)}); !fault.Is(err, stage.CodeForeign) {
			t.Errorf("%.20q: %v", garbage, err)
		}
	}
	record, err := theirs.Next(t.Context())
	if err != nil {
		t.Fatalf("somebody else's session: %v", err)
	}
	record.Release()
}
