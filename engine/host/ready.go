package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// ready is a process that was started before anybody needed it.
type ready struct {
	*remote
	// entry is the plugin's entry in the lock file when the process was started, nil for the first party; file is the
	// state of the program then.
	entry *LockEntry
	file  fileState
	// folders is the directory with the socket directories of a confined process, which stand in for those of a run
	// that did not exist yet. It is empty for a process that is not confined.
	folders string
	// tooOld ends one that was asked and that nobody takes.
	tooOld *time.Timer
}

// startReady starts a process for the pool. Why it fails is logged; a caller that needs the plugin gets the error of
// its own start.
func (h *Host) startReady(ctx context.Context, plugin string) (m member, err error) {
	defer func() {
		if err != nil && ctx.Err() == nil {
			h.cfg.Log.Warn("a plugin process could not be started in advance: "+err.Error(), "plugin", plugin)
		}
	}()
	r, err := h.makeReady(ctx, plugin)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// makeReady starts a process that serves a run that is not known yet.
func (h *Host) makeReady(ctx context.Context, plugin string) (*ready, error) {
	if plugin == h.cfg.FirstParty.Name {
		p, err := h.start(ctx, plugin)
		if err != nil {
			return nil, err
		}
		return &ready{remote: p}, nil
	}
	entry, err := h.Locked(plugin)
	if err != nil {
		return nil, err
	}
	r := &ready{entry: &entry}
	// Taken before the program is copied, so that a change between the two is noticed. Why there is none start says better.
	r.file, _ = stateOf(filepath.Join(h.cfg.PluginDir, entry.Program()))
	folders, err := h.NewDir()
	if err != nil {
		return nil, err
	}
	for _, folder := range []string{inFolder, outFolder} {
		if err = os.Mkdir(filepath.Join(folders, folder), 0o700); err != nil {
			err = fault.New("host.directory", fault.Internal, "cannot make a private directory: %w", errors.Unwrap(err))
			break
		}
	}
	if err == nil {
		r.remote, err = h.start(ctx, plugin, Reach{filepath.Join(folders, inFolder), true}, Reach{filepath.Join(folders, outFolder), false})
	}
	if err != nil {
		os.RemoveAll(folders)
		return nil, err
	}
	r.folders = folders
	return r, nil
}

// In the folders of a confined process: where it will listen, where it will find its neighbour's socket, and the name
// of both.
const inFolder, outFolder, socketName = "in", "out", "s"

func (r *ready) done() <-chan struct{} { return r.program.done() }

func (r *ready) current() bool {
	select {
	case <-r.done():
		return false
	default:
	}
	return !standsStill(r.PID()) && r.unchanged()
}

// unchanged reports whether a process that is started now would be the same: the plugin's program is the same file, and
// its grants are the same.
func (r *ready) unchanged() bool {
	if r.entry == nil {
		return true
	}
	folder := r.cfg.PluginDir
	now, err := stateOf(filepath.Join(folder, r.entry.Program()))
	if err != nil || now != r.file {
		return false
	}
	lock, err := ReadLockfile(filepath.Join(folder, LockName))
	if err != nil {
		return false
	}
	entry, pinned := lock.Find(r.entry.Name)
	return pinned && entry.startsAs(r.entry)
}

// fileState identifies a file and its content: it differs after every change (inode(7)).
type fileState struct {
	device, inode     uint64
	size              int64
	modified, changed unix.Timespec
}

func stateOf(path string) (fileState, error) {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return fileState{}, err
	}
	return fileState{uint64(s.Dev), s.Ino, s.Size, s.Mtim, s.Ctim}, nil
}

// startsAs reports whether both entries start a process in the same way.
func (e *LockEntry) startsAs(other *LockEntry) bool {
	return e.SHA256 == other.SHA256 && e.Bundle == other.Bundle && e.Program() == other.Program() && e.Network == other.Network && e.Grants == other.Grants &&
		slices.Equal(e.Files, other.Files)
}

// answer calls the process, and fails when it does not answer.
func (r *ready) answer(ctx context.Context) (err error) {
	if r.entry == nil {
		// This program passes over the number of an announcement that it has not made. All that it offers would be the answer to
		// Describe, which takes milliseconds.
		_, err = r.rpc.Acknowledge(ctx, &pb.AcknowledgeRequest{})
		return err
	}
	_, err = r.rpc.Describe(ctx, &pb.DescribeRequest{})
	return err
}

// Open opens the group. A confined process gets the paths of its own socket directories, and the sockets are linked
// from there to the paths that its neighbours use.
func (r *ready) Open(ctx context.Context, req *pb.OpenRequest, secrets []string) error {
	if !r.isConfined() {
		return r.remote.Open(ctx, req, secrets)
	}
	own := proto.Clone(req).(*pb.OpenRequest)
	if req.Output != "" {
		own.Output = filepath.Join(r.folders, outFolder, socketName)
		if err := os.Link(req.Output, own.Output); err != nil {
			return unlinked(err)
		}
	}
	if req.Input == "" {
		return r.remote.Open(ctx, own, secrets)
	}
	own.Input = filepath.Join(r.folders, inFolder, socketName)
	if err := r.remote.Open(ctx, own, secrets); err != nil {
		return err
	}
	if err := os.Link(own.Input, req.Input); err != nil {
		return unlinked(err)
	}
	return nil
}

