package service

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/servers"
)

var hookRounds = flag.Int("hook-rounds", 20, "how often TestWebhooksSurvive kills a process that delivers. make soak does it 200 times")

// TestWebhooksSurvive kills processes between the commit of a job and the delivery, while a receiver has a delivery and has
// not answered, and when it has: after all of it each end of a job was told at least once, nothing was told that did not
// happen, and the log has what the receiver saw.
func TestWebhooksSurvive(t *testing.T) {
	t.Parallel()
	trusted := newAuthority(t)
	for name, of := range map[string]func(*testing.T) topology{
		"one process, SQLite":      func(*testing.T) topology { return topology{serves: 1, jobs: 3} },
		"three processes, MariaDB": func(t *testing.T) topology { return topology{serves: 2, workers: 1, record: servers.PrivateMariaDB(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			of := of(t)
			of.variables = trusted.variables
			c := form(t, ordered(t), of, allowed)
			surviveHooks(t, c, trusted.receiver(t))
		})
	}
}

// The moments at which a process is killed.
const (
	behindCommit   = iota // the job has ended
	beforeAnswer          // the receiver has a delivery, and keeps its answer back
	behindAnswer          // the receiver has answered
	killingMoments = iota
)

func surviveHooks(t *testing.T, c *cluster, e *endpoint) {
	h := c.hooks()
	c.kills, e.hurried = true, true
	secret := h.put(t, e.URL, `,"retry_policy":"durable","timeout_seconds":1`)
	began := time.Now()
	for n := range *hookRounds {
		moment := n % killingMoments
		reached, killed := make(chan struct{}), make(chan struct{})
		var once sync.Once
		e.answers(func(arrival) int {
			if moment == behindCommit {
				return http.StatusOK
			}
			first := false
			once.Do(func() { first = true; close(reached) })
			if first && moment == beforeAnswer {
				select {
				case <-killed:
				case <-t.Context().Done():
				}
			}
			return http.StatusOK
		})
		var orders sync.WaitGroup
		for i := range 2 {
			orders.Go(func() { c.insist(t, n*2+i, fmt.Sprintf("hooks %d %d", n, i)) })
		}
		orders.Wait()
		if moment == behindCommit {
			<-time.After(time.Duration(rand.IntN(300)) * time.Millisecond) // a moment is what the test is about
		} else {
			select {
			case <-reached:
			case <-time.After(roundTime):
				t.Fatalf("round %d: nothing came", n)
			}
		}
		victim := c.nodes[rand.IntN(len(c.nodes))]
		victim.kill(t)
		close(killed)
		c.begin(t, victim)
		if t.Failed() {
			return
		}
	}
	rounds := time.Since(began)
	e.answers(func(arrival) int { return http.StatusOK })
	c.insist(t, 0, "hooks, the last") // the start of a run clears what those that were killed have left
	ended := &history{}
	c.allEnded(t, ended)
	again(t, "every job to be told of", func(int) bool { return h.count(t, "status=delivered") >= len(ended.Jobs) })
	h.settled(t)
	c.checkEnds(t, e)
	h.agree(t, e)
	lost := 0
	for _, d := range h.list(t, "") {
		for _, l := range h.whole(t, d.ID).Log {
			if l.Code == "webhook.lost" {
				lost++
			}
		}
	}
	t.Logf("%d rounds in %.0f s, all told after %.0f s: %d deliveries came, %d attempts were lost with their process",
		*hookRounds, rounds.Seconds(), time.Since(began).Seconds(), len(e.all()), lost)
	if time.Since(began) < 4*time.Minute { // judges want what is not old
		e.judged(t, secret)
	}
}

// insist orders a job until there is an answer, as a client does that knows its order by a key.
func (c *cluster) insist(t *testing.T, turn int, key string) {
	again(t, "an answer to "+key, func(n int) bool {
		a, err := c.try(turn+n, http.MethodPost, path, fewJob, "Idempotency-Key", key)
		if err == nil && a.StatusCode != http.StatusOK && a.StatusCode < 500 && a.StatusCode != http.StatusConflict {
			t.Errorf("%s: %.300s", key, a.said())
			return true
		}
		return err == nil && a.StatusCode == http.StatusOK
	})
}

// settled waits until nothing is on its way.
func (h *hooks) settled(t *testing.T) {
	t.Helper()
	eventually(t, "every delivery to have ended", func() bool {
		return h.count(t, "status=waiting") == 0 && h.count(t, "status=sending") == 0
	})
}

// TestWebhooks: with one process, and with several on a server's record, each end of a job is told once, as customers check
// it, and the log has what the receiver saw.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	trusted := newAuthority(t)
	for name, of := range map[string]func(*testing.T) topology{
		"one process, SQLite": func(*testing.T) topology { return topology{serves: 1, jobs: 4} },
		"three processes, MariaDB and MinIO": func(t *testing.T) topology {
			return topology{serves: 2, workers: 1, record: servers.PrivateMariaDB(t), store: servers.PrivateMinIO(t)}
		},
		"two services alone on MySQL": func(t *testing.T) topology { return topology{serves: 2, jobs: 2, record: servers.PrivateMySQL(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			of := of(t)
			of.variables = trusted.variables
			settings, link := allowed, `"s3_url":"`
			switch {
			case of.store != nil:
			case of.record == nil: // links to what is in a folder are of the service, which says where it is
				settings, link = allowed+"  servers: [\"https://api.example.com/\"]\n", `"s3_url":"https://api.example.com/v1/objects/`
			default:
				link = ""
			}
			c := form(t, ordered(t), of, settings)
			h, e := c.hooks(), trusted.receiver(t)
			secret := h.put(t, e.URL+"/hook", `,"events":["job.completed","job.failed","job.cancelled"]`)
			const jobs, tests = 12, 60
			for i := range jobs {
				body := fewJob
				if i%4 == 3 {
					body = endlessJob
				}
				j := c.order(t, body)
				if i%4 == 3 {
					if a, err := c.try(i, http.MethodPost, jobsPath+"/"+j.ID+"/cancel", ""); err != nil || a.StatusCode != http.StatusOK {
						t.Fatalf("cancel: %v %s", err, a.said())
					}
				}
			}
			for range tests {
				h.must(t, http.MethodPost, "/test", "", nil)
			}
			eventually(t, "all to be told", func() bool { return h.count(t, "status=delivered") == jobs+tests })
			if came := e.all(); len(came) != jobs+tests {
				t.Errorf("%d deliveries came, want %d: each by one process", len(came), jobs+tests)
			}
			c.checkEnds(t, e)
			h.agree(t, e)
			e.judged(t, secret)
			for _, a := range e.all() {
				if a.Event == "job.completed" && (!strings.Contains(string(a.Body), link) || link == "" && strings.Contains(string(a.Body), "s3_url")) {
					t.Errorf("%s has another link than %q: %s", a.ID, link, a.Body)
				}
			}
			for _, n := range c.nodes {
				for _, hidden := range []string{secret, "X-Amz-Signature", "signature=sha256"} {
					if strings.Contains(n.stderr.String(), hidden) {
						t.Errorf("a log has %q", hidden)
					}
				}
			}
		})
	}
}
