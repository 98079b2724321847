package parquetfile

import (
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// The codes of the source's faults.
const (
	codeOpen        = "parquet.open"
	codeRead        = "parquet.read"
	codeCorrupt     = "parquet.corrupt"
	codeUnsupported = "parquet.unsupported"
	codeTooLarge    = "parquet.too_large"
)

// corrupt is the fault for bytes that are not what the format asks for.
func corrupt(format string, args ...any) *fault.Fault {
	return fault.New(codeCorrupt, fault.Source, format, args...).
		WithHint("the file is damaged, was cut, or is not Parquet: copy or write it again")
}

// unsupported is the fault for what this source does not read.
func unsupported(format string, args ...any) *fault.Fault {
	return fault.New(codeUnsupported, fault.Source, format, args...)
}

// place says in which column of which row group something happened.
func (c *column) place(err error) error {
	f := fault.From(err)
	if f.Code != codeCorrupt && f.Code != codeUnsupported && f.Code != codeTooLarge && f.Code != codeRead {
		return err
	}
	located := *f
	located.Message = c.where() + ": " + f.Message
	return &located
}
