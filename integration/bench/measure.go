package main

import (
	"context"
	"os/exec"
	"time"
)

// usage is what one run of a subject took.
type usage struct {
	wall time.Duration
	// cpu is user and system time of the subject's processes; serverCPU is the
	// server's during the run, to 10 ms.
	cpu, serverCPU time.Duration
	// memory is the most that the subject's processes had in memory together, in
	// bytes, pages that they share counted once. Seen every sampleEvery.
	memory int64
	// each is the most that each process had in memory by itself, in bytes, shared
	// pages included, in the order of their start. The kernel keeps it.
	each []int64
}

// sampleEvery is often enough for runs of half a second, and rare enough to cost
// a few thousandths of them.
const sampleEvery = 20 * time.Millisecond

// sampling calls sample at once, and then every sampleEvery, until stop, which returns after the last call.
func sampling(sample func()) (stop func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			sample()
			select {
			case <-tick.C:
			case <-over:
				return
			}
		}
	}()
	return func() {
		close(over)
		<-ended
	}
}

// measure runs a command to its end. When ctx ends, the command is killed.
func measure(ctx context.Context, cmd *exec.Cmd) (usage, error) {
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return usage{}, err
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	t := newTree(cmd.Process.Pid)
	stop := sampling(t.sample)
	err := cmd.Wait()
	wall := time.Since(begin)
	stop()
	// The kernel adds a child's time to its parent when the parent waits for it. A
	// process that nobody waited for was still seen by the samples.
	cpu := max(cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime(), t.cpu())
	return usage{wall: wall, cpu: cpu, memory: t.together, each: t.each()}, err
}
