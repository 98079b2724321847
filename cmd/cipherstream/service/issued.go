package service

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
	"github.com/cipherstream/cipherstream/engine/service/customer"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// undoTime is how long a key that could not be shown may take to end, also where the command was interrupted.
const undoTime = 10 * time.Second

// checkShown refuses to make a key that nobody would see: it is shown once, on standard output.
func (a *app) checkShown() error {
	return a.CheckOutput("the key", "it is shown once: let standard output go to a file, a pipe or a terminal")
}

// showOnce shows a key, the one time that it is there, as JSON or as write has it. One whose text could not be written is
// nobody's, and so end ends it; byHand is the command that does the same, for when it could not be ended.
func (a *app) showOnce(ctx context.Context, key any, write func(io.Writer) error, end func(context.Context) error, byHand string) error {
	err := a.Print(func(out io.Writer) error {
		if a.JSON {
			return terminal.WriteJSON(out, key)
		}
		return write(out)
	})
	if err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	if undo := end(ctx); undo != nil {
		return fault.New(terminal.CodeOutput, fault.Sink, "a key was made that could be neither shown (%s) nor ended (%s)",
			fault.From(err).Message, fault.From(undo).Message).
			WithHint("nobody has it, and it still works: end it with %s", byHand)
	}
	return err
}

// showIssued is showOnce for a bearer key. Rotated is the one in whose place it was made, or empty.
func (a *app) showIssued(ctx context.Context, m revoker, key customer.IssuedKey, rotated string) error {
	err := a.showOnce(ctx, key, func(out io.Writer) error {
		_, err := fmt.Fprintf(out, "%s\n\nThis is key %s, shown once: it cannot be had again.\n", key.Text, key.ID)
		return err
	}, func(ctx context.Context) error {
		_, err := m.RevokeKey(ctx, key.ID)
		return err
	}, "cipherstream key revoke "+key.ID)
	if f := fault.From(err); err != nil && rotated != "" && f.Code == terminal.CodeOutput {
		return fault.New(f.Code, fault.Sink, "%s; the key %s, which ends after the grace, has none in its place", f.Message, rotated).
			WithHint("let standard output go where there is room, and make another key with cipherstream key create")
	}
	return err
}

// revoker ends bearer keys.
type revoker interface {
	RevokeKey(ctx context.Context, id string) (customer.KeyInfo, error)
}
