package servers

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// A copy of the test program, started by TestKilledBinary, starts servers and waits to be killed.
const asVictim = "SERVERS_TEST_VICTIM"

func TestMain(m *testing.M) { Main(m) }

var databases = map[string]struct {
	shared  func(testing.TB) *Server
	private func(testing.TB, ...string) *Server
}{
	"mysql":   {MySQL, PrivateMySQL},
	"mariadb": {MariaDB, PrivateMariaDB},
}

func TestSharedServerFreshDatabases(t *testing.T) {
	for name, start := range databases {
		t.Run(name, func(t *testing.T) {
			a, b := start.shared(t), start.shared(t)
			if a.Port() != b.Port() || a.Database() == b.Database() {
				t.Fatalf("handles %s/%s and %s/%s, want one server and two databases", a, a.Database(), b, b.Database())
			}
			if got := strings.Contains(a.Version(), "MariaDB"); got != (name == "mariadb") {
				t.Errorf("the version is %s", a.Version())
			}
			a.Exec("CREATE TABLE x (i INT, s VARCHAR(20)); INSERT INTO x VALUES (1,'é 漢 😀'), (2,NULL)")
			if got, want := a.Query("SELECT * FROM x ORDER BY i"), "1\té 漢 😀\n2\tNULL\n"; got != want {
				t.Errorf("rows are %q, want %q", got, want)
			}
			if got := b.Query("SHOW TABLES"); got != "" {
				t.Errorf("the second database holds %q", got)
			}
		})
	}
}

func TestDSNNamesServerUserAndDatabase(t *testing.T) {
	s := MySQL(t)
	u, err := url.Parse(s.DSN("clinic"))
	if err != nil {
		t.Fatal(err)
	}
	if password, _ := u.User.Password(); u.Scheme != "mysql" || u.User.Username() != "root" || password != s.Password() ||
		u.Port() != strconv.Itoa(s.Port()) || u.Path != "/clinic" {
		t.Errorf("DSN does not name the server: %s", u.Redacted())
	}
}

// TestKillAndStart: what was committed is there again, on the same port.
func TestKillAndStart(t *testing.T) {
	for name, start := range databases {
		t.Run(name, func(t *testing.T) {
			s := start.private(t, "--max-connections=37")
			s.Exec("CREATE TABLE x (i INT); INSERT INTO x VALUES (7)")
			if got := s.Query("SELECT @@max_connections"); got != "37\n" {
				t.Errorf("max_connections is %q", got)
			}
			db, port := s.Open(s.Database()), s.Port()
			s.Kill()
			if err := db.PingContext(t.Context()); err == nil {
				t.Error("a killed server answers")
			}
			s.Start()
			if got := s.Query("SELECT i FROM x"); got != "7\n" || s.Port() != port {
				t.Errorf("after the start: %q on port %d, it was %d", got, s.Port(), port)
			}
		})
	}
}

// TestOwnIdentity: servers whose data were made once, and copied, know nothing of each other.
func TestOwnIdentity(t *testing.T) {
	seen := map[string]bool{}
	for range 3 { // the first of which may have made them
		s := PrivateMySQL(t)
		if id := s.Query("SELECT @@server_uuid"); seen[id] {
			t.Errorf("two servers have the identity %s", id)
		} else {
			seen[id] = true
		}
		if got := s.Query("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name LIKE 't\\_%'"); got != "1\n" {
			t.Errorf("a new server has %s databases of tests, want its own", strings.TrimSpace(got))
		}
	}
}

func TestFailedStartTellsTheServersReason(t *testing.T) {
	MySQL(t) // or there is none here
	_, err := launch(mysqlRecipe, []string{"--no-such-option"})
	if err == nil || !strings.Contains(err.Error(), "no-such-option") {
		t.Errorf("error is %v, want the server's complaint", err)
	}
}

func TestStore(t *testing.T) {
	a, b := MinIO(t), MinIO(t)
	if a.Endpoint() != b.Endpoint() || a.Bucket() == b.Bucket() {
		t.Fatal("want one server and two buckets")
	}
	key, bucket := "folder/é", a.Bucket()
	put := func(s *Store) error {
		_, err := s.Client().PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: &bucket, Key: &key, Body: strings.NewReader("content"), ServerSideEncryption: types.ServerSideEncryptionAes256,
		})
		return err
	}
	if err := put(a); err != nil {
		t.Fatal(err)
	}
	if got := a.Objects(bucket); len(got) != 1 || got[0] != key {
		t.Errorf("the bucket holds %q", got)
	}
	if got := b.Objects(b.Bucket()); got != nil {
		t.Errorf("the second bucket holds %q", got)
	}
	if _, err := a.Client().CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key}); err != nil {
		t.Fatal(err)
	}
	if got := a.Uploads(bucket, key); len(got) != 1 {
		t.Errorf("%d unfinished uploads, want 1", len(got))
	}
	a.RemoveBucket(bucket)
	if err := put(a); !noBucket(err) {
		t.Errorf("an object in a removed bucket: %v", err)
	}
}

