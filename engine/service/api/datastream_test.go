package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/changes"
	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/pin"
)

const myStream = "/v1/customers/clinic-7/data-stream"

// streams are data streams in memory, that neither read nor send.
type streams struct {
	mu     sync.Mutex
	set    map[string]changes.Settings
	views  map[string]changes.View
	refuse error // what enabling is refused with
	did    []string
}

func (s *streams) Put(_ context.Context, customer string, to changes.Settings, by store.Actor) (changes.View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to.Secret = cmp.Or(to.Secret, s.set[customer].Secret)
	s.set[customer] = to
	v := s.views[customer]
	to.Secret = config.Secret{}
	v.Customer, v.Settings, v.Channels = customer, to, nil
	for _, name := range changes.Channels {
		v.Channels = append(v.Channels, changes.ChannelView{Name: name, Enabled: slices.Contains(to.Channels, name)})
	}
	s.views[customer] = v
	s.did = append(s.did, "put "+by.Who)
	return v, nil
}

func (s *streams) Get(_ context.Context, customer string) (changes.View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.views[customer]
	if !ok {
		return v, fault.New(store.CodeUnknown, fault.Usage, "there is none")
	}
	return v, nil
}

func (s *streams) turn(customer, what string, to bool, by store.Actor) (changes.View, error) {
	v, err := s.Get(context.Background(), customer)
	if err != nil {
		return v, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if to && s.refuse != nil {
		return v, s.refuse
	}
	v.Enabled = to
	s.views[customer] = v
	s.did = append(s.did, what+" "+by.Who)
	return v, nil
}

func (s *streams) Enable(_ context.Context, customer string, by store.Actor) (changes.View, error) {
	return s.turn(customer, "enable", true, by)
}

func (s *streams) Disable(_ context.Context, customer string, by store.Actor) (changes.View, error) {
	return s.turn(customer, "disable", false, by)
}

func (s *streams) Reset(ctx context.Context, customer, channel string, above int64, anew, dry bool, _ store.Actor) (changes.ResetResult, error) {
	v, err := s.Get(ctx, customer)
	switch {
	case err != nil:
		return changes.ResetResult{}, err
	case v.Enabled:
		return changes.ResetResult{}, fault.New(store.CodeStreamEnabled, fault.Usage, "it is enabled")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.did = append(s.did, fmt.Sprintf("reset %s above %d, anew %t, dry %t", channel, above, anew, dry))
	return changes.ResetResult{Documents: v.Channels[slices.Index(changes.Channels, channel)].Sequence - above}, nil
}

// newStreaming is a server with data streams.
func newStreaming(t *testing.T) (*server, *streams) {
	t.Helper()
	all := &streams{set: map[string]changes.Settings{}, views: map[string]changes.View{}}
	return newServer(t, func(c *Config) { c.DataStreams = all }), all
}

func (a answered) stream(t *testing.T) (b dataStreamBody) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil || a.StatusCode != 200 {
		t.Fatalf("%s: %s", a.Status, a.body)
	}
	return b
}

// TestDataStream sets one up, enables it, looks at it, disables and resets it.
func TestDataStream(t *testing.T) {
	t.Parallel()
	s, all := newStreaming(t)
	if e := s.do("GET", myStream, "").refusal(t); e.Code != DataStreamNotFound {
		t.Errorf("%s", e.Code)
	}
	put := s.do("PUT", myStream, `{"url":"https://receiver.example.com/documents","shared_secret":"very-secret-1"}`)
	b := put.stream(t)
	if b.SharedSecret != hiddenValue || b.PerRequest != 500 || b.PerMinute != 60 || !slices.Equal(b.Channels, []string{"entities"}) || b.Enabled || b.State != "disabled" ||
		b.OrganizationID != "clinic-7" || b.ContentEncoding || len(b.Status) != 2 || b.Status[0].Channel != "entities" || !b.Status[0].Enabled || b.Status[1].Enabled {
		t.Errorf("%s", put.body)
	}
	if all.set["clinic-7"].Secret.Reveal() != "very-secret-1" {
		t.Errorf("the secret was not handed on")
	}
	// What is left out has its default, but for the secret; enabled stays.
	if on := s.do("POST", myStream+"/enable", "").stream(t); !on.Enabled || on.State != "starting" {
		t.Errorf("%+v", on)
	}
	again := s.do("PUT", myStream, `{"url":"https://receiver.example.com/other","channels":["logs","entities"],"records_per_request":1000,"rate_limit_per_minute":300,
		"organization_id":"org-7","content_encoding":true,"shared_secret":"***"}`)
	if b = again.stream(t); !b.Enabled || b.PerRequest != 1000 || b.PerMinute != 300 || b.OrganizationID != "org-7" || !b.ContentEncoding || len(b.Status) != 2 {
		t.Errorf("%s", again.body)
	}
	if all.set["clinic-7"].Secret.Reveal() != "very-secret-1" {
		t.Errorf("the secret was lost")
	}
	if e := s.do("POST", myStream+"/reset", `{"channel":"entities"}`).refusal(t); e.Code != DataStreamEnabled {
		t.Errorf("%s", e.Code)
	}
	if off := s.do("PUT", myStream, `{"url":"https://receiver.example.com/other","enabled":false}`).stream(t); off.Enabled {
		t.Errorf("%+v", off)
	}
	all.mu.Lock()
	v := all.views["clinic-7"]
	v.Channels[0].Sequence = 1007
	all.views["clinic-7"] = v
	all.mu.Unlock()
	reset := s.do("POST", myStream+"/reset", `{"channel":"entities","above":1000,"dry_run":true}`)
	if string(bytes.TrimSpace(reset.body)) != `{"channel":"entities","above":1000,"anew":false,"dry_run":true,"documents":7}` {
		t.Errorf("%s", reset.body)
	}
	s.do("POST", myStream+"/enable", "{}").stream(t)
	s.do("POST", myStream+"/disable", "").stream(t)
	all.mu.Lock()
	defer all.mu.Unlock()
	want := "put key:key_good, enable key:key_good, put key:key_good, disable key:key_good, put key:key_good, " +
		"reset entities above 1000, anew false, dry true, enable key:key_good, disable key:key_good"
	if got := strings.Join(all.did, ", "); got != want {
		t.Errorf("%s", got)
	}
	if strings.Contains(s.log.String()+string(put.body)+string(again.body), "very-secret-1") {
		t.Error("the secret is shown")
	}
}

// TestDataStreamStatus: how far it is, and what the receiver has answered.
func TestDataStreamStatus(t *testing.T) {
	t.Parallel()
	now := time.Date(2024, 2, 1, 12, 0, 0, 0, time.UTC)
	s, all := newStreaming(t)
	s.do("PUT", myStream, `{"url":"https://receiver.example.com/","shared_secret":"x","enabled":true,"channels":["entities","logs"]}`).stream(t)
	set := func(change func(v *changes.View)) dataStreamBody {
		all.mu.Lock()
		v := all.views["clinic-7"]
		change(&v)
		all.views["clinic-7"] = v
		all.mu.Unlock()
		return s.do("GET", myStream, "").stream(t)
	}
	b := set(func(v *changes.View) {
		v.Copied = true
		v.Channels[0].ChannelState = store.ChannelState{Sequence: 1200, Acknowledged: 1000, AcknowledgedAt: now.Add(-time.Minute), Waiting: 180, WaitingBytes: 9000, Again: 3}
		v.Channels[0].Lag, v.Channels[0].LagTime = 200, 90*time.Second
		v.Channels[1].ChannelState = store.ChannelState{Sequence: 4, Acknowledged: 4}
		v.Channels[1].Last = &changes.Request{At: now, First: 3, Last: 4, Documents: 2, Bytes: 99, Milliseconds: 12, HTTPStatus: 200, Acknowledged: 4}
	})
	first, second := b.Status[0], b.Status[1]
	if b.State != "running" || first.Lag != 200 || first.LagSeconds == nil || *first.LagSeconds != 90 || first.Waiting != 180 || first.WaitingBytes != 9000 || first.Again != 3 ||
		first.AcknowledgedAt != "2024-02-01T11:59:00.000Z" || first.Last != nil || second.Lag != 0 || second.LagSeconds != nil ||
		*second.Last != (dataStreamRequestBody{At: "2024-02-01T12:00:00.000Z", First: 3, Last: 4, Documents: 2, Bytes: 99, Seconds: .012, HTTPStatus: 200, Processed: 4}) {
		t.Errorf("%+v", b)
	}
	b = set(func(v *changes.View) {
		v.Paused = []string{"entities"}
		v.Channels[0].Last = &changes.Request{At: now, First: 1001, Last: 1100, Documents: 90, HTTPStatus: 503, Code: "changes.answer_status", Message: "503", Hint: "look",
			RetryAt: now.Add(4 * time.Second)}
	})
	if b.State != "failing" || !slices.Equal(b.Paused, []string{"entities"}) || *b.Status[0].Last != (dataStreamRequestBody{At: "2024-02-01T12:00:00.000Z", First: 1001, Last: 1100, Documents: 90,
		HTTPStatus: 503, Code: "changes.answer_status", Message: "503", Suggestion: "look", NextAt: "2024-02-01T12:00:04.000Z"}) {
		t.Errorf("%+v %+v", b, b.Status[0].Last)
	}
	b = set(func(v *changes.View) {
		v.Channels[0].Last = nil
		v.Reading = &store.StreamFault{Code: "DATABASE_UNAVAILABLE", At: now}
	})
	if b.State != "failing" || b.Error == nil || b.Error.Code != "DATABASE_UNAVAILABLE" {
		t.Errorf("%+v", b)
	}
	b = set(func(v *changes.View) {
		v.Fault = &store.StreamFault{Code: "changes.table_changed", Message: "the table has changed", Hint: "reset it", At: now}
	})
	if b.State != "stopped" || *b.Error != (dataStreamErrorBody{"changes.table_changed", "the table has changed", "2024-02-01T12:00:00.000Z", "reset it"}) {
		t.Errorf("%+v", b)
	}
}

// TestDataStreamMistakes: every mistake is told at once.
func TestDataStreamMistakes(t *testing.T) {
	t.Parallel()
	s, all := newStreaming(t)
	for body, want := range map[string]string{
		`{}`: "MISSING_PARAMETER shared_secret, MISSING_PARAMETER url",
		`{"url":"http://x.example.com","shared_secret":"***","records_per_request":1001,"rate_limit_per_minute":301,"channels":["audit"],"content_encoding":1,"enabled":"yes"}`: "INVALID_PARAMETER /channels/0, INVALID_PARAMETER content_encoding, INVALID_PARAMETER enabled, " +
			"INVALID_PARAMETER rate_limit_per_minute, INVALID_PARAMETER records_per_request, INVALID_PARAMETER shared_secret, INVALID_PARAMETER url",
		`{"url":"https://x.example.com","shared_secret":"a b","certificate":"no PEM","certificate_pins":["sha256:00","x"],"channels":[],"organization_id":"é"}`: "INVALID_PARAMETER /certificate_pins/0, INVALID_PARAMETER /certificate_pins/1, " +
			"INVALID_PARAMETER certificate, INVALID_PARAMETER channels, INVALID_PARAMETER organization_id, INVALID_PARAMETER shared_secret",
		`{"url":"https://x.example.com","shared_secret":"a","certificate_pins":["a","b","c"],"channel":"entities"}`: "INVALID_PARAMETER certificate_pins, UNKNOWN_FIELD channel",
		`{"url":"https://x.example.com","shared_secret":7,"records_per_request":0,"rate_limit_per_minute":0}`:       "INVALID_PARAMETER rate_limit_per_minute, INVALID_PARAMETER records_per_request, INVALID_PARAMETER shared_secret",
	} {
		if got := s.do("PUT", myStream, body).refusal(t).mistakes(); got != want {
			t.Errorf("%s\n  %s\n  want %s", body, got, want)
		}
	}
	if len(all.did) > 0 {
		t.Errorf("%v was done", all.did)
	}
	s.do("PUT", myStream, `{"url":"https://one.example.com/","shared_secret":"a"}`).stream(t)
	for _, body := range []string{`{"url":"https://two.example.com/"}`, `{"url":"https://two.example.com/","shared_secret":"***"}`} {
		if got := s.do("PUT", myStream, body).refusal(t).mistakes(); got != "INVALID_PARAMETER shared_secret" {
			t.Errorf("another host gets the secret: %s", got)
		}
	}
	for body, want := range map[string]string{
		`{}`:                             "MISSING_PARAMETER channel",
		`{"channel":"audit","above":-1}`: "INVALID_PARAMETER above, INVALID_PARAMETER channel",
		`{"channel":"logs","anew":true,"above":4}`: "CONFLICTING_PARAMETERS anew",
	} {
		if got := s.do("POST", myStream+"/reset", body).refusal(t).mistakes(); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	if got := s.do("POST", myStream+"/enable", `{"channel":"logs"}`).refusal(t).mistakes(); got != "UNKNOWN_FIELD channel" {
		t.Errorf("%s", got)
	}
}

// TestDataStreamTrust: a certificate and pins, in either form.
func TestDataStreamTrust(t *testing.T) {
	t.Parallel()
	s, all := newStreaming(t)
	receiver := httptest.NewTLSServer(nil)
	defer receiver.Close()
	of := pin.Of(receiver.Certificate())
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: receiver.Certificate().Raw}))
	body, _ := json.Marshal(map[string]any{"url": "https://receiver.example.com/", "shared_secret": "x", "certificate": certificate,
		"certificate_pins": []string{of, pin.Base64(of)}})
	b := s.do("PUT", myStream, string(body)).stream(t)
	if want := []string{pin.Base64(of), pin.Base64(of)}; !slices.Equal(b.Pins, want) || !slices.Equal(all.set["clinic-7"].Pins, want) || b.Certificate != certificate {
		t.Errorf("%+v", b)
	}
}

