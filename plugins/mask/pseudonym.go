package mask

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"sync"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/plugins/internal/format"
	"github.com/cipherstream/cipherstream/plugins/internal/parse"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// pseudonym is HMAC-SHA256 of a value's text.
type pseudonym struct {
	column format.Column
	base64 bool
	length int
	macs   *sync.Pool // of hash.Hash
}

func makePseudonym(secret config.Secret, encoding string, field arrow.Field) (action, arrow.Field, string) {
	columns, err := format.ColumnsOf(arrow.NewSchema([]arrow.Field{field}, nil))
	if err != nil {
		return nil, field, "hmac needs a text form: " + fault.From(err).Message
	}
	p := &pseudonym{column: columns[0], length: hex.EncodedLen(sha256.Size)}
	if encoding == "base64url" {
		p.base64, p.length = true, base64.RawURLEncoding.EncodedLen(sha256.Size)
	}
	key := []byte(secret.Reveal())
	p.macs = &sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}
	field.Type = arrow.BinaryTypes.String
	field.Metadata = parse.Describe(field.Metadata, nil)
	return p, field, ""
}

func (p *pseudonym) apply(mem memory.Allocator, in arrow.Array) (arrow.Array, error) {
	mac := p.macs.Get().(hash.Hash)
	defer p.macs.Put(mac)
	builder := array.NewStringBuilder(mem)
	defer builder.Release()
	builder.Reserve(in.Len())
	builder.ReserveData((in.Len() - in.NullN()) * p.length)
	values := p.column
	values.Load(in)
	scratch := make([]byte, values.Max+format.Slack)
	var sum [sha256.Size]byte
	text := make([]byte, p.length)
	for row := range in.Len() {
		if values.IsNull(row) {
			builder.AppendNull()
			continue
		}
		value, exact := values.Spell(scratch, row)
		if !exact {
			return nil, fault.New("mask.inexact_fraction", fault.Data,
				"column %q holds a time with more fractional digits than the column declares", values.Name).InRow(row)
		}
		mac.Reset()
		mac.Write(value)
		mac.Sum(sum[:0])
		if p.base64 {
			base64.RawURLEncoding.Encode(text, sum[:])
		} else {
			hex.Encode(text, sum[:])
		}
		builder.BinaryBuilder.Append(text)
	}
	return builder.NewArray(), nil
}
