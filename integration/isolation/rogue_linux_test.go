package isolation

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"golang.org/x/sys/unix"

	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// rogue is a plugin with a stage of every kind, each of which breaks in the way that
// its settings say, and a source that tells what its process sees.
func rogue() stage.Bundle {
	about := func(out stage.Shape) stage.About {
		return stage.About{Name: "rogue", Summary: "Breaks.", Concurrent: true, KeepsRows: true, Out: out}
	}
	encryptor := about(stage.ShapeRecords)
	encryptor.In = stage.ShapeRecords
	return stage.Bundle{Name: thirdParty, Version: "1.0.0", Stages: []stage.Definition{
		stage.DefineSource(stage.About{Name: "rogue", Summary: "Breaks."},
			func(s breakage, env stage.Env) (stage.Source, error) {
				return &source{rogueStage: newRogue(s, env)}, nil
			}),
		stage.DefineFilter(about(stage.ShapeNone),
			func(s breakage, env stage.Env) (stage.Filter, error) { return filter{newRogue(s, env)}, nil }),
		stage.DefineEncoder(about(stage.ShapeRecords),
			func(s breakage, env stage.Env) (stage.Encoder, error) { return encoder{newRogue(s, env)}, nil }),
		stage.DefineCompressor(about(stage.ShapeNone),
			func(s breakage, env stage.Env) (stage.Compressor, error) { return compressor{newRogue(s, env)}, nil }),
		stage.DefineEncryptor(encryptor,
			func(s breakage, env stage.Env) (stage.Encryptor, error) { return sealer{newRogue(s, env)}, nil }),
		stage.DefineSink(stage.About{Name: "rogue", Summary: "Breaks."},
			func(s breakage, env stage.Env) (stage.Sink, error) { return sink{newRogue(s, env)}, nil }),
		stage.DefineSink(stage.About{Name: "claim", Summary: "Announces what is not its own."},
			func(s claimSettings, env stage.Env) (stage.Sink, error) { return claim{s, env}, nil }),
		stage.DefineSource(stage.About{Name: "spy", Summary: "Tells what its process sees."},
			func(s spying, env stage.Env) (stage.Source, error) { return spy{s, env}, nil }),
	}}
}

// breakage are the settings of the stages.
type breakage struct {
	Break string `config:"break" enum:",panic,goroutine,exit,segv,hang,flood,memory,memfd,shared,connect,open,children,bomb,fork,child,settle,orphans,locked"`
	// Password is something that must not be seen.
	Password config.Secret `config:"password"`
	// Path is for the sink.
	Path string `config:"path"`
}

type rogueStage struct {
	settings breakage
	env      stage.Env
	once     *sync.Once
}

func newRogue(s breakage, env stage.Env) rogueStage { return rogueStage{s, env, &sync.Once{}} }

// saying is the word that a rogue stage logs when it breaks, or is about to.
const saying = "the rogue is at it"

// misbehave is called by every stage for what it is given, and breaks once.
func (r rogueStage) misbehave(ctx context.Context) error {
	var err error
	r.once.Do(func() { err = r.breakDown(ctx) })
	return err
}

