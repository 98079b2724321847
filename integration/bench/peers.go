package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cipherstream/cipherstream/integration/bench/values"
	"github.com/cipherstream/cipherstream/integration/node"
	"github.com/cipherstream/cipherstream/integration/python"
)

//go:embed peers/*.py peers/node/*.js peers/node/*.json peers/node/.npmrc
var peerPrograms embed.FS

// valuesName is the name by which -subjects chooses the table of values.
const valuesName = "values"

// trapTable is the table that the values are read from.
const trapTable = "traps"

// peer is a program that exports a table.
type peer struct {
	name, what string
	formats    []string
	// missing is why it is not to be had; empty where it is.
	missing string
	// command exports columns of a table to a file, * all of them. The file may be a folder, for a program that wants one.
	command func(table, columns, format, file string) *exec.Cmd
	// whole says that it exports tables, and no choice of columns.
	whole bool
	// valuesOnly says that its time is that of another one.
	valuesOnly bool
}

// peersBench measures peers.
type peersBench struct {
	*bench
	folder string // of the programs
	peers  []peer
	table  string // what the times are of
}

// peerResult is a peer and format with its runs, or why it has none.
type peerResult struct {
	peer    peer
	format  string
	runs    []usage
	bytes   int64
	failure string
}

// verdictOf is what became of the values in an output.
type verdictOf struct {
	peer   peer
	format string
	counts []values.Count
	why    string // the first error
}

// runPeers measures peers beside the program: times, and values.
func (b *bench) runPeers(ctx context.Context) error {
	p := &peersBench{bench: b, folder: filepath.Join(b.dir, "peers"), table: "appointment"}
	if err := p.prepare(ctx); err != nil {
		return err
	}
	if err := b.countColumns(); err != nil {
		return err
	}
	var results []*peerResult
	for _, one := range p.peers {
		if !one.valuesOnly && b.subjectMatches(one.name) || one.name == client {
			for _, format := range one.formats {
				results = append(results, &peerResult{peer: one, format: format, failure: one.missing})
			}
		}
	}
	if slices.ContainsFunc(results, func(r *peerResult) bool { return r.peer.name != client }) {
		if err := p.rounds(ctx, results); err != nil {
			return err
		}
	} else {
		results = nil
	}
	verdicts, err := p.judge(ctx)
	if err != nil {
		return err
	}
	return p.report(os.Stdout, results, verdicts)
}

// countColumns asks how many columns the table has.
func (b *bench) countColumns() (err error) {
	b.columns, err = strconv.Atoi(strings.TrimSpace(b.server.Query("SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'appointment'")))
	return err
}

