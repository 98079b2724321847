package isolation

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/record"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/engine/run/runtest"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// beStranger is what a process does that has no business at data sockets. It prints a line when it is there, and then, when
// its standard input ends, how many bytes it was sent.
func beStranger(doing string, sockets []string) {
	var mu sync.Mutex
	var heard int64
	var hearing sync.WaitGroup
	listen := func(conn net.Conn) {
		hearing.Go(func() {
			n, _ := io.Copy(io.Discard, conn) // until the other side has enough
			mu.Lock()
			heard += n
			mu.Unlock()
		})
	}
	var open []io.Closer
	for _, socket := range sockets {
		if doing == "listen" {
			if err := os.Remove(socket); err != nil {
				fmt.Println(err)
			}
			l, err := net.Listen("unix", socket)
			if err != nil {
				fmt.Println(err)
				continue
			}
			open = append(open, l)
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					listen(conn)
				}
			}()
			continue
		}
		conn, err := net.Dial("unix", socket)
		if err != nil {
			fmt.Println(err)
			continue
		}
		open = append(open, conn)
		if doing == "inject" {
			_, _ = conn.Write(foreignRows()) // it may have been turned away
		}
		listen(conn)
	}
	fmt.Println("there")
	_, _ = io.Copy(io.Discard, os.Stdin)
	for _, c := range open {
		c.Close()
	}
	hearing.Wait()
	fmt.Println(heard)
}

// foreignRows is a whole stream with a row that no source of these tests makes.
func foreignRows() []byte {
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	b := array.NewRecordBuilder(memory.NewGoAllocator(), schema)
	defer b.Release()
	b.Field(0).(*array.Int64Builder).Append(987654321)
	rec := b.NewRecord()
	defer rec.Release()
	var buffer bytes.Buffer
	w := ipc.NewWriter(&buffer, ipc.WithSchema(schema))
	if w.Write(rec) != nil || w.Close() != nil {
		panic("a buffer that cannot be written")
	}
	return buffer.Bytes()
}

// stranger goes to all data sockets of a run before their neighbours do. The function that is returned ends it, and says
// how many bytes it was sent.
func (s *setup) stranger(doing string, credential *syscall.Credential) (sent func() int) {
	s.Helper()
	sockets, err := filepath.Glob(filepath.Join(s.tmp, "*", "*", "e*", "s"))
	if err != nil || len(sockets) != 2 {
		s.Fatalf("the data sockets are %v, %v", sockets, err)
	}
	cmd := exec.Command("/proc/self/exe", append([]string{"stranger", doing}, sockets...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential, Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		s.Fatal(err)
	}
	out := &runtest.Buffer{}
	read, write, err := os.Pipe()
	if err != nil {
		s.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = write, os.Stderr
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	write.Close()
	there, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer read.Close()
		text := make([]byte, 4096)
		for arrived := false; ; {
			n, err := read.Read(text)
			_, _ = out.Write(text[:n])
			if !arrived && (strings.Contains(out.String(), "there") || err != nil) {
				arrived = true
				close(there)
			}
			if err != nil {
				return
			}
		}
	}()
	<-there
	return func() int {
		in.Close()
		_ = cmd.Wait() // what it prints says it
		<-ended
		lines := strings.Fields(out.String())
		n, err := strconv.Atoi(lines[len(lines)-1])
		if err != nil {
			s.Errorf("the stranger said %q", out.String())
		}
		if credential != nil && !strings.Contains(out.String(), "permission denied") {
			s.Errorf("another user came to a data socket: %q", out.String())
		}
		return n
	}
}

// longestWord is what a writer may say to whom it does not know: a word, and no row.
const longestWord = 32

// TestStranger: a process that connects to the data sockets of a run before the stages do is sent nothing, adds nothing and
// holds nobody up; one that listens in their place is sent no row, and the run fails with a code.
func TestStranger(t *testing.T) {
	for _, c := range []struct {
		doing string
		other bool // user
		code  string
	}{
		{"wait", false, ""}, {"inject", false, ""}, {"wait", true, ""}, {"listen", false, "link.stranger"},
	} {
		for _, recorded := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s other=%v record=%v", c.doing, c.other, recorded), func(t *testing.T) {
				var credential *syscall.Credential
				if c.other {
					if os.Getuid() != 0 {
						t.Skip("only root can be another user")
					}
					credential = &syscall.Credential{Uid: 65534, Gid: 65534}
				}
				s := newSetup(t, host.Config{}, false)
				var sent func() int
				s.opened = func() { sent = s.stranger(c.doing, credential) }
				o := run.Options{ID: "r1"}
				if recorded {
					o.Tap = record.New(filepath.Join(t.TempDir(), "rec"))
				}
				_, err := run.Execute(t.Context(), s.host, s.planOf("filter", "rogue", settings{}), o)
				n := sent()
				if c.code == "" {
					content, readErr := os.ReadFile(filepath.Join(s.out, "out"))
					if err != nil || readErr != nil || bytes.Count(content, []byte("\n")) != 100 || bytes.Contains(content, []byte("987654321")) {
						t.Errorf("the run: %v; its output: %d bytes, %v", err, len(content), readErr)
					}
					if n != 0 {
						t.Errorf("the stranger was sent %d bytes", n)
					}
					return
				}
				if f := fault.From(err); f == nil || f.Code != c.code {
					t.Errorf("got %+v", f)
				}
				if n > 2*longestWord {
					t.Errorf("the stranger was sent %d bytes", n)
				}
				if left := names(t, s.out); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	}
}
