package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"os/exec"
	"strings"
)

// started is a running command whose events are read.
type started struct {
	*workspace
	cmd *exec.Cmd
	// plugins are the plugin processes by their first stage.
	plugins map[string]int
	ended   chan result
}

// start runs cipherstream and returns when its processes are up.
func (w *workspace) start(args ...string) *started {
	w.Helper()
	cmd := w.command(append(args, "--progress", "json")...)
	stderr, write := io.Pipe()
	cmd.Stderr = write
	s := &started{workspace: w, cmd: cmd, plugins: map[string]int{}, ended: make(chan result, 1)}
	up := make(chan struct{})
	var said strings.Builder
	read := make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewReader(stderr)
		for {
			line, err := lines.ReadString('\n')
			said.WriteString(line)
			var event struct {
				Event     string
				Processes []struct {
					PID    int
					Stages []string
				}
			}
			if json.Unmarshal([]byte(line), &event) == nil && event.Event == "started" {
				for _, p := range event.Processes {
					s.plugins[p.Stages[0]] = p.PID
				}
				close(up)
			}
			if err != nil {
				return
			}
		}
	}()
	done := w.begin(cmd)
	go func() {
		r := <-done
		write.Close()
		<-read
		r.stderr = said.String()
		s.ended <- r
	}()
	select {
	case <-up:
	case r := <-s.ended:
		w.Fatalf("it ended with %d before it had begun:\n%s", r.code, r.stderr)
	}
	return s
}
