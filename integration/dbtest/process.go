package dbtest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// process is one running mariadbd and its directory.
type process struct {
	progs    programs
	dir      string // holds everything; removed by stop
	socket   string
	port     int
	password string

	cmd      *exec.Cmd
	exited   chan struct{} // closed when mariadbd has ended
	stopOnce sync.Once
}

// start makes a data directory and starts a server on it. It returns when the
// server accepts connections: about 1.5 seconds.
func start(progs programs, args []string) (*process, error) {
	// Not testing's TempDir: a unix socket's path must stay below 104 bytes.
	dir, err := os.MkdirTemp("", "dbtest-")
	if err != nil {
		return nil, err
	}
	p := &process{
		progs: progs, dir: dir, socket: filepath.Join(dir, "s.sock"),
		// The punctuation is there so that a DSN that isn't escaped fails in tests.
		password: "p@s:s/w?d#%41&" + randomHex(8),
	}
	if err := p.install(); err != nil {
		p.stop()
		return nil, err
	}
	// Between choosing a free port and the server's bind another process may
	// take it: another port is tried then.
	for range 5 {
		if err = p.launch(args); !errors.Is(err, errPortTaken) {
			break
		}
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func (p *process) dataDir() string { return filepath.Join(p.dir, "data") }

// ownerArgs keeps mariadbd from refusing to run as root.
func ownerArgs() []string {
	if os.Geteuid() == 0 {
		return []string{"--user=root"}
	}
	return nil
}

func (p *process) install() error {
	args := append([]string{
		"--no-defaults", "--datadir=" + p.dataDir(), "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve", "--innodb-log-file-size=8M", "--innodb-buffer-pool-size=16M",
		// A server that starts removes every temporary table in its folder for them: also those of
		// a query that another server is answering.
		"--tmpdir=" + p.dir,
	}, ownerArgs()...)
	out, err := exec.Command(p.progs.install, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mariadb-install-db: %w: %s", err, out)
	}
	// Executed by the server before it accepts its first connection.
	quoted := "'" + p.password + "'" // holds neither quote nor backslash
	return os.WriteFile(filepath.Join(p.dir, "init.sql"), []byte(
		"ALTER USER 'root'@'localhost' IDENTIFIED BY "+quoted+";\n"+
			"DROP USER IF EXISTS ''@'localhost';\n"+
			"CREATE USER IF NOT EXISTS 'root'@'127.0.0.1' IDENTIFIED BY "+quoted+";\n"+
			"ALTER USER 'root'@'127.0.0.1' IDENTIFIED BY "+quoted+";\n"+
			"GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n"), 0o600)
}

var errPortTaken = errors.New("the TCP port was taken by another process")

// launch starts mariadbd and waits until it is ready or has ended.
func (p *process) launch(args []string) error {
	var err error
	if p.port, err = freePort(); err != nil {
		return err
	}
	all := append([]string{
		"--no-defaults", "--datadir=" + p.dataDir(), "--socket=" + p.socket,
		fmt.Sprintf("--port=%d", p.port), "--bind-address=127.0.0.1", "--skip-name-resolve",
		"--init-file=" + filepath.Join(p.dir, "init.sql"),
		"--pid-file=" + filepath.Join(p.dir, "pid"), "--tmpdir=" + p.dir,
		"--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci",
		"--default-time-zone=+00:00", "--local-infile=1",
		// Small and without durability: the data is thrown away.
		"--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0",
		"--innodb-flush-method=nosync", "--innodb-doublewrite=0", "--skip-log-bin", "--performance-schema=OFF",
	}, ownerArgs()...)
	cmd := exec.Command(p.progs.server, append(all, args...)...)
	cmd.SysProcAttr = diesWithParent()
	log, err := cmd.StderrPipe()
	if err != nil {
		return err
	}

	started, ready := make(chan error, 1), make(chan struct{})
	tail := &logTail{}
	p.exited = make(chan struct{})
	go func() {
		// Linux sends the parent-death signal when the thread that started the
		// child ends, so this thread is kept until the child is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			tail.follow(log, ready)
			_ = cmd.Wait() // a killed server always ends with an error
		}
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("cannot start %s: %w", p.progs.server, err)
	}
	p.cmd = cmd
	select {
	case <-ready:
		return nil
	case <-p.exited:
		p.cmd = nil
		text := tail.String()
		if strings.Contains(text, "Address already in use") {
			return errPortTaken
		}
		return fmt.Errorf("mariadbd ended during startup; its log ends with:\n%s", text)
	}
}

// stop ends the server at once and removes its files; it may be called twice.
func (p *process) stop() {
	p.stopOnce.Do(func() {
		if p.cmd != nil {
			_ = p.cmd.Process.Kill()
			<-p.exited
		}
		_ = os.RemoveAll(p.dir)
	})
}

// logTail keeps the last lines of the server's log for a failure's message.
type logTail struct {
	mu    sync.Mutex
	lines []string
}

// follow reads the log to its end and closes ready at the server's
// announcement that it accepts connections.
func (l *logTail) follow(r io.Reader, ready chan struct{}) {
	announced := false
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		l.mu.Lock()
		l.lines = append(l.lines[max(0, len(l.lines)-30):], line)
		l.mu.Unlock()
		if !announced && strings.Contains(line, "ready for connections") {
			announced = true
			close(ready)
		}
		if err != nil {
			return
		}
	}
}

func (l *logTail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "")
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("no free TCP port on loopback: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
