// Package sample is the filter stage that keeps a part of the rows, chosen by a seed. It owns the choice, a function of
// the seed and of a row's key or place that never changes between releases; it never reorders rows.
package sample

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/plugins/internal/gather"
	"github.com/cipherstream/cipherstream/plugins/internal/naming"
	"github.com/cipherstream/cipherstream/plugins/internal/rowkey"
	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Settings are the settings of the stage.
type Settings struct {
	Fraction string   `config:"fraction,required" doc:"The part of the rows that goes on, a decimal above 0 and at most 1, in quotes: \"0.05\"."`
	Seed     int64    `config:"seed" doc:"Another seed chooses other rows; the same one always the same."`
	By       []string `config:"by" names:"columns" doc:"The columns of the key that decides. Rows of one key go on together, in every table and every run. Without it the row's place in the stream decides."`
}

const doc = `About so many of the rows go on, each by itself: of 1,000 rows and a fraction of 0.05 some 50. The choice depends on nothing
but the seed and the row's key (or, without ` + "`by`" + `, its place in the stream, from 0), not on batches or cores.

A row goes on if h < fraction × 2^64, where h is the first 8 bytes, as a big-endian number, of SHA-256 over the seed (8 bytes,
big-endian two's complement) and then the place (8 bytes, big-endian), or the key. The key is, column by column, the byte 0
for NULL; or the byte 1, the length of the value's text in bytes (8 bytes, big-endian) and that text: ` + rowkey.Doc

// Stage defines the filter.
func Stage() sdk.Definition {
	return sdk.DefineFilter(sdk.About{
		Name:    "sample",
		Summary: "Keeps a part of the rows, chosen by a seed.",
		Doc:     doc,
	}, newFilter)
}

func newFilter(s Settings, env sdk.Env) (sdk.Filter, error) {
	wrong := func() error {
		return fault.New("sample.fraction", fault.Usage, "expected a fraction above 0 and at most 1, as a decimal in quotes, such as \"0.05\"").
			WithDetail(fault.DetailSetting, "/fraction")
	}
	if s.Fraction == "" || len(s.Fraction) > 40 || strings.Trim(s.Fraction, "0123456789.") != "" {
		return nil, wrong()
	}
	r, ok := new(big.Rat).SetString(s.Fraction)
	if !ok || r.Sign() <= 0 || r.Cmp(big.NewRat(1, 1)) > 0 {
		return nil, wrong()
	}
	f := &filter{settings: s, env: env}
	// h < fraction × 2^64 for a whole h is h < its ceiling.
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), 64)))
	bound, rest := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
	if rest.Sign() != 0 {
		bound.Add(bound, big.NewInt(1))
	}
	f.all = !bound.IsUint64()
	f.bound = bound.Uint64()
	binary.BigEndian.PutUint64(f.seed[:], uint64(s.Seed))
	return f, nil
}

type filter struct {
	settings Settings
	env      sdk.Env
	all      bool
	bound    uint64
	seed     [8]byte
	place    uint64
	key      *rowkey.Reader // nil without by
	scratch  []byte
	indexes  []int32
}

// Before is what goes on, with the key.
func (f *filter) Before(out *arrow.Schema) *arrow.Schema { return naming.With(out, f.settings.By...) }

// Bind finds the key's columns.
func (f *filter) Bind(in *arrow.Schema) (*arrow.Schema, error) {
	in = naming.Assume(in, f.settings.By...)
	if len(f.settings.By) == 0 {
		return in, nil
	}
	key, err := rowkey.New(in, f.settings.By, "sample")
	f.key = key
	return in, err
}

// Apply chooses rows of a batch. It is called in the order of the rows.
func (f *filter) Apply(_ context.Context, in arrow.Record) (arrow.Record, error) {
	f.indexes = f.indexes[:0]
	if f.key != nil {
		f.key.Load(in)
		defer f.key.Unload()
	}
	for i := range int(in.NumRows()) {
		b := append(f.scratch[:0], f.seed[:]...)
		if f.key != nil {
			var err error
			if b, err = f.key.Append(b, i); err != nil {
				return nil, err
			}
		} else {
			b = binary.BigEndian.AppendUint64(b, f.place)
			f.place++
		}
		f.scratch = b
		sum := sha256.Sum256(b)
		if f.all || binary.BigEndian.Uint64(sum[:8]) < f.bound {
			f.indexes = append(f.indexes, int32(i))
		}
	}
	return gather.Rows(f.env.Memory, in, f.indexes)
}
