package service

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"github.com/cipherstream/cipherstream/engine"
	"github.com/cipherstream/cipherstream/engine/service/admission"
	"github.com/cipherstream/cipherstream/engine/service/api"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/engine/service/spool"
	"github.com/cipherstream/cipherstream/engine/service/store/datakey"
	"github.com/cipherstream/cipherstream/engine/service/store/memory"
	"github.com/cipherstream/cipherstream/pipelines"
	"github.com/cipherstream/cipherstream/plugins/bundle"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/envelope"
)

const clinic = "clinic-7"

// sealingKey is what the customer's answers are sealed with.
var sealingKey = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("s", 32)))

// catalogue is the program's templates and pipelines that read a file, instead of a database: one that has few rows, and one that
// has more than is kept together.
func catalogue(t *testing.T, sizes map[string]int) fs.FS {
	t.Helper()
	out := fstest.MapFS{}
	templates, err := fs.Glob(pipelines.FS(), "templates/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range templates {
		text, err := fs.ReadFile(pipelines.FS(), name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = &fstest.MapFile{Data: text}
	}
	for name, rows := range sizes {
		path := filepath.Join(t.TempDir(), name+".ndjson")
		if err := os.WriteFile(path, []byte(lines(rows)), 0o600); err != nil {
			t.Fatal(err)
		}
		out[name+".yaml"] = &fstest.MapFile{Data: fmt.Appendf(nil, `
apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: %s, title: Test, category: Test, class: data, description: Rows of a file.}
spec:
  extends: output
  stages:
    source: {use: ndjson, with: {path: %q, columns: [{name: id, type: int64}, {name: name, type: string}]}}
  columns: [{name: id, type: int64}, {name: name, type: string}]
`, name, path)}
	}
	return out
}

func name(i int) string { return fmt.Sprintf("Zoë, \"%d\" %s", i, strings.Repeat("x", i%50)) }

func lines(rows int) string {
	var b strings.Builder
	for i := range rows {
		text, _ := json.Marshal(name(i))
		fmt.Fprintf(&b, `{"id":%d,"name":%s}`+"\n", i, text)
	}
	return b.String()
}

// service is the service, and the text of a key of its only customer.
func service(t *testing.T, sizes map[string]int) (url, key string) {
	t.Helper()
	ctx := context.Background()
	e, err := engine.New(ctx, engine.Config{FirstParty: bundle.Bundle("test"), Args: []string{"unused"}, Catalogue: catalogue(t, sizes), NoFiles: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	dataKey, err := datakey.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	record := memory.New()
	registry, err := customer.New(ctx, record, []customer.Customer{{ID: clinic, DSN: config.NewSecret("mysql://u:p@127.0.0.1:1/x"),
		SealingKeys: []config.Secret{config.NewSecret(sealingKey)}}}, customer.Options{DataKey: dataKey})
	if err != nil {
		t.Fatal(err)
	}
	issued, err := registry.Manage(customer.Actor{}).CreateKey(ctx, customer.NewKey{Customer: clinic})
	if err != nil {
		t.Fatal(err)
	}
	spools, err := spool.New(spool.Config{Dir: t.TempDir(), Memory: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	a, err := api.New(api.Config{Engine: e, Customers: registry, Admission: admission.New(admission.Config{}), Spools: spools, Requests: record,
		Isolation: engine.IsolationNone, Log: slog.New(slog.NewTextHandler(logTo{t}, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(a.Handler())
	s.Config = api.Server(a.Handler(), nil)
	s.Start()
	t.Cleanup(func() { s.Close(); a.Close() })
	return s.URL, issued.Text
}

// logTo has the service's warnings in the test's log.
type logTo struct{ t *testing.T }

func (l logTo) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("level=ERROR")) {
		l.t.Logf("%s", p)
	}
	return len(p), nil
}

// TestEveryForm asks for every row of the table of headers, in both modes, of a small and of a larger result, and takes the
// answer apart by what its headers say: what is in it are the rows.
func TestEveryForm(t *testing.T) {
	t.Parallel()
	sizes := map[string]int{"none": 0, "few": 3, "many": 20_000}
	url, key := service(t, sizes)
	for _, form := range api.Forms() {
		if form.Job {
			continue
		}
		for procedure, rows := range sizes {
			for _, mode := range []string{"auto", "stream"} {
				t.Run(fmt.Sprintf("%s %s sealed=%v %s %s", form.Format, form.Compression, form.Sealed, procedure, mode), func(t *testing.T) {
					t.Parallel()
					checkForm(t, url, key, form, procedure, mode, rows)
				})
			}
		}
	}
}

func ask(t *testing.T, url, key, method, path, body string) (*http.Response, []byte) {
	t.Helper()
	r, err := http.NewRequest(method, url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept-Encoding", "br, gzip;q=0.5") // changes nothing
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, content
}

func checkForm(t *testing.T, url, key string, form api.Form, procedure, mode string, rows int) {
	body := fmt.Sprintf(`{"customer_id":%q,"output_format":%q,"compression":%q,"encrypted":"%v","mode":%q}`, clinic, form.Format, form.Compression, form.Sealed, mode)
	response, content := ask(t, url, key, "POST", "/v1/procedures/"+procedure, body)
	if response.StatusCode != 200 {
		t.Fatalf("%s: %s", response.Status, content)
	}
	run, h := response.Header.Get("X-CipherStream-Run"), response.Header
	if h.Get("Content-Type") != form.ContentType || h.Get("Content-Encoding") != form.ContentEncoding ||
		h.Get("Content-Disposition") != `attachment; filename="`+form.FileName(run)+`"` {
		t.Errorf("header %v", h)
	}
	totals := h
	if mode == "stream" {
		totals = response.Trailer
	}
	sum := sha256.Sum256(content)
	if totals.Get("X-CipherStream-Rows") != fmt.Sprint(rows) || totals.Get("Repr-Digest") != "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":" {
		t.Errorf("totals %v", totals)
	}
	opened := open(t, content, h, form, run)
	checkRows(t, opened, form.Format, rows)
	checkReceipt(t, url, key, response.Header.Get("X-Request-Id"), form.Sealed, content, run, rows)
}

// open takes off what the headers and the name of the entry say is around the format.
func open(t *testing.T, content []byte, h http.Header, form api.Form, run string) []byte {
	t.Helper()
	switch h.Get("Content-Encoding") {
	case "gzip":
		content = gunzip(t, content)
	case "zstd":
		content = unzstd(t, content)
	}
	if h.Get("Content-Type") == "application/zip" {
		archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
		if err != nil {
			t.Fatal(err)
		}
		if len(archive.File) != 1 || archive.File[0].Name != form.EntryName(run) {
			t.Errorf("the archive has %d entries, the first is %s", len(archive.File), archive.File[0].Name)
		}
		entry, err := archive.File[0].Open()
		if err != nil {
			t.Fatal(err)
		}
		if content, err = io.ReadAll(entry); err != nil {
			t.Fatal(err)
		}
	}
	if !form.Sealed {
		return content
	}
	ring, err := envelope.ParseRing(sealingKey, "")
	if err != nil {
		t.Fatal(err)
	}
	opener, err := ring.Opener(clinic)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	index := int64(0)
	for line := range bytes.Lines(content) {
		unit, err := opener.Open(line, index)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, unit...)
		index++
	}
	// Of chunks, what was compressed is inside.
	switch {
	case form.Format == "ndjson":
		return out
	case form.Compression == "gzip" || form.Compression == "zip":
		return gunzip(t, out)
	case form.Compression == "zstd":
		return unzstd(t, out)
	}
	return out
}

func gunzip(t *testing.T, b []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func unzstd(t *testing.T, b []byte) []byte {
	t.Helper()
	r, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	out, err := r.DecodeAll(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type row struct {
	ID   int64  `json:"id" parquet:"id"`
	Name string `json:"name" parquet:"name"`
}

// checkRows reads a format, and compares its rows.
func checkRows(t *testing.T, content []byte, format string, rows int) {
	t.Helper()
	var got []row
	switch format {
	case "ndjson":
		d := json.NewDecoder(bytes.NewReader(content))
		for d.More() {
			var r row
			if err := d.Decode(&r); err != nil {
				t.Fatal(err)
			}
			got = append(got, r)
		}
	case "json":
		var whole struct {
			Data     []row
			Metadata struct {
				ExecutionTime float64 `json:"execution_time"`
				RecordCount   int     `json:"record_count"`
			}
		}
		if err := json.Unmarshal(content, &whole); err != nil {
			t.Fatal(err)
		}
		if got = whole.Data; whole.Metadata.RecordCount != rows {
			t.Errorf("record_count %d", whole.Metadata.RecordCount)
		}
	case "csv":
		all, err := csv.NewReader(bytes.NewReader(content)).ReadAll()
		if err != nil || len(all) == 0 || strings.Join(all[0], ",") != "id,name" {
			t.Fatalf("%v, %d lines", err, len(all))
		}
		for _, fields := range all[1:] {
			var r row
			fmt.Sscan(fields[0], &r.ID)
			r.Name = fields[1]
			got = append(got, r)
		}
	case "parquet":
		read, err := parquet.Read[row](bytes.NewReader(content), int64(len(content)))
		if err != nil {
			t.Fatal(err)
		}
		got = read
	case "arrow":
		r, err := ipc.NewFileReader(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for i := range r.NumRecords() {
			record, err := r.Record(i)
			if err != nil {
				t.Fatal(err)
			}
			for k := range int(record.NumRows()) {
				got = append(got, row{record.Column(0).(*array.Int64).Value(k), record.Column(1).(*array.String).Value(k)})
			}
		}
	}
	if len(got) != rows {
		t.Fatalf("%d rows, want %d", len(got), rows)
	}
	for i, r := range got {
		if r.ID != int64(i) || r.Name != name(i) {
			t.Fatalf("row %d is %+v", i, r)
		}
	}
}

// checkReceipt: a sealed answer has a receipt that proves its bytes, and no other has one.
func checkReceipt(t *testing.T, url, key, id string, sealed bool, content []byte, run string, rows int) {
	t.Helper()
	response, body := ask(t, url, key, "GET", "/v1/requests/"+id+"/receipt", "")
	if !sealed {
		if response.StatusCode != 404 {
			t.Errorf("a receipt of what was not sealed: %s", response.Status)
		}
		return
	}
	var receipt struct{ Statement, MAC string }
	if err := json.Unmarshal(body, &receipt); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	ring, err := envelope.ParseRing(sealingKey, "")
	if err != nil {
		t.Fatal(err)
	}
	proved, err := ring.Verify(receipt.Statement, receipt.MAC)
	sum := sha256.Sum256(content)
	if err != nil || proved.RunID != run || proved.Rows != int64(rows) || proved.Bytes != int64(len(content)) || proved.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("%+v, %v", proved, err)
	}
}
