package datastream

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite" // reads the copies

	"github.com/cipherstream/cipherstream/integration/required"
)

// example is how one of the receivers is started.
type example struct {
	command []string
	flag    string // what stands before the name of an option
}

// programs is where those are that are built for the tests; TestMain makes and removes it.
var programs string

// goExample builds the receiver in Go, once.
var goExample = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programs, "receiver")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", path, "../../examples/data-stream/go")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the receiver does not build: %w: %s", err, out)
	}
	return path, nil
})

func inGo(t testing.TB) example {
	t.Helper()
	path, err := goExample()
	if err != nil {
		t.Fatal(err)
	}
	return example{[]string{path}, "-"}
}

func inPython(t testing.TB) example {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		required.Missing(t, "python3 is needed to run a receiver in its language (make deps installs it)")
	}
	return example{[]string{path, "../../examples/data-stream/python/receiver.py"}, "--"}
}

// receiver is an example that keeps a copy, which stays the same when it is killed and started again, as its address does.
type receiver struct {
	example
	secret, organization string
	db                   string // the file of the copy
	options              []string
	address              string
	said                 bytes.Buffer
	cmd                  *exec.Cmd
	drained              chan struct{}
	// Begun are the lines that it said when it began.
	begun []string
}

// keep starts an example, which ends with the test.
func keep(t testing.TB, of example, options ...string) *receiver {
	t.Helper()
	r := &receiver{example: of, secret: "geheim-" + rand.Text(), organization: "clinic", db: filepath.Join(t.TempDir(), "copy.db"), options: options, address: "127.0.0.1:0"}
	r.start(t)
	t.Cleanup(func() {
		r.kill()
		if t.Failed() {
			t.Logf("the receiver said: %s", r.said.String())
		}
	})
	return r
}

// start starts it, the first time or after kill.
func (r *receiver) start(t testing.TB) {
	t.Helper()
	args := append([]string{}, r.command[1:]...)
	args = append(args, r.flag+"organization", r.organization, r.flag+"db", r.db)
	args = append(append(args, r.options...), r.address)
	r.cmd = exec.Command(r.command[0], args...)
	r.cmd.Env = append(os.Environ(), "STREAM_SECRET="+r.secret)
	r.cmd.Stderr = &r.said
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	r.begun = nil
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("the receiver ended: %v: %s", err, r.said.String())
		}
		line = strings.TrimSuffix(line, "\n")
		if _, where, is := strings.Cut(line, "://"); is && strings.HasPrefix(line, "listening on http") {
			if r.address != where { // not again the same: somebody may be reading it
				r.address = where
			}
			break
		}
		r.begun = append(r.begun, line)
	}
	r.drained = make(chan struct{})
	go func() {
		defer close(r.drained)
		_, _ = io.Copy(io.Discard, lines)
	}()
}

// kill ends it at once.
func (r *receiver) kill() {
	_ = r.cmd.Process.Kill() // it may have ended
	<-r.drained
	_ = r.cmd.Wait() // killed
}

// kept is a document of a copy.
type kept struct {
	Number   int64
	Deleted  bool
	Document string
}

// key names a document.
type key struct{ Channel, Type, ID string }

// documents is how many documents the copy has, or 0 where that cannot be read yet.
func (r *receiver) documents() (n int) {
	db, err := sql.Open("sqlite", "file:"+r.db+"?_pragma=busy_timeout(10000)")
	if err != nil {
		return 0
	}
	defer db.Close()
	if db.QueryRow("SELECT COUNT(*) FROM documents").Scan(&n) != nil {
		return 0
	}
	return n
}

// copied reads the copy of a receiver, which may be running.
func copied(path string) (documents map[key]kept, last map[string]int64, err error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, nil, err
	}
	defer db.Close()
	tx, err := db.BeginTx(context.Background(), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	documents, last = map[key]kept{}, map[string]int64{}
	rows, err := tx.Query("SELECT channel, type, id, sequence, document FROM documents")
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var k key
		var d kept
		var body sql.NullString
		if err := rows.Scan(&k.Channel, &k.Type, &k.ID, &d.Number, &body); err != nil {
			return nil, nil, err
		}
		d.Deleted, d.Document = !body.Valid, body.String
		documents[k] = d
	}
	if err := rows.Err(); err != nil {
		return nil, nil, err
	}
	channels, err := tx.Query("SELECT channel, max_sequence FROM channels")
	if err != nil {
		return nil, nil, err
	}
	defer channels.Close()
	for channels.Next() {
		var name string
		var n int64
		if err := channels.Scan(&name, &n); err != nil {
			return nil, nil, err
		}
		last[name] = n
	}
	return documents, last, channels.Err()
}

