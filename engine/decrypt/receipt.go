package decrypt

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"strings"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// Receipt is what the receipt of a delivery says of it, as a run writes it.
type Receipt struct {
	// Rows is the number of rows.
	Rows int64
	// Bytes and SHA256 (lower-case hexadecimal) describe the delivery as it was written.
	Bytes  int64
	SHA256 string
	// Seals is the number of units that were sealed, by whatever key; -1 where the
	// receipt doesn't tell.
	Seals int64
	// RowSealed is true when every row is a unit.
	RowSealed bool
}

// maxReceipt bounds a receipt, in bytes.
const maxReceipt = 1 << 20

// ReadReceipt reads a receipt in JSON. Fields that it needs not are let be.
func ReadReceipt(r io.Reader) (*Receipt, error) {
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
	}
	var fields struct {
		Rows     *int64           `json:"rows"`
		Bytes    *int64           `json:"bytes"`
		SHA256   *string          `json:"sha256"`
		Counters map[string]int64 `json:"counters"`
	}
	if err := json.Unmarshal(text, &fields); err != nil {
		return unusable("%w", err)
	}
	switch {
	case fields.Rows == nil || fields.Bytes == nil || fields.SHA256 == nil:
		return unusable("expected the fields rows, bytes and sha256")
	case *fields.Rows < 0 || *fields.Bytes < 0:
		return unusable("it says %d rows and %d bytes", *fields.Rows, *fields.Bytes)
	}
	if sum, err := hex.DecodeString(*fields.SHA256); err != nil || len(sum) != newHash().Size() {
		return unusable("its sha256 is not 64 hexadecimal digits")
	}
	receipt := &Receipt{Rows: *fields.Rows, Bytes: *fields.Bytes, SHA256: strings.ToLower(*fields.SHA256), Seals: -1}
	for name, n := range fields.Counters {
		_, counter, _ := strings.Cut(name, ".")
		switch {
		case n < 0:
			return unusable("its counter %q is %d", name, n)
		case strings.HasPrefix(counter, "seals_"):
			receipt.Seals = max(receipt.Seals, 0) + n
		case counter == "sealed_rows":
			receipt.RowSealed = true
		}
	}
	return receipt, nil
}

// check holds what was opened against the receipt. The number of units comes first,
// because it says most.
func (r *Receipt) check(got *Result, sum string) error {
	mismatch := func(format string, args ...any) error {
		return fault.New(codeMismatch, fault.Data, format, args...).
			WithHint("a part is missing, or the receipt is another delivery's; fetch the delivery again")
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
