package aesgcm

import (
	"context"
	"slices"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/envelope"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

const rowsDoc = `Seals each record of an NDJSON stream, line end included, with AES-256-GCM under the index of its row. The result
is a line for each, ` + "`{\"encrypted_data\":\"KEY_ID:IV:CIPHERTEXT_AND_TAG\"}`" + `, with the additional authenticated data
` + "`stream:CUSTOMER:INDEX`" + `, so that a row which is missing, altered, or not in its place shows when it is opened.

It takes NDJSON alone: the header of a CSV file is a record that is no row. For other formats there is ` + "`aes-256-gcm`" + `.
The counter ` + "`seals_KEY_ID`" + ` tells how many rows the key has sealed.`

// Rows defines the encryptor of records.
func Rows() sdk.Definition {
	return sdk.DefineEncryptor(sdk.About{
		Name:       "aes-256-gcm-rows",
		Summary:    "Seals each NDJSON row with AES-256-GCM.",
		Doc:        rowsDoc,
		In:         sdk.ShapeRecords,
		Out:        sdk.ShapeRecords,
		Concurrent: true,
	}, func(s Settings, env sdk.Env) (sdk.Encryptor, error) {
		seals, err := newSeals(s, env, "sealed_rows")
		if err != nil {
			return nil, err
		}
		return &rows{seals}, nil
	})
}

type rows struct{ *seals }

// Bind takes plain NDJSON. The result is NDJSON too, of other objects.
func (r *rows) Bind(in sdk.Media) (sdk.Media, error) {
	if err := refuseSealed(in); err != nil {
		return in, err
	}
	if in.Type != typeNDJSON || in.ContentEncoding != "" {
		what := in.Type
		if in.ContentEncoding != "" {
			what += " with " + in.ContentEncoding
		}
		return in, fault.New("aesgcm.not_ndjson", fault.Usage, "rows can be sealed in NDJSON alone (%s), not in %s", typeNDJSON, what).
			WithHint("choose the format ndjson, or the encryptor aes-256-gcm, which seals any format in chunks")
	}
	in.Sealed = true
	return in, nil
}

func (r *rows) Begin(*sdk.Output) error {
	r.begin()
	return nil
}

// Seal seals each record under its index in the stream.
func (r *rows) Seal(_ context.Context, in sdk.Chunk, out *sdk.Output) error {
	if len(in.Data) > 0 && (len(in.Ends) == 0 || in.Ends[len(in.Ends)-1] != len(in.Data)) {
		return fault.New("aesgcm.records", fault.Plugin,
			"the encoder gave %d bytes in %d records, the last of which does not end there", len(in.Data), len(in.Ends))
	}
	if err := r.take(int64(len(in.Ends))); err != nil {
		return err
	}
	size, start := 0, 0
	for _, end := range in.Ends {
		size += envelope.LineSize(end - start)
		start = end
	}
	out.Data = slices.Grow(out.Data, size)
	out.Ends = slices.Grow(out.Ends, len(in.Ends))
	start = 0
	for i, end := range in.Ends {
		out.Data = r.sealer.Seal(out.Data, in.Data[start:end], in.First+int64(i))
		out.EndRecord()
		start = end
	}
	return nil
}

func (r *rows) End(*sdk.Output) error { return nil }
