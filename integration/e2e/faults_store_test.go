package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/cipherstream/cipherstream/integration/servers"
)

// storeFaults are what may happen between the program and the store.
var storeFaults = []struct {
	name   string
	meddle func(*storeProxy) meddler
	// sink has further settings of the sink.
	sink settings
	// fault is how the run ends; without it the object is whole.
	fault string
	// stray is how many uploads nobody knows of, which the sweep removes.
	stray int64
}{
	{name: "slow down for ever at all but the start", fault: "sink.upload", stray: 1, // takes the longest
		meddle: always("part", "complete", "abort", http.MethodHead)},
	{name: "every request is told to slow down twice", meddle: func(*storeProxy) meddler {
		return func(w http.ResponseWriter, r *http.Request, _ string, n int) bool { return n <= 2 && slowDown(w, r) }
	}},
	{name: "slow down at every second part", meddle: func(*storeProxy) meddler {
		return func(w http.ResponseWriter, r *http.Request, operation string, n int) bool {
			return operation == "part" && n == 1 && partNumber(r)%2 == 0 && slowDown(w, r)
		}
	}},
	{name: "slow down for ever at the start", fault: "sink.upload", meddle: always("create")},
	{name: "slow down for ever at the parts", fault: "sink.upload", meddle: always("part")},
	{name: "slow down for ever at the end", fault: "sink.upload", meddle: always("complete")},
	{name: "the connection is cut in the middle of parts", meddle: func(*storeProxy) meddler {
		return func(_ http.ResponseWriter, r *http.Request, operation string, n int) bool {
			if operation != "part" || n > 1 {
				return false
			}
			_, _ = io.CopyN(io.Discard, r.Body, r.ContentLength*(partNumber(r)-1)/5)
			return cutOff()
		}
	}},
	{name: "the store gets a part of a part", meddle: func(p *storeProxy) meddler {
		return func(_ http.ResponseWriter, r *http.Request, operation string, n int) bool {
			if operation != "part" || n > 1 || partNumber(r) > 2 {
				return false
			}
			r.Body = io.NopCloser(io.LimitReader(r.Body, r.ContentLength/2))
			func() {
				defer func() { _ = recover() }() // the proxy gives up the request
				p.carryOut(r)
			}()
			return cutOff()
		}
	}},
	{name: "answers to parts are lost", meddle: lostAnswer("part")},
	{name: "a byte of a part is another", fault: "sink.upload", meddle: func(*storeProxy) meddler {
		return func(_ http.ResponseWriter, r *http.Request, operation string, _ int) bool {
			if operation == "part" && partNumber(r) == 2 {
				content, _ := io.ReadAll(r.Body)
				content[len(content)/2] ^= 1
				r.Body = io.NopCloser(bytes.NewReader(content))
			}
			return false
		}
	}},
	{name: "the answer to the start is lost", stray: 1, meddle: lostAnswer("create")},
	{name: "the answer to the end is lost", meddle: lostAnswer("complete")},
	{name: "the answer to the end is cut in the middle", meddle: func(p *storeProxy) meddler {
		return func(w http.ResponseWriter, r *http.Request, operation string, n int) bool {
			if operation != "complete" || n > 1 {
				return false
			}
			answer := p.carryOut(r).Body.Bytes()
			w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
			_, _ = w.Write(answer[:len(answer)/2])
			return cutOff()
		}
	}},
	{name: "the answer to the end is lost, and the store slow to say what there is", meddle: func(p *storeProxy) meddler {
		lost := lostAnswer("complete")(p)
		return func(w http.ResponseWriter, r *http.Request, operation string, n int) bool {
			return operation == http.MethodHead && n <= 2 && slowDown(w, r) || lost(w, r, operation, n)
		}
	}},
	{name: "200 with an error in it, twice", meddle: func(*storeProxy) meddler {
		return func(w http.ResponseWriter, r *http.Request, operation string, n int) bool {
			return operation == "complete" && n <= 2 && failing(w)
		}
	}},
	{name: "200 with an error in it, and yet it is done", meddle: func(p *storeProxy) meddler {
		return func(w http.ResponseWriter, r *http.Request, operation string, n int) bool {
			if operation != "complete" || n > 1 {
				return false
			}
			p.carryOut(r)
			return failing(w)
		}
	}},
	{name: "200 with an error in it, for ever", fault: "sink.upload", meddle: func(*storeProxy) meddler {
		return func(w http.ResponseWriter, _ *http.Request, operation string, _ int) bool {
			return operation == "complete" && failing(w)
		}
	}},
	{name: "200 with nothing in it, and nothing done", fault: "sink.verify", meddle: func(*storeProxy) meddler {
		return func(_ http.ResponseWriter, _ *http.Request, operation string, _ int) bool {
			return operation == "complete"
		}
	}},
	{name: "an endless answer to the end", fault: "sink.answer", meddle: func(*storeProxy) meddler {
		return func(w http.ResponseWriter, _ *http.Request, operation string, _ int) bool {
			for operation == "complete" {
				if _, err := io.WriteString(w, strings.Repeat("<a>", 1<<16)); err != nil {
					return true
				}
			}
			return false
		}
	}},
	{name: "the store's disk is full", fault: "sink.disk_full", meddle: func(*storeProxy) meddler {
		return func(w http.ResponseWriter, r *http.Request, operation string, _ int) bool {
			if operation != "part" || partNumber(r) == 1 {
				return false
			}
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusInsufficientStorage)
			_, _ = io.WriteString(w, "<Error><Code>XMinioStorageFull</Code><Message>Storage backend has reached its minimum free drive threshold.</Message></Error>")
			return true
		}
	}},
	{name: "a slow store", meddle: func(*storeProxy) meddler {
		return func(_ http.ResponseWriter, r *http.Request, operation string, _ int) bool {
			if operation == "part" {
				r.Body = io.NopCloser(&trickle{r.Body})
			}
			return false
		}
	}},
	{name: "a store that says nothing to a part", sink: settings{"timeout": "1s"}, fault: "sink.timeout",
		meddle: func(*storeProxy) meddler {
			return func(_ http.ResponseWriter, r *http.Request, operation string, _ int) bool {
				if operation != "part" {
					return false
				}
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
				return true
			}
		}},
}