// prepare writes the programs, and finds out which peers can be had.
func (p *peersBench) prepare(ctx context.Context) error {
	files, err := fs.Sub(peerPrograms, "peers")
	if err == nil {
		err = os.CopyFS(p.folder, files)
	}
	if err != nil {
		return err
	}
	secret := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(p.server.Password())
	defaults := fmt.Sprintf("[client]\nuser=root\npassword=\"%s\"\n", secret)
	if err := os.WriteFile(filepath.Join(p.folder, "mydumper.cnf"), []byte(defaults), 0o600); err != nil {
		return err
	}
	plain := filepath.Join(p.dir, "plain")
	if err := build(ctx, plain, "integration/bench/peers/plain"); err != nil {
		return err
	}
	reason := func(err error) string {
		if err == nil {
			return ""
		}
		return "not to be had: " + p.oneLine(err.Error())
	}
	frames, framesErr := python.Peers()
	duck, duckErr := python.DuckDB()
	modules, nodeErr := "", node.Find()
	if nodeErr == nil {
		modules, nodeErr = node.Modules(filepath.Join(p.folder, "node"))
	}
	_, dumpErr := exec.LookPath("mariadb-dump")
	_, mydumperErr := exec.LookPath("mydumper")
	script := func(interpreter, name string) func(table, columns, format, file string) *exec.Cmd {
		return func(table, columns, format, file string) *exec.Cmd {
			return exec.Command(interpreter, filepath.Join(p.folder, name), table, columns, format, file)
		}
	}
	all, text := []string{"ndjson", "csv", "parquet"}, []string{"ndjson", "csv"}
	p.peers = []peer{
		{name: client, what: "`mariadb --quick --batch -N`, rows thrown away", formats: []string{"–"}, command: p.runOfficial},
		{name: "cipherstream", what: "`run custom_table`", formats: all, command: p.runOurs()},
		{name: "cipherstream, zero_dates=text", formats: all, command: p.runOurs("-p", "zero_dates=text"), valuesOnly: true},
		{name: "connectorx", what: "into polars, which writes", formats: all, missing: reason(framesErr), command: script(frames, "connectorx_polars.py")},
		{name: "pandas", what: "by chunks, SQLAlchemy, PyMySQL", formats: all, missing: reason(framesErr), command: script(frames, "pandas_chunks.py")},
		{name: "dlt", what: "sql_database to files", formats: all, missing: reason(framesErr), command: script(frames, "dlt_files.py")},
		{name: "DuckDB", what: "extension for MySQL, `COPY`", formats: all, missing: reason(duckErr), command: script(duck, "duckdb_copy.py")},
		{name: "plain Python", what: "PyMySQL, json, csv", formats: text, missing: reason(framesErr), command: script(frames, "plain.py")},
		{name: "plain Go", what: "database/sql, encoding/json, encoding/csv", formats: text,
			command: func(table, columns, format, file string) *exec.Cmd {
				return exec.Command(plain, table, columns, format, file)
			}},
		{name: "Node.js mysql2", what: "stream of rows", formats: text, missing: reason(nodeErr),
			command: func(table, columns, format, file string) *exec.Cmd {
				cmd := exec.Command("node", filepath.Join(p.folder, "node", "mysql2.js"), table, columns, format, file)
				cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
				return cmd
			}},
		{name: "mariadb-dump", what: "`mariadb-dump --tab`, written by the server", formats: []string{"tab"}, missing: reason(dumpErr), whole: true, command: p.runDump},
		{name: "mydumper", what: "statements of SQL", formats: []string{"sql"}, missing: reason(mydumperErr), whole: true, command: p.runMydumper},
		{name: "sling", formats: all, missing: "not to be had: its Python package only fetches a program from elsewhere, outside the package registries"},
	}
	return nil
}

// runOfficial has the client read a table, and throws away what it prints.
func (p *peersBench) runOfficial(table, columns, _, _ string) *exec.Cmd {
	return exec.Command("mariadb", "--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "--port="+strconv.Itoa(p.server.Port()), "--user=root",
		"--default-character-set=utf8mb4", "--quick", "--batch", "-N", "--execute", "SELECT "+columns+" FROM "+table, p.server.Database())
}

// runOurs has the program export a table.
func (p *peersBench) runOurs(arguments ...string) func(table, columns, format, file string) *exec.Cmd {
	return func(table, columns, format, file string) *exec.Cmd {
		cmd := exec.Command(p.program, append([]string{"run", "custom_table", "-p", "table_name=" + table, "-f", format, "-o", file, "--progress", "none"}, arguments...)...)
		if columns != "*" {
			cmd.Args = append(cmd.Args, "-p", "columns="+columns)
		}
		return cmd
	}
}

func (p *peersBench) runDump(table, _, _, file string) *exec.Cmd {
	return exec.Command("mariadb-dump", "--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "--port="+strconv.Itoa(p.server.Port()), "--user=root",
		"--single-transaction", "--tab="+file, p.server.Database(), table)
}

func (p *peersBench) runMydumper(table, _, _, file string) *exec.Cmd {
	return exec.Command("mydumper", "--defaults-file="+filepath.Join(p.folder, "mydumper.cnf"), "--host=127.0.0.1", "--port="+strconv.Itoa(p.server.Port()),
		"--database="+p.server.Database(), "--tables-list="+table, "--outputdir="+file, "--threads=2", "--verbose=1")
}

