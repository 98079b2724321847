package sqlite_test

import (
	"bufio"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/service/store"
	"github.com/cipherstream/cipherstream/integration/required"
)

// call is a system call that a process made of a file, or what it said on its output.
type call struct {
	name string // write, sync, truncate or said
	file string // its path
	at   int64  // where it writes, or the length that it leaves
	data []byte
	// From and to are the places in the trace at which the call began and had returned. One that had not returned when
	// the process ended has no end.
	from, to int
}

// trace reads what strace has written down of a process: https://strace.io. A call of one thread may be in two pieces,
// with those of others between them.
func trace(t *testing.T, path string) (calls []*call) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	removed := regexp.MustCompile(` unlink(?:at)?\(.*"([^"]*)"`)
	lastArgument := regexp.MustCompile(`^, (\d+)`)
	resumed := regexp.MustCompile(`^(\d+) +<\.\.\. \w+ resumed>`)
	const never = 1 << 60
	open := map[string]*call{}     // by thread
	position := map[string]int64{} // by file descriptor
	text := bufio.NewReaderSize(f, 1<<20)
	for n := 0; ; n++ {
		one, err := text.ReadString('\n')
		if err == io.EOF {
			return calls
		}
		if err != nil {
			t.Fatal(err)
		}
		if m := resumed.FindStringSubmatch(one); m != nil {
			if c := open[m[1]]; c != nil {
				c.to = n
			}
			delete(open, m[1])
			continue
		}
		m, ok := parse(strings.TrimSuffix(one, "\n"))
		if !ok {
			if r := removed.FindStringSubmatch(one); r != nil && !strings.HasSuffix(string(unescape(t, r[1])), "-journal") {
				t.Fatalf("a file was removed, which is not expected here: %s", unescape(t, r[1])) // but the journal of the first moment
			}
			continue
		}
		c := &call{name: m.name, file: string(unescape(t, m.file)), data: unescape(t, m.data), from: n, to: n}
		switch m.name {
		case "lseek":
			position[m.fd] = m.number // SQLite seeks from the beginning, and before each write
			continue
		case "write":
			c.at = position[m.fd]
			position[m.fd] += int64(len(c.data))
			if m.fd == "1" {
				c.name = "said"
			}
		case "pwrite64":
			place := lastArgument.FindStringSubmatch(m.rest)
			if place == nil {
				t.Fatalf("a pwrite64 without a place: %s", m.rest[:min(len(m.rest), 80)])
			}
			c.name = "write"
			c.at, _ = strconv.ParseInt(place[1], 10, 64) // digits
		case "fsync", "fdatasync":
			c.name = "sync"
		case "ftruncate":
			c.name, c.at = "truncate", m.number
		default:
			continue
		}
		if strings.HasSuffix(m.rest, "<unfinished ...>") {
			c.to, open[m.thread] = never, c
		}
		calls = append(calls, c)
	}
}

// line is a line of strace about a call whose first argument is a file: `1  write(2</x>, "\x00", 1) = 1`.
type line struct {
	thread, name, fd, file string
	data                   string // the string that follows, or empty
	number                 int64  // the number that follows, or 0
	rest                   string
}

// parse reads a line, without a regular expression: most of them have thousands of bytes.
func parse(text string) (l line, ok bool) {
	var found [4]bool
	l.thread, text, found[0] = strings.Cut(text, " ")
	l.name, text, found[1] = strings.Cut(strings.TrimLeft(text, " "), "(")
	l.fd, text, found[2] = strings.Cut(text, "<")
	l.file, text, found[3] = strings.Cut(text, ">")
	_, noNumber := strconv.Atoi(l.fd)
	if found != [4]bool{true, true, true, true} || noNumber != nil || strings.ContainsAny(l.name, "<. ") {
		return l, false
	}
	text = strings.TrimPrefix(text, "(deleted)")
	if quoted, is := strings.CutPrefix(text, `, "`); is {
		l.data, text, is = strings.Cut(quoted, `"`)
		if !is {
			return l, false
		}
	}
	if after, is := strings.CutPrefix(text, ", "); is {
		digits := after[:len(after)-len(strings.TrimLeft(after, "0123456789"))]
		if digits != "" {
			l.number, _ = strconv.ParseInt(digits, 10, 64) // digits
			text = after[len(digits):]
		}
	}
	l.rest = text
	return l, true
}

