package service

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestFromNothingToAnAnswer: in an empty folder, the line that is printed works as printed, and nothing is left when it is
// interrupted.
func TestFromNothingToAnAnswer(t *testing.T) {
	s := startSandbox(t)
	out, err := tool(t, t.TempDir(), nil, "sh", "-c", s.Command)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(out, "\n")
	if strings.Count(out, "\n") < 100 || !strings.HasPrefix(first, `{"appointment_id":`) {
		t.Errorf("the printed line answered %d lines, the first %.200q", strings.Count(out, "\n"), out)
	}
	if _, err := os.Stat(s.State); err != nil {
		t.Errorf("the data directory: %v", err)
	}
	if entries, err := os.ReadDir(s.cmd.Dir); err != nil || len(entries) > 0 {
		t.Errorf("the folder that it was started in is not empty any more: %v, %v", entries, err)
	}
	if code := s.stop(t, syscall.SIGINT); code != 0 {
		t.Errorf("exit code %d: %s", code, s.stderr)
	}
	if _, err := os.Stat(s.State); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the data directory is left: %v", err)
	}
	if said := stillEnding.ReplaceAllString(s.stderr.String(), ""); said != "" {
		t.Errorf("it said:\n%s", said)
	}
}

// stillEnding is what a program says when its end takes longer than a moment, as on a busy machine.
var stillEnding = regexp.MustCompile(`^\{"warning":\{"code":"cli\.interrupted","message":"interrupted, and still ending .*"\}\}\n`)

// TestPlainText: the words for people have the same line.
func TestPlainText(t *testing.T) {
	r := start(t, t.TempDir(), nil, "serve", "--sandbox", "--listen", "127.0.0.1:0")
	for {
		line, err := r.stdout.ReadString('\n')
		if err != nil {
			t.Fatalf("no line of curl was printed: %v\n%s", err, r.stderr)
		}
		if !strings.HasPrefix(line, "  curl ") {
			continue
		}
		out, err := tool(t, t.TempDir(), nil, "sh", "-c", strings.TrimSpace(line))
		if err != nil || !strings.HasPrefix(out, `{"appointment_id":`) {
			t.Errorf("%v: %.200q", err, out)
		}
		break
	}
	if code := r.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d: %s", code, r.stderr)
	}
}

// published are bodies of the published examples, and more of their kind.
const published = `
import base64, csv, gzip, hashlib, io, json, sys, urllib.request, zipfile
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

url, key, secret = sys.argv[1:4]
secret = base64.b64decode(secret)
key_id = hashlib.sha256(secret).hexdigest()[:16]

def ask(**fields):
    body = {"customer_id": "sandbox", "from_date": "2024-01-01", "to_date": "2024-03-31", **fields}
    request = urllib.request.Request(url + "/v1/procedures/appointments", json.dumps(body).encode(),
        {"Authorization": "Bearer " + key, "Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        data, head = answer.read(), answer.headers
    assert head["X-Request-Id"].startswith("req_"), head
    assert head["X-CipherStream-Run"].startswith("appointments_"), head
    if fields.get("mode") != "stream":
        # Spooled: what is said in the header is of the bytes as they were sent.
        assert int(head["Content-Length"]) == len(data), head
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        assert "sha-256=:" + digest + ":" in head["Repr-Digest"], head
        assert head["X-CipherStream-Rows"] is not None, head
    return data, head

def opened(lines):
    for index, line in enumerate(lines):
        found, iv, sealed = json.loads(line)["encrypted_data"].split(":")
        assert found == key_id, found
        yield AESGCM(secret).decrypt(base64.b64decode(iv), base64.b64decode(sealed), b"stream:sandbox:%d" % index)

def ndjson(data):
    return [json.loads(line) for line in data.splitlines()]

plain, head = ask()
assert head.get_content_type() == "application/x-ndjson" and head["Content-Encoding"] is None, head
rows = ndjson(plain)
assert len(rows) > 100 and int(head["X-CipherStream-Rows"]) == len(rows)

# ndjson, gzip, encrypted: each line is sealed, and then the file is compressed.
for mode in "auto", "stream":
    data, head = ask(output_format="ndjson", compression="gzip", encrypted="true", mode=mode)
    assert head.get_content_type() == "application/x-ndjson" and head["Content-Encoding"] == "gzip", (mode, head)
    assert [json.loads(r) for r in opened(gzip.decompress(data).splitlines())] == rows, mode
data, head = ask(compression="gzip", encrypted=True)
assert [json.loads(r) for r in opened(gzip.decompress(data).splitlines())] == rows

data, head = ask(output_format="json")
document = json.loads(data)
assert head.get_content_type() == "application/json", head
assert document["data"] == rows and document["metadata"]["record_count"] == len(rows) and document["metadata"]["execution_time"] >= 0

data, head = ask(output_format="csv")
assert head.get_content_type() == "text/csv" and head["Content-Encoding"] is None, head
table = list(csv.reader(io.StringIO(data.decode(), newline="")))
assert table[0] == list(rows[0]) and len(table) == len(rows) + 1
for record, row in zip(table[1:], rows):
    assert record == ["" if v is None else str(v) for v in row.values()], (record, row)

data, head = ask(output_format="csv", compression="zip")
assert head.get_content_type() == "application/zip" and head["Content-Encoding"] is None, head
archive = zipfile.ZipFile(io.BytesIO(data))
assert archive.testzip() is None and archive.namelist() == [head["X-CipherStream-Run"] + ".csv"], archive.namelist()
assert list(csv.reader(io.StringIO(archive.read(archive.namelist()[0]).decode(), newline=""))) == table

data, head = ask(compression="zip", encrypted=True)
archive = zipfile.ZipFile(io.BytesIO(data))
assert archive.namelist() == [head["X-CipherStream-Run"] + ".ndjson"], archive.namelist()
assert [json.loads(r) for r in opened(archive.read(archive.namelist()[0]).splitlines())] == rows

# A format that is no lines is sealed in pieces, compressed before.
data, head = ask(output_format="csv", compression="gzip", encrypted=True)
assert head.get_content_type() == "application/x-ndjson" and head["Content-Encoding"] is None, head
sealed = gzip.decompress(b"".join(opened(data.splitlines())))
assert list(csv.reader(io.StringIO(sealed.decode(), newline=""))) == table

data, head = ask(mode="stream")
assert ndjson(data) == rows

# A job: it is answered at once, asked about until it has ended, and fetched by its link, or where download leads to.
def get(address, **headers):
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:
        return answer.read(), answer.headers
body = {"customer_id": "sandbox", "from_date": "2024-01-01", "to_date": "2024-03-31", "date_modifier": "All",
    "mode": "job", "output_format": "ndjson", "compression": "gzip", "encrypted": "true"}
bearer = {"Authorization": "Bearer " + key}
with urllib.request.urlopen(urllib.request.Request(url + "/v1/procedures/appointments", json.dumps(body).encode(),
        {"Content-Type": "application/json", **bearer})) as answer:
    assert answer.status == 200 and answer.headers["X-CipherStream-Mode"] == "job", answer.headers
    job, location = json.load(answer), url + answer.headers["Location"]
assert job["job_id"].startswith("appointments_") and job["status"] in ("queued", "running", "completed") and job["mode"] == "job", job
assert job["metadata"]["reason"] == "requested" and job["metadata"]["from_date"] == "2024-01-01", job
while job["status"] in ("queued", "running"):
    job = json.loads(get(location, Prefer="wait=50", **bearer)[0])
assert job["status"] == "completed" and job["total_rows"] == len(rows) and job["progress_percent"] == 100, job
data, head = get(job["s3_url"])
assert len(data) == job["file_size_bytes"] and hashlib.sha256(data).hexdigest() == job["sha256"], head
assert head["Content-Encoding"] is None and job["file_name"] == job["job_id"] + ".ndjson.gz", (head, job)
assert get(location + "/download", **bearer)[0] == data
assert get(job["s3_url"], Range="bytes=10-19")[0] == data[10:20]
assert [json.loads(r) for r in opened(gzip.decompress(data).splitlines())] == rows
assert json.loads(get(location + "/manifest", **bearer)[0])["sha256"] == job["sha256"]
assert json.loads(get(url + "/v1/customers/sandbox/jobs?status=completed", **bearer)[0])["total"] == 1
print(len(rows))
`

