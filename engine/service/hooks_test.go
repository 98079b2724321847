package service

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/sdk/webhook"
)

// TestWebhooksAreSent: a service sends what its API was told to, signed with the secret that it has shown, and counts it; where it
// may not go, nobody is connected to.
func TestWebhooksAreSent(t *testing.T) {
	t.Parallel()
	type request struct {
		header http.Header
		body   []byte
	}
	came := make(chan request, 16)
	receiver := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		came <- request{r.Header, body}
		if r.URL.Path == "/gone" {
			w.WriteHeader(http.StatusGone)
		}
	}))
	defer receiver.Close()
	for _, allowed := range []bool{false, true} {
		set := settings(t)
		set.AdminNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		if allowed {
			set.AllowNetworks = set.AdminNetworks
		}
		made := newService(t, set, nil)
		cfg := made.cfg
		cfg.Roots = x509.NewCertPool()
		cfg.Roots.AddCert(receiver.Certificate())
		s := startOf(t, cfg)
		defer s.Stop(context.Background())
		operator, err := s.Registry().Manage(customer.Actor{Who: "user:test"}).CreateKey(t.Context(), customer.NewKey{Admin: true})
		if err != nil {
			t.Fatal(err)
		}
		ask := func(method, path, key, body string) (text []byte) {
			t.Helper()
			answer, err := do(t, method, "http://"+s.Address()+path, key, body, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if text, err = io.ReadAll(answer.Body); err != nil || answer.StatusCode >= 300 {
				t.Fatalf("%s %s: %s %s", method, path, answer.Status, text)
			}
			return text
		}
		var put struct {
			Secret string `json:"secret"`
		}
		const hook = "/v1/customers/one/webhook"
		if err := json.Unmarshal(ask("PUT", hook, made.key, `{"webhook_url":"`+receiver.URL+`/in?token=geheim","custom_headers":{"X-Mine":"7"},"retry_config":{"max_attempts":1}}`), &put); err != nil {
			t.Fatal(err)
		}
		ask("POST", hook+"/test", made.key, "")
		if !allowed {
			for dead := false; !dead; {
				text := string(ask("GET", hook+"/deliveries", made.key, ""))
				if dead = strings.Contains(text, `"status":"dead"`); dead && !strings.Contains(text, `"error_code":"webhook.address"`) {
					t.Error(text)
				}
			}
			if len(came) > 0 {
				t.Error("an address that is not public was connected to")
			}
			continue
		}
		now := time.Now().UTC().Add(time.Hour)
		ask("POST", "/v1/maintenance", operator.Text, `{"starts_at":"`+now.Format(time.RFC3339)+`","ends_at":"`+now.Add(time.Hour).Format(time.RFC3339)+`","message":"Updates."}`)
		seen := map[string]bool{}
		for range 2 {
			r := <-came
			d, err := (&webhook.Verifier{Secrets: []string{put.Secret}}).Verify(r.header, r.body)
			if err != nil {
				t.Fatalf("%v: %s", err, r.body)
			}
			seen[d.Event] = true
			if r.header.Get("X-Mine") != "7" {
				t.Errorf("the custom headers are missing: %v", r.header)
			}
		}
		if !seen["webhook.test"] || !seen["system.maintenance"] {
			t.Errorf("%v", seen)
		}
		for counted := false; !counted; {
			answer, err := do(t, http.MethodGet, "http://"+s.OperationsAddress()+"/metrics", "", "", nil)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			counted = strings.Contains(string(text), `cipherstream_delivery_attempts_total{channel="webhook",event="webhook.test",verdict="accepted"} 1`) && strings.Contains(string(text), "cipherstream_deliveries_waiting 0")
			if strings.Contains(string(text), "geheim") || strings.Contains(string(text), strings.TrimPrefix(receiver.URL, "https://")) {
				t.Fatal("an address is in the metrics")
			}
		}
		ask("PUT", hook, made.key, `{"webhook_url":"`+receiver.URL+`/gone"}`)
		ask("POST", hook+"/test", made.key, "")
		for counted := false; !counted; {
			answer, err := do(t, http.MethodGet, "http://"+s.OperationsAddress()+"/metrics", "", "", nil)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			counted = strings.Contains(string(text), `cipherstream_webhooks_disabled_total{reason="gone"} 1`)
		}
		if text := string(ask("GET", hook, made.key, "")); !strings.Contains(text, `"status":"disabled"`) {
			t.Error(text)
		}
		s.Stop(context.Background())
		if said := made.log.String(); strings.Contains(said, "geheim") || strings.Contains(said, put.Secret) {
			t.Errorf("the log tells a secret: %s", said)
		}
	}
}
