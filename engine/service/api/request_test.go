package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestEveryMistakeAtOnce: whatever is wrong with a body is told in one answer, each mistake with its field.
func TestEveryMistakeAtOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	for _, c := range []struct {
		procedure, body string
		code            Code
		mistakes        string
	}{
		{"visits", `{"from_dat":"2024-01-01","customer_id":5,"encrypted":"yes","compression":"rar","x":1,"x":2}`, InvalidRequest,
			"DUPLICATE_FIELD x, INVALID_PARAMETER compression, INVALID_PARAMETER customer_id, INVALID_PARAMETER encrypted, " +
				"MISSING_PARAMETER from_date, UNKNOWN_FIELD from_dat, UNKNOWN_FIELD x"},
		{"visits", `{"customer_id":"clinic-7","from_date":"2024-02-30"}`, InvalidParameter, "INVALID_PARAMETER from_date"},
		{"visits", `{"customer_id":"clinic-7","from_date":"2024-02-02","to_date":"2024-02-01"}`, InvalidDateRange, "INVALID_DATE_RANGE to_date"},
		// What is wrong between fields is told with the rest, where those fields are good by themselves.
		{"visits", `{"customer_id":"clinic-7","from_date":"2024-02-02","to_date":"2024-02-01","compression":"rar","x":1}`, InvalidRequest,
			"INVALID_DATE_RANGE to_date, INVALID_PARAMETER compression, UNKNOWN_FIELD x"},
		{"visits", `{"from_date":"2024-02-02","to_date":"2024-02-01"}`, InvalidRequest, "INVALID_DATE_RANGE to_date, MISSING_PARAMETER customer_id"},
		{"visits", `{"customer_id":"clinic-7","from_date":"2024-02-32","to_date":"2024-02-01"}`, InvalidParameter, "INVALID_PARAMETER from_date"},
		{"visits", `{"customer_id":"clinic-7"}`, MissingParameter, "MISSING_PARAMETER from_date"},
		{"visits", `{"from_date":"2024-01-01"}`, MissingParameter, "MISSING_PARAMETER customer_id"},
		{"visits", `{}`, MissingParameter, "MISSING_PARAMETER customer_id, MISSING_PARAMETER from_date"},
		{"visits", `{"customer_id":null,"from_date":null}`, MissingParameter, "MISSING_PARAMETER customer_id, MISSING_PARAMETER from_date"},
		{"visits", `{"customer_id":"a:b","from_date":"2024-01-01"}`, InvalidParameter, "INVALID_PARAMETER customer_id"},
		{"visits", `{"customer_id":"clinic-7","from_date":"2024-01-01","webhook_url":"http://x"}`, InvalidParameter, "INVALID_PARAMETER webhook_url"},
		{"visits", `{"customer_id":"clinic-7","from_date":"2024-01-01","rows":1.5}`, InvalidParameter, "INVALID_PARAMETER rows"},
		{"visits", `{"customer_id":"clinic-7","from_date":["2024-01-01"]}`, InvalidParameter, "INVALID_PARAMETER from_date"},
		{"visits", `{"customer_id":"clinic-7","from_date":{"a":1,"a":2}}`, InvalidRequest, "DUPLICATE_FIELD /from_date/a, INVALID_PARAMETER from_date"},
		{"visits", `{"customer_id":"clinic-7","from_date":"2024-01-01","from_date":"2024-01-02"}`, DuplicateField, "DUPLICATE_FIELD from_date"},
		{"visits", `{"Customer_ID":"clinic-7","from_date":"2024-01-01"}`, InvalidRequest, "MISSING_PARAMETER customer_id, UNKNOWN_FIELD Customer_ID"},
		// A reference list takes a range, and it has to be one.
		{"places", `{"customer_id":"clinic-7","from_date":"yesterday","date_modifier":"None"}`, InvalidParameter, "INVALID_PARAMETER date_modifier, INVALID_PARAMETER from_date"},
	} {
		a := s.post(c.procedure, c.body)
		e := a.refusal(t)
		if e.Code != c.code || e.mistakes() != c.mistakes || a.StatusCode != http.StatusBadRequest {
			t.Errorf("%s\n got %s: %s\nwant %s: %s", c.body, e.Code, e.mistakes(), c.code, c.mistakes)
		}
	}
	e := s.post("visits", `{"customer_id":"clinic-7","from_dat":"2024-01-01"}`).refusal(t)
	if d := e.Details[0]; !strings.Contains(d.Suggestion, `"from_date"`) {
		t.Errorf("no suggestion for from_dat: %+v", d)
	}
}

