package decrypt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cipherstream/cipherstream/sdk/envelope"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Receipt is what the receipt of a delivery says of it, as a run writes it. All but the statement is there for better
// messages: it is not authenticated.
type Receipt struct {
	envelope.Statement
	// Seals is the number of units that were sealed, by whatever key; -1 where the
	// receipt doesn't tell.
	Seals int64
	// RowSealed is true when every row is a unit.
	RowSealed bool
}

const (
	// maxReceipt bounds a receipt, in bytes.
	maxReceipt = 1 << 20
	// maxDepth bounds how deep a receipt's values are nested.
	maxDepth = 16
)

// ReadReceipt reads a receipt, JSON in the form that sdk/envelope/RECEIPT.md describes, and authenticates it with the
// customer's keys. Fields that it needs not are let be, as long as the JSON is sound.
func ReadReceipt(r io.Reader, ring *envelope.Ring) (*Receipt, error) {
	unusable := func(format string, args ...any) (*Receipt, error) {
		return nil, fault.New(codeReceipt, fault.Usage, "the receipt cannot be used: "+format, args...).
			WithHint("give the JSON that the run of the delivery wrote as its summary")
	}
	text, err := io.ReadAll(io.LimitReader(r, maxReceipt+1))
	switch {
	case err != nil:
		return unusable("%w", err)
	case len(text) > maxReceipt:
		return unusable("it is larger than %d bytes", maxReceipt)
	case len(bytes.TrimSpace(text)) == 0:
		return unusable("it is empty")
	case !utf8.Valid(text):
		return unusable("it is not UTF-8 text")
	}
	if problem := unsound(text); problem != "" {
		return unusable("%s", problem)
	}
	// A map, because the names of a struct's fields match in any case.
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return unusable("%w", err)
	}
	var statement, mac *string
	for name, into := range map[string]**string{"statement": &statement, "mac": &mac} {
		if given, ok := members[name]; ok && (json.Unmarshal(given, into) != nil || *into == nil) {
			return unusable("its member %q is not a text", name)
		}
	}
	if statement == nil || mac == nil {
		_, err := unusable("it is not authenticated: expected the members \"statement\" and \"mac\"")
		return nil, fault.From(err).WithHint("anybody can write such a receipt, so it proves nothing; ask for the one that the run wrote, " +
			"or open the delivery without a receipt and believe less")
	}
	proved, err := ring.Verify(*statement, *mac)
	if err != nil {
		return nil, err
	}
	receipt := &Receipt{Statement: proved, Seals: -1}
	return receipt, receipt.readRest(members)
}

// readRest reads what is not authenticated. What contradicts the statement is refused: somebody has changed it, so that
// whoever reads the file is told something else than what is proved.
func (r *Receipt) readRest(members map[string]json.RawMessage) error {
	for name, proved := range map[string]any{"run_id": r.RunID, "pipeline": r.Procedure, "rows": r.Rows, "bytes": r.Bytes, "sha256": r.SHA256} {
		given, ok := members[name]
		if !ok {
			continue
		}
		d := json.NewDecoder(bytes.NewReader(given))
		d.UseNumber()
		var said any
		if err := d.Decode(&said); err != nil || fmt.Sprint(said) != fmt.Sprint(proved) {
			return fault.New(envelope.ReceiptForged, fault.Data,
				"the receipt is not authentic: its %q is not what its statement proves, %v", name, proved).
				WithHint("it was altered; fetch the receipt again")
		}
	}
	var counters map[string]int64
	if given, ok := members["counters"]; ok && json.Unmarshal(given, &counters) != nil {
		return fault.New(codeReceipt, fault.Usage, "the receipt cannot be used: its counters are not whole numbers").
			WithHint("give the JSON that the run of the delivery wrote as its summary")
	}
	for name, n := range counters {
		_, counter, _ := strings.Cut(name, ".")
		switch {
		case n < 0:
			return fault.New(codeReceipt, fault.Usage, "the receipt cannot be used: its counter %q is %d", name, n).
				WithHint("give the JSON that the run of the delivery wrote as its summary")
		case strings.HasPrefix(counter, "seals_"):
			r.Seals = max(r.Seals, 0) + n
		case counter == "sealed_rows":
			r.RowSealed = true
		}
	}
	return nil
}

