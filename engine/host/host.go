// Package host finds, verifies, starts, watches and ends plugin processes. It
// owns everything that stands between CipherStream and a program it does not
// trust: the clean environment, the private directory, the captured log, the
// limits of memory, cores and processes, the namespaces, the death of either side.
// It never touches data, which flows between the plugins, and never decides what a
// run means (engine/run does).
//
// First-party stages are one program: this one, executed again. Third-party
// plugins are separate programs that plugins.lock pins by name and sha256.
//
// # What a plugin process is given
//
// Every process has an environment that is made for it; a directory, mode 0700, that
// is its working, home and temporary directory and goes when it ends; no standard
// input; no descriptor but the lifeline, whose end tells it that the host is dead; a
// process group, which is killed when it ends; no core files; a bound of its resident
// memory, and of its cores where Config.CPUs sets one. What it prints is log: of a
// flood a part is copied and the end is kept. Secrets of the run are blanked out there, and in
// every fault, event and receipt; see Redaction.
// On Linux the kernel kills a third-party process with its host; the first-party stages end what they have begun first,
// within seconds (control.Serve).
//
// A third-party process gains no rights from what it executes (no_new_privs). On
// Linux, where the system lets the host's user make namespaces, it is confined:
//
//   - a user namespace: it cannot look into other processes of the same user, the
//     host's secrets among them, nor leave its other namespaces, nor make new ones;
//   - a mount namespace: of the files it sees the programs and libraries of the system,
//     to be read, and the interpreter that its first line names; its own directory; the
//     data sockets of its neighbours; a /tmp in memory, which is bounded; and what its
//     lock entry grants. Of sockets with a path it reaches those that are there;
//   - a namespace of System V objects;
//   - a process namespace, in which it is process 1: it cannot signal other processes,
//     and whatever it starts ends with it. What it starts counts towards its memory,
//     and there is a bound of processes;
//   - unless its lock entry grants the network, a network namespace in which nothing is
//     up, not even loopback.
//
// When the host is root, the process keeps root's rights over the files that it sees, and no others.
//
// Where the system does not allow all of this, the process runs with the namespaces that it allows, or with none, and a
// warning is logged; with Config.StrictIsolation it is not started. Such a process can use files and local services
// like the host's user; Isolation.NotConfined lists what it can reach. Landlock is not used: it would protect files,
// but not sockets that have a path.
//
// Both sides of a data socket check who is at the other end (sdk/peer). The control connection accepts only the host,
// by its certificate. A process that is attached (Attach) is the first one of this user that connects.
//
// A confined process can still read what anybody may read in the system's folders, fill the disk in its own directory,
// and use more cores than it was given, because nothing keeps it from changing its affinity.
//
// # Processes in advance
//
// With Config.Warm processes are started in advance. Before one is handed out the host checks that it lives and
// answers, and that the plugin's program and grants on disk are those with which it was started. If it dies before it
// has been given anything of the run, another process takes its place and the caller does not notice. A caller never
// waits for the pool: when no process is ready it starts one itself, and the pool starts none meanwhile, unless requests
// follow one another without a pause.
//
// A confined process sees only directories that existed when it was started, and the directory of a run's sockets does
// not exist then. So a process that is started in advance has socket directories of its own, into which the sockets of
// the run are linked (link(2)).
//
// Where there is no pool, the process of a third-party plugin that was asked what it offers (Look), or about its stages
// (KeepAsked), stands ready in the same way, so that a run need not start the program again.
//
// To confine a plugin, the program that uses this package is executed again, and becomes the plugin before its own main
// function begins (package jail).
//
// # What a process begins
//
// Before a stage begins something that outlives its process, an upload for instance, it announces it, and the host
// writes the announcement to the journal in its private directory. When the process dies, another process of the same
// plugin, with the same grants, is asked to end the thing (Process.Undo). When the host dies, a later host finds the
// journal (Host.Leftovers). The host itself never removes anything because a plugin says so.
package host

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cipherstream/cipherstream/sdk/control"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// Defaults of Config.
const (
	DefaultStartTimeout = 10 * time.Second
	DefaultCancelGrace  = 5 * time.Second
	DefaultSilence      = runner.DefaultStall
	DefaultMemoryLimit  = 1 << 30
	DefaultWarmAge      = 15 * time.Minute
)