// TestUnreadableBodies: what is no JSON object is refused as such, and says where it stops to be one.
func TestUnreadableBodies(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	for body, want := range map[string]string{
		" ": "empty", "[]": "not an object", `"x"`: "not an object", `{"a":1}{}`: "line 1, column 8", "{\n \"a\": tru}": "line 2, column 10",
		`{"a":1,}`: "line 1, column 8", "{\"a\":\"\xff\"}": "UTF-8", `{'a':1}`: "line 1, column 2", "{\"a\":01}": "line 1, column 7",
		`{"a":"\ud83d"}`: "surrogate", `{"a":"\ude00\ud83d"}`: "surrogate", `{"\ud83dx":1}`: "surrogate", `{"a":"\ud83d\n\ude00"}`: "surrogate",
		strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40): "levels",
		strings.Repeat(`[`, 20000) + strings.Repeat("]", 20000):     "not JSON",
	} {
		if e := s.post("visits", body).refusal(t); e.Code != InvalidJSON || !strings.Contains(e.Message, want) {
			t.Errorf("%.40q: %s %s; want %s", body, e.Code, e.Message, want)
		}
	}
}

// TestParametersOfTheAddress: a field that stands in the address and not in the body is refused, and not passed over.
func TestParametersOfTheAddress(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	for _, procedure := range []string{"visits", "places"} {
		a := s.do("POST", "/v1/procedures/"+procedure+"?output_format=csv&customer_id=clinic-7", `{"customer_id":"clinic-7","mod":1}`)
		e := a.refusal(t)
		var fields []string
		for _, d := range e.Details {
			fields = append(fields, d.Field)
		}
		for _, want := range []string{"customer_id", "output_format", "mod"} {
			if a.StatusCode != 400 || !slices.Contains(fields, want) {
				t.Errorf("%s: %d, %+v", procedure, a.StatusCode, e)
			}
		}
	}
	for path, code := range map[string]Code{"/v1/procedures?limit=1": UnknownField, "/v1/procedures/visits?lang=de": UnknownField,
		"/v1/requests/req_1?wait=1": UnknownField, "/v1/requests/req_1/receipt?x=1&y=1": UnknownField, "/v1/procedures?%zz": InvalidRequest} {
		if a := s.do("GET", path, ""); a.StatusCode != 400 || a.refusal(t).Code != code {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
	}
	if e := s.do("POST", "/v1/procedures/places?limit=1", `{"customer_id":"clinic-7"}`).refusal(t); e.Code != UnknownField ||
		!strings.Contains(e.Suggestion, "body") {
		t.Errorf("got %+v", e)
	}
}

// TestBodiesAreBounded: a body has 1 MiB at most, is JSON and not compressed, and is not read for who may not ask.
func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	large := func(n int) string {
		return fmt.Sprintf(`{"customer_id":"clinic-7","from_date":"2024-01-01","webhook_url":"https://x/%s"}`, strings.Repeat("x", n))
	}
	for _, c := range []struct {
		body   string
		header []string
		status int
		code   Code
	}{
		{large(MaxBody), nil, 413, BodyTooLarge},
		{large(MaxBody - 1000), nil, 400, InvalidParameter}, // it is read, and is too long for an address
		{large(1), []string{"Content-Type", "text/plain"}, 415, UnsupportedMediaType},
		{large(1), []string{"Content-Type", "application/json; charset=latin1"}, 415, UnsupportedMediaType},
		{large(1), []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, UnsupportedMediaType},
		{large(1), []string{"Content-Encoding", "gzip"}, 415, UnsupportedMediaType},
		{large(1), []string{"Content-Type", "application/json;charset=UTF-8"}, 503, WebhooksUnavailable},
		{large(1), []string{"Content-Type", "-"}, 503, WebhooksUnavailable},
		{large(MaxBody), []string{"Authorization", "-"}, 401, AuthenticationRequired},
	} {
		a := s.post("visits", c.body, c.header...)
		if e := a.refusal(t); a.StatusCode != c.status || e.Code != c.code {
			t.Errorf("%d bytes, %v: %d %s; want %d %s", len(c.body), c.header, a.StatusCode, e.Code, c.status, c.code)
		}
	}
}

