package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/webhook"
)

// report is what is found of a request.
type report struct {
	// Authentic says that a receiver takes it.
	Authentic bool `json:"authentic"`
	// Code is why it does not: that of the fault.
	Code   string  `json:"code,omitempty"`
	Why    string  `json:"why,omitempty"`
	Checks []check `json:"checks"`
	// Advice is what may have happened to it.
	Advice []string `json:"advice,omitempty"`
	// Events are those of the body, as far as it can be read; nothing of them is known to be true unless it is authentic.
	Events []told `json:"events"`
}

// check is one thing that was looked at.
type check struct {
	Name  string `json:"check"`
	State string `json:"state"`
	About string `json:"about"`
}

// told is what a body says of one event.
type told struct {
	Event      string          `json:"event"`
	Timestamp  string          `json:"timestamp,omitempty"`
	DeliveryID string          `json:"delivery_id"`
	Attempt    int             `json:"attempt"`
	Data       json.RawMessage `json:"data,omitempty"`
	Events     []told          `json:"-"`
}

// examiner finds out about requests.
type examiner struct {
	secrets []string
	// tolerance is how far the time of a request may be from the moment it is judged at.
	tolerance time.Duration
	// links says that the link to a job's result is shown whole.
	links bool
}

// examine looks at a request as of a moment; the zero one does not judge its time.
func (e *examiner) examine(header http.Header, body []byte, at time.Time) (*report, error) {
	v := webhook.Verifier{Secrets: e.secrets, Tolerance: e.tolerance, Now: func() time.Time { return at }}
	if at.IsZero() {
		v.Tolerance = -1
	}
	findings, err := v.Examine(header, body)
	if err != nil {
		return nil, err
	}
	r := &report{Events: []told{}}
	_, err = v.Verify(header, body)
	if r.Authentic = err == nil; err != nil {
		f := fault.From(err)
		r.Code, r.Why = f.Code, f.Message
	}
	for _, f := range findings {
		r.Checks = append(r.Checks, check{string(f.Scheme), string(f.State), covers[f.Scheme] + e.of(f.Secrets)})
	}
	event, problem := read(body)
	r.Checks = append(r.Checks, e.time(header, event, at), identity(header, event))
	if problem == nil {
		r.Events = e.shown(event)
	}
	r.Advice = advise(v, findings, header, body)
	return r, nil
}

// covers is what each scheme signs.
var covers = map[webhook.Scheme]string{
	webhook.StandardWebhooks: "signs webhook-id, webhook-timestamp and the body",
	webhook.OwnHeader:        "signs the body",
	webhook.BodyMember:       "signs the body without itself",
}

// of names the secrets where there are several.
func (e *examiner) of(secrets []int) string {
	if len(e.secrets) < 2 || len(secrets) == 0 {
		return ""
	}
	var numbers []string
	for _, i := range secrets {
		numbers = append(numbers, strconv.Itoa(i+1))
	}
	return ", with secret " + strings.Join(numbers, " and ")
}

func read(body []byte) (told, error) {
	var t struct {
		told
		Events []told `json:"events"`
	}
	err := json.Unmarshal(body, &t)
	if err != nil {
		return told{}, err
	}
	t.told.Events = t.Events
	return t.told, nil
}

// time is when the request says it was made: what Standard Webhooks signs, or else the body.
func (e *examiner) time(header http.Header, event told, at time.Time) check {
	c := check{Name: "time", State: string(webhook.Missing), About: "there is none in webhook-timestamp or in the body"}
	var made time.Time
	if seconds, err := strconv.ParseInt(header.Get(webhook.HeaderTimestamp), 10, 64); err == nil {
		made = time.Unix(seconds, 0)
	} else if made, err = time.Parse(time.RFC3339, event.Timestamp); err != nil {
		return c
	}
	c.State, c.About = "not judged", made.UTC().Format(time.RFC3339)
	if at.IsZero() {
		return c
	}
	c.State = string(webhook.Holds)
	switch age := at.Sub(made).Truncate(time.Second); {
	case age > e.tolerance:
		c.State, c.About = string(webhook.Broken), fmt.Sprintf("%s, %s ago: more than %s", c.About, age, e.tolerance)
	case age < -e.tolerance:
		c.State, c.About = string(webhook.Broken), fmt.Sprintf("%s, %s ahead: more than %s", c.About, -age, e.tolerance)
	case age < 0:
		c.About += fmt.Sprintf(", %s ahead", -age)
	default:
		c.About += fmt.Sprintf(", %s ago", age)
	}
	return c
}

// identity compares the identifier of the headers with that of the body.
func identity(header http.Header, event told) check {
	c := check{Name: "delivery id", State: string(webhook.Holds), About: diag.Printable(event.DeliveryID)}
	switch id := header.Get(webhook.HeaderID); {
	case event.DeliveryID == "":
		c.State, c.About = string(webhook.Missing), "the body has no delivery_id"
	case id != "" && id != event.DeliveryID:
		c.State, c.About = string(webhook.Broken), fmt.Sprintf("webhook-id is %s, and the body's delivery_id %s", diag.Printable(id), diag.Printable(event.DeliveryID))
	}
	return c
}

