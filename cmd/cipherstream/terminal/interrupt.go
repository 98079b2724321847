package terminal

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

// ErrInterrupted is why the context of an interrupted command has ended.
var ErrInterrupted error = fault.New("cli.interrupted", fault.Cancelled, "the command was interrupted")

// moment is how long an interrupted command cleans up before it says so, and how long after that another
// signal counts. Programs such as timeout send several within microseconds, and people press a key twice.
const moment = time.Second

const stillEnding = "interrupted, and still ending what was begun; another signal, from a second from now on, leaves behind what is unfinished"

// notice is how standard error is told that an interrupted command takes a while to end.
type notice struct {
	mu   sync.Mutex
	tell func()
}

func (n *notice) set(tell func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tell = tell
}

func (n *notice) give() {
	n.mu.Lock()
	tell := n.tell
	n.mu.Unlock()
	tell()
}

// heedSignals cancels the context at the first signal. A command that takes longer than a moment to
// clean up then is announced to do so, and another signal that comes more than a moment
// after that ends the process at once; its plugin processes notice that and end
// themselves. All other signals are the first one's echoes.
//
// A hang-up that hungUp takes is no interruption.
func heedSignals(cancel context.CancelCauseFunc, announce func(), hungUp func() bool) {
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		// nohup and background jobs ignore some, and should stay so.
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	go func() {
		for s := range signals {
			if s != syscall.SIGHUP || !hungUp() {
				break
			}
		}
		cancel(ErrInterrupted)
		deaf(signals)
		go announce() // where nobody reads standard error, this waits for ever
		deaf(signals)
		<-signals
		os.Exit(ExitInterrupted)
	}()
}

// HeedSignals has the first signal end the context, and says on standard error when the command is slow to end then.
func (t *Terminal) HeedSignals(cancel context.CancelCauseFunc) {
	heedSignals(cancel, t.notice.give, func() bool {
		take := t.hangUp.Load()
		if take != nil {
			(*take)()
		}
		return take != nil
	})
}

// OnHangUp has SIGHUP call a function, which must not wait, instead of interrupting the command: for a service, which
// reads its configuration anew then.
func (t *Terminal) OnHangUp(take func()) { t.hangUp.Store(&take) }

// deaf drops what comes within a moment.
func deaf(signals <-chan os.Signal) {
	over := time.NewTimer(moment)
	for {
		select {
		case <-signals:
		case <-over.C:
			return
		}
	}
}

// tellStillEnding is the notice of a command that shows no progress.
func (t *Terminal) tellStillEnding(machine bool) func() {
	return func() {
		if machine {
			// Nowhere is left to say that this failed.
			_ = json.NewEncoder(t.Err).Encode(map[string]any{"warning": map[string]string{"code": "cli.interrupted", "message": stillEnding}})
			return
		}
		fmt.Fprintf(t.Err, "warning[cli.interrupted]: %s\n", stillEnding)
	}
}
