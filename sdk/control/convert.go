package control

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk/config"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/peer"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// PeerToProto makes a message of who is expected at a data socket.
func PeerToProto(e peer.Expected) *pb.Peer {
	return &pb.Peer{Pid: int64(e.PID), Hello: e.Hello, Welcome: e.Welcome, PatienceNanoseconds: int64(e.Timeout),
		Memory: e.Memory, MayFinish: e.MayFinish}
}

// PeerFromProto is the inverse of PeerToProto; nobody told is anybody of this user.
func PeerFromProto(m *pb.Peer) peer.Expected {
	return peer.Expected{PID: int(m.GetPid()), Hello: m.GetHello(), Welcome: m.GetWelcome(),
		Timeout: time.Duration(m.GetPatienceNanoseconds()), Memory: m.GetMemory(), MayFinish: m.GetMayFinish()}
}

// FaultToProto makes a message of err's fault; nil stays nil.
func FaultToProto(err error) *pb.Fault {
	f := fault.From(err)
	if f == nil {
		return nil
	}
	return &pb.Fault{
		Code: f.Code, Class: string(f.Class), Message: f.Message, Hint: f.Hint,
		Retryable: f.Retryable, Details: f.Details, Stage: f.Stage,
	}
}

// FaultFromProto is the inverse of FaultToProto.
func FaultFromProto(m *pb.Fault) *fault.Fault {
	if m == nil {
		return nil
	}
	return &fault.Fault{
		Code: m.Code, Class: fault.Class(m.Class), Message: m.Message, Hint: m.Hint,
		Retryable: m.Retryable, Details: m.Details, Stage: m.Stage,
	}
}

// Manifest is what a plugin says about one of its stages: a stage.Definition
// without the means to make it.
type Manifest struct {
	stage.About
	Kind stage.Kind
	Spec *config.Spec
}

// ManifestsOf lists the manifests of a bundle.
func ManifestsOf(b stage.Bundle) []Manifest {
	list := make([]Manifest, len(b.Stages))
	for i, d := range b.Stages {
		list[i] = Manifest{About: d.About, Kind: d.Kind, Spec: d.Spec}
	}
	return list
}

func manifestToProto(m Manifest) (*pb.StageManifest, error) {
	spec, err := json.Marshal(m.Spec)
	if err != nil {
		return nil, err
	}
	return &pb.StageManifest{
		Kind: string(m.Kind), Name: m.Name, Summary: m.Summary, Doc: m.Doc,
		ShapeIn: string(m.In), ShapeOut: string(m.Out),
		Concurrent: m.Concurrent, KeepsRows: m.KeepsRows, Spec: spec,
	}, nil
}

// ManifestFromProto reads what a plugin said of a stage.
func ManifestFromProto(p *pb.StageManifest) (Manifest, error) {
	m := Manifest{
		Kind: stage.Kind(p.Kind),
		About: stage.About{
			Name: p.Name, Summary: p.Summary, Doc: p.Doc,
			In: stage.Shape(p.ShapeIn), Out: stage.Shape(p.ShapeOut),
			Concurrent: p.Concurrent, KeepsRows: p.KeepsRows,
		},
		Spec: &config.Spec{},
	}
	if err := json.Unmarshal(p.Spec, m.Spec); err != nil {
		return m, fmt.Errorf("stage %q: its settings' specification cannot be read: %w", p.Name, err)
	}
	return m, nil
}

func columnsToProto(schema *arrow.Schema) []*pb.Column {
	columns := make([]*pb.Column, schema.NumFields())
	for i, f := range schema.Fields() {
		columns[i] = &pb.Column{Name: f.Name, Type: stage.TypeName(f), Nullable: f.Nullable}
		if k := f.Metadata.FindKey(stage.MetaSourceType); k >= 0 {
			columns[i].SourceType = f.Metadata.Values()[k]
		}
	}
	return columns
}

func receiptToProto(r stage.Receipt) *pb.Receipt {
	m := &pb.Receipt{Bytes: r.Bytes, Sha256: r.SHA256, Location: r.Location, Link: r.Link}
	if !r.LinkExpires.IsZero() {
		m.LinkExpires = r.LinkExpires.Unix()
	}
	return m
}

// ReceiptFromProto reads a sink's receipt.
func ReceiptFromProto(m *pb.Receipt) stage.Receipt {
	r := stage.Receipt{Bytes: m.GetBytes(), SHA256: m.GetSha256(), Location: m.GetLocation(), Link: m.GetLink()}
	if m.GetLinkExpires() != 0 {
		r.LinkExpires = time.Unix(m.GetLinkExpires(), 0).UTC()
	}
	return r
}
