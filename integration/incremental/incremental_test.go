package incremental

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/integration/program"
	"github.com/cipherstream/cipherstream/integration/servers"
	"github.com/cipherstream/cipherstream/integration/visits"
)

// kills is how many runs are killed, of each server.
var kills = flag.Int("state-kills", 50, "how many runs TestNothingIsLeftOut kills on each server")

func TestMain(m *testing.M) { servers.Main(m) }

const pipeline = `apiVersion: cipherstream/v1
kind: Pipeline
metadata: {name: visits}
spec:
  state: {cursor: updated_at, overlap: 1h}
  stages:
    source: {use: mysql, with: {url: "${secret.dsn}", time_zone: "+00:00", %s}}
    encoder: {use: ndjson}
    sink: {use: stream, with: {to: "${run.output}"}}
  columns:
    - {name: id, type: int64, nullable: false}
    - {name: version, type: int32, nullable: false}
    - {name: updated_at, type: timestamp, nullable: false}
`

const (
	ofTable = `request: {table_name: visit, columns: "id,version,updated_at", allowed_tables: visit}`
	ofQuery = `query: "SELECT id, version, updated_at FROM visit WHERE updated_at >= ? ORDER BY id", args: ["${state.cursor}"]`
)

// practice is a table whose rows change, and the pipeline that follows it.
type practice struct {
	*visits.Table
	dsn     string
	dir     string
	outputs int
}

func newPractice(t *testing.T, db *servers.Server, with string) *practice {
	t.Helper()
	p := &practice{Table: visits.New(t, db.Open(db.Database())), dsn: db.DSN(db.Database()), dir: t.TempDir()}
	if err := os.WriteFile(p.path("visits.yaml"), fmt.Appendf(nil, pipeline, with), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *practice) path(name string) string { return filepath.Join(p.dir, name) }

// kept is the time that is in the file of the state; empty before there is one.
func (p *practice) kept() string {
	p.Helper()
	text, err := os.ReadFile(p.path("visits.state"))
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	var state struct{ Value string }
	if err != nil || json.Unmarshal(text, &state) != nil || state.Value == "" {
		p.Fatalf("the state is %q, %v", text, err)
	}
	return state.Value
}

// command is a run of the pipeline into another output.
func (p *practice) command(args ...string) (cmd *exec.Cmd, output string) {
	p.Helper()
	path, err := program.Path()
	if err != nil {
		p.Fatal(err)
	}
	p.outputs++
	output = p.path(fmt.Sprintf("%d.ndjson", p.outputs))
	cmd = exec.Command(path, append([]string{"run", p.path("visits.yaml"), "--state-file", p.path("visits.state"),
		"-o", output, "--progress", "none"}, args...)...)
	cmd.Env = append(os.Environ(), "CIPHERSTREAM_DSN="+p.dsn)
	cmd.Dir = p.dir
	return cmd, output
}

// run is a run that comes to its end.
func (p *practice) run() (output string, err error) {
	p.Helper()
	cmd, output := p.command()
	if said, err := cmd.CombinedOutput(); err != nil {
		return output, fmt.Errorf("%w: %s", err, said)
	}
	return output, nil
}

// rows are those of an output; none where it was not committed.
func (p *practice) rows(output string) []visits.Row {
	p.Helper()
	text, err := os.ReadFile(output)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		p.Fatal(err)
	}
	return p.Delivered(text)
}

// missing are the rows of the table that no output has as they are.
func (p *practice) missing(seen map[visits.Row]bool) (list []visits.Row, all int) {
	p.Helper()
	rows := p.Rows()
	for _, r := range rows {
		if !seen[r] {
			list = append(list, r)
		}
	}
	return list, len(rows)
}

func eachServer(t *testing.T, test func(t *testing.T, db *servers.Server)) {
	t.Helper()
	t.Run("mysql", func(t *testing.T) { test(t, servers.MySQL(t)) })
	t.Run("mariadb", func(t *testing.T) { test(t, servers.MariaDB(t)) })
}

