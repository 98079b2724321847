package run

import (
	"os"
	"path/filepath"
	"strconv"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// edge is the socket at which the group after boundary n listens, and relayed that of
// the relay before it. Each is in a directory of its own, so that a confined process can
// be shown its own sockets and no others of the run.
func edge(dir string, n int) string    { return filepath.Join(dir, "e"+strconv.Itoa(n), "s") }
func relayed(dir string, n int) string { return filepath.Join(dir, "r"+strconv.Itoa(n), "s") }

// makeEdges makes the directories of all sockets.
func (r *run) makeEdges(dir string) error {
	for n := 1; n < len(r.plan.Groups); n++ {
		sockets := []string{edge(dir, n)}
		if r.record != nil {
			sockets = append(sockets, relayed(dir, n))
		}
		for _, socket := range sockets {
			if err := makeSocketDir(socket); err != nil {
				return err
			}
		}
	}
	return nil
}

func makeSocketDir(socket string) error {
	if err := os.Mkdir(filepath.Dir(socket), 0o700); err != nil {
		return fault.New("host.directory", fault.Internal, "cannot make a directory for a data socket: %w", err)
	}
	return nil
}

// sockets are where group i listens and where it connects to; empty at the ends.
func (r *run) sockets(i int, dir string) (input, output string) {
	if i > 0 {
		input = edge(dir, i)
	}
	if i < len(r.plan.Groups)-1 {
		output = edge(dir, i+1)
		if r.record != nil {
			output = relayed(dir, i+1)
		}
	}
	return input, output
}

// reach is what the process of group i has to see of the run's directory.
func (r *run) reach(i int, dir string) []host.Reach { return reachOf(r.sockets(i, dir)) }

// reachOf is what a process has to see to listen at one socket and to connect to another.
func reachOf(input, output string) (list []host.Reach) {
	if input != "" {
		list = append(list, host.Reach{Path: filepath.Dir(input), Write: true})
	}
	if output != "" {
		list = append(list, host.Reach{Path: filepath.Dir(output)})
	}
	return list
}
