package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/cipherstream/cipherstream/sdk"
	"github.com/cipherstream/cipherstream/sdk/runner/runnertest"
)

// thirdParty is a plugin with a source that behaves and one that spoils the socket
// on which its rows travel.
func thirdParty() sdk.Bundle {
	b := runnertest.Bundle("third")
	b.Stages = append(b.Stages, sdk.DefineSource(sdk.About{Name: "spoil", Summary: "Spoils its data socket."},
		func(s spoilSettings, _ sdk.Env) (sdk.Source, error) { return &spoil{settings: s}, nil }))
	return b
}

type spoilSettings struct {
	How string `config:"how,required" enum:"garbage,shutdown"`
}

type spoil struct {
	settings spoilSettings
	batches  int
	schema   *arrow.Schema
}

func (s *spoil) Open(context.Context) (*arrow.Schema, error) {
	s.schema = arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	return s.schema, nil
}

func (s *spoil) Next(context.Context) (arrow.Record, error) {
	if s.batches++; s.batches == 20 {
		for _, fd := range dataSockets() {
			if s.settings.How == "shutdown" {
				_ = syscall.Shutdown(fd, syscall.SHUT_RDWR)
			} else {
				_, _ = syscall.Write(fd, []byte(strings.Repeat("garbage ", 1000)))
			}
		}
	}
	if s.batches == 40 {
		return nil, io.EOF
	}
	b := array.NewInt64Builder(memory.DefaultAllocator)
	defer b.Release()
	for i := range 1000 {
		b.Append(int64(s.batches*1000 + i))
	}
	column := b.NewArray()
	defer column.Release()
	return array.NewRecord(s.schema, []arrow.Array{column}, 1000), nil
}

func (s *spoil) Close() error { return nil }

// dataSockets lists the descriptors that lead to the stage after.
func dataSockets() (list []int) {
	for fd := 3; fd < 256; fd++ {
		if peer, err := syscall.Getpeername(fd); err == nil {
			if unix, ok := peer.(*syscall.SockaddrUnix); ok && filepath.Base(filepath.Dir(unix.Name)) == "e1" {
				list = append(list, fd)
			}
		}
	}
	return list
}

// installPlugin puts the test program into a plugin folder.
func installPlugin(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content := readFile(t, path)
	dir := t.TempDir()
	sum := sha256.Sum256(content)
	for name, text := range map[string][]byte{
		"cipherstream-plugin-third": content,
		"plugins.lock":              fmt.Appendf(nil, "plugins:\n  - {name: third, version: 0.0.1, sha256: %s}\n", hex.EncodeToString(sum[:])),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestThirdPartyPlugin(t *testing.T) {
	plugins := installPlugin(t)
	w := newWorkspace(t, "")
	pipeline := w.document("third/count", settings{"rows": 1000, "batch": 7}, "csv")
	var want strings.Builder
	want.WriteString("n\r\n")
	for i := range 1000 {
		fmt.Fprintf(&want, "%d\r\n", i)
	}
	for _, isolation := range isolations {
		if got := w.must("run", pipeline, "--plugins", plugins, "--isolation", isolation); string(got) != want.String() {
			t.Errorf("isolation %s: %d bytes: %.60q", isolation, len(got), got)
		}
	}
}

// TestSpoiltDataSocket: what a plugin sends beside its stream is not taken for rows.
func TestSpoiltDataSocket(t *testing.T) {
	plugins := installPlugin(t)
	w := newWorkspace(t, "")
	for how, says := range map[string]string{
		"garbage":  `error[link.protocol]: plugin "third" broke the protocol of the data stream`,
		"shutdown": `error[link.`,
	} {
		r := w.run("run", w.document("third/spoil", settings{"how": how}, "ndjson"), "--plugins", plugins, "-o", w.output("rows"))
		if r.code != 1 || !strings.HasPrefix(r.stderr, says) {
			t.Errorf("%s: it ended with %d:\n%s", how, r.code, r.stderr)
		}
		if left := names(t, w.out); len(left) > 0 {
			t.Errorf("%s: left behind: %v", how, left)
		}
	}
}
