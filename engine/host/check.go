package host

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cipherstream/cipherstream/sdk/control"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// checkTimeout bounds a check that looks at what a stage reaches. Stages have limits of
// their own for that, which say more.
const checkTimeout = 5 * time.Minute

func (l *local) Check(ctx context.Context, req *pb.CheckRequest, _ []string) (*pb.CheckResponse, error) {
	return l.session.Check(ctx, req), nil
}

func (r *remote) Check(ctx context.Context, req *pb.CheckRequest, secrets []string) (*pb.CheckResponse, error) {
	r.log.redact(secrets)
	var cancel context.CancelFunc
	if req.Connect {
		ctx, cancel = context.WithTimeoutCause(ctx, checkTimeout,
			fault.New(codeUnresponsive, fault.Plugin, "plugin %q did not check its stage within %s", r.plugin, checkTimeout))
	} else {
		ctx, cancel = r.answerInTime(ctx)
	}
	defer cancel()
	req.Dir = r.dir
	resp, err := r.rpc.Check(ctx, req)
	if status.Code(err) == codes.Unimplemented {
		return &pb.CheckResponse{Findings: []*pb.Finding{{
			Level: string(stage.LevelUnchecked),
			Fault: control.FaultToProto(fault.New(stage.CodeUnchecked, fault.Usage, "plugin %q cannot check its stages before they run", r.plugin)),
		}}}, nil
	}
	if err != nil {
		return nil, r.broken(ctx, err)
	}
	for _, f := range resp.Findings {
		if wrong := control.FaultFromProto(f.Fault); wrong != nil {
			f.Fault = control.FaultToProto(r.explainDenied(wrong))
		}
	}
	return resp, nil
}

func (d *discreet) Check(ctx context.Context, req *pb.CheckRequest, secrets []string) (*pb.CheckResponse, error) {
	redaction := NewRedaction(secrets)
	resp, err := d.Process.Check(ctx, req, secrets)
	if err != nil {
		return nil, redaction.Fault(err)
	}
	for _, f := range resp.Findings {
		if wrong := control.FaultFromProto(f.Fault); wrong != nil {
			f.Fault = control.FaultToProto(redaction.Fault(wrong))
		}
	}
	return resp, nil
}
