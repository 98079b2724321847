package mysqlchanges_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// TestKilled: a run goes on when its server was killed and is there again.
func TestKilled(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, own *servers.Server) {
		s := server{own, own.Database()}
		s.Exec(createA + "INSERT INTO a VALUES (-1, 'first')")
		st := open(t, s, ofA("a"))
		st.until("the first copy", func() bool { return len(st.copy) == 1 })
		st.changes = nil
		var want []string
		for round := range 3 {
			var script strings.Builder
			for i := range 50 {
				fmt.Fprintf(&script, "INSERT INTO a VALUES (%d, 'x');", round*50+i)
				want = append(want, fmt.Sprintf("write a %d", round*50+i))
			}
			s.Exec(script.String())
			s.Kill()
			started := make(chan struct{})
			go func() {
				defer close(started)
				s.Start()
			}()
			st.until("what was committed", func() bool { return len(st.changes) >= len(want) })
			<-started
		}
		if strings.Join(st.changes, "\n") != strings.Join(want, "\n") {
			t.Errorf("%d changes came, want %d", len(st.changes), len(want))
		}
		st.same(s, "a")
	})
}

// TestByFile: a MySQL server without GTIDs is followed by file and offset.
func TestByFile(t *testing.T) {
	t.Parallel()
	s := start(t, "mysql", "--gtid-mode=OFF", "--enforce-gtid-consistency=OFF")
	t.Run("follow", func(t *testing.T) {
		for name, test := range map[string]func(t *testing.T, s server){
			"changes": testChanges, "resume": testResume, "copy": testCopy, "again": testAgain, "compressed": testCompressed, "cut": testCut,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				own := s.For(t)
				test(t, server{own, own.NewDatabase()})
			})
		}
	})
	t.Run("oracle", func(t *testing.T) { testOracle(t, s) })
	t.Run("lost", func(t *testing.T) {
		own := s.For(t)
		testLost(t, server{own, own.NewDatabase()})
	})
}