// Config says how plugins are found and confined.
type Config struct {
	// FirstParty is the stages of this program.
	FirstParty stage.Bundle
	// Executable and Args start this program as a plugin that serves FirstParty.
	// The default executable is this process's own.
	Executable string
	Args       []string
	// PluginDir holds plugins.lock and the third-party programs. Empty means none.
	PluginDir string
	// StartTimeout bounds the time until a plugin answers; CancelGrace the time
	// between asking it to stop and killing it; Silence the time without any sign
	// of life while it runs, whose default is a second more than the run's stall limit
	// where that is set. Only time counts in which this process ran.
	StartTimeout, CancelGrace, Silence time.Duration
	// MemoryLimit is the resident memory, in bytes, at which a plugin process is
	// ended (Linux; elsewhere it only bounds the Go heap of Go plugins).
	MemoryLimit int64
	// CPUs is how many cores a plugin process may use; default all. Outside Linux it
	// is what Go plugins are told.
	CPUs int
	// StrictIsolation refuses to start third-party plugins that cannot be confined
	// (see Isolation). By default they are started, and Log receives a warning.
	StrictIsolation bool
	// TempDir is where the host makes its private directory; default os.TempDir(). /tmp
	// is taken where its path is too long for sockets.
	TempDir string
	// Warm is how many processes of the first-party stages are kept started in advance, and
	// of each third-party plugin from its first use on, until it has not been used for
	// WarmAge. Default none. Who finds none ready starts his own; see PoolStats.
	Warm int
	// WarmAge is how long a process that was started in advance, or asked, may stand ready before it is
	// ended, and replaced. Default DefaultWarmAge.
	WarmAge time.Duration
	// Log receives what plugin processes write to their standard error.
	Log *slog.Logger
}

// silenceOf is how long a process may be silent in a run with a stall limit. One with a
// single thread gives no sign of life while it works on a batch, and the last one may be as
// old as the second in which one is due.
func (c *Config) silenceOf(stall time.Duration) time.Duration {
	switch {
	case c.Silence > 0:
		return c.Silence
	case stall > 0:
		return min(stall, math.MaxInt64-time.Second) + time.Second
	}
	return DefaultSilence
}

// Host starts plugin processes. It is safe for concurrent use.
type Host struct {
	cfg      Config
	identity *control.Identity
	sequence atomic.Int64
	cores    cores
	probes   [2]struct { // of processes without the network, and with it
		once  sync.Once
		found obstacles
	}
	warned   sync.Map // names of plugins that run unconfined
	bundles  bundleStates
	programs programCopies
	asked    askedProcesses

	mu     sync.Mutex
	dir    *scratch // nil until something needs it
	lock   *Lockfile
	pool   *pool // nil where nothing is started in advance
	closed bool
}

// New prepares a host: it reads the lock file. Nothing is written anywhere until a
// process is started or NewDir is called.
func New(cfg Config) (*Host, error) {
	if cfg.Executable == "" {
		path, err := os.Executable()
		if err != nil {
			return nil, fault.New("host.executable", fault.Internal, "this program cannot find its own file: %w", err)
		}
		cfg.Executable = path
	}
	if cfg.StartTimeout <= 0 {
		cfg.StartTimeout = DefaultStartTimeout
	}
	if cfg.CancelGrace <= 0 {
		cfg.CancelGrace = DefaultCancelGrace
	}
	if cfg.MemoryLimit <= 0 {
		cfg.MemoryLimit = DefaultMemoryLimit
	}
	if cfg.WarmAge <= 0 {
		cfg.WarmAge = DefaultWarmAge
	}
	if cfg.TempDir == "" {
		cfg.TempDir = os.TempDir()
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	h := &Host{cfg: cfg, lock: &Lockfile{}, cores: cores{allowed: allowedCores(), each: cfg.CPUs}}
	if cfg.PluginDir != "" {
		lock, err := ReadLockfile(filepath.Join(cfg.PluginDir, LockName))
		if err != nil {
			return nil, err
		}
		if _, own := lock.Find(cfg.FirstParty.Name); own {
			return nil, fault.New("plugins.lock", fault.Usage, "%s pins a plugin called %q, which is the name of the first-party stages",
				filepath.Join(cfg.PluginDir, LockName), cfg.FirstParty.Name).WithHint("give the plugin another name")
		}
		h.lock = lock
	}
	var err error
	if h.identity, err = control.NewIdentity(); err != nil {
		return nil, fault.New("host.identity", fault.Internal, "cannot make a certificate: %w", err)
	}
	if cfg.Warm > 0 {
		h.pool = newPool(cfg.Warm, cfg.WarmAge, cfg.FirstParty.Name, h.startReady)
	}
	return h, nil
}

// Close ends all processes that stand ready, and removes the private directory. Runs must
// have ended.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	h.mu.Unlock()
	if h.pool != nil {
		h.pool.close()
	}
	h.asked.close()
	if h.dir == nil {
		return nil
	}
	return h.dir.remove()
}

// private is the path of the host's private directory. The first call makes it, and
// removes what dead hosts left behind.
func (h *Host) private() (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return "", fault.New("host.directory", fault.Internal, "the host is closed, and makes no private directory any more")
	}
	if h.dir == nil {
		dir, err := newScratch(h.cfg.TempDir)
		if err != nil {
			return "", err
		}
		h.dir = dir
	}
	return h.dir.path, nil
}

// NewDir makes a private directory, mode 0700, with a short path: unix sockets
// in it must stay within about 100 bytes. The caller removes it.
func (h *Host) NewDir() (string, error) {
	private, err := h.private()
	if err != nil {
		return "", err
	}
	path := filepath.Join(private, strconv.FormatInt(h.sequence.Add(1), 36))
	if err := os.Mkdir(path, 0o700); err != nil {
		return "", fault.New("host.directory", fault.Internal, "cannot make a private directory: %w", errors.Unwrap(err))
	}
	return path, nil
}

