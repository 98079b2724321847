package service

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// loop does something from time to time. It is started once, and may be stopped twice, and before it was started.
type loop struct {
	name  string
	every time.Duration
	do    func(context.Context) error
	// atEnd does it once more when it is stopped.
	atEnd bool

	mu     sync.Mutex
	cancel context.CancelFunc
	done   chan struct{}
}

// loopTime is how long one turn may take.
const loopTime = 30 * time.Second

func (l *loop) start(log *slog.Logger) {
	ctx, cancel := context.WithCancel(context.Background())
	l.mu.Lock()
	l.cancel, l.done = cancel, make(chan struct{})
	l.mu.Unlock()
	turn := func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, loopTime)
		defer cancel()
		if err := l.do(ctx); err != nil {
			log.WarnContext(ctx, "what is done from time to time failed, and is tried again", "loop", l.name, "err", err)
		}
	}
	go func() {
		defer close(l.done)
		ticks := time.NewTicker(l.every)
		defer ticks.Stop()
		for {
			select {
			case <-ticks.C:
				turn(ctx)
			case <-ctx.Done():
				if l.atEnd {
					turn(context.WithoutCancel(ctx))
				}
				return
			}
		}
	}()
}

func (l *loop) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel == nil {
		return
	}
	l.cancel()
	<-l.done
}
