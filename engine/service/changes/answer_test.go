package changes

import (
	"net/http"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestJudge: an answer is good when it says all that the contract wants of it and a number that can be; of every other the code
// says what is wrong.
func TestJudge(t *testing.T) {
	t.Parallel()
	of := asked{organization: "o", channel: Entities, acknowledged: 10, last: 20}
	answer := func(number string) string {
		return `{"status":"ok","organization_id":"o","channel":"entities","max_sequence_processed":` + number + `}`
	}
	for _, c := range []struct {
		status int
		body   string
		want   int64
		code   string
	}{
		{200, answer("20"), 20, ""},
		{200, " " + answer(" 11 ") + "\n", 11, ""},
		{200, `{"max_sequence_processed":12,"more":{},"channel":"entities","organization_id":"o","status":"\u006fk"}`, 12, ""},
		{200, answer("10"), 0, CodeAnswerNothing},
		{200, answer("21"), 0, CodeAnswerAbove},
		{200, answer("9"), 0, CodeAnswerBelow},
		{200, answer("-1"), 0, CodeAnswerBelow},
		{200, answer(`"15"`), 0, CodeAnswerType},
		{200, answer("15.0"), 0, CodeAnswerType},
		{200, answer("1e1"), 0, CodeAnswerType},
		{200, answer("null"), 0, CodeAnswerType},
		{200, answer("99999999999999999999"), 0, CodeAnswerType},
		{200, `{"status":"ok","organization_id":"o","channel":"entities"}`, 0, CodeAnswerType},
		{200, strings.Replace(answer("15"), `"ok"`, `true`, 1), 0, CodeAnswerType},
		{200, strings.Replace(answer("15"), `"ok"`, `"OK"`, 1), 0, CodeAnswerRefused},
		{200, strings.Replace(answer("15"), `"o"`, `7`, 1), 0, CodeAnswerType},
		{200, strings.Replace(answer("15"), `"o"`, `"p"`, 1), 0, CodeAnswerOrganization},
		{200, strings.Replace(answer("15"), `"entities"`, `"logs"`, 1), 0, CodeAnswerChannel},
		{200, strings.Replace(answer("15"), `,"channel":"entities"`, ``, 1), 0, CodeAnswerType},
		{200, "", 0, CodeAnswerJSON},
		{200, "null", 0, CodeAnswerJSON},
		{200, "[1]", 0, CodeAnswerJSON},
		{200, answer("15") + "x", 0, CodeAnswerJSON},
		{200, answer("15") + strings.Repeat(" ", MostAnswer), 0, CodeAnswerLarge},
		{201, answer("15"), 0, CodeAnswerStatus},
		{http.StatusFound, answer("15"), 0, CodeAnswerStatus},
		{http.StatusUnauthorized, "", 0, CodeAnswerStatus},
		{http.StatusRequestEntityTooLarge, "", 0, CodeAnswerStatus},
	} {
		got, err := of.judge(Reply{Status: c.status, Body: []byte(c.body)})
		if got != c.want || (err == nil) != (c.code == "") || err != nil && !fault.Is(err, c.code) {
			t.Errorf("%d %.120s: %d, %v; want %d, %s", c.status, c.body, got, err, c.want, c.code)
		}
	}
}

// FuzzJudge: whatever a receiver answers, the number that is taken is one that it can have.
func FuzzJudge(f *testing.F) {
	f.Add([]byte(`{"status":"ok","organization_id":"o","channel":"entities","max_sequence_processed":15}`))
	f.Add([]byte(`{"status":"ok","status":"no","organization_id":"o","channel":"entities","max_sequence_processed":+15}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := asked{"o", Entities, 10, 20}.judge(Reply{Status: http.StatusOK, Body: body})
		if err == nil && (n <= 10 || n > 20) || err != nil && n != 0 {
			t.Errorf("%d, %v", n, err)
		}
	})
}