// TestWhoMayAsk: without a good key nothing is told but that; another's customer and one that is not there look alike.
func TestWhoMayAsk(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	body := func(id string) string { return `{"customer_id":"` + id + `","from_date":"2024-01-01","mode":"job"}` }
	for _, c := range []struct {
		authorization, customer string
		code                    Code
	}{
		{"-", "clinic-7", AuthenticationRequired}, {"Basic good", "clinic-7", AuthenticationRequired}, {"good", "clinic-7", AuthenticationRequired},
		{"Bearer bad", "clinic-7", InvalidAPIKey}, {"bearer good", "clinic-7", JobsNotAvailable}, {"Bearer  good", "clinic-7", JobsNotAvailable}, {"Bearer go od", "clinic-7", AuthenticationRequired},
		{"Bearer good", "clinic-8", CustomerNotFound}, {"Bearer good", "nobody", CustomerNotFound}, {"Bearer unscoped", "clinic-7", ScopeMissing},
		{"Bearer other", "clinic-8", JobsNotAvailable},
	} {
		a := s.post("visits", body(c.customer), "Authorization", c.authorization)
		if e := a.refusal(t); e.Code != c.code {
			t.Errorf("%s for %s: %s, want %s", c.authorization, c.customer, e.Code, c.code)
		}
		if (a.StatusCode == 401) != (a.Header.Get("WWW-Authenticate") != "") {
			t.Errorf("%s: status %d, WWW-Authenticate %q", c.authorization, a.StatusCode, a.Header.Get("WWW-Authenticate"))
		}
	}
	for _, path := range []string{"/v1/procedures", "/v1/procedures/visits", "/v1/procedures/nothing", "/v1/procedures/places/rows", "/v1/requests/req_1", "/v1/requests/req_1/receipt"} {
		if e := s.do("GET", path, "", "Authorization", "Bearer bad").refusal(t); e.Code != InvalidAPIKey {
			t.Errorf("%s without a key: %s", path, e.Code)
		}
	}
	if e := s.post("nothing", "{}", "Authorization", "Bearer bad").refusal(t); e.Code != InvalidAPIKey {
		t.Errorf("an unknown procedure without a key: %s", e.Code)
	}
	if e := s.post("visit", "{}").refusal(t); e.Code != UnknownProcedure || !strings.Contains(e.Suggestion, `"visits"`) {
		t.Errorf("an unknown procedure: %+v", e)
	}
}

// TestProblemJSON: an error is in the form of RFC 9457 for who names its media type, and for nobody else.
func TestProblemJSON(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	a := s.post("visits", "{}", "Accept", "text/html, application/problem+json;q=0.9")
	if a.Header.Get("Content-Type") != typeProblem || !strings.Contains(string(a.body), `"type":"/docs/errors#MISSING_PARAMETER"`) ||
		!strings.Contains(string(a.body), `"status":400`) || !strings.Contains(string(a.body), `"instance":"/v1/requests/req_`) {
		t.Errorf("%v\n%s", a.Header, a.body)
	}
	for _, accept := range []string{"*/*", "application/json", "application/problem+json;q=0", ""} {
		a := s.post("visits", "{}", "Accept", accept)
		if a.Header.Get("Content-Type") != typeJSON || a.refusal(t).Code != MissingParameter {
			t.Errorf("%q: %v", accept, a.Header)
		}
	}
}

