package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/integration/python"
	"github.com/cipherstream/cipherstream/integration/servers"
)

const (
	// longest is the length of the long values, in bytes.
	longest = 64 << 20
	// fullPacket is the most that a packet of the protocol holds. A longer row comes in several.
	fullPacket = 1<<24 - 1
)

// fillLong makes a table of long values, none of which repeats itself: text with what JSON and CSV escape and characters of
// two bytes, and bytes.
func fillLong(s *servers.Server) {
	s.Exec(fmt.Sprintf(`SET SESSION group_concat_max_len = 1 << 30;
CREATE TABLE digits (n INT NOT NULL PRIMARY KEY);
INSERT INTO digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15);
CREATE TABLE numbers (n INT NOT NULL PRIMARY KEY);
INSERT INTO numbers SELECT a.n * 65536 + b.n * 4096 + c.n * 256 + d.n * 16 + e.n FROM digits a, digits b, digits c, digits d, digits e WHERE a.n < %[1]d / 128 / 65536;
CREATE TABLE long_values (id INT NOT NULL PRIMARY KEY, x LONGTEXT, b LONGBLOB);
INSERT INTO long_values SELECT 1, REPLACE(REPLACE(REPLACE(GROUP_CONCAT(SHA2(n, 512) ORDER BY n SEPARATOR ''), 'ab', '"\\'), 'cd', 'é'), 'ef', ',\n'), NULL FROM numbers;
INSERT INTO long_values SELECT 2, NULL, UNHEX(CONCAT(GROUP_CONCAT(SHA2(n, 512) ORDER BY n DESC SEPARATOR ''), GROUP_CONCAT(SHA2(-1 - n, 512) ORDER BY n SEPARATOR ''))) FROM numbers;
INSERT INTO long_values VALUES (3, 'short', x'00ff'), (4, NULL, NULL)`, longest))
}

// digest is what is compared of a long value.
func digest(v []byte) string {
	sum := sha256.Sum256(v)
	return fmt.Sprintf("%d %s", len(v), hex.EncodeToString(sum[:]))
}

// digestsOf asks the server for the digests of long values, a line for each row.
func digestsOf(s *servers.Server, from string) string {
	return s.Query("SELECT id, COALESCE(CONCAT(LENGTH(x), ' ', SHA2(CONVERT(x USING utf8mb4), 256)), '-'), COALESCE(CONCAT(LENGTH(b), ' ', SHA2(b, 256)), '-') FROM " + from)
}

// digestsOfJSON reads NDJSON with Python's own reader.
func digestsOfJSON(t testing.TB, output []byte) string {
	t.Helper()
	return string(python.Script(t, `
import base64, hashlib, json, sys
def digest(v): return "-" if v is None else f"{len(v)} {hashlib.sha256(v).hexdigest()}"
for line in sys.stdin.buffer:
    row = json.loads(line)
    assert list(row) == ["id", "x", "b"]
    x, b = row["x"], row["b"]
    print(row["id"], digest(x and x.encode()), digest(b and base64.b64decode(b, validate=True)), sep="\t")
`, output))
}

// digestsOfCells does so with Arrow's reader of a file.
func digestsOfCells(t testing.TB, format string, document []byte) string {
	t.Helper()
	var told strings.Builder
	_, rows := cellsOf(t, format, document)
	for _, row := range rows {
		cells := []string{row[0].text, "-", "-"}
		for i, v := range row[1:] {
			if !v.null {
				cells[i+1] = digest([]byte(v.text))
			}
		}
		told.WriteString(strings.Join(cells, "\t") + "\n")
	}
	return told.String()
}

