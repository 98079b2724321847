// Package servers gives tests real servers: MySQL, MariaDB and MinIO, in containers
// through testcontainers-go, or, where there is no Docker engine, as plain processes
// of the same programs.
//
// It owns their life: a server is started on first use, shared by the tests of a
// binary whose TestMain calls Main, may be killed and started again by a test, and is
// gone when the binary ends, by a panic or a kill too. It installs and compiles
// nothing, which integration/images does (`make deps`), and never touches a server or
// a container that it did not start. What MySQL makes of an empty folder, which takes seconds,
// is kept beside its program, or in a volume of the Docker engine, and copied from then on.
//
// Settings, from the environment:
//
//	CIPHERSTREAM_MYSQL_IMAGE    the images, instead of the defaults of integration/images
//	CIPHERSTREAM_MARIADB_IMAGE
//	CIPHERSTREAM_MINIO_IMAGE
//	CIPHERSTREAM_SERVERS        container or process; without it containers first, then processes
//	CIPHERSTREAM_CACHE          where integration/images keeps what it made
//	CIPHERSTREAM_REQUIRE_SERVERS=1, or CI: a server that cannot be had is a failure. Otherwise
//	                            the test is skipped, and says so.
package servers

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/required"
)

// instance is one server that runs in some way. Its port stays the same for life.
type instance interface {
	// start starts it, the first time or after kill, with the data that it had.
	start(ctx context.Context) error
	// kill ends it at once, and returns when it has ended.
	kill() error
	// ended reports whether it has ended by itself.
	ended() bool
	// log is the end of what it printed.
	log() string
	// how says in what way it runs.
	how() string
	// remove ends it and removes all that it wrote.
	remove()
}

// running is an instance and how it is reached.
type running struct {
	instance
	recipe
	port     int
	password string
}

// String says what runs, and how.
func (r *running) String() string {
	return fmt.Sprintf("%s on port %d, %s", r.name, r.port, r.how())
}

// pool has the servers that the tests of this binary share.
var pool struct {
	sync.Mutex
	enabled bool
	held    map[string]*running
	failed  map[string]error
}

// Main is a TestMain: it runs the tests, ends the servers they shared, calls the
// functions in cleanup, and exits the process. Without it every test has servers of its own.
//
//	func TestMain(m *testing.M) { servers.Main(m) }
func Main(m *testing.M, cleanup ...func()) {
	pool.Lock()
	pool.enabled = true
	pool.held, pool.failed = map[string]*running{}, map[string]error{}
	pool.Unlock()
	code := m.Run()
	Stop()
	for _, f := range cleanup {
		f()
	}
	os.Exit(code)
}

// Share lets tests share servers in a binary that has another TestMain than Main,
// which must call Stop when the tests are over.
func Share() {
	pool.Lock()
	defer pool.Unlock()
	pool.enabled = true
	pool.held, pool.failed = map[string]*running{}, map[string]error{}
}

// Stop ends the servers that tests shared.
func Stop() {
	pool.Lock()
	defer pool.Unlock()
	for _, r := range pool.held {
		r.remove()
	}
	clear(pool.held)
}

// shared gives the test the shared server of a kind, or one of its own.
func shared(tb testing.TB, of recipe) *running {
	tb.Helper()
	pool.Lock()
	defer pool.Unlock()
	if !pool.enabled {
		return private(tb, of, nil)
	}
	if r := pool.held[of.name]; r != nil {
		return r
	}
	err := pool.failed[of.name]
	if err == nil {
		var r *running
		if r, err = launch(of, nil); err == nil {
			pool.held[of.name] = r
			tb.Logf("servers: %s", r)
			return r
		}
		pool.failed[of.name] = err
	}
	refuse(tb, err)
	return nil
}

// private gives the test a server of its own. args go to the server's command line.
func private(tb testing.TB, of recipe, args []string) *running {
	tb.Helper()
	r, err := launch(of, args)
	if err != nil {
		refuse(tb, err)
	}
	tb.Logf("servers: %s", r)
	tb.Cleanup(r.remove)
	return r
}

// missing says that this machine cannot run a server, which is no fault of the server.
type missing struct{ why string }

func (m missing) Error() string { return m.why }

// refuse ends a test that has no server.
func refuse(tb testing.TB, err error) {
	tb.Helper()
	if _, ok := err.(missing); !ok {
		tb.Fatalf("servers: %v", err)
	}
	required.Missing(tb, "servers: "+err.Error())
}

// startTime is the longest that a server may take until it answers.
const startTime = 2 * time.Minute

// launch starts a server in the first way that works here, and waits until it answers.
func launch(of recipe, args []string) (*running, error) {
	ways, err := find(of)
	if err != nil {
		return nil, err
	}
	return launchIn(ways, of, args)
}

// launchIn takes the next way when an instance cannot be started at all: an engine may answer
// on a kernel that gives it no containers. A server that ends by itself would do so in any way.
func launchIn(ways []way, of recipe, args []string) (*running, error) {
	var problems []error
	for _, w := range ways {
		r, err := launchBy(w, of, args)
		var unstarted startError
		if !errors.As(err, &unstarted) {
			return r, err
		}
		problems = append(problems, err)
	}
	return nil, errors.Join(problems...)
}

func launchBy(how way, of recipe, args []string) (*running, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	for try := 1; ; try++ {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		// The punctuation is there so that a URL that isn't escaped fails in tests.
		r := &running{recipe: of, port: port, password: "p@s:s/w?d#%41&" + randomHex(8)}
		r.instance = how.instance(of, port, r.password, args)
		if err = r.begin(ctx); err == nil {
			return r, nil
		}
		r.remove()
		// Between choosing a free port and its use another process may take it.
		if try == 3 || portFree(port) {
			return nil, err
		}
	}
}

// startError says that an instance did not come to be.
type startError struct {
	name string
	err  error
}

func (e startError) Error() string { return e.name + " cannot be started: " + e.err.Error() }
func (e startError) Unwrap() error { return e.err }

// begin starts the instance and waits until the server answers.
func (r *running) begin(ctx context.Context) error {
	if err := r.start(ctx); err != nil {
		return startError{r.name, err}
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ; n++ {
		err := r.ready(ctx, r)
		if err == nil {
			return nil
		}
		// To ask an engine costs more than to ask the server.
		if n%10 == 0 && r.ended() {
			return fmt.Errorf("%s ended while it started; its log ends with:\n%s", r.name, r.log())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s did not answer within %s: %w; its log ends with:\n%s", r.name, startTime, err, r.log())
		}
	}
}

// address is where the server listens.
func (r *running) address() string { return fmt.Sprintf("127.0.0.1:%d", r.port) }

// again starts a killed server for a test.
func (r *running) again(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	if err := r.begin(ctx); err != nil {
		tb.Fatalf("servers: %v", err)
	}
}

func (r *running) end(tb testing.TB) {
	tb.Helper()
	if err := r.kill(); err != nil {
		tb.Fatalf("servers: killing %s: %v", r.name, err)
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("no free TCP port on loopback: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func portFree(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails since Go 1.24
	return hex.EncodeToString(b)
}
