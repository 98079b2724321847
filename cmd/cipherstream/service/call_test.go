package service_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/parquet-go/parquet-go"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/sdk/pin"
	"github.com/cipherstream/cipherstream/sdk/wire"
)

// answer is what a service sends for a request.
type answer struct {
	status        int
	media, coding string
	body          []byte
	rows          string // what is said; empty is not said
	digest        string // empty is the right one, - none
	spooled       bool   // rows and digest in the header, and not in the trailer
	cut           bool
	headers       map[string]string
}

// serve answers every procedure, and says of a cut answer why.
func serve(t *testing.T, a answer, requests *[]map[string]any) http.Handler {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/procedures/{procedure}", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer cs_live_geheim" || r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("headers: %v", r.Header)
		}
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		if requests != nil {
			*requests = append(*requests, body)
		}
		h := w.Header()
		h.Set("X-Request-Id", "req_1")
		h.Set("X-CipherStream-Run", "run_1")
		h.Set("X-CipherStream-Mode", "stream")
		for name, value := range a.headers {
			h.Set(name, value)
		}
		h.Set("Content-Type", a.media)
		if a.coding != "" {
			h.Set("Content-Encoding", a.coding)
		}
		sum := sha256.Sum256(a.body)
		digest := a.digest
		if digest == "" {
			digest = "sha-512=:AAAA:, sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
		}
		tell := func() {
			if digest != "-" {
				h.Set("Repr-Digest", digest)
			}
			if a.rows != "" {
				h.Set("X-CipherStream-Rows", a.rows)
			}
		}
		if a.spooled {
			tell()
		} else {
			h.Set("Trailer", "X-CipherStream-Rows, Repr-Digest")
		}
		w.WriteHeader(max(a.status, http.StatusOK))
		_, _ = w.Write(a.body)
		if a.cut {
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		if !a.spooled {
			tell()
		}
	})
	mux.HandleFunc("GET /v1/requests/req_1", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"status":"failed","error":{"code":"SOURCE_FAILED","message":"the database went away","suggestion":"ask again"}}`))
	})
	return mux
}

func gzipped(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.Bytes()
}

// zipped is an archive with one entry. One that is stored says its size in front of it.
func zipped(text string, method uint16) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	h := &zip.FileHeader{Name: "run_1.ndjson", Method: method}
	var entry io.Writer
	if method == zip.Store {
		h.CRC32, h.CompressedSize64, h.UncompressedSize64 = crc32.ChecksumIEEE([]byte(text)), uint64(len(text)), uint64(len(text))
		entry, _ = w.CreateRaw(h)
	} else {
		entry, _ = w.CreateHeader(h)
	}
	_, _ = io.WriteString(entry, text)
	_ = w.Close()
	return b.Bytes()
}

// inArrow is a file with record batches of so many rows.
func inArrow(t *testing.T, batches ...int) []byte {
	var b bytes.Buffer
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	w, err := wire.NewFileWriter(&b, schema)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range batches {
		builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		for i := range n {
			builder.Field(0).(*array.Int64Builder).Append(int64(i))
		}
		if err := w.Write(builder.NewRecord()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func inParquet(t *testing.T, rows int) []byte {
	var b bytes.Buffer
	w := parquet.NewGenericWriter[struct{ N int64 }](&b)
	if _, err := w.Write(make([]struct{ N int64 }, rows)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const rows = "{\"a\":1}\n{\"a\":2}\n"

func TestCall(t *testing.T) {
	t.Setenv("CIPHERSTREAM_API_KEY", "cs_live_geheim")
	for _, c := range []struct {
		name   string
		answer answer
		code   int
		want   string // in standard output when the code is 0, and in standard error otherwise
	}{
		{"trailers", answer{media: "application/x-ndjson", body: []byte(rows), rows: "2"}, 0, "2 rows, 16 B, whole (run run_1)"},
		{"header", answer{media: "application/x-ndjson", body: []byte(rows), rows: "2", spooled: true}, 0, "2 rows"},
		{"none", answer{media: "application/x-ndjson", rows: "0", spooled: true}, 0, "0 rows"},
		{"gzip", answer{media: "application/x-ndjson", coding: "gzip", body: gzipped(rows), rows: "2"}, 0, "2 rows"},
		{"csv", answer{media: "text/csv; charset=utf-8", body: []byte("a,b\r\n1,\"x\r\ny\"\r\n2,\r\n"), rows: "2"}, 0, "2 rows"},
		{"csv without rows", answer{media: "text/csv", body: []byte("a,b\r\n"), rows: "0"}, 0, "0 rows"},
		{"json", answer{media: "application/json", body: []byte(`{"data":[{"record_count":9}],"metadata":{"execution_time":2.5,"record_count":1}}`), rows: "1"}, 0, "1 rows"},
		{"a zip", answer{media: "application/zip", body: zipped(rows, zip.Deflate), rows: "2"}, 0, "2 rows"},
		{"a zip that is stored", answer{media: "application/zip", body: zipped(rows, zip.Store), rows: "2"}, 0, "2 rows"},
		{"arrow", answer{media: "application/vnd.apache.arrow.file", body: inArrow(t, 3, 4), rows: "7"}, 0, "7 rows"},
		{"parquet", answer{media: "application/vnd.apache.parquet", body: inParquet(t, 7), rows: "7"}, 0, "7 rows"},
		{"parquet in gzip", answer{media: "application/vnd.apache.parquet", coding: "gzip", body: gzipped(string(inParquet(t, 7))), rows: "7"}, 0, "7 rows"},

		{"a row is missing", answer{media: "application/x-ndjson", body: []byte(rows), rows: "3"}, 1, "has 2 rows, and the service says 3"},
		{"a record is missing", answer{media: "text/csv", body: []byte("a\r\n1\r\n"), rows: "2"}, 1, "has 1 rows"},
		{"a row of a zip is missing", answer{media: "application/zip", body: zipped(rows, zip.Deflate), rows: "3"}, 1, "has 2 rows, and the service says 3"},
		{"a row of a stored zip is missing", answer{media: "application/zip", body: zipped(rows, zip.Store), rows: "3"}, 1, "has 2 rows, and the service says 3"},
		{"no zip", answer{media: "application/zip", body: []byte("PK"), rows: "7"}, 1, "cannot be counted"},
		{"a batch of arrow is missing", answer{media: "application/vnd.apache.arrow.file", body: inArrow(t, 3), rows: "7"}, 1, "has 3 rows"},
		{"a row of parquet is missing", answer{media: "application/vnd.apache.parquet", body: inParquet(t, 6), rows: "7"}, 1, "has 6 rows"},
		{"no parquet", answer{media: "application/vnd.apache.parquet", body: []byte("PAR1PAR1"), rows: "7"}, 1, "cannot be counted"},
		{"json without a row that it says", answer{media: "application/json", body: []byte(`{"data":[{"a":"}{"}],"metadata":{"record_count":2}}`), rows: "2"}, 1, "has 1 rows, and says that it has 2"},
		{"json of another number", answer{media: "application/json", body: []byte(`{"data":[],"metadata":{"record_count":0}}`), rows: "2"}, 1, "has 0 rows"},
		{"not gzip", answer{media: "application/x-ndjson", coding: "gzip", body: []byte(rows), rows: "2"}, 1, "cannot be counted"},
		{"rows are not said", answer{media: "application/x-ndjson", body: []byte(rows)}, 1, "did not say how many rows"},
		{"another digest", answer{media: "application/x-ndjson", body: []byte(rows), rows: "2", digest: "sha-256=:AAAA:"}, 1, "its SHA-256 is another"},
		{"no digest", answer{media: "application/x-ndjson", body: []byte(rows), rows: "2", digest: "-"}, 1, "sent no digest"},
		{"a weak digest", answer{media: "application/x-ndjson", body: []byte(rows), rows: "2", digest: "md5=:AAAA:"}, 1, "sent no digest"},
		{"cut", answer{media: "application/x-ndjson", body: []byte(rows), rows: "2", cut: true}, 1, "because of SOURCE_FAILED: the database went away"},
		{"a job", answer{media: "application/json", body: []byte("{}"), headers: map[string]string{"X-CipherStream-Mode": "job"}}, 1, "made a job of the request, and does not say which"},

		{"bad request", answer{status: 400, body: []byte(`{"error":{"code":"INVALID_DATE_RANGE","message":"to_date is before from_date","suggestion":"swap them","request_id":"req_1"}}`)}, 2, "INVALID_DATE_RANGE: to_date is before from_date"},
		{"two mistakes", answer{status: 400, body: []byte(`{"error":{"code":"MISSING_PARAMETER","message":"m","details":[{"code":"C","field":"a","message":"a: needed","suggestion":"First day."},{"code":"D"}]}}`)}, 2,
			"\n  details: a: needed (First day); D\n"},
		{"details of another form", answer{status: 400, body: []byte(`{"error":{"code":"C","message":"m","details":{"a":1}}}`)}, 2, "\n  details: {\"a\":1}\n"},
		{"no details", answer{status: 404, body: []byte(`{"error":{"code":"JOB_NOT_FOUND","message":"m","details":[]}}`)}, 2, "JOB_NOT_FOUND: m\n  request_id: "},
		{"too late", answer{status: 409, body: []byte(`{"error":{"code":"JOB_ENDED","message":"m"}}`)}, 1, "JOB_ENDED: m"}, // nothing is wrong with the command line
		{"key", answer{status: 401, body: []byte(`{"error":{"code":"INVALID_API_KEY","message":"x"}}`)}, 3, "INVALID_API_KEY"},
		{"busy", answer{status: 429, headers: map[string]string{"Retry-After": "7"}, body: []byte(`{"error":{"code":"TOO_MANY_STREAMS","message":"x"}}`)}, 1, "retry_after: 7"},
		{"a stranger", answer{status: 502, body: []byte("<html>")}, 1, "not as a CipherStream service does"},
		{"elsewhere", answer{status: 307, headers: map[string]string{"Location": "https://example.com/"}}, 1, "answered 307"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(serve(t, c.answer, nil))
			defer server.Close()
			out := filepath.Join(t.TempDir(), "out")
			r := cmdtest.Call(t, "call", "patients", "--server", server.URL, "--customer", "c", "-o", out)
			said := r.Stdout
			if c.code != 0 {
				said = r.Stderr
			}
			if r.Code != c.code || !strings.Contains(said, c.want) || strings.Contains(r.Stderr, "geheim") {
				t.Errorf("%+v", r)
			}
			got, err := os.ReadFile(out)
			switch {
			case c.code == 0 && (err != nil || !bytes.Equal(got, c.answer.body)):
				t.Errorf("%v: %q", err, got)
			case c.code != 0 && !errors.Is(err, fs.ErrNotExist):
				t.Errorf("an answer that is not whole has its name: %v", err)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(out), ".*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestCallBody: what is asked for is what the flags say, numbers as numbers.
func TestCallBody(t *testing.T) {
	t.Setenv("CIPHERSTREAM_API_KEY", "cs_live_geheim")
	var requests []map[string]any
	server := httptest.NewServer(serve(t, answer{media: "application/x-ndjson", body: []byte(rows), rows: "2"}, &requests))
	defer server.Close()
	r := cmdtest.Call(t, "call", "custom_table", "--server", server.URL+"/", "--customer", "c", "-f", "ndjson", "-c", "none", "--mode", "stream", "--encrypted",
		"--limit", "5", "-p", "table_name=a=b", "-p", `columns:=["x","y"]`)
	if r.Code != 0 || r.Stdout != rows {
		t.Fatalf("%+v", r)
	}
	text, _ := json.Marshal(requests[0])
	want := `{"columns":["x","y"],"compression":"none","customer_id":"c","encrypted":true,"limit":5,"mode":"stream","output_format":"ndjson","table_name":"a=b"}`
	if string(text) != want {
		t.Errorf("%s", text)
	}
}

// TestCallNames: the name of the file says what is asked for, as for run, and one that says something else than what comes is
// refused before anything is asked.
func TestCallNames(t *testing.T) {
	t.Setenv("CIPHERSTREAM_API_KEY", "cs_live_geheim")
	t.Setenv("KEYS", base64.StdEncoding.EncodeToString(make([]byte, 32)))
	var requests []map[string]any
	server := httptest.NewServer(serve(t, answer{status: 503, body: []byte(`{"error":{"code":"ASKED","message":"m"}}`)}, &requests))
	defer server.Close()
	for _, c := range []struct{ name, args, want string }{
		{"x.csv", "", "csv -"}, {"x.csv.gz", "", "csv gzip"}, {"x.parquet", "", "parquet -"}, {"x.zip", "-f json", "json zip"}, {"x", "", "- -"}, {"x.txt", "-f csv", "csv -"},
		{"X.NDJSON.ZST", "", "ndjson zstd"}, {"x.csv", "-f csv", "csv -"}, {"x.csv", "--compression none", "csv none"}, {"x.json", "--parameter output_format=json", "json -"},
		{"x.csv", `-p output_format:="csv"`, "csv -"}, {"x.csv.sealed.ndjson", "--encrypted", "csv -"}, {"x.ndjson", "-f csv --encrypted", "csv -"},
		{"x.csv", "--decrypt env:KEYS", "csv -"}, {"x.csv", "-c gzip --decrypt env:KEYS", "csv gzip"},
		{"x.csv", "-f ndjson", `x.csv", which is csv, but output_format is "ndjson"`}, {"x.csv", "-p output_format=json", `output_format is "json"`},
		{"x.csv", `-p output_format:="json"`, `output_format is "json"`}, {"x.csv", "-c gzip", "is not compressed"}, {"x.csv.gz", "-c zstd", `compression is "zstd"`},
		{"x.csv.sealed.ndjson", "", "is not sealed"}, {"x.csv.sealed.ndjson", "--decrypt env:KEYS", "it is opened"}, {"x.csv.gz", "--decrypt env:KEYS", "takes compression off"},
	} {
		requests = nil
		r := cmdtest.Call(t, append([]string{"call", "patients", "--server", server.URL, "--customer", "c", "-o", filepath.Join(t.TempDir(), c.name)}, strings.Fields(c.args)...)...)
		if len(requests) == 0 {
			if r.Code != terminal.ExitUsage || !strings.Contains(r.Stderr, c.want) {
				t.Errorf("%s %s: %+v", c.name, c.args, r)
			}
			continue
		}
		of := func(field string) any {
			if value, is := requests[0][field]; is {
				return value
			}
			return "-"
		}
		if got := fmt.Sprint(of("output_format"), " ", of("compression")); got != c.want {
			t.Errorf("%s %s: asked for %s, want %s", c.name, c.args, got, c.want)
		}
	}
	for _, old := range []string{"--param", "--compress"} { // one vocabulary with run
		if r := cmdtest.Call(t, "call", "patients", "--server", server.URL, "--customer", "c", old, "x"); r.Code != terminal.ExitUsage || !strings.Contains(r.Stderr, "unknown flag") {
			t.Errorf("%s: %+v", old, r)
		}
	}
}