// unsound says what makes JSON mean different things to different readers, or costs them too much: a member that comes
// twice, deep nesting, several values. Anything else is left to the parser.
func unsound(text []byte) string {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	type level struct {
		names  map[string]bool // nil in a list
		isName bool            // what comes next is
	}
	var levels []level
	for {
		token, err := d.Token()
		if err != nil {
			if err == io.EOF {
				return ""
			}
			return err.Error()
		}
		top := len(levels) - 1
		switch token {
		case json.Delim('{'), json.Delim('['):
			if top >= 0 {
				levels[top].isName = levels[top].names != nil
			}
			if len(levels) == maxDepth {
				return "its values are nested too deep"
			}
			next := level{}
			if token == json.Delim('{') {
				next = level{map[string]bool{}, true}
			}
			levels = append(levels, next)
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:top]
		default:
			switch {
			case top < 0 || levels[top].names == nil:
			case levels[top].isName:
				name := token.(string) // JSON has no other names
				if levels[top].names[name] {
					return "its member \"" + strings.ToValidUTF8(name[:min(len(name), 40)], "") + "\" comes twice"
				}
				levels[top].names[name] = true
				levels[top].isName = false
			default:
				levels[top].isName = true
			}
		}
	}
}

// expect holds the receipt against what is asked for, before anything is read.
func (o *Options) expect() error {
	r := o.Receipt
	switch {
	case r == nil && (o.RequireReceipt || o.ExpectRun != "" || !o.NewerThan.IsZero()):
		return fault.New(codeNoReceipt, fault.Data, "there is no receipt, which alone can prove what is asked for").
			WithHint("give the receipt of the delivery")
	case r == nil:
	case o.ExpectRun != "" && r.RunID != o.ExpectRun:
		return fault.New(codeOtherRun, fault.Data, "this is the delivery of run %s, and that of %s is expected",
			r.RunID, o.ExpectRun).
			WithHint("another delivery stands in its place; fetch the one of that run")
	case !o.NewerThan.IsZero() && !r.Time.After(o.NewerThan):
		return fault.New(codeOld, fault.Data, "this delivery was begun at %s, which is not after %s",
			r.Time.Format(time.RFC3339Nano), o.NewerThan.UTC().Format(time.RFC3339Nano)).
			WithHint("an old delivery stands in the place of a new one, or none has been made since")
	}
	return nil
}

// check holds what was opened against the receipt. The number of units comes first,
// because it says most.
func (r *Receipt) check(got *Result, sum string) error {
	mismatch := func(format string, args ...any) error {
		return fault.New(codeMismatch, fault.Data, format, args...).
			WithHint("a part is missing or of another delivery, or the receipt is another delivery's; fetch both again")
	}
	switch {
	case r.Seals >= 0 && got.Units != r.Seals:
		return mismatch("the receipt counts %d sealed lines, but there are %d", r.Seals, got.Units)
	case r.RowSealed && got.Units != r.Rows:
		return mismatch("the receipt says %d rows, but there are %d", r.Rows, got.Units)
	case got.InputBytes != r.Bytes:
		return mismatch("the receipt says %d bytes, but there are %d", r.Bytes, got.InputBytes)
	case sum != r.SHA256:
		return mismatch("the receipt says that the SHA-256 is %s, but it is %s", r.SHA256, sum)
	}
	return nil
}

// prove says what is proved of a delivery that was opened to its end.
func (o *Options) prove(result *Result) {
	result.Proved, result.Unproved = []Property{}, []Property{Whole, OneRun, Fresh}
	if o.Receipt == nil {
		return
	}
	result.RunID, result.Time = o.Receipt.RunID, &o.Receipt.Time
	result.Proved, result.Unproved = []Property{Whole, OneRun}, []Property{Fresh}
	if o.ExpectRun != "" || !o.NewerThan.IsZero() {
		result.Proved, result.Unproved = []Property{Whole, OneRun, Fresh}, []Property{}
	}
}
