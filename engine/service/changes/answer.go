package changes

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Codes of answers that say nothing that can be relied on. Nothing is skipped because of one: the same documents are sent again.
const (
	// CodeAnswerStatus: the HTTP status is not 200.
	CodeAnswerStatus = "changes.answer_status"
	// CodeAnswerLarge: the answer is longer than MostAnswer.
	CodeAnswerLarge = "changes.answer_large"
	// CodeAnswerJSON: it is no JSON object.
	CodeAnswerJSON = "changes.answer_json"
	// CodeAnswerType: a member is missing, or is not of its type.
	CodeAnswerType = "changes.answer_type"
	// CodeAnswerRefused: its "status" is not "ok".
	CodeAnswerRefused = "changes.answer_refused"
	// CodeAnswerOrganization and CodeAnswerChannel: it is about another organization or channel.
	CodeAnswerOrganization = "changes.answer_organization"
	CodeAnswerChannel      = "changes.answer_channel"
	// CodeAnswerAbove: it has a number that was not sent.
	CodeAnswerAbove = "changes.answer_above"
	// CodeAnswerBelow: it has a number below one that the receiver has acknowledged.
	CodeAnswerBelow = "changes.answer_below"
	// CodeAnswerNothing: the receiver has taken none of the documents.
	CodeAnswerNothing = "changes.answer_nothing"
)

// asked is what an answer has to fit.
type asked struct {
	organization, channel string
	acknowledged, last    int64
}

// judge reads the number up to which the receiver has everything. Its faults quote nothing of the answer but numbers.
func (a asked) judge(reply Reply) (sequence int64, err error) {
	wrong := func(code, format string, args ...any) *fault.Fault {
		return fault.New(code, fault.Connect, format, args...).WithRetry()
	}
	if reply.Status != http.StatusOK {
		f := wrong(CodeAnswerStatus, "the receiver answered with the status %d; expected 200", reply.Status)
		switch reply.Status {
		case http.StatusUnauthorized, http.StatusForbidden:
			_ = f.WithHint("does the receiver know the shared secret?")
		case http.StatusRequestEntityTooLarge:
			_ = f.WithHint("let the receiver take bodies of 8 MiB, or send fewer records per request")
		}
		return 0, f
	}
	if len(reply.Body) > MostAnswer {
		return 0, wrong(CodeAnswerLarge, "the answer has more than %d bytes", MostAnswer)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(reply.Body, &members); err != nil || members == nil {
		return 0, wrong(CodeAnswerJSON, "the answer is no JSON object")
	}
	text := func(name string) (value string, err error) {
		raw := bytes.TrimSpace(members[name])
		if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &value) != nil {
			return "", wrong(CodeAnswerType, "the member %q of the answer is missing, or no text", name)
		}
		return value, nil
	}
	status, err := text("status")
	if err != nil {
		return 0, err
	}
	if status != "ok" {
		return 0, wrong(CodeAnswerRefused, "the status of the answer is not %q", "ok")
	}
	organization, err := text("organization_id")
	if err != nil {
		return 0, err
	}
	if organization != a.organization {
		return 0, wrong(CodeAnswerOrganization, "the answer is about another organization than %q", a.organization)
	}
	channel, err := text("channel")
	if err != nil {
		return 0, err
	}
	if channel != a.channel {
		return 0, wrong(CodeAnswerChannel, "the answer is about another channel than %q", a.channel)
	}
	sequence, bad := strconv.ParseInt(string(bytes.TrimSpace(members["max_sequence_processed"])), 10, 64)
	switch {
	case bad != nil:
		return 0, wrong(CodeAnswerType, "the member %q of the answer is missing, or no whole number", "max_sequence_processed")
	case sequence > a.last:
		return 0, wrong(CodeAnswerAbove, "the receiver says that it has %d, and %d was the last that was sent", sequence, a.last).
			WithHint("was its copy made by another stream?")
	case sequence < a.acknowledged:
		return 0, wrong(CodeAnswerBelow, "the receiver says that it has %d, and it has acknowledged %d before", sequence, a.acknowledged).
			WithHint("if its copy was restored from a backup: disable the stream, reset the channel %s to %d, and enable it", a.channel, max(sequence, 0))
	case sequence == a.acknowledged:
		return 0, wrong(CodeAnswerNothing, "the receiver has taken none of the documents: it has %d as before", sequence)
	}
	return sequence, nil
}