// Start returns a process that serves one group of one plugin: one that stands ready, of the pool or because it was asked
// before (Look, KeepAsked), or one that it starts. The caller closes it. Reach is where the data sockets are that it
// uses: a confined process sees those.
func (h *Host) Start(ctx context.Context, plugin string, reach ...Reach) (Process, error) {
	if m := h.takeAsked(ctx, plugin); m != nil {
		return h.handOut(m, plugin, reach), nil
	}
	if h.pool == nil || !h.knows(plugin) {
		return h.StartOwn(ctx, plugin, reach...)
	}
	if m := h.pool.take(ctx, plugin); m != nil {
		return h.handOut(m.(*ready), plugin, reach), nil
	}
	defer h.pool.starting()()
	return h.StartOwn(ctx, plugin, reach...)
}

func (h *Host) handOut(m *ready, plugin string, reach []Reach) Process {
	return &discreet{Process: &handedOut{ready: m, host: h, plugin: plugin, reach: reach}}
}

// StartOwn is Start, and never gives one that stands ready.
func (h *Host) StartOwn(ctx context.Context, plugin string, reach ...Reach) (Process, error) {
	p, err := h.start(ctx, plugin, reach...)
	if err != nil {
		return nil, err
	}
	return &discreet{Process: p}, nil
}

// PoolStats says what became of the processes that Config.Warm asks for.
func (h *Host) PoolStats() PoolStats {
	if h.pool == nil {
		return PoolStats{}
	}
	return h.pool.count()
}

// StartEntry starts a program as if the lock file pinned it with entry. The program is in
// the folder from. The caller closes the process.
func (h *Host) StartEntry(ctx context.Context, entry LockEntry, from string, reach ...Reach) (Process, error) {
	p, err := h.startEntry(ctx, entry, from, reach...)
	if err != nil {
		return nil, err
	}
	return &discreet{Process: p}, nil
}

// Local returns a process that is no process: first-party stages in this one, and those that the caller adds.
func (h *Host) Local(added ...stage.Definition) Process {
	return InProcess(h.cfg.FirstParty, added...)
}

// InProcess serves the stages of a bundle, and some more, in this process.
func InProcess(bundle stage.Bundle, added ...stage.Definition) Process {
	offer := offerOf(bundle)
	bundle.Stages = append(added, bundle.Stages...)
	return &discreet{Process: &local{session: control.NewSession(bundle), offer: offer}}
}

// Offer is a plugin and its stages.
type Offer struct {
	Plugin     string
	Version    string
	FirstParty bool
	// Protocol is the protocol version that plugin and host have agreed on.
	Protocol int
	// Network says that the plugin asks for the network; whether it gets it, LockEntry says.
	Network bool
	// LinkWords says that the plugin knows the words of its data sockets (sdk/peer).
	LinkWords bool
	// Isolation is how the plugin's process was kept apart; zero for the first party.
	Isolation Isolation
	Stages    []control.Manifest
}

// knows reports whether there is a plugin of that name.
func (h *Host) knows(plugin string) bool {
	_, pinned := h.lock.Find(plugin)
	return pinned || plugin == h.cfg.FirstParty.Name
}

// start starts a plugin's program and waits until it answers.
func (h *Host) start(ctx context.Context, plugin string, reach ...Reach) (*remote, error) {
	if plugin != h.cfg.FirstParty.Name {
		entry, ok := h.lock.Find(plugin)
		if !ok {
			return nil, unknownPlugin(plugin)
		}
		return h.startEntry(ctx, entry, h.cfg.PluginDir, reach...)
	}
	dir, err := h.NewDir()
	if err != nil {
		return nil, err
	}
	return startRemote(ctx, &h.cfg, h.identity, plugin, h.cfg.Executable, h.cfg.Args, dir, h.ownConfinement())
}

// startEntry starts the program that entry pins, from the folder that it is in.
func (h *Host) startEntry(ctx context.Context, entry LockEntry, from string, reach ...Reach) (*remote, error) {
	if err := entry.checkGrants(h.cfg.PluginDir); err != nil {
		return nil, err
	}
	confined, err := h.confinementOf(entry)
	if err != nil {
		return nil, err
	}
	dir, err := h.NewDir()
	if err != nil {
		return nil, err
	}
	var program string
	if entry.Bundle {
		program, err = h.verifiedBundle(ctx, entry, from)
	} else {
		program, err = h.verifiedProgram(ctx, entry, from)
	}
	if err == nil {
		// It is executed where it is, and a confined process cannot write it.
		reach = append(slices.Clone(reach), Reach{Path: filepath.Dir(program)})
	}
	if err == nil && confined.isolation.Confined {
		err = h.confine(&confined, dir, program, reach)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return startRemote(ctx, &h.cfg, h.identity, entry.Name, program, nil, dir, confined)
}

func unknownPlugin(name string) *fault.Fault {
	return fault.New("plugin.unknown", fault.Usage, "there is no plugin called %q in %s", name, LockName)
}