// TestDataStreamRefusals: who may not, what is not there, and what cannot be followed.
func TestDataStreamRefusals(t *testing.T) {
	t.Parallel()
	s, all := newStreaming(t)
	for key, want := range map[string]Code{"other": CustomerNotFound, "jobless": ScopeMissing, "nobody": InvalidAPIKey} {
		if e := s.do("GET", myStream, "", "Authorization", "Bearer "+key).refusal(t); e.Code != want {
			t.Errorf("%s: %s", key, e.Code)
		}
	}
	for _, path := range []string{"/enable", "/disable", "/reset"} {
		body := ""
		if path == "/reset" {
			body = `{"channel":"logs"}`
		}
		if e := s.do("POST", myStream+path, body).refusal(t); e.Code != DataStreamNotFound {
			t.Errorf("%s: %s", path, e.Code)
		}
	}
	s.do("PUT", myStream, `{"url":"https://receiver.example.com/","shared_secret":"x"}`).stream(t)
	for _, c := range []struct {
		inner, want string
		class       fault.Class
	}{
		{"changes.channel_empty", string(ChannelEmpty), fault.Usage}, {"changes.binlog_format", string(DataStreamRefused), fault.Source},
		{"changes.no_pipeline", string(DataStreamUnavailable), fault.Usage}, {"changes.ending", string(DataStreamEnding), fault.Usage}, {"changes.channel_new", string(ChannelNew), fault.Usage}, {"mysql.connect", string(DatabaseUnavailable), fault.Connect},
	} {
		all.mu.Lock()
		all.refuse = fault.New(c.inner, c.class, "db.internal says SELECT").WithHint("SELECT")
		all.mu.Unlock()
		a := s.do("POST", myStream+"/enable", "")
		e := a.refusal(t)
		told := len(e.Details) == 1 && e.Details[0].Code == c.inner
		if string(e.Code) != c.want || told != (entries[e.Code].Status >= 500 || e.Code == DataStreamRefused) {
			t.Errorf("%s: %s", c.inner, a.body)
		}
	}
	if e := newServer(t, nil).do("GET", myStream, "").refusal(t); e.Code != DataStreamUnavailable {
		t.Errorf("without streams: %s", e.Code)
	}
}

// TestGuideSetsADataStream runs the program of the guide.
func TestGuideSetsADataStream(t *testing.T) {
	t.Parallel()
	program(t, "curl")
	s, all := newStreaming(t)
	text, err := guideCode("data_stream.sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program(t, "bash"), "-c", text)
	cmd.Env = append(os.Environ(), "CIPHERSTREAM_URL="+s.URL, "CIPHERSTREAM_KEY=good", "CIPHERSTREAM_CUSTOMER=clinic-7")
	if out, err := cmd.CombinedOutput(); err != nil || !all.views["clinic-7"].Enabled {
		t.Fatalf("%v\n%s", err, out)
	}
}
