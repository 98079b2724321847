package host

import (
	"context"

	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// discreet wraps a process and takes the run's secrets out of its faults, events and receipts. The host hands out no
// process without it, the one in the host's own process included.
type discreet struct {
	Process
	redaction *Redaction
}

func (d *discreet) Open(ctx context.Context, req *pb.OpenRequest, secrets []string) error {
	d.redaction = NewRedaction(secrets)
	return d.redaction.Fault(d.Process.Open(ctx, req, secrets))
}

func (d *discreet) Start(ctx context.Context, handle func(*pb.Event)) error {
	return d.redaction.Fault(d.Process.Start(ctx, func(e *pb.Event) {
		d.clean(e)
		handle(e)
	}))
}

func (d *discreet) Commit(ctx context.Context) (stage.Receipt, error) {
	receipt, err := d.Process.Commit(ctx)
	return d.redaction.Receipt(receipt), d.redaction.Fault(err)
}

// clean removes secrets from an event.
func (d *discreet) clean(e *pb.Event) {
	r := d.redaction
	d.cleanAccount(e.Account)
	switch kind := e.Kind.(type) {
	case *pb.Event_Opened:
		for _, c := range kind.Opened.Columns {
			c.Name, c.Type, c.SourceType = r.Text(c.Name), r.Text(c.Type), r.Text(c.SourceType)
		}
	case *pb.Event_Checkpoint:
		kind.Checkpoint.Position = r.Text(kind.Checkpoint.Position)
	case *pb.Event_Log:
		l := kind.Log
		l.Message, l.Stage, l.Attributes = r.Text(l.Message), r.Text(l.Stage), r.Map(l.Attributes)
	case *pb.Event_Prepared:
		d.cleanAccount(kind.Prepared.GetAccount())
	case *pb.Event_Finished:
		d.cleanAccount(kind.Finished)
	case *pb.Event_Announced:
		if of := kind.Announced.GetResource(); of != nil {
			of.Name, of.Remedy = r.Text(of.Name), r.Text(of.Remedy)
		}
	}
}

// cleanAccount removes secrets from an account, which may be nil.
func (d *discreet) cleanAccount(f *pb.Finished) {
	if r := d.redaction; f != nil {
		f.Counters, f.Facts = r.Counters(f.Counters), r.Map(f.Facts)
		if m := f.Media; m != nil {
			m.Type, m.Extension, m.ContentEncoding = r.Text(m.Type), r.Text(m.Extension), r.Text(m.ContentEncoding)
		}
	}
}