// TestCallSealed: the lines of what is sealed are rows in NDJSON and pieces of any other format, however that is asked for.
func TestCallSealed(t *testing.T) {
	t.Setenv("CIPHERSTREAM_API_KEY", "cs_live_geheim")
	server := httptest.NewServer(serve(t, answer{media: "application/x-ndjson", body: []byte("{}\n"), rows: "700"}, nil))
	defer server.Close()
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"--encrypted"}, 1}, {[]string{"-p", "encrypted=true"}, 1}, {[]string{"-p", "encrypted:=true", "-f", "ndjson"}, 1},
		{[]string{"--encrypted", "-f", "csv"}, 0}, {[]string{"-p", "encrypted=true", "-p", "output_format=csv"}, 0}, {[]string{"-p", "encrypted:=true", "-f", "json"}, 0},
		{[]string{"-p", "output_format=csv", "-p", "encrypted=false"}, 1},
	} {
		r := cmdtest.Call(t, append([]string{"call", "patients", "--server", server.URL, "--customer", "c"}, c.args...)...)
		if r.Code != c.code {
			t.Errorf("%v: %+v", c.args, r)
		}
	}
}

// TestCallPin: the one certificate is taken, whoever signed it, and no other.
func TestCallPin(t *testing.T) {
	t.Setenv("CIPHERSTREAM_API_KEY", "cs_live_geheim")
	server := httptest.NewTLSServer(serve(t, answer{media: "application/x-ndjson", body: []byte(rows), rows: "2"}, nil))
	defer server.Close()
	args := []string{"call", "patients", "--server", server.URL, "--customer", "c"}
	if r := cmdtest.Call(t, args...); r.Code != terminal.ExitConnect || !strings.Contains(r.Stderr, "certificate") ||
		!strings.Contains(r.Stderr, "give --pin") || strings.Contains(r.Stderr, "may succeed later") {
		t.Errorf("an unknown authority was trusted: %+v", r)
	}
	if r := cmdtest.Call(t, append(args, "--pin", pin.Of(server.Certificate()))...); r.Code != 0 || r.Stdout != rows {
		t.Errorf("%+v", r)
	}
	// The line that fetches what became a job works as it is printed: towards a certificate of its own too.
	job := answer{media: "application/json", status: 202, body: []byte(`{"job_id":"visits_1","status":"queued"}`), headers: map[string]string{"X-CipherStream-Mode": "job"}}
	queued := httptest.NewTLSServer(serve(t, job, nil))
	defer queued.Close()
	r := cmdtest.Call(t, "call", "patients", "--server", queued.URL, "--customer", "c", "--mode", "job", "--pin", pin.Of(queued.Certificate()))
	if r.Code != 0 || !strings.Contains(r.Stdout, " --customer c --pin "+pin.Of(queued.Certificate())+"\n") {
		t.Errorf("%+v", r)
	}
	other := pin.Prefix + strings.Repeat("0", 64)
	if r := cmdtest.Call(t, append(args, "--pin", other)...); r.Code != terminal.ExitConnect || !strings.Contains(r.Stderr, "not the one of --pin") ||
		!strings.Contains(r.Stderr, "compare with the pin") || strings.Contains(r.Stderr, "may succeed later") {
		t.Errorf("another certificate was taken: %+v", r)
	}
}

// TestCallUnreachable: nobody answers.
func TestCallUnreachable(t *testing.T) {
	t.Setenv("CIPHERSTREAM_API_KEY", "cs_live_geheim")
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	r := cmdtest.Call(t, "call", "patients", "--server", server.URL, "--customer", "c")
	if r.Code != terminal.ExitConnect || !strings.Contains(r.Stderr, "call.unreachable") {
		t.Errorf("%+v", r)
	}
}
