package run_test

import (
	"bytes"
	"context"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/link"
	"github.com/cipherstream/cipherstream/engine/plan"
	"github.com/cipherstream/cipherstream/engine/run"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// sharedMemory counts the mappings of memory between processes that this one has, and its descriptors of such files.
func sharedMemory(t *testing.T) (n int) {
	t.Helper()
	const name = "/memfd:cipherstream"
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	n = bytes.Count(text, []byte(name))
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(to, name) {
			n++
		}
	}
	return n
}

// noMemory waits until no memory between processes is left; what a failed run has dropped goes with the garbage.
func noMemory(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); sharedMemory(t) > 0; runtime.GC() {
		if time.Now().After(end) {
			t.Fatalf("%d mappings and descriptors of shared memory are left", sharedMemory(t))
		}
	}
}

// TestBothTransports: the same bytes come through memory and over the sockets, in every isolation, and nothing stays mapped,
// whether a run ends well, or a process at either end of a link is killed.
func TestBothTransports(t *testing.T) {
	var want []byte
	for _, isolation := range isolations {
		for _, memory := range []string{"on", "off"} {
			t.Run(string(isolation)+"/"+memory, func(t *testing.T) {
				t.Setenv(link.EnvMemory, memory)
				s := newSetup(t, host.Config{})
				mapped := false
				sink := &probe{on: func(context.Context, string) error {
					mapped = mapped || sharedMemory(t) > 0
					return nil
				}}
				source := settings{"rows": 60_000, "batch": 6000}
				receipt, err := run.Execute(t.Context(), s.host, s.callerPlan(isolation, source, "even"), run.Options{ID: "r1", Sink: sink})
				if err != nil || receipt.Rows != 30_000 {
					t.Fatalf("%+v, %v", receipt, err)
				}
				if shared := memory == "on" && isolation != plan.IsolationNone; mapped != shared {
					t.Errorf("mapped: %v; expected %v", mapped, shared)
				}
				if want == nil {
					want = sink.data.Bytes()
				}
				if len(want) < 100_000 || !bytes.Equal(sink.data.Bytes(), want) {
					t.Errorf("%d bytes came, others than the %d of the first run", sink.data.Len(), len(want))
				}
				if n := sharedMemory(t); n > 0 {
					t.Errorf("%d mappings and descriptors of shared memory are left", n)
				}
			})
		}
	}
	for _, isolation := range []plan.Isolation{plan.IsolationGroup, plan.IsolationStage} {
		for round := range 5 {
			s := newSetup(t, host.Config{})
			sink := &probe{}
			_, err := run.Execute(t.Context(), s.host,
				s.callerPlan(isolation, settings{"rows": 60_000, "batch": 6000, "break": "kill", "at": 6000 * (1 + 2*round)}),
				run.Options{ID: "r1", Sink: sink})
			if !fault.Is(err, "plugin.exited") && !fault.Is(err, "plugin.killed") {
				t.Errorf("%s: the writer was killed, and the run says %v", isolation, err)
			}
			noMemory(t)
			failed := fault.New("test.full", fault.Sink, "full")
			_, err = run.Execute(t.Context(), s.host, s.callerPlan(isolation, settings{"rows": 60_000, "batch": 6000}),
				run.Options{ID: "r2", Sink: &probe{on: func(_ context.Context, method string) error {
					if method == "write" {
						return failed
					}
					return nil
				}}})
			if !fault.Is(err, failed.Code) {
				t.Errorf("%s: the reader failed, and the run says %v", isolation, err)
			}
			noMemory(t)
		}
	}
}
