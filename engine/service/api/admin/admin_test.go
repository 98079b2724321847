package admin_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cipherstream/cipherstream/engine/service/api/admin"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	"github.com/cipherstream/cipherstream/engine/service/store/memory"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Of this test binary, started again: a command of another user, or a service that dies.
const (
	commandVariable = "ADMIN_TEST_COMMAND"
	dyingVariable   = "ADMIN_TEST_DYING"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(commandVariable) != "":
		command(os.Getenv(commandVariable))
	case os.Getenv(dyingVariable) != "":
		dying(os.Getenv(dyingVariable))
	default:
		goleak.VerifyTestMain(m)
	}
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func registry(t testing.TB) (*customer.Registry, *memory.Store) {
	t.Helper()
	record := memory.New()
	key, err := datakey.Parse(config.NewSecret(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32))))
	if err != nil {
		t.Fatal(err)
	}
	r, err := customer.New(context.Background(), record, []customer.Customer{{ID: "live", Name: "Clinic"}, {ID: "demo", Demo: true}},
		customer.Options{DataKey: key, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return r, record
}

func listen(t testing.TB, dir string, r *customer.Registry) *admin.Server {
	t.Helper()
	s, err := admin.Listen(dir, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func dial(t testing.TB, dir string) *admin.Client {
	t.Helper()
	c, err := admin.Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func equal(t testing.TB, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n  %+v\nwant\n  %+v", got, want)
	}
}

func refused(t testing.TB, err error, code string) {
	t.Helper()
	if !fault.Is(err, code) {
		t.Errorf("expected %s, got %v", code, err)
	}
}

// must is a result without its error.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestSameWork: each operation through the socket does and says what it does without.
func TestSameWork(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	r, record := registry(t)
	listen(t, dir, r)
	client, direct := dial(t, dir), r.Manage(customer.Actor{})

	k := must(client.CreateKey(ctx, customer.NewKey{Customer: "live", Label: "Nächte \"x\"", Scopes: customer.Scopes{customer.Jobs}, ExpiresAt: noon.Add(time.Hour)}))
	if !strings.HasPrefix(k.Text, "cs_live_") {
		t.Errorf("the key is %+v", k)
	}
	equal(t, k.KeyInfo, must(direct.ListKeys(ctx, "live"))[0])
	operator := must(client.CreateKey(ctx, customer.NewKey{Admin: true}))
	equal(t, must(client.ListKeys(ctx, "")), must(direct.ListKeys(ctx, "")))
	equal(t, must(client.ListKeys(ctx, "demo")), []customer.KeyInfo{})
	next := must(client.RotateKey(ctx, k.ID, 90*time.Second+1))
	equal(t, must(direct.ListKeys(ctx, "live"))[0].ExpiresAt, noon.Add(91*time.Second))
	equal(t, next.KeyInfo, must(direct.ListKeys(ctx, "live"))[1])
	revoked := must(client.RevokeKey(ctx, operator.ID))
	equal(t, revoked.State, customer.KeyRevoked)

	equal(t, must(client.Disable(ctx, "live")).Disabled, true)
	equal(t, must(client.ListCustomers(ctx)), must(direct.ListCustomers(ctx)))
	equal(t, must(client.Enable(ctx, "live")).Disabled, false)

	sealing := must(client.NewSealingKey(ctx, "live"))
	if raw, err := base64.StdEncoding.DecodeString(sealing.Text); err != nil || len(raw) != 32 {
		t.Errorf("the sealing key is none: %v", err)
	}
	equal(t, must(client.ActivateSealingKey(ctx, "live", sealing.ID)).State, store.SealingActive)
	equal(t, must(client.ListSealingKeys(ctx, "live")), must(direct.ListSealingKeys(ctx, "live")))
	equal(t, must(client.RetireSealingKey(ctx, "live", sealing.ID)).State, store.SealingRetired)

	told := must(client.Announce(ctx, customer.Maintenance{StartsAt: noon, EndsAt: noon.Add(time.Hour), Message: "Updates, »at noon«."}))
	equal(t, told, customer.Announced{Maintenance: customer.Maintenance{StartsAt: noon, EndsAt: noon.Add(time.Hour), Message: "Updates, »at noon«."}, Customers: 2})

	must(record.Expand(ctx, []store.Expansion{{Event: must(record.Outbox(ctx, 0, 1))[0], Deliveries: []store.Delivery{{ID: "del_1", Customer: "live", Channel: store.ByMail, Target: "a@example.com"}}}}))
	d := must(client.Deliveries(ctx))
	if d.OldestSeconds < 0 || d.OldestSeconds > 600 {
		t.Errorf("the oldest waits for %v s", d.OldestSeconds)
	}
	equal(t, []int64{d.Waiting, d.Dead}, []int64{1, 0})

	// Who did it is the user at the other end.
	for _, a := range must(record.AuditOf(ctx, "", time.Time{}, 99)) {
		if !strings.HasPrefix(a.Who, "user:") || a.Who == "user:unknown" || a.From != "admin.sock" {
			t.Errorf("the audit says %+v", a)
		}
	}
	equal(t, len(must(record.AuditOf(ctx, "", time.Time{}, 99))), 10)
}

// TestSameRefusals: an error comes through the socket whole.
func TestSameRefusals(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	r, _ := registry(t)
	listen(t, dir, r)
	client, direct := dial(t, dir), r.Manage(customer.Actor{})
	must(direct.CreateKey(ctx, customer.NewKey{Customer: "live"}))
	second := must(direct.CreateKey(ctx, customer.NewKey{Customer: "live"}))
	for name, do := range map[string]func(admin.Manage) error{
		"unknown customer": func(m admin.Manage) error {
			_, err := m.CreateKey(ctx, customer.NewKey{Customer: "nobody"})
			return err
		},
		"wrong scope": func(m admin.Manage) error {
			_, err := m.CreateKey(ctx, customer.NewKey{Customer: "live", Scopes: customer.Scopes{"x"}})
			return err
		},
		"third key": func(m admin.Manage) error {
			_, err := m.CreateKey(ctx, customer.NewKey{Customer: "live"})
			return err
		},
		"unknown key":         func(m admin.Manage) error { _, err := m.RevokeKey(ctx, "key_none"); return err },
		"key with a slash":    func(m admin.Manage) error { _, err := m.RevokeKey(ctx, "a/b?c#d%2F"); return err },
		"third by rotation":   func(m admin.Manage) error { _, err := m.RotateKey(ctx, second.ID, time.Hour); return err },
		"unknown to enable":   func(m admin.Manage) error { _, err := m.Enable(ctx, "nobody"); return err },
		"unknown to disable":  func(m admin.Manage) error { _, err := m.Disable(ctx, "no body"); return err },
		"unknown's keys":      func(m admin.Manage) error { _, err := m.ListSealingKeys(ctx, "nobody"); return err },
		"unknown's new key":   func(m admin.Manage) error { _, err := m.NewSealingKey(ctx, "nobody"); return err },
		"unknown sealing key": func(m admin.Manage) error { _, err := m.ActivateSealingKey(ctx, "live", "0"); return err },
		"past maintenance": func(m admin.Manage) error {
			_, err := m.Announce(ctx, customer.Maintenance{StartsAt: noon.Add(-2 * time.Hour), EndsAt: noon.Add(-time.Hour), Message: "x"})
			return err
		},
		"unknown to retire": func(m admin.Manage) error { _, err := m.RetireSealingKey(ctx, "live", "0"); return err },
	} {
		got, want := fault.From(do(client)), fault.From(do(direct))
		if want == nil || got == nil {
			t.Errorf("%s: %v, and without the socket %v", name, got, want)
			continue
		}
		equal(t, []any{got.Code, got.Class, got.Message, got.Hint, got.Retryable}, []any{want.Code, want.Class, want.Message, want.Hint, want.Retryable})
	}
	for _, id := range []string{"", "..", "."} {
		_, err := client.RevokeKey(ctx, id)
		refused(t, err, admin.CodeRequest)
	}
	_, err := client.RotateKey(ctx, second.ID, -time.Hour)
	refused(t, err, admin.CodeRequest)
}

// serve mounts the handler as the public API does.
func serve(t testing.TB, cfg admin.Config) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(admin.NewHandler(cfg))
	t.Cleanup(s.Close)
	return s
}

func TestStrictRequests(t *testing.T) {
	t.Parallel()
	r, record := registry(t)
	s := serve(t, admin.Config{Manage: func(*http.Request) (admin.Manage, error) { return r.Manage(customer.Actor{}), nil }})
	const json = "application/json"
	key := must(r.Manage(customer.Actor{}).CreateKey(t.Context(), customer.NewKey{Admin: true}))
	for name, c := range map[string]struct {
		method, path, media, body string
		status                    int
		says                      string
	}{
		"unknown field":     {"POST", "keys", json, `{"customer":"live","lable":"x"}`, 400, "a field lable"},
		"key as a field":    {"POST", "keys", json, `{"` + key.Text + `":1}`, 400, "a field that there is not"},
		"other case":        {"POST", "keys", json, `{"Customer":"live"}`, 400, "a field Customer"},
		"twice":             {"POST", "keys", json, `{"customer":"live","customer":"demo"}`, 400, "customer twice"},
		"behind it":         {"POST", "keys", json, `{"customer":"live"} {}`, 400, "goes on behind"},
		"cut":               {"POST", "keys", json, `{"customer":"li`, 400, "not JSON"},
		"an array":          {"POST", "keys", json, `[{"customer":"live"}]`, 400, "not a JSON object"},
		"a number":          {"POST", "keys", json, `{"customer":7}`, 400, "customer is not string"},
		"not a time":        {"POST", "keys", json, `{"customer":"live","expires_at":"` + key.Text + `"}`, 400, "not what its field takes"},
		"not UTF-8":         {"POST", "keys", json, "{\"customer\":\"live\",\"label\":\"\xff\"}", 400, "UTF-8"},
		"deep":              {"POST", "keys", json, `{"scopes":` + strings.Repeat("[", 20_000) + `}`, 400, "not JSON"},
		"large":             {"POST", "keys", json, `{"label":"` + strings.Repeat("x", 70_000) + `"}`, 413, "65536 bytes"},
		"of another kind":   {"POST", "keys", "text/plain", `{"customer":"live"}`, 400, "application/json"},
		"of no kind":        {"POST", "keys", "", `{"customer":"live"}`, 400, "application/json"},
		"body of none":      {"POST", "customers/live/disable", json, `{"reason":"x"}`, 400, "a field reason"},
		"grace":             {"POST", "keys/x/rotate", json, `{"grace_seconds":-1}`, 400, "grace_seconds"},
		"endless grace":     {"POST", "keys/x/rotate", json, `{"grace_seconds":99999999999}`, 400, "grace_seconds"},
		"a fraction":        {"POST", "keys/x/rotate", json, `{"grace_seconds":1.5}`, 400, "grace_seconds is not int64"},
		"unknown parameter": {"GET", "keys?custmer=live", "", "", 400, "parameter"},
		"twice a parameter": {"GET", "keys?customer=live&customer=demo", "", "", 400, "parameter"},
		"no query":          {"GET", "customers?x=%zz", "", "", 400, "query"},
		"query of none":     {"POST", "customers/live/disable?force=1", "", "", 400, "parameter"},
		"no operation":      {"GET", "nothing", "", "", 400, "no such operation"},
		"another method":    {"DELETE", "keys", "", "", 400, "no such operation"},
		"up":                {"GET", "x/../keys", "", "", 400, "no such operation"},
		"up, escaped":       {"GET", "x/%2e%2e/keys", "", "", 400, "no such operation"},
		"double slash":      {"GET", "/keys", "", "", 400, "no such operation"},
		"slash behind":      {"GET", "keys/", "", "", 400, "no such operation"},
		"escaped slash":     {"POST", "customers%2Flive%2Fdisable", "", "", 400, "no such operation"},
		"slash in a name":   {"POST", "customers/live%2Fdisable/enable", "", "", 404, "declares no customer"},
	} {
		request, err := http.NewRequestWithContext(t.Context(), c.method, s.URL+admin.Prefix+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if c.media != "" {
			request.Header.Set("Content-Type", c.media)
		}
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text := string(must(io.ReadAll(response.Body)))
		response.Body.Close()
		if response.StatusCode != c.status || !strings.Contains(text, c.says) || response.Header.Get("Content-Type") != json {
			t.Errorf("%s: %d %s", name, response.StatusCode, text)
		}
		if strings.Contains(text, key.Text) {
			t.Errorf("%s: the answer has a key in it", name)
		}
	}
	equal(t, len(must(record.Keys(t.Context()))), 1)
	equal(t, len(must(record.Disabled(t.Context()))), 0)
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// TestMounted: the public API says who is let in, and how errors look.
func TestMounted(t *testing.T) {
	t.Parallel()
	r, record := registry(t)
	s := serve(t, admin.Config{
		Manage: func(r2 *http.Request) (admin.Manage, error) {
			text, err := customer.ParseBearer(r2.Header.Get("Authorization"))
			if err != nil {
				return nil, err
			}
			if text != "cs_admin_right" {
				return nil, fault.New(customer.CodeKeyUnknown, fault.Usage, "the key is not known")
			}
			return r.Manage(customer.Actor{Who: "key:key_1", From: "10.0.0.1", RequestID: "req_7"}), nil
		},
		Fail: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprintf(w, `{"error":{"code":"INVALID_KEY","message":"no","suggestion":"ask","request_id":"req_7","timestamp":"x","details":{"a":"b"}}}`)
		},
	})
	client := func(key string) *admin.Client {
		c := must(admin.Connect(s.URL+"/", config.NewSecret(key), nil))
		t.Cleanup(func() { c.Close() })
		return c
	}
	must(client("cs_admin_right").Disable(t.Context(), "live"))
	rows := must(record.AuditOf(t.Context(), "live", time.Time{}, 9))
	equal(t, []string{rows[0].Who, rows[0].From, rows[0].RequestID, rows[0].What}, []string{"key:key_1", "10.0.0.1", "req_7", "customer.disable"})

	_, err := client("cs_admin_wrong").Enable(t.Context(), "live")
	f := fault.From(err)
	equal(t, []any{f.Code, f.Message, f.Hint, f.Class, f.Details["a"]}, []any{"INVALID_KEY", "no", "ask", fault.Usage, "b"})
	equal(t, len(must(record.Disabled(t.Context()))), 1)
	_, err = client("").ListKeys(t.Context(), "")
	refused(t, err, "INVALID_KEY")
}

func TestServersThatGetNoKey(t *testing.T) {
	t.Parallel()
	secret := config.NewSecret("cs_admin_secret")
	for server, code := range map[string]string{
		"https://api.example.org": "", "https://api.example.org:8443/base/": "", "http://127.0.0.1:8080": "", "http://[::1]:8080": "", "http://localhost:8080": "",
		"http://api.example.org": admin.CodeServer, "http://10.0.0.1": admin.CodeServer, "api.example.org": admin.CodeServer, "": admin.CodeServer,
		"ftp://localhost": admin.CodeServer, "https://cs_admin_secret@api.example.org": admin.CodeServer, "https://api.example.org?key=cs_admin_secret": admin.CodeServer,
		"https://": admin.CodeServer, "http://localhost.example.org": admin.CodeServer, "http://127.0.0.1.example.org": admin.CodeServer, "https://%zz": admin.CodeServer,
	} {
		_, err := admin.Connect(server, secret, nil)
		if code == "" && err != nil || code != "" && !fault.Is(err, code) {
			t.Errorf("%q: expected %q, got %v", server, code, err)
		}
		if err != nil && strings.Contains(err.Error(), "cs_admin_secret") {
			t.Errorf("%q: the error has the key in it: %v", server, err)
		}
	}
}

// TestOtherServers: what answers in a service's place gets the key at most once, and is not believed.
func TestOtherServers(t *testing.T) {
	t.Parallel()
	var elsewhere sync.Map
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { elsewhere.Store(r.Header.Get("Authorization"), true) }))
	defer other.Close()
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		says    string
	}{
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}, "307"},
		"page":    {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "not one of this version"},
		"gateway": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502); fmt.Fprint(w, "<html>") }, "502 Bad Gateway"},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "{")
		}, "cannot be reached"},
	} {
		s := httptest.NewServer(c.handler)
		client := must(admin.Connect(s.URL, config.NewSecret("cs_admin_secret"), nil))
		_, err := client.CreateKey(t.Context(), customer.NewKey{Customer: "live"})
		refused(t, err, admin.CodeConnection)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "cs_admin_secret") {
			t.Errorf("%s: %v", name, err)
		}
		client.Close()
		s.Close()
		_, err = client.ListKeys(t.Context(), "")
		refused(t, err, admin.CodeConnection)
	}
	elsewhere.Range(func(key, _ any) bool { t.Errorf("the redirect was followed, with %q", key); return true })

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := must(admin.Connect(other.URL, config.Secret{}, nil)).ListKeys(ctx, "")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("expected the context's end, got %v", err)
	}
}

