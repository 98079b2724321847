package webhook

import (
	"encoding/json"
	"net/http"
	"reflect"
	"testing"
	"time"
)

// TestExamine: of each scheme is said whether it holds, and under which secrets.
func TestExamine(t *testing.T) {
	t.Parallel()
	first, second := NewSecret(), NewSecret()
	event := Event{Event: "job.failed", Timestamp: time.Now(), DeliveryID: "del_1", Attempt: 1, Data: json.RawMessage(`{}`)}
	body, header, err := Sign(event, first, second)
	if err != nil {
		t.Fatal(err)
	}
	with := func(name, value string) http.Header {
		h := header.Clone()
		h.Set(name, value)
		return h
	}
	v := Verifier{Secrets: []string{second, first}}
	for name, c := range map[string]struct {
		header http.Header
		body   []byte
		want   [3]State
		of     [3][]int
	}{
		"as it is":     {header, body, [3]State{Holds, Holds, Holds}, [3][]int{{0, 1}, {1}, {1}}},
		"another id":   {with(HeaderID, "del_2"), body, [3]State{Broken, Holds, Holds}, [3][]int{nil, {1}, {1}}},
		"another body": {header, []byte(`{}`), [3]State{Broken, Broken, Missing}, [3][]int{}},
		"no headers":   {http.Header{}, body, [3]State{Missing, Missing, Holds}, [3][]int{nil, nil, {1}}},
		"another hash": {with(HeaderSignature, "sha1=00"), body, [3]State{Holds, Broken, Holds}, [3][]int{{0, 1}, nil, {1}}},
	} {
		found, err := v.Examine(c.header, c.body)
		if err != nil {
			t.Fatal(err)
		}
		var want []Finding
		for i, s := range []Scheme{StandardWebhooks, OwnHeader, BodyMember} {
			want = append(want, Finding{s, c.want[i], c.of[i]})
		}
		if !reflect.DeepEqual(found, want) {
			t.Errorf("%s: %+v, want %+v", name, found, want)
		}
	}
	if _, err := (&Verifier{Secrets: []string{"whsec_"}}).Examine(header, body); err == nil {
		t.Error("an empty secret is taken")
	}
}