func (r *ready) isConfined() bool { return r.program.isolation().Confined }

// unlinked is the fault of a data socket that could not be linked.
func unlinked(err error) error {
	return fault.New("host.directory", fault.Internal, "cannot give a data socket a second name: %v%w",
		errors.Unwrap(err), errUnused)
}

func (r *ready) drop() {
	r.program.kill()
	r.Close()
}

func (r *ready) Close() {
	r.remote.Close()
	if r.folders != "" {
		removeTree(r.folders)
	}
}

// errUnused marks the fault of a process that stood ready, and had nothing of the run yet.
var errUnused = errors.New("")

// IsUnused reports whether Process.Open failed because a process that stood ready broke before it had anything of the run.
// It could not be replaced alone, because its neighbours know its number already. The caller may start all processes of
// the run again, with StartOwn.
func IsUnused(err error) bool { return errors.Is(err, errUnused) }

// handedOut is a process that stood ready and serves a run. If it breaks before it has been given anything of the run, a
// new process takes its place, once, and the caller does not notice.
type handedOut struct {
	ready  *ready
	host   *Host
	plugin string
	reach  []Reach

	mu    sync.Mutex
	other Process // that takes its place
	given bool    // it has something of the run
}

// now is the process that serves.
func (p *handedOut) now() (now Process, replaceable bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.other != nil {
		return p.other, false
	}
	return p.ready, !p.given
}

// isOriginal reports whether it is still the process that was handed out.
func (p *handedOut) isOriginal() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.other == nil
}

// instead starts the process that takes the place of a broken one.
func (p *handedOut) instead(ctx context.Context) (Process, error) {
	p.ready.drop()
	if p.host.pool != nil {
		defer p.host.pool.starting()()
	}
	other, err := p.host.start(ctx, p.plugin, p.reach...)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.other = other
	return other, nil
}

// isBroken reports whether an error says that the process is broken, and not that it refuses what it was asked for.
func isBroken(err error) bool {
	return fault.Is(err, codeExited) || fault.Is(err, codeUnresponsive)
}

// first makes a call that may be the first one to the process. If that shows that the process is broken, it is replaced
// and the call is made again.
func first[T any](ctx context.Context, p *handedOut, call func(Process) (T, error)) (T, error) {
	now, replaceable := p.now()
	result, err := call(now)
	if replaceable && isBroken(err) && ctx.Err() == nil {
		if now, err = p.instead(ctx); err != nil {
			return result, err
		}
		result, err = call(now)
	}
	return result, err
}

func (p *handedOut) Plugin() string { return p.plugin }

func (p *handedOut) PID() int {
	now, _ := p.now()
	return now.PID()
}

func (p *handedOut) Describe(ctx context.Context) (Offer, error) {
	return first(ctx, p, func(now Process) (Offer, error) { return now.Describe(ctx) })
}

func (p *handedOut) Check(ctx context.Context, req *pb.CheckRequest, secrets []string) (*pb.CheckResponse, error) {
	resp, err := first(ctx, p, func(now Process) (*pb.CheckResponse, error) { return now.Check(ctx, req, secrets) })
	p.markUsed()
	return resp, err
}

func (p *handedOut) Undo(ctx context.Context, req *pb.UndoRequest, secrets []string) ([]error, error) {
	errs, err := first(ctx, p, func(now Process) ([]error, error) { return now.Undo(ctx, req, secrets) })
	p.markUsed()
	return errs, err
}

// markUsed notes that the process has something of the run: from now on no other one takes its place.
func (p *handedOut) markUsed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.given = true
}

func (p *handedOut) Open(ctx context.Context, req *pb.OpenRequest, secrets []string) error {
	now, replaceable := p.now()
	if !replaceable {
		return now.Open(ctx, req, secrets)
	}
	if req.Input == "" && req.Output == "" {
		_, err := first(ctx, p, func(now Process) (struct{}, error) { return struct{}{}, now.Open(ctx, req, secrets) })
		p.markUsed()
		return err
	}
	err := now.Open(ctx, req, secrets)
	p.markUsed()
	if f := fault.From(err); f != nil && isBroken(err) && ctx.Err() == nil {
		marked := fault.New(f.Code, f.Class, "%s%w", f.Message, errUnused)
		marked.Hint, marked.Retryable, marked.Details = f.Hint, f.Retryable, f.Details
		return marked
	}
	return err
}

func (p *handedOut) Start(ctx context.Context, handle func(*pb.Event)) error {
	now, _ := p.now()
	return now.Start(ctx, handle)
}

func (p *handedOut) Commit(ctx context.Context) (stage.Receipt, error) {
	now, _ := p.now()
	return now.Commit(ctx)
}

func (p *handedOut) Close() {
	p.ready.Close()
	if now, _ := p.now(); now != p.ready {
		now.Close()
	}
}
