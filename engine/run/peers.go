package run

import (
	"context"
	"net"
	"os"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/peer"
	"github.com/cipherstream/cipherstream/sdk/runner"
)

// end is a process at the end of a data socket.
type end struct {
	pid int // 0 is unknown
	// words is true when it knows the words of package peer.
	words bool
}

// ownEnd is this process: a relay, a replay, and stages that run in it.
func ownEnd() end { return end{pid: os.Getpid(), words: true} }

// strangerPatience is how long the two ends of a data socket wait for each other's word where neither the system tells who
// that is, nor somebody debugs a stage.
const strangerPatience = 10 * time.Second

// link is a data socket: what its writer and its reader are told of each other.
type link struct{ toWriter, toReader peer.Expected }

func newLink(writer, reader end, patience time.Duration) link {
	l := link{peer.Expected{PID: reader.pid, Patience: patience}, peer.Expected{PID: writer.pid, Patience: patience}}
	if writer.words && reader.words {
		hello, welcome := peer.NewWord(), peer.NewWord()
		l.toWriter.Hello, l.toWriter.Welcome = hello, welcome
		l.toReader.Hello, l.toReader.Welcome = hello, welcome
	}
	return l
}

// introduce finds out who is at the ends of the data sockets, and tells each of the other.
func (r *run) introduce(ctx context.Context) error {
	ends := make([]end, len(r.groups))
	errs := make([]error, len(r.groups))
	var wait sync.WaitGroup
	for i, g := range r.groups {
		switch planned := r.plan.Groups[i]; {
		case planned.InHost:
			ends[i] = ownEnd()
		case r.plan.Stages[planned.Stages[0]].FirstParty && !planned.Attach:
			ends[i] = end{pid: g.process.PID(), words: true} // it is this program
		default:
			wait.Go(func() {
				var offer host.Offer
				offer, errs[i] = g.process.Describe(ctx)
				ends[i], g.isolation = end{g.process.PID(), offer.LinkWords}, offer.Isolation
			})
		}
	}
	wait.Wait()
	for i, err := range errs {
		if err != nil {
			return fault.InStage(err, r.groups[i].stages[0])
		}
	}
	patience := strangerPatience
	if r.debugged() {
		patience = 0
	}
	r.before, r.after = make([]peer.Expected, len(r.groups)), make([]peer.Expected, len(r.groups))
	for n := 1; n < len(r.groups); n++ {
		writer, reader := ends[n-1], ends[n]
		if r.record == nil {
			l := newLink(writer, reader, patience)
			r.after[n-1], r.before[n] = l.toWriter, l.toReader
			continue
		}
		up, down := newLink(writer, ownEnd(), patience), newLink(ownEnd(), reader, patience)
		r.after[n-1], r.before[n] = up.toWriter, down.toReader
		relay := r.record.relays[n-1]
		relay.before, relay.after = up.toReader, down.toWriter
	}
	return nil
}

// greet is what this process does with a connection to a stage before it sends anything. When the stage has ended the error is
// an echo (runner.DownstreamEnded).
func greet(ctx context.Context, conn *net.UnixConn, to peer.Expected) error {
	err := to.Greet(conn)
	if err == nil {
		err = to.Heed(ctx, conn)
	}
	if err == nil {
		return nil
	}
	return runner.PeerFault(err)
}