// selfSigned makes a certificate for this machine that nobody has signed, as files too.
func selfSigned(t testing.TB) (c tls.Certificate, certificate, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a receiver"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, keyFile = filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	err = errors.Join(os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, certificate, keyFile
}

// TestReceivers: the examples in Go and Python take what the contract says, once and in order, answer with what they have, and
// go on there when they were killed.
func TestReceivers(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]func(testing.TB) example{"Go": inGo, "Python": inPython} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			of := of(t)
			t.Run("documents", func(t *testing.T) { t.Parallel(); testDocuments(t, of) })
			t.Run("refusals", func(t *testing.T) { t.Parallel(); testRefusals(t, of) })
			t.Run("in part", func(t *testing.T) { t.Parallel(); testInPart(t, of) })
			t.Run("killed", func(t *testing.T) { t.Parallel(); testKilled(t, of) })
			t.Run("TLS", func(t *testing.T) { t.Parallel(); testTLS(t, of) })
			t.Run("settings", func(t *testing.T) { t.Parallel(); testSettings(t, of) })
		})
	}
}

func (r *receiver) sender() *sender {
	return &sender{client: &http.Client{}, secret: r.secret, organization: r.organization}
}

func (r *receiver) url() string { return "http://" + r.address }

// has holds that the copy is exactly that.
func (r *receiver) has(t *testing.T, want map[key]kept, last map[string]int64) {
	t.Helper()
	documents, numbers, err := copied(r.db)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(documents), fmt.Sprint(want); got != want {
		t.Errorf("the copy is %s\nwant %s", got, want)
	}
	if got, want := fmt.Sprint(numbers), fmt.Sprint(last); got != want {
		t.Errorf("the copy is there up to %s, want %s", got, want)
	}
}

func testDocuments(t *testing.T, of example) {
	r := keep(t, of)
	s := r.sender()
	s.must(t, r.url(), entities, 3, written(1, "patient", "7", "Zoë \u2028 \U0001F600 \"\\"), written(2, "patient", `a\:b:c`, ""), written(3, "patient", "9", "9"))
	// One column may be called as a member is, in another case; numbers are exact.
	other := numbered{[]byte(`{"id":"7","type":"visit","ID":12345678901234567890,"Deleted":true,"TYPE":null,"price":"1.10","weight":0.1}`), 7}
	s.must(t, r.url(), entities, 9, gone(4, "patient", "9"), other, written(9, "patient", `a\:b:c`, "again"))
	// The channels have numbers of their own.
	s.must(t, r.url(), logs, 1, written(1, "patient", "7", "of the log"))
	want := map[key]kept{
		{entities, "patient", "7"}:      {1, false, string(written(1, "patient", "7", "Zoë \u2028 \U0001F600 \"\\").Document)},
		{entities, "patient", `a\:b:c`}: {9, false, string(written(9, "patient", `a\:b:c`, "again").Document)},
		{entities, "patient", "9"}:      {4, true, ""},
		{entities, "visit", "7"}:        {7, false, string(other.Document)},
		{logs, "patient", "7"}:          {1, false, string(written(1, "patient", "7", "of the log").Document)},
	}
	last := map[string]int64{entities: 9, logs: 1}
	unescaped := func() { // Go's text is kept as it came, Python's is written anew
		for k, d := range want {
			d.Document = strings.ReplaceAll(d.Document, `\u2028`, "\u2028")
			want[k] = d
		}
	}
	if of.flag == "--" {
		unescaped()
	}
	r.has(t, want, last)
	// What comes again changes nothing, though it be otherwise, and is answered as what it is.
	s.must(t, r.url(), entities, 4, written(3, "patient", "9", "late"), gone(4, "patient", "7"))
	s.must(t, r.url(), entities, 9, written(9, "visit", "7", "late"))
	r.has(t, want, last)
	// Of what comes again with more behind it, the rest is taken.
	s.must(t, r.url(), entities, 12, written(9, "visit", "7", "late"), gone(12, "visit", "7"))
	want[key{entities, "visit", "7"}], last[entities] = kept{12, true, ""}, 12
	r.has(t, want, last)
}

