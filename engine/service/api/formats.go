package api

import "strings"

// format is an output format.
type format struct {
	Name, mediaType string
	// Title is what it is, for people.
	Title string
}

var formats = []format{
	{"ndjson", "application/x-ndjson", "one JSON object a line"},
	{"json", "application/json", `{"data": […], "metadata": {…}}`},
	{"csv", "text/csv; charset=utf-8; header=present", "RFC 4180 with a header"},
	{"parquet", "application/vnd.apache.parquet", "Apache Parquet file"},
	{"arrow", "application/vnd.apache.arrow.file", "Apache Arrow IPC file"},
}

var compressions = []string{"none", "gzip", "zip", "zstd"}

const (
	typeLines = "application/x-ndjson"
	typeZip   = "application/zip"
)

// Form is what the outermost layer of a result is: one row of the table of headers.
type Form struct {
	Format, Compression string
	Sealed, Job         bool
	// ContentType and ContentEncoding are the headers; an object of a job has no Content-Encoding, so that its size,
	// ranges and digest are those of its bytes.
	ContentType, ContentEncoding string
	// Ending is what follows the run's identifier in the name of a file or an object.
	Ending string
	// Entry is what follows it in the name of the entry of a zip archive; empty where there is none.
	Entry string
}

// FileName is the name of a result as a file.
func (f Form) FileName(runID string) string { return runID + f.Ending }

// EntryName is that of the entry in a zip archive.
func (f Form) EntryName(runID string) string { return runID + f.Entry }

// rule makes forms: the first whose conditions hold is the outermost layer.
type rule struct {
	compression string // empty is any
	sealed      string // "yes", "no" or empty
	lines       string // whether the format is ndjson, likewise
	make        func(f format, c string, job bool) (contentType, encoding, ending, entry string)
}

// endings are those of compressed files.
var endings = map[string]string{"gzip": ".gz", "zstd": ".zst"}

// rules are the table of headers, outermost layer first.
var rules = []rule{
	{"zip", "yes", "", func(format, string, bool) (string, string, string, string) {
		return typeZip, "", ".zip", "." + formats[0].Name
	}},
	{"zip", "no", "", func(f format, _ string, _ bool) (string, string, string, string) {
		return typeZip, "", ".zip", "." + f.Name
	}},
	// Chunks of any other format are sealed last: what is compressed is inside.
	{"", "yes", "no", func(f format, c string, _ bool) (string, string, string, string) {
		return typeLines, "", "." + f.Name + endings[c] + ".sealed.ndjson", ""
	}},
	{"none", "", "", func(f format, _ string, _ bool) (string, string, string, string) {
		return f.mediaType, "", "." + f.Name, ""
	}},
	{"", "", "", func(f format, c string, job bool) (string, string, string, string) {
		if job {
			return f.mediaType, "", "." + f.Name + endings[c], ""
		}
		return f.mediaType, c, "." + f.Name, ""
	}},
}

// FormOf is the row of the table for a request.
func FormOf(formatName, compression string, sealed, job bool) Form {
	f := formats[0]
	for _, candidate := range formats {
		if candidate.Name == formatName {
			f = candidate
		}
	}
	is := func(want string, value bool) bool { return want == "" || (want == "yes") == value }
	form := Form{Format: f.Name, Compression: compression, Sealed: sealed, Job: job}
	for _, r := range rules {
		if (r.compression == "" || r.compression == compression) && is(r.sealed, sealed) && is(r.lines, f.Name == formats[0].Name) {
			form.ContentType, form.ContentEncoding, form.Ending, form.Entry = r.make(f, compression, job)
			break
		}
	}
	return form
}

// Forms are all rows of the table.
func Forms() []Form {
	var out []Form
	for _, f := range formats {
		for _, c := range compressions {
			for _, sealed := range []bool{false, true} {
				for _, job := range []bool{false, true} {
					out = append(out, FormOf(f.Name, c, sealed, job))
				}
			}
		}
	}
	return out
}

// mediaTypes are the types that an answer may have, without their parameters.
func mediaTypes() []string {
	var out []string
	for _, f := range formats {
		name, _, _ := strings.Cut(f.mediaType, ";")
		out = append(out, name)
	}
	return append(out, typeZip)
}