// TestPublishedBodies asks with Python, as the published examples do.
func TestPublishedBodies(t *testing.T) {
	s := startSandbox(t)
	if out, err := tool(t, t.TempDir(), nil, "python3", "-c", published, s.URL, s.Key, s.EncryptionKey); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestCallAgainstSandbox fetches with the program's own client: the same rows plain, compressed and opened, in both modes.
func TestCallAgainstSandbox(t *testing.T) {
	s := startSandbox(t)
	dir := t.TempDir()
	env := []string{"CIPHERSTREAM_API_KEY=" + s.Key, "SANDBOX_KEYS=" + s.EncryptionKey}
	fetch := func(name string, more ...string) string {
		t.Helper()
		args := append([]string{"call", "appointments", "--server", s.URL, "--customer", "sandbox", "-p", "from_date=2024-01-01", "-p", "to_date=2024-01-31",
			"-o", name}, more...)
		out, err := tool(t, dir, env, program(t), args...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !strings.Contains(out, "whole (run appointments_") {
			t.Errorf("%s: %s", name, out)
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	plain := fetch("plain")
	if sum := sha256.Sum256([]byte(plain)); strings.Count(plain, "\n") < 50 {
		t.Errorf("%d rows, %s", strings.Count(plain, "\n"), hex.EncodeToString(sum[:]))
	}
	for name, more := range map[string][]string{
		"stream":         {"--mode", "stream"},
		"opened":         {"--decrypt", "env:SANDBOX_KEYS"},
		"opened-gzip":    {"--decrypt", "env:SANDBOX_KEYS", "-c", "gzip"},
		"opened-stream":  {"--decrypt", "env:SANDBOX_KEYS", "-c", "zip", "--mode", "stream"},
		"gzip-is-opened": {"--decrypt", "env:SANDBOX_KEYS", "-c", "zstd"},
	} {
		if got := fetch(name, more...); got != plain {
			t.Errorf("%s: %d bytes, and not the %d of the plain answer", name, len(got), len(plain))
		}
	}
	fetch("csv", "-f", "csv", "-c", "gzip", "--mode", "stream")
	fetch("json", "-f", "json")
	fetch("parquet", "-f", "parquet")
}

// TestKilledSandbox: what a killed one has left, its database and its data directory, is gone with the next one.
func TestKilledSandbox(t *testing.T) {
	first := startSandbox(t)
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-first.ended
	second := startSandbox(t)
	if _, err := os.Stat(first.State); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the data directory of the killed one: %v", err)
	}
	if _, err := os.Stat(second.State); err != nil {
		t.Error(err)
	}
	if answer, body := second.ask(t, http.MethodPost, "/v1/procedures/practitioners", `{"customer_id":"sandbox"}`); answer.StatusCode != http.StatusOK {
		t.Errorf("%d %s", answer.StatusCode, body)
	}
}