// TestNothingIsLeftOut: whatever is committed late and whenever runs are killed, the outputs together have every row.
func TestNothingIsLeftOut(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		p := newPractice(t, db, ofTable)
		began := time.Now()
		if _, err := p.run(); err != nil {
			t.Fatal(err)
		}
		usual := time.Since(began)
		seen := map[visits.Row]bool{}
		number, killed, finished, between, read := 0, 0, 0, 0, 0
		round := func(kill bool) {
			p.Pass(p.kept())
			number++
			before := p.kept()
			cmd, output := p.command()
			began := time.Now()
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			p.Pass(p.kept()) // while it runs
			number++
			var err error
			if !kill {
				err = <-ended
			} else {
				// Half of them are killed when the output has just been committed, and others at any moment.
				moment := time.NewTimer(time.Duration(p.Random.Int64N(int64(usual))))
				look := time.NewTicker(100 * time.Microsecond)
				committed := killed%2 == 0
				for waiting := true; waiting; {
					select {
					case err = <-ended:
						waiting = false
					case <-moment.C:
						if !committed {
							_ = cmd.Process.Kill() // it may have ended
						}
					case <-look.C:
						if _, missing := os.Stat(output); committed && missing == nil {
							_ = cmd.Process.Kill()
						}
					}
				}
				moment.Stop()
				look.Stop()
			}
			rows := p.rows(output)
			after := p.kept()
			switch {
			case err == nil:
				finished++
				usual = time.Since(began)
			case !kill:
				t.Fatalf("a run that was not killed: %v", err)
			default:
				killed++
				if rows != nil && after == before {
					between++
				}
			}
			if after != before && rows == nil {
				t.Fatalf("the state went from %s to %s, and there is no output", before, after)
			}
			read += len(rows)
			for _, r := range rows {
				seen[r] = true
			}
		}
		for killed < *kills {
			round(true)
			if number%10 == 0 {
				round(false)
			}
		}
		p.CommitAll(p.kept())
		output, err := p.run()
		if err != nil {
			t.Fatal(err)
		}
		last := p.rows(output)
		for _, r := range last {
			seen[r] = true
		}
		missing, all := p.missing(seen)
		if len(missing) > 0 {
			t.Errorf("%d of %d rows are in no output: %v", len(missing), all, missing[:min(5, len(missing))])
		}
		if p.Below == 0 || len(last) > all/2 {
			t.Errorf("nothing was tried: %d late commits below the state, and the last run read %d of %d rows",
				p.Below, len(last), all)
		}
		t.Logf("%d runs killed, %d of them between output and state, %d came to their end; %d rows in all, %d read, %d transactions committed below the state",
			killed, between, finished, all, read, p.Below)
	})
}

// TestStateNotKept: an output whose state cannot be kept is there, the command fails and says so, and the next run
// repeats its rows. A run that fails keeps nothing, and neither does one that reads no row.
func TestStateNotKept(t *testing.T) {
	eachServer(t, func(t *testing.T, db *servers.Server) {
		for name, with := range map[string]string{"table": ofTable, "query": ofQuery} {
			t.Run(name, func(t *testing.T) {
				p := newPractice(t, db.For(t), with)
				defer db.Exec("DROP TABLE visit")
				if output, err := p.run(); err != nil || len(p.rows(output)) != 0 || p.kept() != "" {
					t.Fatalf("of no rows: %q, %v", p.kept(), err)
				}
				p.Insert(10)
				first, err := p.run()
				if err != nil || len(p.rows(first)) != 10 || p.kept() != "2024-01-01 00:00:00" {
					t.Fatalf("the first run: %q, %v", p.kept(), err)
				}
				p.Now = p.Now.Add(5 * time.Hour)
				p.Insert(5)
				partial := p.path(".visits.state.partial")
				if err := os.MkdirAll(partial, 0o700); err != nil {
					t.Fatal(err)
				}
				for range 2 { // what lies in the overlap is read again, too
					output, err := p.run()
					if err == nil || !strings.Contains(err.Error(), "the output is whole") ||
						len(p.rows(output)) != 15 || p.kept() != "2024-01-01 00:00:00" {
						t.Fatalf("%d rows, state %q, %v", len(p.rows(output)), p.kept(), err)
					}
				}
				if err := os.Remove(partial); err != nil {
					t.Fatal(err)
				}
				cmd, output := p.command("--timeout", "1ms")
				if said, err := cmd.CombinedOutput(); err == nil || p.rows(output) != nil ||
					p.kept() != "2024-01-01 00:00:00" {
					t.Fatalf("a run that fails: %v: %s", err, said)
				}
				if output, err := p.run(); err != nil || len(p.rows(output)) != 15 ||
					p.kept() != "2024-01-01 05:00:00" {
					t.Fatalf("%q, %v", p.kept(), err)
				}
				// What is below the overlap is not.
				if output, err := p.run(); err != nil || len(p.rows(output)) != 5 {
					t.Fatal(err)
				}
			})
		}
	})
}
