package api

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// failing is an engine whose runs end with a fault.
type failing struct {
	Engine
	fault *fault.Fault
}

func (f *failing) Run(context.Context, *engine.Plan, engine.AnySink, engine.RunOptions) (*engine.Receipt, error) {
	return &engine.Receipt{}, f.fault
}

// TestNothingIsTold: whatever a fault says, customers see of it no more than its code, and the log nothing that may be theirs.
func TestNothingIsTold(t *testing.T) {
	t.Parallel()
	f := &failing{}
	s := newServer(t, func(c *Config) { f.Engine, c.Engine = c.Engine, f })
	classes := []fault.Class{fault.Usage, fault.Connect, fault.Source, fault.Data, fault.Sink, fault.Plugin, fault.Internal}
	for i, code := range []string{"mysql.connect", "mysql.query", "mysql.zero_date", "mysql.table_not_available", "encoder.out_of_range", "drift.json", "plugin.panic",
		"sink.write", "run.timeout", "unheard.of", "internal", "spool.full", "budget.too_large", "store.failed", "customer.sealing_key_spent", "admission.loaded"} {
		for k, class := range classes {
			patient := fmt.Sprintf("Zoë Planted%02d%d", i, k)
			f.fault = fault.New(code, class, "SELECT * FROM patients on db.internal:3306 for %s", patient).WithHint("ask %s", patient).WithDetail("value", patient)
			for _, procedure := range []string{"visits", "places"} {
				body := ask("")
				if procedure == "places" {
					body = `{"customer_id":"clinic-7"}`
				}
				a := s.post(procedure, body)
				e := a.refusal(t)
				if strings.Contains(string(a.body), "Planted") {
					t.Errorf("%s, %s: %s", code, class, a.body)
				}
				r := s.do("GET", "/v1/requests/"+e.RequestID, "")
				if strings.Contains(string(r.body), "Planted") || r.StatusCode == 200 && !strings.Contains(string(r.body), string(e.Code)) {
					t.Errorf("%s, %s: the request says %s", code, class, r.body)
				}
				if theirs := class == fault.Usage || class == fault.Source || class == fault.Data; theirs && strings.Contains(s.log.String(), patient) {
					t.Errorf("%s, %s: the log holds it", code, class)
				}
			}
		}
	}
	for _, secret := range []string{"root:pw", "Bearer good", `"good"`} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log holds %s", secret)
		}
	}
	// Nor does what a client sends get there.
	before := len(s.log.String())
	s.post("visits", ask(`,"output_format":"Zoë Planted","Zoë Planted":"Zoë Planted"`), "X-Request-Id", "a\tb", "User-Agent", "Zoë Planted")
	s.do("GET", "/v1/requests/req_Planted?x=Planted", "")
	if strings.Contains(s.log.String()[before:], "Planted") {
		t.Error("the log holds what a client sent")
	}
}
