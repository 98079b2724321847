package mail

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"unicode"

	"github.com/wneessen/go-mail"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// said is all that is taken of the data of events. What else they say is not written: a message of an error may quote what
// a database holds, and an address of a webhook may be a secret.
type said struct {
	JobID     string `json:"job_id"`
	Procedure string `json:"procedure_name"`
	Rows      int64  `json:"rows_processed"`
	Code      string `json:"error_code"`

	StartsAt string `json:"starts_at"`
	EndsAt   string `json:"ends_at"`
	Message  string `json:"message"`

	Policy  string `json:"policy"`
	ResetAt string `json:"reset_at"`

	URL    string `json:"webhook_url"`
	Reason string `json:"reason"`
}

// message is the mail of a delivery.
func (s *Sender) message(d store.Delivery) (*mail.Msg, error) {
	var about said
	if err := json.Unmarshal(d.Data, &about); err != nil {
		return nil, err
	}
	subject, text := s.words(d, about)
	m := mail.NewMsg(mail.WithEncoding(mail.EncodingQP), mail.WithNoDefaultUserAgent())
	if err := m.From(s.cfg.From); err != nil {
		return nil, err
	}
	if err := m.To(d.Target); err != nil {
		return nil, err
	}
	m.SetDate()
	// The same at every attempt, so that who gets it twice can tell.
	m.SetMessageIDWithValue(word(d.ID) + "@" + s.domain)
	// Nobody's holiday answers it (RFC 3834).
	m.SetGenHeader("Auto-Submitted", "auto-generated")
	m.Subject(subject)
	m.SetBodyString(mail.TypeTextPlain, text)
	return m, nil
}

// words are the subject and the text of a delivery.
func (s *Sender) words(d store.Delivery, about said) (subject, text string) {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	job, procedure := word(about.JobID), word(about.Procedure)
	switch d.Event {
	case "job.completed":
		subject = "Completed: " + procedure
		line("The job %s (%s) is completed, with %d rows.", job, procedure, about.Rows)
	case "job.failed":
		subject = "Failed: " + procedure
		line("The job %s (%s) has failed: %s.", job, procedure, word(about.Code))
	case "job.cancelled":
		subject = "Cancelled: " + procedure
		line("The job %s (%s) was cancelled.", job, procedure)
	case store.EventMaintenance:
		subject = "Maintenance from " + word(about.StartsAt) + " on"
		line("The service may not answer from %s to %s.", word(about.StartsAt), word(about.EndsAt))
		if about.Message != "" {
			line("\n%s", paragraphs(about.Message))
		}
	case store.EventRateLimit:
		subject = "Near a limit: " + word(about.Policy)
		line("Most of the limit %s is used. It is counted anew from %s on.", word(about.Policy), word(about.ResetAt))
	case store.EventDisabled:
		subject = "Webhooks are sent no more"
		where := "a request's address"
		if u, err := url.Parse(about.URL); err == nil && u.Hostname() != "" {
			where = word(u.Hostname())
		}
		line("Nothing more is sent to the webhook at %s: %s.", where, word(about.Reason))
		line("What was not delivered is kept, and can be sent again when the webhook is enabled.")
	default:
		subject = "Notice: " + word(d.Event)
		line("There is a notice: %s.", word(d.Event))
	}
	if about.JobID != "" && s.cfg.API != "" {
		line("\nIts state, and its result with a key of the API:\n%s/v1/customers/%s/jobs/%s", s.cfg.API, url.PathEscape(d.Customer), url.PathEscape(about.JobID))
	}
	line("\nCustomer: %s", word(d.Customer))
	return "[CipherStream] " + subject, b.String()
}

// mostWord and mostParagraphs bound, in characters, what of an event stands in a message.
const (
	mostWord       = 200
	mostParagraphs = 2000
)

// word is a text as a part of a line: no line ends in it.
func word(text string) string {
	return cut(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text), mostWord)
}

// paragraphs is a text of several lines.
func paragraphs(text string) string {
	return cut(strings.Map(func(r rune) rune {
		switch {
		case r == '\n', unicode.IsPrint(r):
			return r
		}
		return ' '
	}, strings.ReplaceAll(text, "\r\n", "\n")), mostParagraphs)
}

func cut(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "…"
	}
	return text
}