// TestNothingThere: paths that are not there, or not by that method, and those that try to leave.
func TestNothingThere(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	for _, c := range []struct {
		method, path string
		code         Code
		allow        string
	}{
		{"GET", "/", NotFound, ""}, {"GET", "/v1", NotFound, ""}, {"GET", "/v1/procedures/visits/", NotFound, ""}, {"POST", "/v1/procedures/", NotFound, ""},
		{"DELETE", "/v1/procedures/visits", MethodNotAllowed, "GET, POST, HEAD"}, {"PUT", "/v1/procedures", MethodNotAllowed, "GET, HEAD"},
		{"POST", "/v1/procedures", MethodNotAllowed, "GET, HEAD"}, {"POST", "/v1/requests/req_1", MethodNotAllowed, "GET, HEAD"},
		{"POST", "/v1/procedures/../procedures/visits", NotFound, ""}, {"POST", "/v1//procedures/visits", NotFound, ""},
		{"POST", "/v1/procedures/..%2f..%2fetc%2fpasswd", NotFound, ""}, {"POST", "/v1/procedures/%2e%2e", NotFound, ""},
		{"GET", "/v1/procedures/..%2Fvisits", NotFound, ""}, {"GET", "/v1/procedures/visits%2Frows", UnknownProcedure, ""},
		{"GET", "/v1/procedures/visits%00", NotFound, ""}, {"GET", "/v1/procedures/templates%2Fcommon", UnknownProcedure, ""},
		{"GET", "/v1/procedures/visits.yaml", UnknownProcedure, ""}, {"GET", "/v1/procedures/visits/rows?customer_id=clinic-7", NotFound, ""},
		{"GET", "/v1/procedures/nothing/rows", UnknownProcedure, ""}, {"GET", "/v1/requests/..%2f..%2f", NotFound, ""},
		{"GET", "/docs/nothing", NotFound, ""}, {"GET", "/docs/assets/../../api.go", NotFound, ""}, {"GET", "/metrics", NotFound, ""}, {"GET", "/healthz/", NotFound, ""},
	} {
		a := s.do(c.method, c.path, "")
		if e := a.refusal(t); e.Code != c.code || a.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %s, Allow %q; want %s, %q", c.method, c.path, e.Code, a.Header.Get("Allow"), c.code, c.allow)
		}
	}
}

// TestPreview: limit is 1 to 1,000 rows of a stream, where the pipeline has it.
func TestPreview(t *testing.T) {
	t.Parallel()
	with := strings.Replace(common, "    - {name: rows, type: integer, default: 3}", "    - {name: rows, type: integer, default: 3}\n    - {name: limit, type: integer, default: 0}", 1)
	catalogue := pipelines("templates/common.yaml", with)
	s := newServerOf(t, catalogue, nil)
	for value, want := range map[string]string{
		"0": "INVALID_PARAMETER limit", "-1": "INVALID_PARAMETER limit", "1001": "INVALID_PARAMETER limit", `"x"`: "INVALID_PARAMETER limit", "1.5": "INVALID_PARAMETER limit",
		`5,"mode":"job"`: "CONFLICTING_PARAMETERS limit",
	} {
		if e := s.post("visits", ask(`,"limit":`+value)).refusal(t); e.mistakes() != want {
			t.Errorf("%s: %s, want %s", value, e.mistakes(), want)
		}
	}
	for _, value := range []string{"1", "1000", `"7"`, "null"} {
		if a := s.post("visits", ask(`,"limit":`+value)); a.StatusCode != 200 {
			t.Errorf("%s: %s", value, a.body)
		}
	}
	s = newServer(t, nil)
	if e := s.post("visits", ask(`,"limit":1`)).refusal(t); e.mistakes() != "UNKNOWN_FIELD limit" {
		t.Errorf("a pipeline without previews: %s", e.mistakes())
	}
}

// TestPairsOfSurrogates: a character beyond the first plane may be written as two escapes, and a backslash may stand before a u.
func TestPairsOfSurrogates(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{`{"\ud83d\ude00":1}`: "\U0001F600", `{"\\ud83d":1}`: `\ud83d`, `{"\uD83D\uDE00\u00e9":1}`: "\U0001F600é"} {
		members, details, err := readObject([]byte(body))
		if err != nil || len(details) > 0 || members[0].name != want {
			t.Errorf("%s: %+v %v %v", body, members, details, err)
		}
	}
}
