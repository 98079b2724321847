package session

import (
	"path"
	"strings"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

// The parameters that the name of an output may say.
const (
	FormatParameter      = "output_format"
	CompressionParameter = "compression"
)

// What the ending of a name says about a file.
var (
	formatEndings = map[string]string{
		".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "json", ".csv": "csv", ".parquet": "parquet", ".arrow": "arrow",
	}
	compressionEndings = map[string]string{".gz": "gzip", ".zip": "zip", ".zst": "zstd"}
)

const (
	noCompression = "none"
	// sealedEnding is that of a file that was sealed in chunks; the rest of the name is about what was sealed.
	sealedEnding = ".sealed.ndjson"
)

// OutputName is what the name of an output says; empty where it says nothing.
type OutputName struct {
	Format, Compression string
	Sealed              bool
}

// ReadOutputName reads a name.
func ReadOutputName(name string) (n OutputName) {
	name = strings.ToLower(path.Base(name))
	cut := func(endings map[string]string) string {
		value := endings[path.Ext(name)]
		if value != "" {
			name = strings.TrimSuffix(name, path.Ext(name))
		}
		return value
	}
	name, n.Sealed = strings.CutSuffix(name, sealedEnding)
	n.Compression = cut(compressionEndings)
	n.Format = cut(formatEndings)
	return n
}

// NotSealed refuses the name of a sealed file for an output that is not sealed.
func NotSealed(flag, name string) error {
	return terminal.UsageFault("%s names %q, which is a sealed file's name, but the output is not sealed", flag, name).
		WithHint("give --encrypted, or another name")
}

// Infer is the value of FormatParameter or CompressionParameter: the one that was given, or, where none was, what the name says.
// A name that says something else than what was given is refused; flag is where it stands.
func (n OutputName) Infer(flag, name, parameter, given string, sealed bool) (string, error) {
	said, short := n.Format, "-f"
	if parameter == CompressionParameter {
		said, short = n.Compression, "-c"
	}
	switch {
	case said != "" && given == "":
		return said, nil
	case said == "ndjson" && sealed:
		// What is sealed is lines of NDJSON, whatever is in them.
	case said != "" && given != said:
		return "", terminal.UsageFault("%s names %q, which is %s, but %s is %q", flag, name, said, parameter, given).
			WithHint("leave %s out, or give another name", short)
	case said == "" && n.Format != "" && given != "" && given != noCompression && !sealed:
		return "", terminal.UsageFault("%s names %q, which is not compressed, but %s is %q", flag, name, parameter, given).
			WithHint("give a name that ends in %s, or leave %s out", compressionEnding(given), short)
	}
	return given, nil
}

func compressionEnding(compression string) string {
	for ending, value := range compressionEndings {
		if value == compression {
			return ending
		}
	}
	return "that of the compression"
}
