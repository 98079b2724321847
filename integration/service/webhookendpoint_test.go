package service

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/receivers"
	"github.com/cipherstream/cipherstream/sdk/webhook"
)

// authority signs the certificates of a test's endpoints. A service trusts it by its environment.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	variables   []string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tests"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "authority.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	a.variables = []string{"SSL_CERT_FILE=" + path}
	return a
}

// issue makes a certificate for this machine; change makes it a worse one.
func (a *authority) issue(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	signer, signingKey := a.certificate, a.key
	if change != nil {
		change(about)
		if about.IsCA {
			signer, signingKey = about, key
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, about, signer, key.Public(), signingKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// arrival is a delivery that came to an endpoint.
type arrival struct {
	receivers.Request
	At       time.Time
	Event    string
	ID       string
	Attempt  int
	Job      string
	Customer string
	Status   int // what was answered
}

// endpoint is a receiver of webhooks.
type endpoint struct {
	*httptest.Server
	mu   sync.Mutex
	came []arrival
	// answer says with what a delivery is answered, when it has come; 0 breaks the connection.
	answer func(arrival) int
	// hurried says that deliveries are given up so early that an answer may be on its way.
	hurried bool
}

// listenTLS starts a server with a certificate of an authority's.
func listenTLS(t *testing.T, c tls.Certificate, handle http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(handle)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{c}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// receiver starts an endpoint that answers 200.
func (a *authority) receiver(t *testing.T) *endpoint {
	t.Helper()
	e := &endpoint{answer: func(arrival) int { return http.StatusOK }}
	e.Server = listenTLS(t, a.issue(t, nil), e.receive)
	return e
}

func (e *endpoint) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	for _, a := range arrivals(r.Header, body) {
		e.mu.Lock()
		answer := e.answer
		e.mu.Unlock()
		a.At = time.Now()
		a.Status = answer(a)
		e.mu.Lock()
		e.came = append(e.came, a)
		e.mu.Unlock()
		if a.Status == 0 {
			panic(http.ErrAbortHandler)
		}
		if a.Status != http.StatusOK {
			w.WriteHeader(a.Status)
			return
		}
	}
}

// arrivals are the events of a request.
func arrivals(header http.Header, body []byte) (list []arrival) {
	type said struct {
		Event   string
		ID      string `json:"delivery_id"`
		Attempt int
		Data    struct {
			Job      string `json:"job_id"`
			Customer string `json:"customer_id"`
		}
	}
	var whole struct {
		said
		Events []said
	}
	if json.Unmarshal(body, &whole) != nil {
		return nil
	}
	all := whole.Events
	if whole.Event != webhook.Batch {
		all = []said{whole.said}
	}
	for _, s := range all {
		list = append(list, arrival{Request: receivers.Request{Header: header, Body: body}, Event: s.Event, ID: s.ID, Attempt: s.Attempt,
			Job: s.Data.Job, Customer: s.Data.Customer})
	}
	return list
}

// answers sets what is answered from now on.
func (e *endpoint) answers(how func(arrival) int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answer = how
}

// all are the deliveries that came so far.
func (e *endpoint) all() []arrival {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.came)
}

// judged has every judge accept each delivery, and refuse it with another byte in its body, its id or its time.
func (e *endpoint) judged(t *testing.T, secret string) {
	t.Helper()
	came := e.all()
	if len(came) == 0 {
		t.Fatal("nothing came")
	}
	for _, judge := range receivers.Judges(t) {
		var requests []receivers.Request
		for _, a := range came {
			requests = append(requests, a.Request)
		}
		for i, good := range judge.Accept(t, secret, requests...) {
			if !good {
				t.Errorf("%s refuses %s, attempt %d", judge.Name, came[i].ID, came[i].Attempt)
			}
		}
		// Every byte of one, and one byte of every other.
		var altered []receivers.Request
		var what []string
		for i, a := range came {
			for at := range a.Body {
				if i == 0 || at == i%len(a.Body) {
					altered, what = append(altered, a.withByte(at)), append(what, fmt.Sprintf("byte %d of the body of %s", at, a.ID))
				}
			}
			for _, name := range []string{webhook.HeaderID, webhook.HeaderTimestamp} {
				for at := range a.Header.Get(name) {
					if !judge.BodyOnly && (i == 0 || at == i%len(a.Header.Get(name))) {
						altered, what = append(altered, a.withHeaderByte(name, at)), append(what, fmt.Sprintf("byte %d of %s of %s", at, name, a.ID))
					}
				}
			}
		}
		for i, taken := range judge.Accept(t, secret, altered...) {
			if taken {
				t.Errorf("%s accepts another %s", judge.Name, what[i])
			}
		}
	}
}

func (a arrival) withByte(at int) receivers.Request {
	body := slices.Clone(a.Body)
	body[at] ^= 1
	return receivers.Request{Header: a.Header, Body: body}
}

func (a arrival) withHeaderByte(name string, at int) receivers.Request {
	value := []byte(a.Header.Get(name))
	value[at] ^= 1
	header := a.Header.Clone()
	header.Set(name, string(value))
	return receivers.Request{Header: header, Body: a.Body}
}

// allowed are settings under which webhooks may go to this machine.
const allowed = loose + "  webhooks: {allow_networks: [\"127.0.0.0/8\"]}\n"

// unreached is the database of customers who order nothing, and bucketHere the setting of a bucket that stays empty.
const unreached = "mysql://nobody:nothing@127.0.0.1:1/none"

func bucketHere(t *testing.T) string {
	return "  buckets: {results: {url: \"file://" + t.TempDir() + "\"}}\n"
}

// hooks is what a customer does with its webhook.
type hooks struct {
	customer string
	ask      func(method, path, body string) (*reply, error)
}

// hooks are the customer's of a cluster.
func (c *cluster) hooks() *hooks {
	return &hooks{"clinic", func(method, path, body string) (*reply, error) { return c.try(0, method, path, body) }}
}

// hooksOf are those of a customer of a deployment, by a key of its own.
func (d *deployment) hooksOf(t *testing.T, customer string) *hooks {
	t.Helper()
	key, _ := d.key(t, customer)
	return &hooks{customer, func(method, path, body string) (*reply, error) {
		return d.send(t, plainly, key, method, path, body), nil
	}}
}

// must asks, and wants the answer to be good.
func (h *hooks) must(t *testing.T, method, path, body string, into any) {
	t.Helper()
	a, err := h.ask(method, "/v1/customers/"+h.customer+"/webhook"+path, body)
	if err == nil && (a.StatusCode < 200 || a.StatusCode > 299) {
		err = fmt.Errorf("%.500s", a.said())
	}
	if err == nil && into != nil {
		err = json.Unmarshal(a.body, into)
	}
	if err != nil {
		t.Fatalf("%s webhook%s of %s: %v", method, path, h.customer, err)
	}
}

// put sets the webhook, and returns the secret, which the first time has.
func (h *hooks) put(t *testing.T, address, more string) string {
	t.Helper()
	var made struct{ Secret string }
	h.must(t, http.MethodPut, "", fmt.Sprintf(`{"webhook_url":%q%s}`, address, more), &made)
	return made.Secret
}

// logged is a delivery as the service tells of it.
type logged struct {
	ID       string `json:"delivery_id"`
	Event    string
	Job      string `json:"job_id"`
	Status   string
	Attempts int
	Code     string `json:"error_code"`
	Created  string `json:"created_at"`
	HTTP     int    `json:"http_status"`
	Log      []struct {
		Number  int    `json:"attempt"`
		Code    string `json:"error_code"`
		Message string `json:"error_message"`
		HTTP    int    `json:"http_status"`
	} `json:"attempt_log"`
}

// list are the deliveries, the newest first.
func (h *hooks) list(t *testing.T, query string) (all []logged) {
	t.Helper()
	for {
		var page struct {
			Deliveries []logged
			Total      int
		}
		q, _ := url.ParseQuery(query) // a test's own
		q.Set("limit", "100")
		q.Set("offset", strconv.Itoa(len(all)))
		h.must(t, http.MethodGet, "/deliveries?"+q.Encode(), "", &page)
		all = append(all, page.Deliveries...)
		if len(all) >= page.Total || len(page.Deliveries) == 0 {
			return all
		}
	}
}

// count is how many deliveries there are.
func (h *hooks) count(t *testing.T, query string) int {
	t.Helper()
	var page struct{ Total int }
	h.must(t, http.MethodGet, "/deliveries?limit=1&"+query, "", &page)
	return page.Total
}

// whole is one delivery with its log.
func (h *hooks) whole(t *testing.T, id string) (d logged) {
	t.Helper()
	h.must(t, http.MethodGet, "/deliveries/"+id, "", &d)
	return d
}

// agree holds the log against what an endpoint saw: an attempt that the log says was answered came, with that answer, and
// what came is an attempt of the log. Of an attempt whose process is gone it is not known, and where the endpoint is hurried
// its answer may have come too late.
func (h *hooks) agree(t *testing.T, e *endpoint) {
	t.Helper()
	type key struct {
		id      string
		attempt int
	}
	came := map[key]arrival{}
	for _, a := range e.all() {
		k := key{a.ID, a.Attempt}
		if _, twice := came[k]; twice {
			t.Errorf("attempt %d of %s came twice", a.Attempt, a.ID)
		}
		came[k] = a
	}
	for _, d := range h.list(t, "") {
		d = h.whole(t, d.ID)
		if len(d.Log) != d.Attempts {
			t.Errorf("%s was tried %d times, and its log has %d", d.ID, d.Attempts, len(d.Log))
		}
		for _, l := range d.Log {
			k := key{d.ID, l.Number}
			a, there := came[k]
			delete(came, k)
			switch {
			case l.HTTP != 0 && !there:
				t.Errorf("the log has that attempt %d of %s was answered %d, and it did not come", l.Number, d.ID, l.HTTP)
			case l.HTTP != 0 && a.Status != l.HTTP:
				t.Errorf("attempt %d of %s was answered %d, and the log has %d", l.Number, d.ID, a.Status, l.HTTP)
			case l.HTTP == 0 && there && a.Status != 0 && l.Code != "webhook.lost" && (l.Code != "webhook.timeout" || !e.hurried):
				t.Errorf("attempt %d of %s was answered %d, and the log has %s", l.Number, d.ID, a.Status, l.Code)
			case there && (a.Event != d.Event || a.Job != d.Job):
				t.Errorf("%s of %s came as %s of %s", d.Event, d.Job, a.Event, a.Job)
			}
		}
	}
	for k := range came {
		t.Errorf("attempt %d of %s came, and no log has it", k.attempt, k.id)
	}
}

// ends are the terminal events that came, by their jobs.
func (e *endpoint) ends() map[string][]arrival {
	ends := map[string][]arrival{}
	for _, a := range e.all() {
		if strings.HasPrefix(a.Event, "job.") && a.Event != "job.progress" {
			ends[a.Job] = append(ends[a.Job], a)
		}
	}
	return ends
}