func testRefusals(t *testing.T, of example) {
	r := keep(t, of)
	s := r.sender()
	good := written(1, "patient", "1", "good")
	bare := func(text string) func(*http.Request, *[]byte) {
		return func(_ *http.Request, body *[]byte) { *body = compressed([]byte(text)) }
	}
	header := func(name, value string) func(*http.Request, *[]byte) {
		return func(r *http.Request, _ *[]byte) { r.Header.Set(name, value) }
	}
	for name, c := range map[string]struct {
		status    int
		channel   string
		change    func(*http.Request, *[]byte)
		documents []numbered
	}{
		"another secret":            {401, entities, header("Authorization", "bearer "+r.secret+"x"), []numbered{good}},
		"no secret":                 {401, entities, func(r *http.Request, _ *[]byte) { r.Header.Del("Authorization") }, []numbered{good}},
		"another type":              {415, entities, header("Content-Type", "text/plain"), []numbered{good}},
		"no encoding":               {415, entities, func(r *http.Request, _ *[]byte) { r.Header.Del("Encoding") }, []numbered{good}},
		"not compressed":            {400, entities, func(_ *http.Request, body *[]byte) { *body = []byte(`{}`) }, []numbered{good}},
		"cut off":                   {400, entities, func(_ *http.Request, body *[]byte) { *body = (*body)[:len(*body)-9] }, []numbered{good}},
		"spoilt":                    {400, entities, func(_ *http.Request, body *[]byte) { (*body)[len(*body)-5] ^= 1 }, []numbered{good}},
		"inflates too far":          {413, entities, func(_ *http.Request, body *[]byte) { *body = compressed(make([]byte, 64<<20)) }, nil},
		"too large":                 {413, entities, func(_ *http.Request, body *[]byte) { *body = make([]byte, mostBody+1) }, nil},
		"another method":            {405, entities, func(r *http.Request, _ *[]byte) { r.Method = http.MethodGet }, []numbered{good}},
		"another organization":      {403, entities, bare(`{"channel":"entities","organization_id":"other","documents":[{"document":{"id":"1","type":"a"},"sequence":1}]}`), nil},
		"another channel":           {400, "other", nil, []numbered{good}},
		"no documents":              {400, entities, nil, []numbered{}},
		"descending":                {400, entities, nil, []numbered{written(2, "patient", "1", ""), good}},
		"a number twice":            {400, entities, nil, []numbered{good, good}},
		"no number":                 {400, entities, nil, []numbered{{good.Document, 0}}},
		"no type":                   {400, entities, nil, []numbered{{[]byte(`{"id":"1"}`), 1}}},
		"a type in another case":    {400, entities, nil, []numbered{{[]byte(`{"id":"1","Type":"patient"}`), 1}}},
		"a number for an id":        {400, entities, nil, []numbered{{[]byte(`{"id":1,"type":"patient"}`), 1}}},
		"no object":                 {400, entities, nil, []numbered{{[]byte(`[]`), 1}}},
		"no JSON":                   {400, entities, bare(`{"channel"`), nil},
		"two values":                {400, entities, bare(`{} {}`), nil},
		"a good one before a bad":   {400, entities, nil, []numbered{good, {[]byte(`{}`), 2}}},
		"a list instead of members": {400, entities, bare(`[1]`), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if _, status, err := s.post(r.url(), c.channel, c.change, c.documents...); err != nil || status != c.status {
				t.Errorf("answered %d, %v; want %d", status, err, c.status)
			}
		})
	}
	r.has(t, map[key]kept{}, map[string]int64{})
	s.must(t, r.url(), entities, 1, good)
}