func (r rogueStage) breakDown(ctx context.Context) error {
	if r.settings.Break == "" {
		return nil
	}
	r.env.Log.Info(saying)
	switch r.settings.Break {
	case "panic":
		panic("out of the stage")
	case "goroutine":
		go panic("in a goroutine of its own")
		select {}
	case "exit":
		text := r.settings.Password.Reveal()
		quoted, _ := json.Marshal(text)
		fmt.Fprintf(os.Stderr, "about to exit: %s, %q, %s\n", text, text, quoted)
		// The end of a line that is cut in the midst of the secret.
		fmt.Fprintf(os.Stderr, "%s%s\n", strings.Repeat("-", 2048-8), text)
		fmt.Fprintln(os.Stdout, "on standard output:", text)
		r.env.Log.Warn("about to exit", "with", text)
		os.Exit(7)
	case "segv":
		crash()
	case "hang":
		select {}
	case "flood":
		line := []byte(strings.Repeat("flood ", 40) + "\n")
		for range 20_000 {
			_, _ = syscall.Write(1, line)
			_, _ = syscall.Write(2, line)
		}
		_, _ = syscall.Write(1, make([]byte, 4<<20))
		for range 10_000 {
			r.env.Log.Info("flood")
		}
		fmt.Fprintln(os.Stderr, "the end of the flood")
		os.Exit(8)
	case "memory":
		hoard(ctx, 1<<40)
	case "connect":
		_, err := net.Dial("tcp", "127.0.0.1:9")
		return fault.New("rogue.connect", fault.Connect, "the server cannot be reached: %w", err).WithHint("it may succeed later").WithRetry()
	case "open":
		_, err := os.ReadFile("/cipherstream/none")
		return fault.New("rogue.open", fault.Source, "the file cannot be read: %w", err).WithRetry()
	case "memfd":
		// Pages that are in no process: of files in memory that are not mapped.
		block := make([]byte, 8<<20)
		for ctx.Err() == nil {
			fd, err := unix.MemfdCreate("hoard", 0)
			if err != nil {
				return err
			}
			if _, err := unix.Write(fd, block); err != nil {
				return err
			}
			<-time.After(time.Millisecond) // the host looks now and then
		}
	case "shared":
		// Pages that were mapped, and were taken out of the process again.
		for ctx.Err() == nil {
			text, err := unix.Mmap(-1, 0, 8<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
			if err != nil {
				return err
			}
			for i := 0; i < len(text); i += os.Getpagesize() {
				text[i] = 1
			}
			if err := unix.Madvise(text, unix.MADV_DONTNEED); err != nil {
				return err
			}
			<-time.After(time.Millisecond)
		}
	case "children":
		// Together they have too much, none of them has.
		for range 4 {
			if err := exec.Command("/proc/self/exe", "hoard", "100").Start(); err != nil {
				return err
			}
		}
		<-ctx.Done()
	case "bomb":
		for ctx.Err() == nil {
			if err := exec.Command("sleep", "600").Start(); err != nil {
				return err
			}
		}
	case "fork":
		// Only a process namespace, whose first process this one is then, holds what leaves the group.
		if err := leaveBehind(os.Getpid() == 1); err != nil {
			return err
		}
		os.Exit(9)
	case "child":
		if err := exec.Command("sleep", "600").Start(); err != nil {
			return err
		}
		os.Exit(9)
	case "orphans":
		// They end at once, and nobody waits for them.
		if err := exec.Command("sh", "-c", "i=0; while [ $i -lt 400 ]; do (true &); i=$((i+1)); done").Run(); err != nil {
			return err
		}
		tick := time.NewTicker(time.Second) // for the host to look
		<-tick.C
		tick.Stop()
	case "settle":
		if err := leaveBehind(true); err != nil {
			return err
		}
		<-ctx.Done()
	case "locked":
		// Nobody but root can remove what is in it.
		for _, dir := range []string{"a", "a/b"} {
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
		}
		for dir, mode := range map[string]os.FileMode{"a/b": 0, "a": 0o500} {
			if err := os.Chmod(dir, mode); err != nil {
				return err
			}
		}
	}
	return nil
}

// crash ends this process by a signal, which no handler of Go's keeps from it.
func crash() {
	var byDefault [32]byte // struct sigaction of the kernel, SIG_DFL
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGSEGV), uintptr(unsafe.Pointer(&byDefault)), 0, 8, 0, 0)
	text, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err == nil {
		text[0] = 1
	}
}

// hoard allocates up to n bytes.
func hoard(ctx context.Context, n int) (hoarded [][]byte) {
	for ctx.Err() == nil && len(hoarded)<<20 < n {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		hoarded = append(hoarded, block)
	}
	return hoarded
}

