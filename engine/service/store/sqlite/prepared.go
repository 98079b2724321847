package sqlite

import (
	"context"
	"database/sql"
	"errors"
)

// prepared is a connection that compiles each statement once. Those of a record are few, and some have fifty columns: to
// compile them anew takes longer than to run them. It is used by one goroutine at a time.
type prepared struct {
	*sql.Conn
	statements map[string]*sql.Stmt
}

// mostPrepared bounds how many statements are kept. Their texts differ by how many values they name, too.
const mostPrepared = 200

func prepare(conn *sql.Conn) *prepared { return &prepared{conn, map[string]*sql.Stmt{}} }

// statement is a statement compiled; nil where as many as may be are kept.
func (p *prepared) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	if s := p.statements[text]; s != nil || len(p.statements) >= mostPrepared {
		return s, nil
	}
	s, err := p.PrepareContext(ctx, text)
	if err == nil {
		p.statements[text] = s
	}
	return s, err
}

func (p *prepared) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	s, err := p.statement(ctx, text)
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return p.Conn.ExecContext(ctx, text, args...)
	}
	return s.ExecContext(ctx, args...)
}

func (p *prepared) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	s, err := p.statement(ctx, text)
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return p.Conn.QueryContext(ctx, text, args...)
	}
	return s.QueryContext(ctx, args...)
}

func (p *prepared) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	if s, err := p.statement(ctx, text); err == nil && s != nil {
		return s.QueryRowContext(ctx, args...)
	}
	return p.Conn.QueryRowContext(ctx, text, args...) // which has the error, too
}

// Close closes the statements and the connection.
func (p *prepared) Close() error {
	var errs []error
	for _, s := range p.statements {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, p.Conn.Close())...)
}
