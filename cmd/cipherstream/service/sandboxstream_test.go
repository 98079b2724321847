package service_test

import (
	"compress/gzip"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

// receiver takes what a data stream sends.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	last     map[string]int64          // by channel
	versions map[string]map[string]int // of documents, by type and id
	wrong    []string
}

func startReceiver(t *testing.T) *receiver {
	r := &receiver{last: map[string]int64{}, versions: map[string]map[string]int{}}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) serve(w http.ResponseWriter, request *http.Request) {
	var body struct {
		Channel      string `json:"channel"`
		Organization string `json:"organization_id"`
		Documents    []struct {
			Document struct {
				ID   string `json:"id"`
				Type string `json:"type"`
			} `json:"document"`
			Sequence int64 `json:"sequence"`
		} `json:"documents"`
	}
	inflated, err := gzip.NewReader(request.Body)
	if err == nil {
		err = json.NewDecoder(inflated).Decode(&body)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil || body.Organization != "sandbox" || request.Header.Get("Authorization") != "bearer geheim-2" {
		r.wrong = append(r.wrong, fmt.Sprint(err, request.Header))
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, d := range body.Documents {
		if d.Sequence <= r.last[body.Channel] {
			continue // it came before
		}
		r.last[body.Channel] = d.Sequence
		if r.versions[d.Document.Type] == nil {
			r.versions[d.Document.Type] = map[string]int{}
		}
		r.versions[d.Document.Type][d.Document.ID]++
	}
	fmt.Fprintf(w, `{"status":"ok","organization_id":%q,"channel":%q,"max_sequence_processed":%d}`, body.Organization, body.Channel, r.last[body.Channel])
}

// seen says how many documents of a type there are, and how many of them came again.
func (r *receiver) seen(kind string) (all, again int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.versions[kind] {
		if all++; n > 1 {
			again++
		}
	}
	return all, again
}

// TestSandboxDataStream: the sandbox sends all rows of its tables, and then those that change.
func TestSandboxDataStream(t *testing.T) {
	t.Parallel()
	r := startReceiver(t)
	certificate := filepath.Join(t.TempDir(), "receiver.pem")
	if err := os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	p := cmdtest.Start(t, nil, "serve", "--sandbox", "--sandbox-scale", "0.02", "--sandbox-changes", "100ms", "--listen", "127.0.0.1:0", "--json")
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	var ready struct {
		URL string `json:"url"`
		Key string `json:"key"`
	}
	if err := json.NewDecoder(out).Decode(&ready); err != nil {
		t.Fatalf("%v: %s", err, p.Errs.String())
	}
	secrets := filepath.Join(t.TempDir(), "secrets")
	key, secret := secrets+".key", secrets+".stream"
	for file, text := range map[string]string{key: ready.Key, secret: "geheim-2"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stream := func(args ...string) string {
		t.Helper()
		result := cmdtest.Call(t, append(append([]string{"data-stream"}, args...), "--server", ready.URL, "--customer", "sandbox", "--key", "file:"+key)...)
		if result.Code != terminal.ExitDone {
			t.Fatalf("%v: %+v\n%s", args, result, p.Errs.String())
		}
		return result.Stdout
	}
	stream("set", r.URL+"/", "--secret", "file:"+secret, "--certificate", certificate, "--channel", "entities", "--channel", "logs", "--per-minute", "300")
	stream("enable")
	deadline := time.Now().Add(45 * time.Second) // the process has a minute
	for {
		patients, patientsAgain := r.seen("patient")
		appointments, appointmentsAgain := r.seen("appointment")
		entries, _ := r.seen("log_entry")
		if patients == 40 && appointments == 400 && patientsAgain > 0 && appointmentsAgain > 0 && entries > 110 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d patients (%d again), %d appointments (%d again), %d log entries; %v\n%s\n%s", patients, patientsAgain, appointments, appointmentsAgain, entries, r.wrong,
				stream("status"), p.Errs.String())
		}
		time.Sleep(100 * time.Millisecond)
	}
	stream("disable")
	if len(r.wrong) > 0 {
		t.Errorf("%v", r.wrong)
	}
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if code := p.ExitCode(t); code != terminal.ExitDone && code != terminal.ExitInterrupted {
		t.Errorf("it ends with %d: %s", code, p.Errs.String())
	}
}