// export measures one export. An error of the peer is its text.
func (p *peersBench) export(ctx context.Context, one peer, table, columns, format string) (u usage, file, failure string, err error) {
	file = filepath.Join(p.dir, "peer.out")
	if err := os.RemoveAll(file); err != nil {
		return u, file, "", err
	}
	if one.whole {
		if err := os.Mkdir(file, 0o755); err != nil {
			return u, file, "", err
		}
	}
	cmd := one.command(table, columns, format, file)
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, "CIPHERSTREAM_DSN="+p.server.DSN(p.server.Database()), "MYSQL_PWD="+p.server.Password(),
		"PEER_HOST=127.0.0.1", "PEER_PORT="+strconv.Itoa(p.server.Port()), "PEER_USER=root", "PEER_PASSWORD="+p.server.Password(),
		"PEER_DATABASE="+p.server.Database(), "PYTHONDONTWRITEBYTECODE=1")
	limited, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	u, failed := p.measureCommand(limited, cmd)
	switch {
	case ctx.Err() != nil:
		return u, file, "", errors.New("interrupted")
	case failed != nil:
		return u, file, "refused: " + p.oneLine(failed.Error()), nil
	}
	return u, file, "", nil
}

// oneLine is the end of an error's text, for a cell of a table, without what differs from run to run.
func (p *peersBench) oneLine(s string) string {
	lines := strings.FieldsFunc(strings.TrimSpace(s), func(r rune) bool { return r == '\n' })
	line := ""
	for _, l := range slices.Backward(lines) {
		// Of a program in Python the last line that is none of a list of places.
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "(Background on this error") && !strings.HasPrefix(l, "note:") {
			line = l
			break
		}
	}
	if p.server != nil {
		line = strings.ReplaceAll(line, p.server.Password(), "…")
	}
	line = strings.NewReplacer(p.dir, "…", "|", "¦", "`", "'").Replace(line)
	if runes := []rune(line); len(runes) > 140 {
		line = string(runes[:140]) + "…"
	}
	return line
}

// rounds runs everything once to see whether it works, and then round by round.
func (p *peersBench) rounds(ctx context.Context, results []*peerResult) error {
	for round := range p.bench.rounds + 1 {
		for i := range results {
			r := results[(i+round)%len(results)]
			if r.failure != "" {
				continue
			}
			u, file, failure, err := p.export(ctx, r.peer, p.table, "*", r.format)
			if err != nil {
				return err
			}
			r.failure = failure
			switch {
			case failure != "" || r.peer.name == client:
			case round == 0:
				var rows int64
				if rows, r.bytes, err = countExport(r.format, file); err != nil {
					r.failure = "not readable: " + p.oneLine(err.Error())
				} else if rows != p.rows {
					r.failure = fmt.Sprintf("wrong: %s of %s rows", grouped(rows), grouped(p.rows))
				}
			}
			if r.failure != "" {
				say("%s to %s: %s", r.peer.name, r.format, r.failure)
			} else if round > 0 {
				r.runs = append(r.runs, u)
			}
			if err := os.RemoveAll(file); err != nil {
				return err
			}
		}
		say("round %d of %d", round, p.bench.rounds)
	}
	return nil
}

// countExport counts the rows of an export, and its bytes.
func countExport(format, file string) (rows, size int64, err error) {
	if format != "tab" && format != "sql" {
		info, err := os.Stat(file)
		if err != nil {
			return 0, 0, err
		}
		rows, err = productOf(format).count(file)
		return rows, info.Size(), err
	}
	for _, name := range exported(format, file) {
		text, err := os.ReadFile(name)
		if err != nil {
			return 0, 0, err
		}
		size += int64(len(text))
		for line := range bytes.Lines(text) {
			// A line is a row; of SQL, one that begins with its parenthesis. The appointments have no line ends in them.
			if format == "tab" || bytes.HasPrefix(line, []byte("(")) || bytes.HasPrefix(line, []byte(",(")) || bytes.Contains(line, []byte(" VALUES")) && bytes.Contains(line, []byte("(")) {
				rows++
			}
		}
	}
	return rows, size, nil
}

// exported lists the files with rows that a program for whole tables made in its folder.
func exported(format, folder string) []string {
	pattern := "*.txt"
	if format == "sql" {
		pattern = "*.*.sql"
	}
	names, _ := filepath.Glob(filepath.Join(folder, pattern)) // the pattern is well formed
	return slices.DeleteFunc(names, func(n string) bool { return strings.HasSuffix(n, "-schema.sql") })
}