// advise says what may have happened to a request.
func advise(v webhook.Verifier, findings []webhook.Finding, header http.Header, body []byte) []string {
	standard, own := findings[0].State, findings[1].State
	var advice []string
	say := func(text string) { advice = append(advice, text) }
	switch {
	case standard == webhook.Missing && own == webhook.Missing:
		say("it has no signature: it is no delivery, or something on its way has taken headers off")
	case standard == webhook.Broken && own == webhook.Holds:
		say("the body is as it was sent: webhook-id, webhook-timestamp or webhook-signature was altered, or is of another request")
	case standard == webhook.Holds && own == webhook.Broken:
		say("X-CipherStream-Signature was altered, or made with a secret that is not given: while a secret is rotated it is made with the old one")
	case standard == webhook.Missing && own == webhook.Holds:
		say("the headers of Standard Webhooks are missing; the time and the id are those of the body, which is signed")
	case standard != webhook.Holds && own != webhook.Holds:
		if cut := lineEndTooMany(v, header, body); cut != "" {
			say("the body is right without " + cut + " at its end, which was not sent")
			break
		}
		say("the secret is another one, or the body was altered: it has to be the bytes that came, before anything reads and writes them anew")
	}
	return advice
}

// lineEndTooMany is the line end that somebody has put behind a body.
func lineEndTooMany(v webhook.Verifier, header http.Header, body []byte) string {
	for end, name := range map[string]string{"\r\n": "the line end (CRLF)", "\n": "the line end"} {
		shorter, ok := bytes.CutSuffix(body, []byte(end))
		if !ok {
			continue
		}
		findings, err := v.Examine(header, shorter)
		if err == nil && (findings[0].State == webhook.Holds || findings[1].State == webhook.Holds) {
			return name
		}
	}
	return ""
}

// shown are the events of a body as they may be shown.
func (e *examiner) shown(event told) []told {
	list := []told{event}
	if event.Event == webhook.Batch {
		list = event.Events
	}
	for i := range list {
		list[i].Events = nil
		if !e.links {
			list[i].Data = withoutLink(list[i].Data)
		}
	}
	return list
}

// withoutLink takes what makes a link one that opens out of it: whoever has the link has the rows.
func withoutLink(data json.RawMessage) json.RawMessage {
	var members map[string]json.RawMessage
	var link string
	if json.Unmarshal(data, &members) != nil || json.Unmarshal(members["s3_url"], &link) != nil || !strings.Contains(link, "?") {
		return data
	}
	plain, _, _ := strings.Cut(link, "?")
	text, err := json.Marshal(plain + "?…")
	if err != nil {
		return nil
	}
	return bytes.Replace(data, members["s3_url"], text, 1)
}

// write shows the report to a person.
func (r *report) write(w io.Writer) error {
	width := 0
	for _, c := range r.Checks {
		width = max(width, len(c.Name))
	}
	for _, c := range r.Checks {
		if _, err := fmt.Fprintf(w, "  %-*s  %-14s  %s\n", width, c.Name, c.State, c.About); err != nil {
			return err
		}
	}
	for _, t := range r.Events {
		if err := t.write(w); err != nil {
			return err
		}
	}
	if !r.Authentic {
		if _, err := fmt.Fprintf(w, "  refused[%s]: %s\n", r.Code, diag.Printable(r.Why)); err != nil {
			return err
		}
	}
	for _, a := range r.Advice {
		if _, err := fmt.Fprintf(w, "  note: %s\n", a); err != nil {
			return err
		}
	}
	return nil
}

// write tells one event in a line or two.
func (t told) write(w io.Writer) error {
	var d struct {
		JobID     string  `json:"job_id"`
		Customer  string  `json:"customer_id"`
		Procedure string  `json:"procedure_name"`
		Status    string  `json:"status"`
		Rows      *int64  `json:"rows_processed"`
		Seconds   float64 `json:"execution_time_seconds"`
		Bytes     int64   `json:"file_size_bytes"`
		Link      string  `json:"s3_url"`
		Expires   string  `json:"expires_at"`
		Format    string  `json:"output_format"`
		Error     string  `json:"error_code"`
	}
	line := fmt.Sprintf("  %s %s, attempt %d", diag.Printable(t.Event), diag.Printable(t.DeliveryID), t.Attempt)
	switch {
	case len(t.Data) == 0:
	case json.Unmarshal(t.Data, &d) != nil || d.JobID == "":
		line += ": " + diag.Printable(string(t.Data))
	default:
		line += fmt.Sprintf(": job %s of %s is %s", diag.Printable(d.JobID), diag.Printable(d.Customer), diag.Printable(d.Status))
		if d.Rows != nil {
			line += fmt.Sprintf(", %s rows of %s in %.1f s", terminal.Grouped(*d.Rows), diag.Printable(d.Procedure), d.Seconds)
		}
		if d.Error != "" {
			line += ", " + diag.Printable(d.Error)
		}
		if d.Link != "" {
			line += fmt.Sprintf("\n    %s of %s until %s: %s", terminal.Bytes(d.Bytes), diag.Printable(d.Format), diag.Printable(d.Expires), diag.Printable(d.Link))
		}
	}
	_, err := fmt.Fprintln(w, line)
	return err
}
