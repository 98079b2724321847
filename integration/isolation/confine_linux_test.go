package isolation

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/run"
)

// confinable reports, without the code that is tested, whether the system lets this
// user make the namespaces of a confined process.
var confinable = sync.OnceValue(func() bool {
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET}
	return cmd.Run() == nil
})

// copyOfProgram is where the plugin's program lies in the host's private directory.
func (s *setup) copyOfProgram(private string) string {
	s.Helper()
	lock, err := host.ReadLockfile(filepath.Join(s.plugins, host.LockName))
	if err != nil {
		s.Fatal(err)
	}
	entry, _ := lock.Find(thirdParty)
	return filepath.Join(private, "programs", entry.SHA256, "program")
}

// see asks a plugin what its process sees; pid is its process here.
func (s *setup) see(with spying) (see report, pid int) {
	s.Helper()
	text, err := json.Marshal(with)
	if err != nil {
		s.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		s.Fatal(err)
	}
	set := settings{}
	for name, value := range fields {
		if value == nil {
			continue
		}
		set[strings.ToLower(name)] = value
	}
	_, f := s.execute(s.Context(), s.planOf("source", "spy", set), func(e run.Event) {
		if n := pidOf(e); n != 0 {
			pid = n
		}
	})
	if f == nil || f.Code != "spy.report" {
		s.Fatalf("got %+v", f)
	}
	if err := json.Unmarshal([]byte(f.Details["report"]), &see); err != nil {
		s.Fatal(err)
	}
	return see, pid
}

// services listen on this machine.
func services(t *testing.T) spying {
	t.Helper()
	listen := func(network, address string) string {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				conn.Close()
			}
		}()
		return l.Addr().String()
	}
	dir, err := os.MkdirTemp("/tmp", "cs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return spying{
		Address: listen("tcp", "127.0.0.1:0"), Resolver: resolver(t),
		Abstract: listen("unix", fmt.Sprintf("@cipherstream-test-%d", os.Getpid())), Socket: listen("unix", filepath.Join(dir, "s")),
	}
}

// resolver is a DNS server that knows one address for every name (RFC 1035).
func resolver(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		query := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(query)
			if err != nil {
				return
			}
			end := 12 // of the question
			for end < n && query[end] != 0 {
				end += 1 + int(query[end])
			}
			if end += 5; end > n {
				continue
			}
			answer := slices.Clone(query[:end])
			binary.BigEndian.PutUint16(answer[2:], 0x8180) // a response without an error
			clear(answer[4:12])
			answer[5] = 1
			if query[end-3] == 1 { // A
				answer[7] = 1
				answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7)
			}
			_, _ = conn.WriteTo(answer, from) // nobody waits any more
		}
	}()
	return conn.LocalAddr().String()
}

// TestNetwork: a plugin has the network when the lock file grants it, and only then.
func TestNetwork(t *testing.T) {
	with := services(t)
	for _, granted := range []bool{false, true} {
		t.Run(fmt.Sprint(granted), func(t *testing.T) {
			s := newSetup(t, host.Config{}, granted)
			see, _ := s.see(with)
			open := granted || !confinable()
			if (see.Dial == "") != open || (see.Resolve == "") != open || (see.DialAbstract == "") != open || (len(see.Interfaces) > 0) != open {
				t.Errorf("granted %v, confinable %v: %+v", granted, confinable(), see)
			}
			if (see.DialSocket == "") != !confinable() {
				t.Errorf("a socket with a path: %s", see.DialSocket)
			}
			if !open && !strings.Contains(see.Dial, "network is unreachable") {
				t.Errorf("dial: %s", see.Dial)
			}
			s.said(granted)
		})
	}
}

// said holds that Survey and the log tell how the plugin is kept apart.
func (s *setup) said(granted bool) {
	s.Helper()
	found, err := s.host.Survey(s.Context())
	if err != nil || len(found) != 2 || found[1].Err != nil {
		s.Fatalf("%+v, %v", found, err)
	}
	if !reflect.DeepEqual(found[0].Offer.Isolation, host.Isolation{}) {
		s.Errorf("the first party's: %+v", found[0].Offer.Isolation)
	}
	isolation, log := found[1].Offer.Isolation, s.log.String()
	if isolation.Confined != confinable() || isolation.Network != granted || (isolation.Reason == "") != confinable() {
		s.Errorf("isolation: %+v", isolation)
	}
	want := map[[2]bool]string{{true, false}: "confined, without network", {true, true}: "confined, with the network"}[[2]bool{confinable(), granted}]
	want += ", with " + s.out + ":rw"
	if !confinable() {
		want = "not confined: files, network, processes, memory, because " + isolation.Reason
		if granted {
			want = "not confined: files, processes, memory, because " + isolation.Reason
		}
	}
	if isolation.String() != want {
		s.Errorf("isolation: %q", isolation)
	}
	warnings := 0
	if !confinable() {
		warnings = 1
	}
	if n := strings.Count(log, `level=WARN msg="plugin \"rogue\" runs unconfined, because the system `); n != warnings {
		s.Errorf("%d warnings:\n%s", n, log)
	}
	if leaks := strings.Contains(log, "it can reach the network, which plugins.lock does not grant"); leaks != (warnings == 1 && !granted) {
		s.Errorf("the warning about the network:\n%s", log)
	}
}