// judge reads the table of traps with every peer, and holds what came against the client. A peer that refuses the table is
// asked for each column by itself, with the id.
func (p *peersBench) judge(ctx context.Context) (verdicts []verdictOf, err error) {
	if !p.subjectMatches(valuesName) {
		return nil, nil
	}
	p.server.Exec(values.Schema(trapTable))
	truth, err := values.Truth(p.server.Query(values.TruthQuery(trapTable)))
	if err != nil {
		return nil, err
	}
	for _, one := range p.peers {
		if one.name == client {
			continue
		}
		for _, format := range one.formats {
			v := verdictOf{peer: one, format: format, why: one.missing}
			if one.missing == "" {
				if v.counts, v.why, err = p.countsOf(ctx, one, format, truth); err != nil {
					return nil, err
				}
				say("values of %s in %s", one.name, format)
			}
			verdicts = append(verdicts, v)
		}
	}
	return verdicts, nil
}

func (p *peersBench) countsOf(ctx context.Context, one peer, format string, truth values.Table) (counts []values.Count, why string, err error) {
	got, why, err := p.readTraps(ctx, one, format, "*")
	if err != nil {
		return nil, "", err
	}
	if why == "" {
		for _, k := range values.Kinds {
			counts = append(counts, k.Judge(truth, got))
		}
		return counts, "", nil
	}
	for _, k := range values.Kinds {
		failure := why
		if !one.whole {
			if got, failure, err = p.readTraps(ctx, one, format, "id,"+k.Column); err != nil {
				return nil, "", err
			}
		}
		if failure != "" {
			counts = append(counts, values.Count{Refused: values.Rows})
			continue
		}
		counts = append(counts, k.Judge(truth, got))
	}
	return counts, why, nil
}

// readTraps exports columns of the table and reads what came. An output that cannot be read is a failure of the peer.
func (p *peersBench) readTraps(ctx context.Context, one peer, format, columns string) (values.Table, string, error) {
	_, file, failure, err := p.export(ctx, one, trapTable, columns, format)
	defer os.RemoveAll(file)
	if err != nil || failure != "" {
		return nil, failure, err
	}
	rows, err := p.readOutput(ctx, format, file)
	if err != nil {
		return nil, "not readable: " + p.oneLine(err.Error()), nil
	}
	return rows, "", nil
}

func (p *peersBench) readOutput(ctx context.Context, format, file string) (values.Table, error) {
	switch format {
	case "parquet":
		interpreter, err := python.Peers()
		if err != nil {
			return nil, err
		}
		cmd := exec.CommandContext(ctx, interpreter, filepath.Join(p.folder, "read_parquet.py"), file)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("%w: %s", err, stderr.Bytes())
		}
		return values.ReadNDJSON(string(out))
	case "sql":
		return p.restore(file)
	}
	names := []string{file}
	if format == "tab" {
		names = exported(format, file)
	}
	if len(names) != 1 {
		return nil, fmt.Errorf("there are %d files", len(names))
	}
	text, err := os.ReadFile(names[0])
	if err != nil {
		return nil, err
	}
	switch format {
	case "ndjson":
		return values.ReadNDJSON(string(text))
	case "csv":
		return values.ReadCSV(string(text))
	}
	return values.ReadTabs(string(text))
}

// restore runs the statements of a dump in a new database, and asks the client what is there.
func (p *peersBench) restore(folder string) (values.Table, error) {
	database := p.server.NewDatabase()
	schemas, err := filepath.Glob(filepath.Join(folder, "*"+trapTable+"-schema.sql"))
	if err != nil {
		return nil, err
	}
	for _, name := range append(schemas, exported("sql", folder)...) {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		cmd := p.server.Client(database)
		cmd.Stdin = f
		out, err := cmd.CombinedOutput()
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("%w: %s", err, out)
		}
	}
	cmd := p.server.Client("--batch", "-N", "--execute", values.TruthQuery(trapTable), database)
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	return values.Truth(string(out))
}