func TestStoreKillAndStart(t *testing.T) {
	s := PrivateMinIO(t)
	key, bucket := "x", s.Bucket()
	if _, err := s.Client().PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader("content")}); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if _, err := http.Get(s.Endpoint()); err == nil {
		t.Error("a killed server answers")
	}
	s.Start()
	got, err := s.Client().GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if content, err := io.ReadAll(got.Body); err != nil || string(content) != "content" {
		t.Errorf("after the start: %q, %v", content, err)
	}
}

// TestKilledBinary kills a test binary that shares servers, and wants them gone.
func TestKilledBinary(t *testing.T) {
	if os.Getenv(asVictim) != "" {
		s := MySQL(t)
		if p, ok := s.on.instance.(*process); ok {
			if _, err := os.Stdout.WriteString("\nfolder " + p.dir + "\n"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := os.Stdout.WriteString("\n" + s.DSN("") + "\n" + MinIO(t).Endpoint() + "\nready\n"); err != nil {
			t.Fatal(err)
		}
		<-t.Context().Done() // never
	}
	MySQL(t) // or there is none here
	victim := exec.Command(os.Args[0], "-test.run=^TestKilledBinary$")
	victim.Env = append(os.Environ(), asVictim+"=1")
	stdout, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	for b := make([]byte, 4096); !strings.Contains(said.String(), "ready\n"); {
		n, err := stdout.Read(b)
		said.Write(b[:n])
		if err != nil {
			t.Fatalf("the other binary ended: %v\n%s", err, said.Bytes())
		}
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait() // it was killed
	var hosts, folders []string
	for line := range strings.Lines(said.String()) {
		if u, err := url.Parse(strings.TrimSpace(line)); err == nil && u.Host != "" {
			hosts = append(hosts, u.Host)
		}
		if folder, ok := strings.CutPrefix(line, "folder "); ok {
			folders = append(folders, strings.TrimSpace(folder))
		}
	}
	if len(hosts) != 2 {
		t.Fatalf("it said %q", said.String())
	}
	gone := func(what string, done func() bool) {
		deadline := time.After(30 * time.Second)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for !done() {
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("%s has outlived its test binary", what)
			}
		}
	}
	for _, host := range hosts {
		_, port, _ := strings.Cut(host, ":")
		n, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		gone("the server at "+host, func() bool { return portFree(n) })
	}
	for _, folder := range folders {
		gone(folder, func() bool {
			_, err := os.Stat(folder)
			return os.IsNotExist(err)
		})
	}
}

func TestUnknownWay(t *testing.T) {
	t.Setenv("CIPHERSTREAM_SERVERS", "cloud")
	_, err := find(mysqlRecipe)
	if _, is := err.(missing); err == nil || is || !strings.Contains(err.Error(), "cloud") {
		t.Errorf("error is %v", err)
	}
}

// TestNextWay: an engine that gives no containers is no reason to have no server.
func TestNextWay(t *testing.T) {
	ways, err := find(minioRecipe)
	if err != nil {
		refuse(t, err)
	}
	nowhere := way{image: "none", engine: "unix://" + t.TempDir() + "/none"}
	r, err := launchIn(append([]way{nowhere}, ways...), minioRecipe, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.remove()
	if _, err = launchIn([]way{nowhere}, minioRecipe, nil); err == nil || !strings.Contains(err.Error(), "minio cannot be started") {
		t.Errorf("error is %v", err)
	}
}

// TestMissingSaysWhatToDo: a machine that cannot run a server is told how it could.
func TestMissingSaysWhatToDo(t *testing.T) {
	_, err := find(recipe{name: "mongodb"})
	var m missing
	if !errors.As(err, &m) || !strings.Contains(err.Error(), "make deps") {
		t.Errorf("error is %v", err)
	}
}

// TestOpen: the independent reader reads what the client wrote.
func TestOpen(t *testing.T) {
	s := MySQL(t)
	s.Exec("CREATE TABLE x (s VARCHAR(20)); INSERT INTO x VALUES ('é 😀')")
	var got sql.NullString
	if err := s.Open(s.Database()).QueryRowContext(context.Background(), "SELECT s FROM x").Scan(&got); err != nil || got.String != "é 😀" {
		t.Errorf("%q, %v", got.String, err)
	}
	if !bytes.Contains(s.CA(), []byte("BEGIN CERTIFICATE")) {
		t.Error("ca.pem is no certificate")
	}
}
