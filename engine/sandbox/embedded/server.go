//go:build gms_pure_go

package embedded

import (
	"context"
	"crypto/rand"
	"net/url"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/sandbox"
	"github.com/cipherstream/cipherstream/sdk/fault"
	sqle "github.com/dolthub/go-mysql-server"
	"github.com/dolthub/go-mysql-server/memory"
	"github.com/dolthub/go-mysql-server/server"
	"github.com/dolthub/go-mysql-server/sql"
	"github.com/dolthub/go-mysql-server/sql/types"
)

// The database and the user of the embedded server.
const (
	databaseName = "practice"
	userName     = "sandbox"
)

// Server is a running embedded server. The practice's tables are read-only and
// take no memory: their rows are generated as they are read. Some change by
// themselves where that is asked for. Other tables can be
// created; they live in memory until Close.
type Server struct {
	addr      string
	password  string
	engine    *sqle.Engine
	server    *server.Server
	conns     *trackingListener
	accepting chan struct{} // closed when the accept loop has ended
	ending    chan struct{} // closed by Close
	living    sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

// generatedKeys is a variable of MySQL 8.0.30 and later that the library does not know.
const generatedKeys = "show_gipk_in_create_table_and_information_schema"

const noDirectory = "/nonexistent/cipherstream"

// Start starts an embedded server on loopback and returns when it accepts
// connections. It runs until Close; ctx bounds only the start.
//
// It speaks MySQL's protocol, text and binary, without TLS, with
// mysql_native_password. It returns a procedure's last result set only, holding
// it in memory first.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	defs, err := sandbox.ReadDefinitions(cfg.SQL)
	if err != nil {
		return nil, err
	}
	tables, err := sandbox.Tables(cfg.Options)
	if err != nil {
		return nil, err
	}
	var living *sandbox.Living
	if cfg.Changes > 0 {
		living = sandbox.Enliven(tables, cfg.Options)
	}
	routeLibraryLog(cfg.Log)

	// Nobody who connects may read or write files of this machine: LOAD_FILE, LOAD
	// DATA and INTO OUTFILE are confined to a directory that does not exist.
	// Nor is a list cut: a procedure cannot lift that limit here. A session of the mysql source sets all that it pins
	// at once only where the server knows each of them, as MySQL 8.0.30 does.
	sql.SystemVariables.AddSystemVariables([]sql.SystemVariable{&sql.MysqlSystemVariable{
		Name: generatedKeys, Scope: sql.GetMysqlScope(sql.SystemVariableScope_Both), Dynamic: true,
		Type: types.NewSystemBoolType(generatedKeys), Default: int8(1),
	}})
	if err := sql.SystemVariables.AssignValues(map[string]any{
		"secure_file_priv": noDirectory, "group_concat_max_len": uint64(1 << 30),
	}); err != nil {
		return nil, startFault("the server refused its configuration: %w", err)
	}
	db := memory.NewDatabase(databaseName)
	provider := memory.NewDBProvider(db)
	engine := sqle.NewDefault(provider)
	if err := define(ctx, engine, provider, db, defs, tables); err != nil {
		_ = engine.Close()
		return nil, err
	}

	addr := cfg.Addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	listener, err := listenLoopback(ctx, addr)
	if err != nil {
		_ = engine.Close()
		return nil, err
	}
	s := &Server{
		addr: listener.Addr().String(), password: rand.Text(),
		engine: engine, conns: listener, accepting: make(chan struct{}), ending: make(chan struct{}),
	}
	users := engine.Analyzer.Catalog.MySQLDb
	editor := users.Editor()
	users.AddSuperUser(editor, userName, "%", s.password)
	editor.Close()

	s.server, err = server.NewServer(
		server.Config{Protocol: "tcp", Address: s.addr, Listener: listener},
		engine, sql.NewContext, memory.NewSessionBuilder(provider), nil)
	if err != nil {
		_ = listener.Close()
		_ = engine.Close()
		return nil, startFault("the server refused its configuration: %w", err)
	}
	go func() {
		defer close(s.accepting)
		_ = s.server.Start() // returns nil when the listener is closed
	}()
	if living != nil {
		s.living.Go(func() { s.change(living, cfg.Changes) })
	}
	return s, nil
}

// change makes rows change until Close.
func (s *Server) change(living *sandbox.Living, every time.Duration) {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		select {
		case at := <-ticks.C:
			living.Change(at.UTC())
		case <-s.ending:
			return
		}
	}
}

// DSN is the connection URL of the practice database,
// mysql://sandbox:password@127.0.0.1:port/practice?tls=disabled, with a password
// made at random by Start.
func (s *Server) DSN() string {
	u := url.URL{
		Scheme: "mysql", User: url.UserPassword(userName, s.password),
		Host: s.addr, Path: "/" + databaseName, RawQuery: "tls=disabled",
	}
	return u.String()
}

// Close stops accepting, ends every query, cuts every connection, and returns
// when none is served any more. Later calls return what the first one did.
func (s *Server) Close() error {
	s.closeOnce.Do(func() {
		close(s.ending)
		s.living.Wait()
		s.closeErr = s.server.Close()
		<-s.accepting
		idle := s.conns.cutAll()
		s.endQueries()
		// A command read just before its connection was cut may start a query now.
		again := time.NewTicker(20 * time.Millisecond)
		defer again.Stop()
		for waiting := true; waiting; {
			select {
			case <-idle:
				waiting = false
			case <-again.C:
				s.endQueries()
			}
		}
		if err := s.engine.Close(); s.closeErr == nil {
			s.closeErr = err
		}
	})
	return s.closeErr
}

func (s *Server) endQueries() {
	for _, p := range s.engine.ProcessList.Processes() {
		s.engine.ProcessList.Kill(p.Connection)
	}
}

// define runs the practice's SQL and puts the generated tables in the place of
// the empty ones.
func define(ctx context.Context, engine *sqle.Engine, provider *memory.DbProvider, db *memory.Database,
	defs sandbox.Definitions, tables []sandbox.Table) error {
	session := memory.NewSession(sql.NewBaseSession(), provider)
	sqlCtx := sql.NewContext(ctx, sql.WithSession(session))
	sqlCtx.SetCurrentDatabase(databaseName)
	for _, group := range [][]sandbox.Definition{defs.Tables, defs.Keys, defs.Procedures} {
		for _, def := range group {
			_, rows, _, err := engine.Query(sqlCtx, def.Statement)
			if err == nil {
				_, err = sql.RowIterToRows(sqlCtx, rows)
			}
			if err != nil {
				return startFault("creating %s: %w", def.Name, err)
			}
		}
	}
	for i := range tables {
		empty, ok := db.Tables()[tables[i].Name].(*memory.Table)
		if !ok {
			return sqlFault("schema.sql does not create table %s", tables[i].Name)
		}
		table, err := newGeneratedTable(sqlCtx, empty, &tables[i])
		if err != nil {
			return err
		}
		db.AddTable(tables[i].Name, table)
	}
	return nil
}

func sqlFault(format string, args ...any) *fault.Fault {
	return fault.New(sandbox.CodeSQL, fault.Internal, "the practice database's SQL: "+format, args...)
}

func startFault(format string, args ...any) *fault.Fault {
	return fault.New(sandbox.CodeStart, fault.Internal, "starting the sandbox: "+format, args...)
}