func TestSocket(t *testing.T) {
	t.Parallel()
	r, _ := registry(t)
	long := filepath.Join(t.TempDir(), strings.Repeat("long/", 30))
	if err := os.MkdirAll(long, 0o700); err != nil {
		t.Fatal(err)
	}
	dirs := []string{t.TempDir()}
	if runtime.GOOS == "linux" { // elsewhere a socket's path is short
		dirs = append(dirs, long)
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, "admin.sock")
		_, err := admin.Dial(t.Context(), dir)
		refused(t, err, admin.CodeNotRunning)

		s := listen(t, dir, r)
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != os.ModeSocket|0o600 {
			t.Fatalf("the socket is %v: %v", info.Mode(), err)
		}
		must(dial(t, dir).ListCustomers(t.Context()))
		_, err = admin.Listen(dir, r, nil)
		refused(t, err, admin.CodeSocket)
		must(dial(t, dir).ListCustomers(t.Context())) // it is still there

		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left: %v", err)
		}
		_, err = admin.Dial(t.Context(), dir)
		refused(t, err, admin.CodeNotRunning)

		// What is no socket is not ours.
		if err := os.WriteFile(path, []byte("theirs"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = admin.Listen(dir, r, nil)
		refused(t, err, admin.CodeSocket)
		_, err = admin.Dial(t.Context(), dir)
		refused(t, err, admin.CodeNotRunning)
		equal(t, string(must(os.ReadFile(path))), "theirs")
	}
	_, err := admin.Listen(filepath.Join(t.TempDir(), "nowhere"), r, nil)
	refused(t, err, admin.CodeSocket)
}