// testInPart: a receiver that may work for no time takes one document of each request, and all come in the end.
func testInPart(t *testing.T, of example) {
	r := keep(t, of, of.flag+"most", map[string]string{"-": "0s", "--": "0"}[of.flag])
	s := r.sender()
	var all []numbered
	want := map[key]kept{}
	for n := int64(1); n <= 5; n++ {
		d := written(n*10, "patient", fmt.Sprint(n), "value")
		all, want[key{entities, "patient", fmt.Sprint(n)}] = append(all, d), kept{n * 10, false, string(d.Document)}
	}
	for n := range all {
		s.must(t, r.url(), entities, int64(n+1)*10, all[n:]...)
	}
	r.has(t, want, map[string]int64{entities: 50})
}

// testKilled kills a receiver while documents come, again and again: nothing that was answered is lost, and in the end all is
// there.
func testKilled(t *testing.T, of example) {
	r := keep(t, of)
	s := r.sender()
	s.client.Transport = &http.Transport{DisableKeepAlives: true}
	const each, rounds = 20, 8
	stop, ended := make(chan struct{}), make(chan error, 1)
	var acknowledged int64 // by ended's end
	go func() {
		defer close(ended)
		for n := int64(0); ; {
			select {
			case <-stop:
				return
			default:
			}
			var documents []numbered
			for i := n + 1; i <= n+each; i++ {
				documents = append(documents, written(i, "patient", fmt.Sprint(i%50), fmt.Sprint("value ", i)))
			}
			a, status, err := s.post(r.url(), entities, nil, documents...)
			if err != nil {
				continue // it is dead
			}
			if status != http.StatusOK || a.Last <= n || a.Last > n+each {
				ended <- fmt.Errorf("behind %d: answered %d %+v", n, status, a)
				return
			}
			n, acknowledged = a.Last, a.Last
		}
	}()
	for range rounds {
		var wait [1]byte
		_, _ = rand.Read(wait[:])
		<-time.After(time.Duration(wait[0]) * time.Millisecond / 2) // a moment is what the test is about
		r.kill()
		r.start(t)
	}
	_, last, err := copied(r.db)
	if err != nil {
		t.Fatal(err)
	}
	reached := last[entities] + each
	for over := time.Now().Add(30 * time.Second); last[entities] < reached && time.Now().Before(over); {
		if _, last, err = copied(r.db); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	documents, last, err := copied(r.db)
	if err != nil {
		t.Fatal(err)
	}
	if last[entities] != acknowledged || acknowledged < reached {
		t.Errorf("%d were answered, and %d are there, want %d", acknowledged, last[entities], reached)
	}
	for i := max(1, acknowledged-49); i <= acknowledged; i++ {
		d := documents[key{entities, "patient", fmt.Sprint(i % 50)}]
		if d.Number != i || d.Document != string(written(i, "patient", fmt.Sprint(i%50), fmt.Sprint("value ", i)).Document) {
			t.Errorf("document %d is %+v", i, d)
		}
	}
	r.kill()
	r.start(t)
	if got, want := strings.Join(r.begun, "; "), fmt.Sprintf("entities: up to %d; logs: up to 0", acknowledged); got != want {
		t.Errorf("it began with %q, want %q", got, want)
	}
}

func testTLS(t *testing.T, of example) {
	_, certificate, keyFile := selfSigned(t)
	r := keep(t, of, of.flag+"certificate", certificate, of.flag+"key", keyFile)
	text, err := os.ReadFile(certificate)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(text)
	// A connection that says nothing holds up nobody.
	silent, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	s := r.sender()
	s.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}
	for n := int64(1); n < 4; n++ {
		s.must(t, "https://"+r.address, entities, n, written(n, "patient", "1", ""))
	}
}

func testSettings(t *testing.T, of example) {
	for name, c := range map[string]struct {
		secret string
		args   []string
	}{
		"no secret":       {"", []string{of.flag + "organization", "clinic"}},
		"no organization": {"geheim", nil},
	} {
		cmd := exec.Command(of.command[0], append(append(append([]string{}, of.command[1:]...), c.args...), of.flag+"db", filepath.Join(t.TempDir(), "copy.db"), "127.0.0.1:0")...)
		cmd.Env = append(os.Environ(), "STREAM_SECRET="+c.secret)
		if out, err := cmd.CombinedOutput(); err == nil || bytes.Contains(out, []byte("listening")) {
			t.Errorf("%s: it began: %s", name, out)
		}
	}
}

// inflated is a body as it was before it was compressed.
func inflated(body []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, 4*mostBody))
}