// TestExtremeValues reads values of 64 MiB exactly, in both protocols, with the stages in one process and each in its
// own, in lines, in files and sealed. The server says what their digests are.
func TestExtremeValues(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s *servers.Server) {
		fillLong(s)
		key := newKey()
		w := newWorkspace(t, s.DSN(s.Database()))
		w.env = []string{"CIPHERSTREAM_KEYS=" + key}
		const all = "long_values ORDER BY id"
		want := digestsOf(s, all)
		if strings.Count(want, fmt.Sprint(longest, " ")) != 2 {
			t.Fatalf("the server has %s", want)
		}
		is := func(what, got string) {
			t.Helper()
			if got != want {
				t.Errorf("%s:\n%s\nthe server says\n%s", what, got, want)
			}
		}
		usual := w.extending("output", settings{"query": "SELECT * FROM " + all})
		plain := w.must("run", usual)
		is("ndjson", digestsOfJSON(t, plain))
		if text := w.must("run", w.pipeline(settings{"query": "SELECT * FROM " + all, "protocol": "text"}, "ndjson"), "--isolation", "stage"); !bytes.Equal(text, plain) {
			t.Errorf("the text protocol, every stage in a process of its own: %d bytes, want %d", len(text), len(plain))
		}
		format := "parquet"
		if s.IsMariaDB() {
			format = "arrow"
		}
		is(format, digestsOfCells(t, format, w.must("run", usual, "-f", format)))
		if s.IsMariaDB() {
			return // what comes after the encoder knows no server
		}
		sealed := w.must("run", usual, "--encrypted", "--customer", "clinic-7")
		if opened := python.Script(t, openScript, sealed, key, "clinic-7"); !bytes.Equal(opened, plain) {
			t.Errorf("sealed: %d bytes, want %d", len(opened), len(plain))
		}
	})
}

// TestExtremePackets reads rows about the size at which the protocol begins another packet, which is an empty one when a
// row fills its packets exactly.
func TestExtremePackets(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s *servers.Server) {
		w := newWorkspace(t, s.DSN(s.Database()))
		// In front of a value are 4 bytes of its length, or 9 of one that no single packet holds, and in the binary
		// protocol 2 of the row.
		for packets, first := range map[int]int{1: fullPacket - 4 - 3, 2: 2*fullPacket - 9 - 3} {
			last := first + 4
			s.Exec(fmt.Sprintf("CREATE TABLE around%d (n INT NOT NULL PRIMARY KEY); INSERT INTO around%[1]d VALUES (%d), (%d), (%d), (%d), (%d)",
				packets, first, first+1, first+2, first+3, last))
			for _, protocol := range []string{"binary", "text"} {
				query := fmt.Sprintf("SELECT CONCAT('<', REPEAT(CHAR(97 + n %% 26 USING utf8mb4), n - 2), '>') AS x FROM around%d ORDER BY n", packets)
				cmd := w.command("run", w.pipeline(settings{"query": query, "protocol": protocol}, "ndjson"), "--isolation", "none", "--progress", "none")
				reader, writer := io.Pipe()
				defer reader.Close()
				cmd.Stdout = writer
				ended := w.begin(cmd)
				go func() { r := <-ended; writer.CloseWithError(endOf(r)) }()
				lines := bufio.NewReaderSize(reader, 1<<20)
				for n := first; n <= last; n++ {
					line, err := lines.ReadBytes('\n')
					letter := string(rune('a' + n%26))
					if want := `{"x":"<` + strings.Repeat(letter, n-2) + ">\"}\n"; err != nil || string(line) != want {
						t.Fatalf("%s protocol, %d bytes: %d bytes, want %d: %v", protocol, n, len(line), len(want), err)
					}
				}
				if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
					t.Errorf("%s protocol: %d bytes more, %v", protocol, len(rest), err)
				}
			}
		}
	})
}

// endOf is io.EOF for a run that ended well.
func endOf(r result) error {
	if r.code == 0 && r.stderr == "" {
		return io.EOF
	}
	return fmt.Errorf("it ended with %d: %s", r.code, r.stderr)
}

// TestExtremeValueLimit: a row over the setting is a fault that names it, and nothing is written; below, it comes whole.
func TestExtremeValueLimit(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, s *servers.Server) {
		w := newWorkspace(t, s.DSN(s.Database()))
		const query = "SELECT REPEAT('x', 67108864) AS x"
		for _, protocol := range []string{"binary", "text"} {
			source := settings{"query": query, "protocol": protocol, "max_row_size": "64MiB"}
			r := w.run("run", w.pipeline(source, "ndjson"), "-o", w.output("rows"), "--progress", "none")
			if w.fails(r, 1, "mysql.row_size"); !strings.Contains(r.stderr, "max_row_size") || !strings.Contains(r.stderr, fmt.Sprint(longest)) {
				t.Errorf("%s protocol: it says neither the setting nor its value:\n%s", protocol, r.stderr)
			}
			// A kilobyte more is enough for what the protocol puts in front.
			source["max_row_size"] = "65537KiB"
			got := w.must("run", w.pipeline(source, "ndjson"))
			if want := "{\"x\":\"" + strings.Repeat("x", longest) + "\"}\n"; string(got) != want {
				t.Errorf("%s protocol: %d bytes, want %d", protocol, len(got), len(want))
			}
		}
	})
}