// report prints both tables, in Markdown.
func (p *peersBench) report(w io.Writer, results []*peerResult, verdicts []verdictOf) error {
	var out strings.Builder
	if len(results) > 0 {
		cpuName := processor()
		fmt.Fprintf(&out, "\n%s rows × %d columns of the table %s; medians of %d interleaved rounds of one run.\n"+
			"%d × %s, %s/%s; MariaDB %s on the same machine, everybody by TCP on loopback; files in %s.\n",
			grouped(p.rows), p.columns, p.table, p.bench.rounds, runtime.NumCPU(), cpuName, runtime.GOOS, runtime.GOARCH, p.serverVersion, p.options.output)
		peerTimes(&out, results, p.rows, &p.measured)
	}
	if len(verdicts) > 0 {
		peerValues(&out, verdicts)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// peerTimes prints what the exports took, and which there are none of.
func peerTimes(out *strings.Builder, results []*peerResult, rows int64, kept *figures) {
	fmt.Fprint(out, "\n| peer | output | wall s | lowest–highest | ÷ client | k rows/s | CPU s | ÷ client | server CPU s | memory MiB | output MB |\n"+
		"|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	reference := results[slices.IndexFunc(results, func(r *peerResult) bool { return r.peer.name == client })].runs
	for _, r := range results {
		name := r.peer.name
		if r.peer.what != "" {
			name += ": " + r.peer.what
		}
		if r.failure != "" {
			fmt.Fprintf(out, "| %s | %s | **%s** | | | | | | | | |\n", name, r.format, r.failure)
			continue
		}
		seconds := column(r.runs, wall)
		if r.peer.name != client {
			kept.add(r.peer.name+", "+r.format+": wall ÷ client", ratios(r.runs, reference, wall), 0)
			kept.add(r.peer.name+", "+r.format+": CPU ÷ client", ratios(r.runs, reference, cpu), 0)
		}
		size := ""
		if r.bytes > 0 {
			size = fmt.Sprintf("%.1f", float64(r.bytes)/1e6)
		}
		fmt.Fprintf(out, "| %s | %s | %.2f | %.2f–%.2f | %.2f | %.0f | %.2f | %.2f | %.2f | %s | %s |\n", name, r.format,
			median(seconds), slices.Min(seconds), slices.Max(seconds), median(ratios(r.runs, reference, wall)), float64(rows)/median(seconds)/1000,
			median(column(r.runs, cpu)), median(ratios(r.runs, reference, cpu)), median(column(r.runs, serverCPU)),
			mebibytes(int64(slices.Max(column(r.runs, resident)))), size)
	}
}

// peerValues prints what became of the values, and of which kinds.
func peerValues(out *strings.Builder, verdicts []verdictOf) {
	fmt.Fprintf(out, "\n%d rows × %d kinds of values that exports get wrong, held against the official client by meaning: 1.50 is 1.5, and bytes may be\n"+
		"base64. A peer that refuses the table was asked for each column by itself, and a column that it refuses counts with all its rows.\n", values.Rows, len(values.Kinds))
	fmt.Fprint(out, "\n| peer | output | right | changed silently | refused | dropped | changed: | refused: |\n|---|---|--:|--:|--:|--:|---|---|\n")
	for _, v := range verdicts {
		if v.counts == nil {
			fmt.Fprintf(out, "| %s | %s | **%s** | | | | | |\n", v.peer.name, v.format, v.why)
			continue
		}
		var sum values.Count
		var changed, refused []string
		for i, c := range v.counts {
			sum.Right, sum.Changed, sum.Refused, sum.Dropped = sum.Right+c.Right, sum.Changed+c.Changed, sum.Refused+c.Refused, sum.Dropped+c.Dropped
			if c.Changed > 0 {
				changed = append(changed, fmt.Sprintf("%s %d", values.Kinds[i].Name, c.Changed))
			}
			if c.Refused > 0 {
				refused = append(refused, values.Kinds[i].Name)
			}
		}
		why := strings.Join(refused, ", ")
		if len(refused) == len(values.Kinds) {
			why = "everything: " + v.why
		}
		fmt.Fprintf(out, "| %s | %s | %d | %d | %d | %d | %s | %s |\n", v.peer.name, v.format, sum.Right, sum.Changed, sum.Refused, sum.Dropped,
			strings.Join(changed, ", "), why)
	}
}
