package webhook

import (
	"crypto/hmac"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
)

// Scheme is a way in which deliveries are signed.
type Scheme string

// The schemes, in the order in which Examine tells of them.
const (
	// StandardWebhooks signs identifier, time and body.
	StandardWebhooks Scheme = "webhook-signature"
	// OwnHeader signs the body.
	OwnHeader Scheme = "X-CipherStream-Signature"
	// BodyMember signs what else is in the body.
	BodyMember Scheme = "signature in the body"
)

// State is what a scheme says of a request.
type State string

// The states.
const (
	Holds   State = "holds"
	Broken  State = "does not hold"
	Missing State = "is missing"
)

// Finding is what one scheme says of a request.
type Finding struct {
	Scheme Scheme
	State  State
	// Secrets are the indexes of those whose signature is there and right: one, or both of a rotation.
	Secrets []int
}

// Examine says of each scheme whether it holds. It is for those who look into a request that is not accepted, and looks
// neither at the time nor at what the body says: Verify decides.
func (v *Verifier) Examine(header http.Header, body []byte) ([]Finding, error) {
	keys, err := parseSecrets(v.Secrets)
	if err != nil {
		return nil, err
	}
	id, timestamp := header.Get(HeaderID), header.Get(HeaderTimestamp)
	var standard, own, member []string
	for _, value := range header.Values(HeaderStandardSignature) {
		standard = append(standard, strings.Fields(value)...)
	}
	own = header.Values(HeaderSignature)
	unsigned, signature, ok := withoutSignature(body)
	if ok {
		member = []string{signature}
	}
	return []Finding{
		find(StandardWebhooks, keys, standard, func(k key) string {
			return standardVersion + base64.StdEncoding.EncodeToString(k.standard(id, timestamp, body))
		}),
		find(OwnHeader, keys, own, func(k key) string { return k.hexadecimal(body) }),
		find(BodyMember, keys, member, func(k key) string { return k.hexadecimal(unsigned) }),
	}, nil
}

// find compares the signatures that are there with those that the keys make.
func find(s Scheme, keys []key, given []string, expected func(key) string) Finding {
	f := Finding{Scheme: s, State: Broken}
	if len(given) == 0 {
		f.State = Missing
	}
	for i, k := range keys {
		want := []byte(expected(k))
		if slices.ContainsFunc(given, func(g string) bool { return hmac.Equal([]byte(g), want) }) {
			f.State, f.Secrets = Holds, append(f.Secrets, i)
		}
	}
	return f
}