// objectOf is the content of an object.
func (d *deliveries) objectOf(key string) []byte {
	d.Helper()
	bucket := d.store.Bucket()
	got, err := d.store.Client().GetObject(context.Background(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		d.Fatal(err)
	}
	defer got.Body.Close()
	content, err := io.ReadAll(got.Body)
	if err != nil {
		d.Fatal(err)
	}
	return content
}

// TestStoreFaults: whatever the store does, the object is whole, and there once, or the run fails with a code and
// nothing of it can be seen; an upload that nobody could end is the sweep's.
func TestStoreFaults(t *testing.T) {
	t.Parallel()
	store := servers.MinIO(t)
	whole := newDeliveries(t, store)
	plain := whole.must("run", whole.workspace.pipeline(settings{"query": delivered}, "ndjson"))
	// Most of the time they wait for the next attempt, so many of them may do so at once.
	var wait sync.WaitGroup
	slots := make(chan struct{}, 8)
	for _, c := range storeFaults {
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			t.Run(c.name, func(t *testing.T) {
				d := newDeliveries(t, servers.MinIO(t))
				p := newStoreProxy(t, d.store, c.meddle)
				const key = "jobs/x.ndjson"
				r := d.run("run", d.job(delivered, c.sink), "--bucket", d.proxied(p), "--object", key, "--progress", "none")
				d.nothingRuns()
				if c.fault != "" {
					if r.code != 1 || !strings.Contains(r.stderr, "error["+c.fault+"]: ") || len(r.stdout) > 0 {
						t.Errorf("it ended with %d, want 1 with %s; it printed %q:\n%s", r.code, c.fault, r.stdout, r.stderr)
					}
					if left := d.store.Objects(d.store.Bucket()); len(left) > 0 {
						t.Errorf("objects of a failed run: %v", left)
					}
					// What could not be cleaned up is told.
					if told := strings.HasPrefix(r.stderr, "error: clean-up after the failure failed too "); told != (c.stray > 0) {
						t.Errorf("%d uploads are left, and it says:\n%s", c.stray, r.stderr)
					}
				} else {
					if r.code != 0 || r.stderr != "" {
						t.Fatalf("it ended with %d:\n%s", r.code, r.stderr)
					}
					if left := fmt.Sprint(d.store.Objects(d.store.Bucket())); left != "["+key+"]" {
						t.Errorf("objects: %s", left)
					}
					if !bytes.Equal(d.objectOf(key), plain) {
						t.Error("the object holds something else")
					}
				}
				noSecret(t, r, d.store.SecretKey())
				if left := len(d.store.Uploads(d.store.Bucket(), key)); int64(left) != c.stray {
					t.Errorf("%d uploads left behind, want %d", left, c.stray)
				}
				if s := d.sweep("--prefix", "jobs/", "--abandoned", "1ns"); s.Uploads != c.stray {
					t.Errorf("the sweep ended %d uploads, want %d", s.Uploads, c.stray)
				}
				if left := d.store.Uploads(d.store.Bucket(), key); len(left) > 0 {
					t.Errorf("%d uploads left behind by the sweep", len(left))
				}
				if c.stray > 0 && c.fault != "" {
					// The host remembers what it could not undo, for a run or a sweep by the address that the proxy had.
					kept := names(t, d.tmp)
					if len(kept) != 1 {
						t.Errorf("the host keeps %v", kept)
					}
					for _, dir := range kept {
						os.RemoveAll(filepath.Join(d.tmp, dir))
					}
				}
			})
		})
	}
	wait.Wait()
}

