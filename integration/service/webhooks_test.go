package service

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const fewJob = `{"customer_id":"clinic","table_name":"few","mode":"job"}`

// checkEnds holds what an endpoint saw against the jobs: each that has ended was told of at least once, as what it is, by one
// delivery, and nothing else was told of.
func (c *cluster) checkEnds(t *testing.T, e *endpoint) {
	t.Helper()
	whole := &history{}
	c.allEnded(t, whole)
	ends := e.ends()
	for _, j := range whole.Jobs {
		told := ends[j.ID]
		delete(ends, j.ID)
		if len(told) == 0 {
			t.Errorf("job %s is %s, and nobody was told", j.ID, j.Status)
		}
		for _, a := range told {
			if a.Event != "job."+string(j.Status) || a.ID != told[0].ID {
				t.Errorf("job %s is %s, and %s by %s and %s was told", j.ID, j.Status, a.Event, a.ID, told[0].ID)
			}
		}
	}
	for id := range ends {
		t.Errorf("%d events of %s came, which is no job", len(ends[id]), id)
	}
}

// TestReceiverDown: what nobody takes is given up within seconds, and comes in its order when it is sent again; with the
// durable policy it waits, and nothing is lost.
func TestReceiverDown(t *testing.T) {
	t.Parallel()
	trusted := newAuthority(t)
	for name, settings := range map[string]string{
		"default, in batches": `,"batch_delivery":true`,
		"default":             ``,
		"durable":             `,"retry_policy":"durable"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := form(t, ordered(t), topology{serves: 1, jobs: 4, variables: trusted.variables}, allowed)
			h, e := c.hooks(), trusted.receiver(t)
			down := func(arrival) int { return 0 }
			e.answers(down)
			secret := h.put(t, e.URL, settings)
			const jobs = 4
			for range jobs {
				j := c.order(t, fewJob)
				c.until(t, j.ID, "completed")
			}
			if strings.Contains(settings, "durable") {
				// Each was tried, and waits; when the receiver is there again, all come.
				eventually(t, "each to have been tried", func() bool {
					return !slices.ContainsFunc(h.list(t, ""), func(d logged) bool { return d.Attempts == 0 })
				})
				e.answers(func(arrival) int { return http.StatusOK })
			} else {
				eventually(t, "all to be given up", func() bool { return h.count(t, "status=dead") == jobs })
				e.answers(func(arrival) int { return http.StatusOK })
				var sent struct{ Resent int }
				h.must(t, http.MethodPost, "/deliveries/retry", `{"status":"dead"}`, &sent)
				if sent.Resent != jobs {
					t.Errorf("%d are sent again, want %d", sent.Resent, jobs)
				}
			}
			eventually(t, "all to be delivered", func() bool { return h.count(t, "status=delivered") == jobs })
			c.checkEnds(t, e)
			h.agree(t, e)
			e.judged(t, secret)
			if strings.Contains(settings, "batch") {
				var came, want []string
				for _, a := range e.all() {
					if a.Status == http.StatusOK {
						came = append(came, a.ID)
					}
				}
				for _, d := range h.list(t, "") {
					want = append([]string{d.ID}, want...)
				}
				if !slices.Equal(came, want) {
					t.Errorf("they came as %v, and were made as %v", came, want)
				}
			}
		})
	}
}

// TestWebhookOfRequest: the events of a job go to the webhook_url of its request, too, signed as the customer's.
func TestWebhookOfRequest(t *testing.T) {
	t.Parallel()
	trusted := newAuthority(t)
	c := form(t, ordered(t), topology{serves: 1, jobs: 2, variables: trusted.variables}, allowed)
	h, own, other := c.hooks(), trusted.receiver(t), trusted.receiver(t)
	secret := h.put(t, own.URL, "")
	j := c.order(t, fmt.Sprintf(`{"customer_id":"clinic","table_name":"few","mode":"job","webhook_url":%q}`, other.URL+"/of/request?token=geheim"))
	eventually(t, "both to be told", func() bool { return h.count(t, "status=delivered") == 2 })
	for _, e := range []*endpoint{own, other} {
		if ends := e.ends()[j.ID]; len(ends) != 1 || ends[0].Event != "job.completed" {
			t.Errorf("%+v", ends)
		}
		e.judged(t, secret)
	}
	if own.all()[0].ID == other.all()[0].ID {
		t.Error("two deliveries have one id")
	}
	for _, d := range h.list(t, "") {
		if text := fmt.Sprintf("%+v", h.whole(t, d.ID)); strings.Contains(text, "geheim") {
			t.Errorf("a list shows what may be secret of an address: %s", text)
		}
	}
	eventually(t, "the job to say that all is delivered", func() bool {
		a, err := c.try(0, http.MethodGet, jobsPath+"/"+j.ID, "")
		return err == nil && strings.Contains(string(a.body), `"webhook_status":"delivered"`)
	})
}
