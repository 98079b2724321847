package mysqlchanges_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/plugins/mysql"
	"github.com/cipherstream/cipherstream/plugins/mysqlchanges/binlog"
	"github.com/cipherstream/cipherstream/sdk/config"
)

func TestMain(m *testing.M) { servers.Main(m) }

// logging is what makes a server write a log as streams need it.
var logging = []string{"--server-id=1", "--log-bin=binlog", "--binlog-format=ROW", "--binlog-row-image=FULL", "--sync-binlog=0"}

// server is a database of a server.
type server struct {
	*servers.Server
	database string
}

// Exec runs a script in the database.
func (s server) Exec(sql string) { s.Server.Exec("USE " + s.database + "; " + sql) }

// start starts a server of a sort that writes a log.
func start(t *testing.T, kind string, args ...string) *servers.Server {
	if kind == "mariadb" {
		return servers.PrivateMariaDB(t, append(logging, args...)...)
	}
	return servers.PrivateMySQL(t, append(append([]string{"--gtid-mode=ON", "--enforce-gtid-consistency=ON"}, logging...), args...)...)
}

// TestStreams runs the tests that share a server of each sort, and then those that spoil its log.
func TestStreams(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"mysql", "mariadb"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := start(t, kind)
			t.Run("follow", func(t *testing.T) {
				for name, test := range map[string]func(t *testing.T, s server){
					"log": testLog, "changes": testChanges, "resume": testResume, "harmless": testHarmless, "copy": testCopy,
					"again": testAgain, "compressed": testCompressed, "cut": testCut, "large": testLarge, "keys": testKeys, "spoilt": testSpoilt,
					"cascades": testCascades, "random cascades": testCascadesRandom, "announced": testAnnounced,
				} {
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						own := s.For(t)
						test(t, server{own, own.NewDatabase()})
					})
				}
			})
			t.Run("oracle", func(t *testing.T) { testOracle(t, s) })
			t.Run("verdicts", func(t *testing.T) { testVerdicts(t, s) })
			t.Run("lost", func(t *testing.T) {
				own := s.For(t)
				testLost(t, server{own, own.NewDatabase()})
			})
		})
	}
}

// kinds starts a server of each sort for a test that needs ones of its own.
func kinds(t *testing.T, test func(t *testing.T, s *servers.Server), mysqlArgs ...string) {
	t.Run("mysql", func(t *testing.T) {
		t.Parallel()
		test(t, start(t, "mysql", mysqlArgs...))
	})
	t.Run("mariadb", func(t *testing.T) {
		t.Parallel()
		test(t, start(t, "mariadb"))
	})
}

func session(t *testing.T, s *servers.Server) *mysql.Session {
	t.Helper()
	c, err := mysql.Connect(context.Background(), mysql.Settings{URL: config.NewSecret(s.DSN(s.Database())), ConnectTimeout: 10 * time.Second, KeepAlive: 15 * time.Second,
		TimeZone: "server", TLS: "auto", NetWriteTimeout: time.Hour, Protocol: "auto", ZeroDates: "error", Geometry: "wkb", MaxRowSize: 64 << 20, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var readerID = uint32(1000)

func follow(t *testing.T, s server, from binlog.Position) (*binlog.Reader, error) {
	t.Helper()
	readerID++
	r, err := binlog.Open(context.Background(), session(t, s.Server), from, binlog.Config{ServerID: readerID, UUID: fmt.Sprintf("00000000-0000-4000-8000-%012d", readerID), Heartbeat: time.Second, LargestEvent: 64 << 20})
	if err == nil {
		t.Cleanup(func() { r.Close() })
	}
	return r, err
}

// testLog: a log is read in its order, from one file to the next, and its place is the one that the server names.
func testLog(t *testing.T, s server) {
	ctx := context.Background()
	c := session(t, s.Server)
	defer c.Close()
	from, err := binlog.Current(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	s.Exec("CREATE TABLE logged (id INT PRIMARY KEY, v VARCHAR(100)); INSERT INTO logged VALUES (1, 'x'), (2, 'y'); UPDATE logged SET v = 'z'; DELETE FROM logged WHERE id = 1; " +
		"FLUSH BINARY LOGS; INSERT INTO logged VALUES (3, 'a'); TRUNCATE logged")
	end, err := binlog.Current(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := follow(t, s, from)
	if err != nil {
		t.Fatal(err)
	}
	names := map[uint64]string{}
	var got []string
	for r.Place().Compare(end) < 0 {
		e, err := r.Next(time.Now().Add(time.Minute))
		if err != nil {
			t.Fatalf("%v, behind %s", err, strings.Join(got, "\n"))
		}
		switch {
		case e.Kind == binlog.Table:
			names[e.TableID] = e.Name
		case e.Kind == binlog.Rows && names[e.TableID] == "logged":
			got = append(got, fmt.Sprintf("operation %d, %d bytes", e.Operation, len(e.Images)))
		case e.Kind == binlog.Statement && strings.Contains(e.Text, "logged"):
			got = append(got, e.Text)
		}
	}
	want := "CREATE TABLE logged (id INT PRIMARY KEY, v VARCHAR(100))|operation 1, 16 bytes|operation 2, 32 bytes|operation 3, 8 bytes|operation 1, 8 bytes|TRUNCATE logged"
	if strings.Join(got, "|") != want {
		t.Errorf("came %s\nwant %s", strings.Join(got, "|"), want)
	}
	// The server may have gone on meanwhile, and then the place is a later one.
	if at := r.Start(); at.Compare(end) == 0 && at.GTIDs != end.GTIDs {
		t.Errorf("is at %+v, want %+v", at, end)
	}
}
