// Package controlpb is the generated form of control.proto: the messages and the
// gRPC service of the control plane. It owns their encoding and holds no
// hand-written code.
package controlpb
