package envelope

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The codes of what can be wrong with a line.
const (
	// Malformed: the line is not an envelope.
	Malformed = "envelope.malformed"
	// ForeignKey: the line was sealed with a key that the ring does not hold.
	ForeignKey = "envelope.foreign_key"
	// Tampered: the line does not open. It was altered, is not in its place, or is another customer's.
	Tampered = "envelope.tampered"
)

// Opener opens the units of one customer's stream. It is for one goroutine.
type Opener struct {
	ring     *Ring
	customer string
	context  string

	iv     []byte
	aad    []byte
	sealed []byte
	trial  []byte
}

// Opener returns an opener for that customer.
func (r *Ring) Opener(customer string) (*Opener, error) {
	if err := CheckCustomer(customer); err != nil {
		return nil, err
	}
	return &Opener{ring: r, customer: customer, context: context(customer)}, nil
}

// Open returns the unit of that index that line, without its line end, holds; the line may be
// any JSON that says the same as the sealer's own. The result is valid until the next call. An error is a fault with
// one of the codes above and the details "index", from 0, and "line", from 1.
func (o *Opener) Open(line []byte, index int64) ([]byte, error) {
	o.setIndex(index)
	return o.open(line, index)
}

// setIndex makes the additional data that of an index.
func (o *Opener) setIndex(index int64) {
	o.aad = strconv.AppendInt(append(o.aad[:0], o.context...), index, 10)
}

// open opens a line with the additional data in o.
func (o *Opener) open(line []byte, index int64) ([]byte, error) {
	id, ivText, sealedText, problem := split(line)
	if problem != "" {
		return nil, malformed(index, problem)
	}
	var ok bool
	if o.iv, ok = appendDecoded(o.iv[:0], ivText); !ok || len(o.iv) != ivSize {
		return nil, malformed(index, "its IV is not 12 bytes in standard base64")
	}
	if o.sealed, ok = appendDecoded(o.sealed[:0], sealedText); !ok {
		return nil, malformed(index, "its ciphertext is not standard base64 with padding")
	}
	if len(o.sealed) < tagSize {
		return nil, malformed(index, "it is too short for a tag of 16 bytes")
	}
	k, ok := o.ring.find(id)
	if !ok {
		return nil, at(index, fault.New(ForeignKey, fault.Data, "%s was sealed with key %s, which is not among those given: %s",
			place(index), id, strings.Join(o.ring.IDs(), ", "))).
			WithHint("add the key with that id; a key's id is the first %d hexadecimal digits of its SHA-256", idSize)
	}
	unit, err := k.aead.Open(o.sealed[:0], o.iv, o.sealed, o.aad)
	if err != nil {
		return nil, o.tampered(k, sealedText, index)
	}
	return unit, nil
}

// split takes a line apart, or says why it is no envelope.
func split(line []byte) (id, iv, sealed []byte, problem string) {
	text, problem := value(line)
	switch {
	case problem != "":
		return nil, nil, nil, problem
	case len(text) < shortest:
		return nil, nil, nil, fmt.Sprintf("its %q has %d bytes, expected %d at least", member, len(text), shortest)
	}
	id = text[:idSize]
	for _, c := range id {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return nil, nil, nil, "its key id is not 16 hexadecimal digits"
		}
	}
	if text[ivAt-idAt-1] != ':' || text[sealedAt-idAt-1] != ':' {
		return nil, nil, nil, "key id, IV and ciphertext are not separated by colons"
	}
	return id, text[ivAt-idAt : sealedAt-idAt-1], text[sealedAt-idAt:], ""
}

// value returns the text of a line's one member that counts. A line as the sealer writes it is cut, not parsed;
// any other is read as JSON, because programs between here and there may write it in other words: with spaces,
// with escapes, with members of their own, with CRLF at its end.
func value(line []byte) (text []byte, problem string) {
	if Begins(line) && len(line) >= len(lineStart)+len(lineEnd) && string(line[len(line)-len(lineEnd):]) == lineEnd {
		if text = line[len(lineStart) : len(line)-len(lineEnd)]; bytes.IndexByte(text, '\\') < 0 && bytes.IndexByte(text, '"') < 0 {
			return text, ""
		}
	}
	// A map, because the names of a struct's fields match in any case.
	var members map[string]json.RawMessage
	var found *string
	if err := json.Unmarshal(line, &members); err == nil {
		err = json.Unmarshal(members[member], &found)
		if err == nil && found != nil {
			return []byte(*found), ""
		}
	}
	return nil, fmt.Sprintf("it is no JSON object with a text %q", member)
}

// Holds reports whether a line is an envelope to look at, whether or not it opens.
func Holds(line []byte) bool {
	_, problem := value(line)
	return problem == ""
}

func place(index int64) string { return fmt.Sprintf("line %d (index %d)", index+1, index) }

// at adds where a fault is.
func at(index int64, f *fault.Fault) *fault.Fault {
	return f.WithDetail("index", strconv.FormatInt(index, 10)).WithDetail("line", strconv.FormatInt(index+1, 10))
}

func malformed(index int64, problem string) error {
	return at(index, fault.New(Malformed, fault.Data, "%s is not a sealed line: %s", place(index), problem)).
		WithHint("it was altered or cut, or was never sealed; fetch the delivery again")
}

// How far around its place a line that does not open is tried: this many places to
// either side, as long as no more than so many bytes are decrypted.
const (
	trialPlaces = 1000
	trialBytes  = 64 << 20
)

// tampered says what is wrong with a line that does not open, if it opens elsewhere.
func (o *Opener) tampered(k key, sealedText []byte, index int64) error {
	f := fault.New(Tampered, fault.Data, "%s does not open with key %s for customer %q", place(index), k.id, o.customer)
	// What could not be opened was overwritten.
	o.sealed, _ = appendDecoded(o.sealed[:0], sealedText)
	tries := int64(min(trialPlaces, trialBytes/len(o.sealed)/2))
	for distance := int64(1); distance <= tries; distance++ {
		for _, other := range []int64{index + distance, index - distance} {
			if other < 0 || !o.opensAs(k, other) {
				continue
			}
			f.Message += fmt.Sprintf(": it belongs at index %d", other)
			if other > index {
				f.Hint = "lines are missing before it, or the order was changed; fetch the delivery again"
			} else {
				f.Hint = "a line is there twice, or the order was changed; fetch the delivery again"
			}
			return at(index, f.WithDetail("belongs_at", strconv.FormatInt(other, 10)))
		}
	}
	f.Message += ": it was altered, is not in its place, or was sealed for another customer"
	f.Hint = "check the customer's id, which is part of what is authenticated; otherwise fetch the delivery again"
	return at(index, f)
}

func (o *Opener) opensAs(k key, index int64) bool {
	o.setIndex(index)
	unit, err := k.aead.Open(o.trial[:0], o.iv, o.sealed, o.aad)
	if err == nil {
		o.trial = unit
	}
	return err == nil
}
