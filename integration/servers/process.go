package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// process is a server that is a plain process.
type process struct {
	way
	of       recipe
	port     int
	password string
	args     []string

	dir    string   // all that it writes, and links to its programs
	hold   *os.File // its end removes dir
	output logTail
	cmd    *exec.Cmd
	exited chan struct{}
}

func (p *process) start(context.Context) error {
	if p.dir == "" {
		// Not testing's TempDir: a unix socket's path must stay below 104 bytes.
		dir, err := os.MkdirTemp("", "servers-")
		if err != nil {
			return err
		}
		p.dir = dir
		if p.hold, err = afterDeath(`rm -rf -- "$1" || rm -rf -- "$1"`, dir); err != nil {
			return err
		}
		if err := errors.Join(os.Mkdir(filepath.Join(dir, "data"), 0o700), os.Mkdir(filepath.Join(dir, "bin"), 0o700)); err != nil {
			return err
		}
		if p.files != "" {
			if err := p.wrap(); err != nil {
				return err
			}
		}
	}
	at := place{address: "127.0.0.1", port: p.port, data: filepath.Join(p.dir, "data")}
	if p.files != "" && p.of.kept != "" {
		at.made = filepath.Join(p.files, "made-"+p.of.kept) // goes with the program
	}
	command := p.of.command(at, p.args)
	path := strings.Join([]string{filepath.Join(p.dir, "bin"), p.programs, "/usr/sbin", os.Getenv("PATH")}, string(filepath.ListSeparator))
	// The shell finds programs in the PATH that it is given.
	cmd := exec.Command("/bin/sh", append([]string{"-c", `exec "$@"`, "sh"}, command...)...)
	cmd.Env = append(os.Environ(), append(environ(p.of.env(at, p.password)), "PATH="+path)...)
	cmd.Stdout, cmd.Stderr = &p.output, &p.output
	cmd.SysProcAttr = diesWithParent()
	started, exited := make(chan error, 1), make(chan struct{})
	go func() {
		// Linux sends the parent-death signal when the thread that started the
		// child ends, so this thread is kept until the child is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // a killed server always ends with an error
		}
		close(exited)
	}()
	if err := <-started; err != nil {
		return err
	}
	p.cmd, p.exited = cmd, exited
	return nil
}

// wrap puts a program into p.dir that runs the one in a root file system of another
// release: with that one's loader and libraries.
func (p *process) wrap() error {
	if p.of.name == "minio" { // which needs nothing else
		return os.Symlink(filepath.Join(p.files, "usr/bin/minio"), filepath.Join(p.dir, "bin", "minio"))
	}
	loaders, err := filepath.Glob(filepath.Join(p.files, "lib*", "ld-linux*.so.*"))
	libraries, err2 := filepath.Glob(filepath.Join(p.files, "usr/lib/*-linux-gnu*"))
	if err != nil || err2 != nil || len(loaders) == 0 || len(libraries) == 0 {
		return fmt.Errorf("%s has no loader or no libraries", p.files)
	}
	text := "#!/bin/sh\n[ \"$1\" != --no-defaults ] || shift\nexec " + quoted(loaders[0]) + " --library-path " + quoted(libraries[0]) + " " +
		quoted(filepath.Join(p.files, "usr/sbin/mysqld")) + " --no-defaults --basedir=" + quoted(filepath.Join(p.files, "usr")) +
		" --plugin-dir=" + quoted(filepath.Join(p.files, "usr/lib/mysql/plugin")) + " \"$@\"\n"
	return os.WriteFile(filepath.Join(p.dir, "bin", "mysqld"), []byte(text), 0o700)
}

// quoted is text as a word of the shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

func (p *process) kill() error {
	err := p.cmd.Process.Kill()
	<-p.exited
	if errors.Is(err, os.ErrProcessDone) { // it was on its way out already
		return nil
	}
	return err
}

func (p *process) ended() bool {
	if p.cmd == nil {
		return true
	}
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

func (p *process) log() string { return p.output.String() }

func (p *process) how() string { return "as a process" }

func (p *process) remove() {
	if !p.ended() {
		_ = p.kill()
	}
	if p.dir != "" {
		_ = os.RemoveAll(p.dir)
	}
	if p.hold != nil {
		p.hold.Close()
	}
}

// logTail keeps the end of what a server prints.
type logTail struct {
	mu   sync.Mutex
	text []byte
}

const logKept = 64 << 10

func (l *logTail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	if extra := len(l.text) - logKept; extra > 0 {
		l.text = bytes.Clone(l.text[extra:])
	}
	return len(b), nil
}

func (l *logTail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return lastLines(string(l.text), 30)
}