// dying listens, says so, and waits to be killed.
func dying(dir string) {
	l, err := net.Listen("unix", filepath.Join(dir, "admin.sock"))
	if err == nil {
		fmt.Println("listening", l.Addr())
	}
	select {}
}

// TestSocketOfTheDead: a service that was killed leaves its socket, and the next one takes its place.
func TestSocketOfTheDead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command(must(os.Executable()))
	cmd.Env = append(os.Environ(), dyingVariable+"="+dir)
	out := must(cmd.StdoutPipe())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("listening"))); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if _, err := os.Lstat(filepath.Join(dir, "admin.sock")); err != nil {
		t.Fatal(err)
	}
	_, err := admin.Dial(t.Context(), dir)
	refused(t, err, admin.CodeNotRunning)
	r, _ := registry(t)
	listen(t, dir, r)
	must(dial(t, dir).ListCustomers(t.Context()))
}

// command asks a service to take a customer out of service, and says what came of it.
func command(dir string) {
	c, err := admin.Dial(context.Background(), dir)
	if err == nil {
		_, err = c.Disable(context.Background(), "live")
	}
	if err != nil {
		fmt.Print(fault.From(err).Code)
	}
}

// TestCommandOfAnotherUser: the modes keep others out, and where somebody has opened them the service looks who it is.
func TestCommandOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	t.Parallel()
	// Outside the private directories of the tests, where another user gets to.
	dir, err := os.MkdirTemp("/tmp", "cs")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "command")
	text := must(os.ReadFile(must(os.Executable())))
	if err := errors.Join(os.WriteFile(program, text, 0o700), os.Chmod(program, 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	r, record := registry(t)
	listen(t, data, r)
	asNobody := func() string {
		t.Helper()
		cmd := exec.Command(program)
		cmd.Env = []string{commandVariable + "=" + data}
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	equal(t, asNobody(), admin.CodeConnection) // the directory
	if err := os.Chmod(data, 0o755); err != nil {
		t.Fatal(err)
	}
	equal(t, asNobody(), admin.CodeConnection) // the socket
	if err := os.Chmod(filepath.Join(data, "admin.sock"), 0o666); err != nil {
		t.Fatal(err)
	}
	equal(t, asNobody(), admin.CodePeer) // the service
	equal(t, len(must(record.Disabled(t.Context()))), 0)
	must(dial(t, data).Disable(t.Context(), "live"))
	equal(t, len(must(record.Disabled(t.Context()))), 1)
}

func TestPick(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r, _ := registry(t)
	direct := r.Manage(customer.Actor{})
	closed := 0
	open := func() (admin.Manage, func() error, error) { return direct, func() error { closed++; return nil }, nil }
	locked := fault.New(store.CodeLocked, fault.Usage, "the data directory is in use by process 7")

	t.Run("no service", func(t *testing.T) {
		m, done, err := admin.Pick(ctx, t.TempDir(), open)
		if err != nil || m != admin.Manage(direct) || done() != nil || closed != 1 {
			t.Errorf("%v, %v, closed %d times", m, err, closed)
		}
	})
	t.Run("a service", func(t *testing.T) {
		dir := t.TempDir()
		listen(t, dir, r)
		m, done, err := admin.Pick(ctx, dir, func() (admin.Manage, func() error, error) {
			t.Error("the record was opened beside the service")
			return nil, nil, locked
		})
		if _, ok := m.(*admin.Client); !ok || err != nil || done() != nil {
			t.Errorf("%v, %v", m, err)
		}
	})
	t.Run("a service that starts", func(t *testing.T) {
		dir := t.TempDir()
		var once sync.Once
		m, done, err := admin.Pick(ctx, dir, func() (admin.Manage, func() error, error) {
			once.Do(func() { listen(t, dir, r) })
			return nil, nil, locked
		})
		if _, ok := m.(*admin.Client); !ok || err != nil || done() != nil {
			t.Errorf("%v, %v", m, err)
		}
	})
	t.Run("a command that ends", func(t *testing.T) {
		tries := 0
		m, _, err := admin.Pick(ctx, t.TempDir(), func() (admin.Manage, func() error, error) {
			if tries++; tries < 3 {
				return nil, nil, locked
			}
			return open()
		})
		if err != nil || m != admin.Manage(direct) {
			t.Errorf("%v, %v", m, err)
		}
	})
	t.Run("gone away", func(t *testing.T) {
		ctx, cancel := context.WithCancel(ctx)
		_, _, err := admin.Pick(ctx, t.TempDir(), func() (admin.Manage, func() error, error) { cancel(); return nil, nil, locked })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("expected the context's end, got %v", err)
		}
	})
	t.Run("another failure", func(t *testing.T) {
		_, _, err := admin.Pick(ctx, t.TempDir(), func() (admin.Manage, func() error, error) {
			return nil, nil, fault.New(store.CodeNewer, fault.Usage, "newer")
		})
		refused(t, err, store.CodeNewer)
	})
}

// FuzzRequest: whatever the body is, the answer is JSON and repeats nothing of a key in it; and what is taken means what it
// says.
func FuzzRequest(f *testing.F) {
	r, _ := registry(f)
	h := admin.NewHandler(admin.Config{Manage: func(*http.Request) (admin.Manage, error) { return r.Manage(customer.Actor{}), nil }})
	const planted = "cs_live_0123456789abcdefghijABCDEFGHIJ012345"
	for _, body := range []string{`{"customer":"live","label":"` + planted + `"}`, `{"` + planted + `":1}`, `{"admin":true,"scopes":["admin"]}`, `{"expires_at":"` + planted + `"}`,
		`{"customer":"` + planted + `"}`, `{"scopes":["` + planted + `"]}`, `[]`, ``, `{}`, `{"a":1,"a":2}`, "\xff", `{"customer":{"customer":"live"}}`} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		request := httptest.NewRequest(http.MethodPost, admin.Prefix+"keys", strings.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request)
		if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "no-store" {
			t.Fatalf("the headers are %v", w.Header())
		}
		switch {
		case w.Code == http.StatusOK:
		case w.Code < 400 || w.Code >= 500:
			t.Fatalf("%q: %d %s", body, w.Code, w.Body)
		case strings.Contains(w.Body.String(), planted):
			t.Fatalf("%q: the answer repeats the key: %s", body, w.Body)
		}
	})
}
