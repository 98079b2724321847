package control

import (
	"context"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
)

// ProtocolVersion is the version of the control service and the data wire that
// this package speaks.
const ProtocolVersion = 1

// PluginName is the name under which go-plugin dispenses the service.
const PluginName = "cipherstream"

// MaxMessage is the largest control message, in bytes, on both sides. Settings
// and manifests are small; the default of gRPC, 4 MiB, cuts a long Doc.
const MaxMessage = 16 << 20

// Handshake keeps a plugin from being run by hand, and a wrong program from
// being taken for a plugin. It is not a security measure.
var Handshake = plugin.HandshakeConfig{
	ProtocolVersion:  ProtocolVersion,
	MagicCookieKey:   "CIPHERSTREAM_PLUGIN",
	MagicCookieValue: "b5d3a8f0-stage",
}

// GRPC is the go-plugin glue: on the host's side it gives a client, and on the side of a
// plugin that go-plugin serves, in place of Serve, it registers the service.
type GRPC struct {
	plugin.NetRPCUnsupportedPlugin
	// Session is such a plugin's only.
	Session *Session
}

// GRPCServer registers the service.
func (g *GRPC) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	pb.RegisterPluginServer(s, &server{session: g.Session})
	return nil
}

// GRPCClient returns a pb.PluginClient.
func (g *GRPC) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return pb.NewPluginClient(conn), nil
}

// server adapts a session to gRPC. Faults travel inside the messages.
type server struct {
	pb.UnimplementedPluginServer
	session *Session
}

func (s *server) Describe(context.Context, *pb.DescribeRequest) (*pb.DescribeResponse, error) {
	b := s.session.bundle
	resp := &pb.DescribeResponse{Name: b.Name, Version: b.Version, Network: b.Network, LinkWords: true}
	for _, m := range ManifestsOf(b) {
		p, err := manifestToProto(m)
		if err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
		resp.Stages = append(resp.Stages, p)
	}
	return resp, nil
}

func (s *server) Open(ctx context.Context, req *pb.OpenRequest) (*pb.OpenResponse, error) {
	return &pb.OpenResponse{Fault: FaultToProto(s.session.Open(ctx, req))}, nil
}

func (s *server) Start(_ *pb.StartRequest, stream grpc.ServerStreamingServer[pb.Event]) error {
	return s.session.Start(stream.Context(), stream.Send)
}

func (s *server) Commit(ctx context.Context, _ *pb.CommitRequest) (*pb.CommitResponse, error) {
	receipt, err := s.session.Commit(ctx)
	if err != nil {
		return &pb.CommitResponse{Fault: FaultToProto(err)}, nil
	}
	return &pb.CommitResponse{Receipt: receiptToProto(receipt)}, nil
}

func (s *server) Cancel(context.Context, *pb.CancelRequest) (*pb.CancelResponse, error) {
	s.session.Cancel()
	return &pb.CancelResponse{}, nil
}
