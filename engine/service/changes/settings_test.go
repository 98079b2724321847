package changes

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestSettings: what cannot be set up is refused with the name of the setting, and what is not said is filled in.
func TestSettings(t *testing.T) {
	t.Parallel()
	pin := base64.StdEncoding.EncodeToString(make([]byte, 32))
	good := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: selfSigned(t).Certificate[0]}))
	for name, c := range map[string]struct {
		change  func(*Settings)
		setting string
	}{
		"plain":              {func(s *Settings) { s.URL = "http://receiver.example.com/" }, "url"},
		"no host":            {func(s *Settings) { s.URL = "https:///in" }, "url"},
		"user":               {func(s *Settings) { s.URL = "https://a:b@receiver.example.com/" }, "url"},
		"secret of lines":    {func(s *Settings) { s.Secret = config.NewSecret("a\r\nb") }, "secret"},
		"secret of spaces":   {func(s *Settings) { s.Secret = config.NewSecret("a b") }, "secret"},
		"no secret":          {func(s *Settings) { s.Secret = config.Secret{} }, "secret"},
		"pins":               {func(s *Settings) { s.Pins = []string{pin, pin} }, ""},
		"three pins":         {func(s *Settings) { s.Pins = []string{pin, pin, pin} }, "pins"},
		"short pin":          {func(s *Settings) { s.Pins = []string{pin[4:]} }, "pins"},
		"certificate":        {func(s *Settings) { s.Certificate = good + "\n" }, ""},
		"two certificates":   {func(s *Settings) { s.Certificate = good + good }, "certificate"},
		"no certificate":     {func(s *Settings) { s.Certificate = "MII" }, "certificate"},
		"broken certificate": {func(s *Settings) { s.Certificate = strings.Replace(good, "MI", "AA", 1) }, "certificate"},
		"organization":       {func(s *Settings) { s.OrganizationID = strings.Repeat("x", 257) }, "organization_id"},
		"records":            {func(s *Settings) { s.RecordsPerRequest = 1001 }, "records_per_request"},
		"negative records":   {func(s *Settings) { s.RecordsPerRequest = -1 }, "records_per_request"},
		"most records":       {func(s *Settings) { s.RecordsPerRequest = 1000 }, ""},
		"requests":           {func(s *Settings) { s.RequestsPerMinute = 301 }, "requests_per_minute"},
		"most requests":      {func(s *Settings) { s.RequestsPerMinute = 300 }, ""},
		"no channel":         {func(s *Settings) { s.Channels = nil }, "channels"},
		"unknown channel":    {func(s *Settings) { s.Channels = []string{"audit"} }, "channels"},
	} {
		h := newHouse(t)
		p := h.idle()
		s := Settings{URL: "https://receiver.example.com/in", Secret: config.NewSecret("s3cret"), Channels: []string{Logs, Entities, Logs}}
		c.change(&s)
		v, err := p.Put(t.Context(), clinic, s, someone)
		if c.setting == "" {
			if err != nil || !slices.Equal(v.Settings.Channels, Channels) || v.Enabled || v.Settings.OrganizationID != clinic ||
				v.Settings.RecordsPerRequest == 0 || v.Settings.RequestsPerMinute == 0 {
				t.Errorf("%s: %+v, %v", name, v, err)
			}
			continue
		}
		var f *fault.Fault
		if !errors.As(err, &f) || f.Code != CodeSettings || f.Details[fault.DetailSetting] != c.setting || strings.Contains(f.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := p.Get(t.Context(), clinic); !fault.Is(err, store.CodeUnknown) {
			t.Errorf("%s: something is set up: %v", name, err)
		}
	}
}

// idle is a process whose streams do not run.
func (h *house) idle() *process {
	h.t.Helper()
	p := &process{Store: h.record}
	var err error
	if p.Manager, err = New(Config{Record: p, Sources: h.practice, Key: h.key, Holder: "idle", Poster: posts{p, h.receiver}}); err != nil {
		h.t.Fatal(err)
	}
	return p
}

// TestSecretStays: a secret is given once, and stays when other settings change.
func TestSecretStays(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := h.idle()
	s := h.settings()
	if _, err := p.Put(t.Context(), clinic, s, someone); err != nil {
		t.Fatal(err)
	}
	s.Secret = config.Secret{}
	if _, err := p.Put(t.Context(), clinic, s, someone); err != nil {
		t.Fatal(err)
	}
	stream, err := h.record.Stream(t.Context(), clinic)
	if err != nil {
		t.Fatal(err)
	}
	if secret, err := p.secret(stream); err != nil || secret.Reveal() != "s3cret" {
		t.Errorf("%v", err)
	}
	stream.Customer = "other"
	if _, err := p.secret(stream); !fault.Is(err, CodeSealed) {
		t.Errorf("it opens for another customer: %v", err)
	}
}

// TestEnableChecks: what a stream would fail with is said when it is to be enabled, and it stays disabled.
func TestEnableChecks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*practice)
		code   string
	}{
		"good":        {func(*practice) {}, ""},
		"no tables":   {func(p *practice) { p.channels = []string{Entities} }, CodeChannelEmpty},
		"wrong check": {func(p *practice) { p.check = fault.New("changes.log_off", fault.Source, "the log is off") }, "changes.log_off"},
	} {
		h := newHouse(t)
		p := h.idle()
		if _, err := p.Enable(t.Context(), clinic, someone); !fault.Is(err, store.CodeUnknown) {
			t.Errorf("nothing is set up: %v", err)
		}
		if _, err := p.Put(t.Context(), clinic, h.settings(), someone); err != nil {
			t.Fatal(err)
		}
		c.change(h.practice)
		_, err := p.Enable(t.Context(), clinic, someone)
		if (err == nil) != (c.code == "") || err != nil && !fault.Is(err, c.code) {
			t.Errorf("%s: %v", name, err)
		}
		if v, err := p.Get(t.Context(), clinic); err != nil || v.Enabled != (c.code == "") {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
}

// TestAudit: who has changed what of a stream is in the audit.
func TestAudit(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := h.idle()
	h.enabled(p)
	h.disable(p)
	if _, err := p.Reset(t.Context(), clinic, Logs, 0, true, false, someone); err != nil {
		t.Fatal(err)
	}
	rows, err := h.record.AuditOf(t.Context(), clinic, time.Time{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	var what []string
	for _, r := range rows {
		if r.Who != someone.Who || r.Outcome != "ok" || r.Customer != clinic {
			t.Errorf("%+v", r)
		}
		what = append(what, r.What)
	}
	slices.Sort(what)
	if !slices.Equal(what, []string{"data_stream.disable", "data_stream.enable", "data_stream.put", "data_stream.reset"}) {
		t.Errorf("%v", what)
	}
}