// unescape reads the bytes that strace -xx writes.
func unescape(t *testing.T, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(strings.ReplaceAll(text, `\x`, ""))
	if err != nil {
		t.Fatalf("%q: %v", text[:min(len(text), 80)], err)
	}
	return data
}

// sector is what a disk writes whole.
const sector = 512

// disk is what a disk has of a file when the power goes at a place in the trace: what was synced, and of what was written
// since, any sectors, or none. Kept says up to which place syncs count.
func disk(calls []*call, file string, power, kept int, random *rand.Rand) []byte {
	synced := -1
	for _, c := range calls {
		if c.name == "sync" && c.file == file && c.to < min(power, kept) {
			synced = max(synced, c.from)
		}
	}
	var content []byte
	put := func(at int64, data []byte) {
		if grow := at + int64(len(data)) - int64(len(content)); grow > 0 {
			content = append(content, make([]byte, grow)...)
		}
		copy(content[at:], data)
	}
	for _, c := range calls {
		if c.file != file || c.from >= power {
			continue
		}
		whole := c.to <= synced || random.IntN(3) == 0
		switch {
		case c.name == "truncate" && whole:
			if c.at < int64(len(content)) {
				content = content[:c.at]
			}
		case c.name == "write" && whole:
			put(c.at, c.data)
		case c.name == "write" && random.IntN(2) == 0:
			for at := 0; at < len(c.data); {
				end := min(len(c.data), at+sector-int((c.at+int64(at))%sector))
				if random.IntN(2) == 0 {
					put(c.at+int64(at), c.data[at:end])
				}
				at = end
			}
		}
	}
	return content
}

// TestPowerLoss writes down what a service with jobs writes and syncs, and what it says; takes the power away at places
// in it, and opens what a disk has then: no job that was acknowledged is lost, and nothing is half there.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		required.Missing(t, "strace was not found; install it with `make deps`")
	}
	dir, written := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "trace")
	cmd, says := startChildOf(t, jobsVariable, dir, "env", endVariable+"=150", strace, "-f", "-xx", "-y", "-s", "1000000", "-o", written,
		"-e", "trace=write,pwrite64,lseek,fsync,fdatasync,ftruncate,unlink,unlinkat")
	if _, err := io.Copy(io.Discard, says); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it has killed itself
	calls := trace(t, written)
	files := []string{filepath.Join(dir, "record.db"), filepath.Join(dir, "record.db-wal")}
	opened, end, syncs := 0, 0, 0
	for _, c := range calls {
		switch {
		case c.name == "said" && string(c.data) == "open\n":
			opened = c.from
		case c.name == "sync":
			syncs++
		}
		end = max(end, c.from)
	}
	if opened == 0 || syncs < 50 {
		t.Fatalf("the trace has %d syncs, and opened at %d", syncs, opened)
	}
	random := rand.New(rand.NewPCG(rand.Uint64(), 1))
	// after is what is found when the power went at a place, and syncs counted up to another.
	after := func(power, kept int) error {
		lost := filepath.Join(t.TempDir(), "data")
		if err := os.Mkdir(lost, 0o700); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(lost)
		for _, file := range files {
			if err := os.WriteFile(filepath.Join(lost, filepath.Base(file)), disk(calls, file, power, kept, random), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		said := told{map[string]bool{}, map[string]store.Status{}}
		for _, c := range calls {
			if c.name == "said" && c.from < power {
				said.hear(t, strings.TrimSpace(string(c.data)))
			}
		}
		return said.check(t, lost)
	}
	for range *rounds {
		power := opened + 1 + random.IntN(end-opened)
		if err := after(power, power); err != nil {
			t.Fatalf("the power went at line %d of the trace: %v", power, err)
		}
	}
	// Were nothing synced after the beginning, jobs would be lost, and this test would see it.
	if err := after(end+1, opened); err == nil {
		t.Fatal("a disk that syncs nothing has lost nothing")
	} else if !errors.Is(err, errLost) {
		t.Logf("a disk that syncs nothing: %v", err)
	}
}
