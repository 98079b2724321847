package receivers

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"
)

// signed is a delivery, signed as the specifications of both schemes say.
func signed(secret []byte, id string, at time.Time, body string) Request {
	text := "whsec_" + base64.StdEncoding.EncodeToString(secret)
	timestamp := strconv.FormatInt(at.Unix(), 10)
	mac := func(key []byte, content string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(content))
		return h.Sum(nil)
	}
	header := http.Header{}
	header.Set("webhook-id", id)
	header.Set("webhook-timestamp", timestamp)
	header.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac(secret, id+"."+timestamp+"."+body)))
	header.Set("X-CipherStream-Signature", "sha256="+hex.EncodeToString(mac([]byte(text), body)))
	return Request{header, []byte(body)}
}

// TestJudges: each takes what is signed, and nothing that was altered, is old, or was signed with another secret.
func TestJudges(t *testing.T) {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	text := "whsec_" + base64.StdEncoding.EncodeToString(secret)
	const body = `{"event":"job.completed","data":{"job_id":"patients_1_ä"}}`
	now := time.Now()
	good := signed(secret, "del_1", now, body)
	with := func(name, value string) Request {
		header := good.Header.Clone()
		header.Set(name, value)
		return Request{header, good.Body}
	}
	for name, c := range map[string]struct {
		request         Request
		accepts, ofBody bool
	}{
		"signed":        {good, true, true},
		"another body":  {Request{good.Header, []byte(body + " ")}, false, false},
		"no body":       {Request{good.Header, nil}, false, false},
		"not UTF-8":     {Request{good.Header, []byte("\xff")}, false, false},
		"another id":    {with("webhook-id", "del_2"), false, true},
		"another time":  {with("webhook-timestamp", fmt.Sprint(now.Unix()+1)), false, true},
		"old":           {signed(secret, "del_1", now.Add(-time.Hour), body), false, true},
		"not signed":    {Request{http.Header{}, good.Body}, false, false},
		"other secret":  {signed(secret[1:], "del_1", now, body), false, false},
		"two secrets":   {with("webhook-signature", "v1,AAAA "+good.Header.Get("webhook-signature")), true, true},
		"no signatures": {with("webhook-signature", "v2,AAAA"), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, j := range Judges(t) {
				want := c.accepts
				if j.BodyOnly {
					want = c.ofBody
				}
				if got := j.Accept(t, text, c.request, good); got[0] != want || !got[1] {
					t.Errorf("%s: %v, want %v, and the good one behind it", j.Name, got, want)
				}
			}
		})
	}
}
