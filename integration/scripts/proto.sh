#!/usr/bin/env bash
# Generates sdk/control/controlpb, and its like in sdk/python and sdk/javascript, from the .proto file. protoc comes from the
# machine; the generators are built at the versions given, outside of the module.
#
# usage: proto.sh PROTOC_GEN_GO_VERSION PROTOC_GEN_GO_GRPC_VERSION
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
GOBIN=$(mktemp -d)
trap 'rm -rf "$GOBIN"' EXIT
export GOBIN
go install "google.golang.org/protobuf/cmd/protoc-gen-go@$1"
go install "google.golang.org/grpc/cmd/protoc-gen-go-grpc@$2"
PATH="$GOBIN:$PATH" protoc --go_out=. --go_opt=paths=source_relative \
	--go-grpc_out=. --go-grpc_opt=paths=source_relative sdk/control/controlpb/control.proto
"$(bash integration/scripts/python.sh plugins.txt)" -m grpc_tools.protoc -I sdk/control/controlpb \
	--python_out=sdk/python/cipherstream --pyi_out=sdk/python/cipherstream control.proto
{
	echo '// What control.proto says, which Node.js loads as text. make proto writes this file.'
	printf 'export default String.raw`'
	cat sdk/control/controlpb/control.proto
	echo '`;'
} >sdk/javascript/src/control.js