// TestStoreSlowToAbort: the end of a failed run's upload is tried again when the store asks for patience.
func TestStoreSlowToAbort(t *testing.T) {
	t.Parallel()
	d := newDeliveries(t, servers.MinIO(t))
	p := newStoreProxy(t, d.store, slowAtFirst("abort"))
	const key = "jobs/failed"
	query := "SELECT seq, SHA2(seq, 512) AS a, IF(seq = 70000, (SELECT 1 UNION SELECT 2), 0) AS b FROM seq_1_to_75000"
	d.fails(d.run("run", d.job(query, nil), "--bucket", d.proxied(p), "--object", key, "--progress", "none"), 1, "mysql.query")
	if n := p.count("abort"); n != 3 {
		t.Errorf("%d attempts to end the upload, want 3", n)
	}
	d.nothing(key)
}

// TestStoreSlowInterrupted: who ends a run that waits for the store need not wait for it.
func TestStoreSlowInterrupted(t *testing.T) {
	t.Parallel()
	d := newDeliveries(t, servers.MinIO(t))
	p := newStoreProxy(t, d.store, always("part", "complete"))
	const key = "jobs/interrupted"
	for _, query := range []string{delivered, "SELECT 1 AS a"} {
		before := p.count("part")
		cmd := d.command("run", d.job(query, nil), "--bucket", d.proxied(p), "--object", key, "--progress", "none")
		ended := d.begin(cmd)
		eventually(t, "the second attempt", func() bool { return p.count("part") >= before+2 })
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		d.fails(<-ended, 130, "cli.interrupted")
		d.nothing(key)
	}
}

// TestSweepOfSlowStore: the sweep is as patient as a run.
func TestSweepOfSlowStore(t *testing.T) {
	t.Parallel()
	d := newDeliveries(t, servers.MinIO(t))
	p := newStoreProxy(t, d.store, slowAtFirst(http.MethodGet, "abort"))
	bucket, key := d.store.Bucket(), "jobs/abandoned"
	if _, err := d.store.Client().CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key}); err != nil {
		t.Fatal(err)
	}
	if s := d.sweep("--bucket", d.proxied(p), "--prefix", "jobs/", "--abandoned", "1ns"); s.Uploads != 1 {
		t.Errorf("it ended %d uploads", s.Uploads)
	}
	d.nothing(key)
}
