package control

import (
	"bytes"
	"context"

	"github.com/apache/arrow/go/v15/arrow"

	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/stage"
	"github.com/cipherstream/cipherstream/sdk/wire"
)

// Check says what is wrong with one stage before it runs.
func (s *Session) Check(ctx context.Context, req *pb.CheckRequest) *pb.CheckResponse {
	resp := &pb.CheckResponse{}
	wrong := func(err error) *pb.CheckResponse {
		resp.Findings = append(resp.Findings, &pb.Finding{Level: string(stage.LevelWrong), Fault: FaultToProto(err)})
		return resp
	}
	r := req.GetStage()
	definition, ok := s.bundle.Find(stage.Kind(r.GetKind()), r.GetName())
	if !ok {
		return wrong(unknownStage(s.bundle.Name, r))
	}
	columns, err := ColumnsFromProto(req.Columns)
	if err != nil {
		return wrong(err)
	}
	checked := runner.Check(ctx, runner.Stage{ID: r.Id, Definition: definition, Settings: r.Settings}, runner.Given{
		RunID: req.RunId, Dir: req.Dir, Columns: columns, Backward: req.Backward, Media: MediaFromProto(req.Media), Connect: req.Connect,
	})
	for _, f := range checked.Findings {
		resp.Findings = append(resp.Findings, &pb.Finding{Level: string(f.Level), Fault: FaultToProto(f.Fault)})
	}
	if resp.Columns, err = ColumnsToProto(checked.Columns); err != nil {
		return wrong(err)
	}
	resp.Media = MediaToProto(checked.Media)
	return resp
}

func (s *server) Check(ctx context.Context, req *pb.CheckRequest) (*pb.CheckResponse, error) {
	return s.session.Check(ctx, req), nil
}

func unknownStage(plugin string, r *pb.Stage) *fault.Fault {
	return fault.InStage(fault.New("plugin.unknown_stage", fault.Plugin, "plugin %q has no %s called %q", plugin, r.GetKind(), r.GetName()), r.GetId())
}

// ColumnsToProto writes a schema as an Arrow IPC stream without a batch; nil stays nil.
func ColumnsToProto(schema *arrow.Schema) ([]byte, error) {
	if schema == nil {
		return nil, nil
	}
	var b bytes.Buffer
	w, err := wire.NewWriter(&b, schema)
	if err == nil {
		err = w.Close()
	}
	return b.Bytes(), err
}

// ColumnsFromProto reads what ColumnsToProto wrote, or another program.
func ColumnsFromProto(stream []byte) (*arrow.Schema, error) {
	if len(stream) == 0 {
		return nil, nil
	}
	r, err := wire.NewReader(bytes.NewReader(stream))
	if err != nil {
		return nil, fault.New("plugin.contract", fault.Plugin, "the columns of a check are no Arrow stream: %w", err)
	}
	return r.Schema(), nil
}

// MediaToProto makes a message of a media type; nil stays nil.
func MediaToProto(m *stage.Media) *pb.Media {
	if m == nil {
		return nil
	}
	return &pb.Media{Type: m.Type, Extension: m.Extension, ContentEncoding: m.ContentEncoding, Sealed: m.Sealed}
}

// MediaFromProto is the inverse of MediaToProto.
func MediaFromProto(m *pb.Media) *stage.Media {
	if m == nil {
		return nil
	}
	return &stage.Media{Type: m.Type, Extension: m.Extension, ContentEncoding: m.ContentEncoding, Sealed: m.Sealed}
}
