package webhook

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// Codes of attempts that failed. They stand in the logs of deliveries; store has those of deliveries that were not tried.
const (
	// CodeStatus: the receiver's status is none of success.
	CodeStatus = "webhook.status"
	// CodeRedirect: the receiver sends elsewhere. Nobody goes there.
	CodeRedirect = "webhook.redirect"
	// CodeTimeout: there was no status in time.
	CodeTimeout = "webhook.timeout"
	// CodeDNS: the name of the receiver has no address, or could not be looked up.
	CodeDNS = "webhook.dns"
	// CodeConnection: it could not be connected to, or has ended the connection, or does not speak HTTP.
	CodeConnection = "webhook.connection"
	// CodeTLS: its certificate is not valid for it, or it speaks no TLS that is good enough.
	CodeTLS = "webhook.tls"
	// CodeAddress: it is not at a public address, or the address is none.
	CodeAddress = "webhook.address"
	// CodeHeaders: the custom headers cannot be sent.
	CodeHeaders = "webhook.headers"
	// CodeNoMail: it is mail, and the service sends none any more.
	CodeNoMail = "webhook.no_mail"
	// CodeStopped: the service ended in the middle of it.
	CodeStopped = "webhook.stopped"
)

// answers say what a status comes to; the first that it is in counts.
var answers = []struct {
	from, to int
	verdict  store.Verdict
	code     string
}{
	{200, 299, store.Accepted, ""},
	{300, 399, store.Final, CodeRedirect},
	{http.StatusRequestTimeout, http.StatusRequestTimeout, store.Again, CodeStatus},
	{http.StatusGone, http.StatusGone, store.Gone, CodeStatus},
	{http.StatusTooEarly, http.StatusTooEarly, store.Again, CodeStatus},
	{http.StatusTooManyRequests, http.StatusTooManyRequests, store.Again, CodeStatus},
	{500, 599, store.Again, CodeStatus},
}

// Answered is what a status comes to, with the header Retry-After that came with it. One that is in no row of the table is
// final.
func Answered(status int, retryAfter string, now time.Time) store.Outcome {
	o := store.Outcome{Verdict: store.Final, HTTPStatus: status, Code: CodeStatus}
	for _, a := range answers {
		if status >= a.from && status <= a.to {
			o.Verdict, o.Code = a.verdict, a.code
			break
		}
	}
	if o.Verdict != store.Accepted {
		o.Message = "the receiver answered " + strconv.Itoa(status)
	}
	if o.Verdict == store.Again {
		o.After = after(retryAfter, now)
	}
	return o
}

// after reads Retry-After (RFC 9110, section 10.2.3): seconds, or a time. What is neither is none, and more than
// store.LongestAfter is that.
func after(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	if text != "" && strings.Trim(text, "0123456789") == "" {
		seconds, err := strconv.Atoi(text)
		if err != nil || seconds > int(store.LongestAfter/time.Second) {
			return store.LongestAfter
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), store.LongestAfter)
}
