package draft

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	built "github.com/cipherstream/cipherstream/integration/program"
	"github.com/cipherstream/cipherstream/integration/servers"
)

// mostCommands is how many commands the walk has at most: it takes less than ten.
const mostCommands = 9

// walk is what the README has a newcomer type.
func walk(t *testing.T) (commands []string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## A pipeline\n")
	section, _, _ = strings.Cut(section, "\n`init` ") // what stands behind it is what a file looks like
	if !found {
		t.Fatal("the README has no such section")
	}
	for line := range strings.Lines(section) {
		if line, indented := strings.CutPrefix(strings.TrimRight(line, "\n"), "    "); indented {
			commands = append(commands, line)
		}
	}
	if len(commands) < 5 || len(commands) > mostCommands {
		t.Fatalf("the README has the commands %q", commands)
	}
	return commands
}

// newcomer is a person with a home, in which the program is as the README has it put there, and an empty folder.
type newcomer struct {
	*testing.T
	home, extracts, bin string
}

func newNewcomer(t *testing.T) *newcomer {
	t.Helper()
	program, err := built.Path()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	n := &newcomer{t, home, filepath.Join(home, "my extracts"), filepath.Join(home, ".local", "bin")}
	for _, dir := range []string{n.extracts, n.bin} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(program, filepath.Join(n.bin, "cipherstream")); err != nil {
		t.Fatal(err)
	}
	// crontab(1), without a crontab of whoever runs the test: with - it takes the new one whole, and then replaces the
	// old one.
	const crontab = `#!/bin/sh
case $1 in
-l) cat ~/crontab 2>/dev/null || { echo "no crontab for newcomer" >&2; exit 1; } ;;
-) cat >~/crontab.new && mv ~/crontab.new ~/crontab ;;
*) exit 2 ;;
esac
`
	// Beside the system's programs, so that cron's own search path finds neither program.
	if err := os.WriteFile(filepath.Join(n.bin, "crontab"), []byte(crontab), 0o700); err != nil {
		t.Fatal(err)
	}
	return n
}

// types has a shell take lines as a person types them, one after the other until one fails.
func (n *newcomer) types(lines ...string) string {
	n.Helper()
	script := ""
	for _, line := range lines {
		script += line + "\ncode=$?; [ $code = 0 ] || exit $code\n"
	}
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir, cmd.Env = n.extracts, []string{"HOME=" + n.home, "PATH=" + n.bin + ":/usr/bin:/bin"}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		n.Fatalf("%v\n%s\n%s", err, script, out.String())
	}
	return out.String()
}

// cron does the crontab's one line as cron(8) does: by /bin/sh, in the home, with an environment of its own and neither
// a terminal nor an input. It gives the exit code, and what would be mailed.
func (n *newcomer) cron() (code int, mail string) {
	n.Helper()
	table, err := os.ReadFile(filepath.Join(n.home, "crontab"))
	if err != nil {
		n.Fatal(err)
	}
	// An unescaped % would be the end of the line, and what follows it the command's input.
	fields := regexp.MustCompile(`^30 2 \* \* \* ([^%\n]+)\n$`).FindSubmatch(table)
	if fields == nil {
		n.Fatalf("the crontab is\n%s", table)
	}
	cmd := exec.Command("/bin/sh", "-c", string(fields[1]))
	cmd.Dir, cmd.Env = n.home, []string{"HOME=" + n.home, "LOGNAME=newcomer", "PATH=/usr/bin:/bin", "SHELL=/bin/sh"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if _, ended := err.(*exec.ExitError); err != nil && !ended {
		n.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// TestWalk types what the README says, with the URL of a database, and then lets a night and another pass.
func TestWalk(t *testing.T) {
	s := servers.MariaDB(t)
	load(t, s, "rental.sql")
	n := newNewcomer(t)
	commands := walk(t)
	const url = "mysql://user:password@host:3306/database"
	if strings.Count(strings.Join(commands, "\n"), url) != 1 || !strings.Contains(commands[0], url) {
		t.Fatalf("the README has no URL to replace:\n%q", commands)
	}
	commands[0] = strings.Replace(commands[0], url, s.DSN(s.Database()), 1)
	said := n.types(commands...)
	for _, text := range []string{"customer_list", "email looks like an e-mail address, and is masked", "2 passed",
		"fine"} {
		if !strings.Contains(said, text) {
			t.Errorf("the walk does not say %q:\n%s", text, said)
		}
	}
	output := filepath.Join(n.extracts, "customer.csv.gz")
	first := extract(t, output)
	const another = "INSERT INTO customer (first_name, last_name, birth_date, phone, create_date)" +
		" VALUES ('Next', 'Person', '1990-12-24', '4711816', NOW())"
	s.Exec(another)
	// The last command is tonight's run, now.
	if said := n.types(commands[len(commands)-1]); said != "" {
		t.Errorf("tonight's run says %q", said)
	}
	second := extract(t, output)
	s.Exec(another)
	if code, mail := n.cron(); code != 0 || mail != "" {
		t.Errorf("the night's run ended with %d, and mails %q", code, mail)
	}
	third := extract(t, output)
	if strings.Count(first, "\n") != 2 || strings.Count(second, "\n") != 3 || strings.Count(third, "\n") != 4 {
		t.Errorf("the extracts are\n%s%s%s", first, second, third)
	}
	dsn := filepath.Join(n.extracts, "dsn.txt")
	if info, err := os.Stat(dsn); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read the connection URL: %v, %v", info.Mode(), err)
	}
	personal := regexp.MustCompile(`Real|Next|Person|example\.net|4711815|4711816|07-15|12-24`)
	if found := personal.FindString(third); found != "" {
		t.Errorf("%q of a person came out:\n%s", found, third)
	}

	// A table that has become another one is a mistake, which is told, and costs nothing of what is there.
	s.Exec("ALTER TABLE customer DROP COLUMN active")
	if code, mail := n.cron(); code != 2 || !strings.Contains(mail, "error[mysql.unknown_column]") ||
		!strings.Contains(mail, `"active"`) {
		t.Errorf("the night's run of another table ended with %d, and mails %q", code, mail)
	}
	if extract(t, output) != third {
		t.Error("a failed run has changed the extract")
	}
	if left, err := filepath.Glob(filepath.Join(n.extracts, ".*")); err != nil || len(left) > 0 {
		t.Errorf("it leaves %q, %v", left, err)
	}
}

// extract is the text of a file in gzip.
func extract(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
