package scaffold

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/scaffold"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// TestWithoutCheckout: a module that knows no SDK is told of one as its README says.
func TestWithoutCheckout(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	m := scaffold.Module{Name: "upper", Kind: stage.KindFilter, SDKVersion: "1.2.3"}
	if _, err := scaffold.Write(t.Context(), m, filepath.Join(d.dir, "upper")); err != nil {
		t.Fatal(err)
	}
	const command = "go mod edit -replace github.com/cipherstream/cipherstream="
	if text := read(t, d.dir, "upper", "README.md"); !strings.Contains(text, "\n    "+command+"/path/to/cipherstream\n") {
		t.Errorf("README.md does not say how:\n%s", text)
	}
	d.in("upper").run(command + "'" + sdk(t) + "' && go vet ./...")
}

// patients are the rows of the pipelines that read from the sandbox, as CSV.
const patients = `apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: example, title: Example}
spec:
  stages:
    source:
      use: mysql
      with:
        url: ${secret.dsn}
        query: SELECT patient_id, first_name, surname, suburb FROM patient ORDER BY patient_id LIMIT 10
    encoder: {use: csv}
    sink: {use: stream, with: {to: "${run.output}"}}
`

// TestKinds begins a plugin of every kind and variant, tests it, and uses it in its pipeline.
func TestKinds(t *testing.T) {
	for _, x := range scaffold.Examples {
		t.Run(strings.TrimSuffix(string(x.Kind)+"-"+x.Variant, "-"), func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			name := "my-" + string(x.Kind)
			d.run("cipherstream plugin new " + name + " --kind " + string(x.Kind) + " --variant '" + x.Variant + "' --sdk '" + sdk(t) + "'")
			m := d.in(name)
			// The second line of a Makefile's test is go vet, and the first is gofmt.
			out := m.run("make test")
			if !strings.Contains(out, "go vet ./...") || !strings.Contains(out, "ok  \texample.com/cipherstream-plugin-"+name) {
				t.Errorf("make test wrote:\n%s", out)
			}
			// A go.mod that is not whole would show here: nothing may be added to it.
			m.run("go list -mod=readonly -deps -test ./...")
			m.env = append(m.env, "CIPHERSTREAM_PLUGINS="+filepath.Join(m.dir, "plugins"))
			m.run(installation(t, m.dir))
			m.check(x)
		})
	}
}

// installation is the command of a module's README that installs the plugin.
func installation(t *testing.T, dir string) string {
	t.Helper()
	for line := range strings.Lines(read(t, dir, "README.md")) {
		if strings.HasPrefix(line, "    ") && strings.Contains(line, "make install") {
			return strings.TrimSpace(line)
		}
	}
	t.Fatal("the README does not say how to install the plugin")
	return ""
}

// check runs the pipeline that is in the module, with the commands that stand in it, and looks at what comes out.
func (d *desk) check(x scaffold.Example) {
	d.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, "patients.yaml"), []byte(patients), 0o600); err != nil {
		d.Fatal(err)
	}
	plain := d.run("cipherstream run patients.yaml --sandbox")
	if strings.Count(plain, "\r\n") != 11 {
		d.Fatalf("the rows to compare with are:\n%s", plain)
	}
	var command string
	for line := range strings.Lines(read(d.T, d.dir, "pipeline.yaml")) {
		if comment, ok := strings.CutPrefix(line, "# "); ok {
			command += comment
		}
	}
	equal := func(got, want string) {
		d.Helper()
		if got != want {
			d.Errorf("got:\n%s\nwant:\n%s", got, want)
		}
	}
	switch {
	case x.Kind == stage.KindSource:
		lines := strings.Split(read(d.T, d.dir, "README.md"), "\n")
		out := d.run(command)
		if got := strings.Count(out, "\n"); got != len(lines)-1 || !strings.HasPrefix(out, `{"number":1,"text":"# my-source"}`+"\n") {
			d.Errorf("%d of %d lines:\n%s", got, len(lines)-1, out)
		}
	case x.Variant == "end":
		counts := map[string]int{}
		for _, line := range strings.Split(plain, "\r\n")[1:11] {
			counts[strings.Split(line, ",")[3]]++
		}
		var want strings.Builder
		want.WriteString("suburb,rows\r\n")
		for _, suburb := range slices.Sorted(maps.Keys(counts)) {
			fmt.Fprintf(&want, "%s,%d\r\n", suburb, counts[suburb])
		}
		equal(d.run(command), want.String())
	case x.Variant == "table":
		d.run(command)
		equal(d.run(`python3 -c '`+load+`' out/example_*.sql`), plain)
		if found, err := os.ReadDir(filepath.Join(d.dir, "out")); err != nil || len(found) != 1 {
			d.Errorf("in the folder there is %v, %v", found, err)
		}
	case x.Kind == stage.KindFilter:
		var want strings.Builder
		for i, line := range strings.Split(plain, "\r\n") {
			if columns := strings.Split(line, ","); i > 0 && len(columns) == 4 {
				columns[2] = strings.ToUpper(columns[2])
				line = strings.Join(columns, ",")
			}
			if line != "" {
				want.WriteString(line + "\r\n")
			}
		}
		equal(d.run(command), want.String())
	case x.Kind == stage.KindEncoder:
		equal(d.run(command), strings.NewReplacer(",", "\t", "\r\n", "\n").Replace(plain))
	case x.Kind == stage.KindCompressor:
		d.run(command)
		equal(d.run(`python3 -c 'import sys, zlib; sys.stdout.buffer.write(zlib.decompress(open("patients.csv.zz", "rb").read()))'`), plain)
	case x.Kind == stage.KindEncryptor:
		d.run(command)
		if sealed := read(d.T, d.dir, "patients.csv.sealed"); strings.Contains(sealed, "patient_id") {
			d.Errorf("the rows can be read:\n%s", sealed)
		}
		equal(d.run("python3 -c '"+unseal+"'"), plain)
	case x.Kind == stage.KindSink:
		d.run(command)
		found, err := filepath.Glob(filepath.Join(d.dir, "out", "example_*"))
		if err != nil || len(found) != 1 || filepath.Ext(found[0]) != ".csv" {
			d.Fatalf("in the folder there is %v, %v", found, err)
		}
		equal(read(d.T, found[0]), plain)
	}
}

// load runs statements in a database, and prints what is then in its table.
const load = `
import csv, sqlite3, sys
db = sqlite3.connect(":memory:")
db.executescript(open(sys.argv[1]).read())
rows = db.execute("SELECT * FROM patient ORDER BY patient_id")
out = csv.writer(sys.stdout)
out.writerow([c[0] for c in rows.description])
out.writerows(rows)
`

// unseal opens what the encryptor has sealed, by what its documentation says.
const unseal = `
import base64, struct, sys
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
sealed = open("patients.csv.sealed", "rb").read()
key = HKDF(SHA256(), 32, sealed[:32], b"my-encryptor stream key").derive(base64.b64decode(open("key.txt").read()))
at, index = 32, 0
while True:
    (length,) = struct.unpack(">I", sealed[at:at+4])
    frame, at = sealed[at+4:at+4+length], at + 4 + length
    last = at == len(sealed)
    plain = AESGCM(key).decrypt(index.to_bytes(11, "big") + bytes([last]), frame, None)
    index += 1
    if last:
        assert plain == b""
        break
    sys.stdout.buffer.write(plain)
`