// TestConfinement: what a third-party process is given, and what it sees of others.
func TestConfinement(t *testing.T) {
	const marker = "CIPHERSTREAM_TEST_SECRET=hunter2"
	for _, granted := range []bool{false, true} {
		t.Run(fmt.Sprint(granted), func(t *testing.T) {
			s := newSetup(t, host.Config{}, granted)
			// The host's environment holds a secret, as another of its processes does.
			other := exec.Command("sleep", "600")
			other.Env = []string{marker}
			if err := other.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = other.Process.Kill()
				_ = other.Wait()
			}()
			see, pid := s.see(spying{Marker: marker})
			private := filepath.Dir(see.Directory)
			want := report{
				PID: 1, Group: 1, UID: os.Getuid(), Dial: "not tried", DialAbstract: "not tried", DialSocket: "not tried", Resolve: "not tried",
				NoNewPrivs: 1, Processors: runtime.NumCPU(), GOMAXPROCS: runtime.NumCPU(),
				Directory: see.Directory, Temp: see.Directory, Program: s.copyOfProgram(private),
				Interfaces: see.Interfaces, Inherited: []string{"0 /dev/null", "1 pipe", "2 pipe", "3 pipe"},
			}
			if !confinable() {
				want.PID, want.Group, want.Environments = pid, pid, see.Environments
			}
			if !reflect.DeepEqual(see, want) {
				t.Errorf("it sees\n%+v, want\n%+v", see, want)
			}
			if filepath.Dir(filepath.Dir(see.Directory)) != s.tmp {
				t.Errorf("it works in %s", see.Directory)
			}
			if _, err := os.Stat(see.Directory); !os.IsNotExist(err) {
				t.Errorf("its directory is still there: %v", err)
			}
		})
	}
}

// TestCores: a plugin uses no more cores than it may, and the host all of its own.
func TestCores(t *testing.T) {
	before := runtime.NumCPU()
	s := newSetup(t, host.Config{CPUs: 1}, false)
	see, _ := s.see(spying{})
	if see.Processors != 1 || see.GOMAXPROCS != 1 {
		t.Errorf("it uses %d cores, and Go %d", see.Processors, see.GOMAXPROCS)
	}
	var seen []string
	for range 2 {
		p, err := s.host.Start(t.Context(), thirdParty)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, statusOf(t, p.PID(), "Cpus_allowed_list"))
		p.Close()
	}
	if before > 1 && seen[0] == seen[1] {
		t.Errorf("all processes are on core %s", seen[0])
	}
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(os.Getpid(), &set); err != nil || set.Count() != before {
		t.Errorf("the host has %d of its %d cores: %v", set.Count(), before, err)
	}
	for _, task := range names(t, "/proc/self/task") {
		text, err := os.ReadFile("/proc/self/task/" + task + "/status")
		if err == nil && strings.Contains(string(text), "NoNewPrivs:\t1") && statusOf(t, os.Getpid(), "NoNewPrivs") == "0" {
			t.Errorf("thread %s of the host is restrained after its plugin has ended", task)
		}
	}
}

// envLimit is set where a process runs under such a limit.
const envLimit = "CIPHERSTREAM_TEST_LIMIT"

// asNobody runs a test of this program again as a user without rights; with limit, a
// sysctl of namespaces (namespaces(7)), where none of these can be made.
func asNobody(t *testing.T, test, limit string) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "cs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	copySelf(t, filepath.Join(dir, "tests")) // it gets another owner
	arguments := []string{"-test.run", "^" + test + "$", "-test.v", "-test.timeout", "2m"}
	cmd := exec.Command(filepath.Join(dir, "tests"), arguments...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if os.Getuid() == 0 && limit == "" {
		const nobody = 65534
		for _, path := range []string{dir, filepath.Join(dir, "tests")} {
			if err := os.Chown(path, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	if limit != "" {
		cmd.Env = append(cmd.Env, envLimit+"="+limit)
		// A user namespace may bound how many are made below it.
		cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", `echo 0 >/proc/sys/user/` + limit + ` && exec "$0" "$@"`}, cmd.Args...)
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		id := syscall.SysProcIDMap{ContainerID: 0, HostID: os.Getuid(), Size: 1}
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{id}
		id.HostID = os.Getgid()
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{id}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+test) {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestUnprivileged: the same for a user without rights.
func TestUnprivileged(t *testing.T) {
	for _, test := range []string{"TestNetwork", "TestConfinement", "TestEscapes", "TestGoodRogue", "TestLockedDirectory", "TestHostDies"} {
		t.Run(test, func(t *testing.T) { asNobody(t, test, "") })
	}
}

// TestUnconfinable: where the system makes no namespaces, plugins run with a warning,
// or not at all.
func TestUnconfinable(t *testing.T) {
	if !confinable() {
		// This process is in such a system already.
		TestStrict(t)
		return
	}
	for _, test := range []string{"TestNetwork", "TestConfinement", "TestStrict", "TestChild", "TestHostDies"} {
		t.Run(test, func(t *testing.T) { asNobody(t, test, "max_user_namespaces") })
	}
}

// TestStrict: no plugin is started that cannot be confined.
func TestStrict(t *testing.T) {
	s := newSetup(t, host.Config{StrictIsolation: true}, false)
	p, err := s.host.Start(t.Context(), thirdParty)
	if confinable() {
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
		return
	}
	s.refused(err)
}

func (s *setup) refused(err error) {
	s.Helper()
	const says = `plugin.isolation: plugin "rogue" is not started: it would not be confined, because the system `
	if err == nil || !strings.HasPrefix(err.Error(), says) {
		s.Errorf("got %v", err)
	}
	if left := s.processes(); len(left) > 0 {
		s.Errorf("it was started: %v", left)
	}
}