// hoardMiB is what the children of a plugin do.
func hoardMiB(mib string) {
	n, err := strconv.Atoi(mib)
	if err != nil {
		os.Exit(1)
	}
	hoarded := hoard(context.Background(), n<<20)
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	<-end // the host kills it
	runtime.KeepAlive(hoarded)
}

// leaveBehind starts processes that ignore what they can: one in the group of this
// one, one whose parent has ended, and, to escape, some in sessions of their own.
func leaveBehind(escape bool) error {
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP)
	programs := [][]string{{"sleep", "600"}, {"sh", "-c", "sleep 600 &"}}
	if escape {
		programs = [][]string{{"sleep", "600"}, {"setsid", "sleep", "600"}, {"sh", "-c", "setsid sh -c 'sleep 600 & sleep 600' & sleep 600 &"}}
	}
	for _, program := range programs {
		cmd := exec.Command(program[0], program[1:]...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr // kept open
		if err := cmd.Start(); err != nil {
			return err
		}
	}
	return nil
}

type source struct {
	rogueStage
	schema *arrow.Schema
	batch  int
}

func (s *source) Open(context.Context) (*arrow.Schema, error) {
	s.schema = arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	return s.schema, nil
}

func (s *source) Next(ctx context.Context) (arrow.Record, error) {
	if err := s.misbehave(ctx); err != nil {
		return nil, err
	}
	if s.batch++; s.batch > 10 {
		return nil, io.EOF
	}
	b := array.NewInt64Builder(s.env.Memory)
	defer b.Release()
	for i := range 10 {
		b.Append(int64(10*(s.batch-1) + i))
	}
	column := b.NewArray()
	defer column.Release()
	return array.NewRecord(s.schema, []arrow.Array{column}, 10), nil
}

func (s *source) Close() error { return nil }

type filter struct{ rogueStage }

func (filter) Bind(in *arrow.Schema) (*arrow.Schema, error) { return in, nil }
func (f filter) Apply(ctx context.Context, in arrow.Record) (arrow.Record, error) {
	in.Retain()
	return in, f.misbehave(ctx)
}

type encoder struct{ rogueStage }

func (encoder) Bind(*arrow.Schema) (stage.Media, error) {
	return stage.Media{Type: "text/plain", Extension: ".txt"}, nil
}
func (encoder) Begin(*stage.Output) error             { return nil }
func (encoder) End(stage.Totals, *stage.Output) error { return nil }
func (e encoder) Encode(ctx context.Context, rows stage.Rows, out *stage.Output) error {
	for i := range rows.NumRows() {
		out.Data = fmt.Appendf(out.Data, "%d\n", rows.First+i)
		out.EndRecord()
	}
	return e.misbehave(ctx)
}

type compressor struct{ rogueStage }

func (compressor) Bind(in stage.Media) (stage.Media, error) { return in, nil }
func (compressor) Begin(*stage.Output) error                { return nil }
func (compressor) End(*stage.Output) error                  { return nil }
func (c compressor) Compress(ctx context.Context, piece []byte, out *stage.Output) error {
	out.Data = append(out.Data, piece...)
	return c.misbehave(ctx)
}

type sealer struct{ rogueStage }

func (sealer) Bind(in stage.Media) (stage.Media, error) { in.Sealed = true; return in, nil }
func (sealer) Begin(*stage.Output) error                { return nil }
func (sealer) End(*stage.Output) error                  { return nil }
func (s sealer) Seal(ctx context.Context, in stage.Chunk, out *stage.Output) error {
	out.Data = append(out.Data, in.Data...)
	out.Ends = append(out.Ends, in.Ends...)
	return s.misbehave(ctx)
}

type sink struct{ rogueStage }

func (s sink) Open(context.Context, stage.Object) error { return nil }
func (s sink) Write(ctx context.Context, p []byte) error {
	return s.misbehave(ctx)
}
func (s sink) Commit(context.Context) (stage.Receipt, error) {
	return stage.Receipt{Location: s.settings.Path, SHA256: "-"}, os.WriteFile(s.settings.Path, nil, 0o600)
}
func (s sink) Abort(context.Context) error { return nil }
