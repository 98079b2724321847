package nodeplugin

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/config"
	"github.com/cipherstream/cipherstream/sdk/control"
	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/runner"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// TestConformance runs the checks that every stage has to pass on the plugin, as its author would. None may be refused or
// left out: the plugin takes every type that sources deliver.
func TestConformance(t *testing.T) {
	w := newWorkspace(t)
	every := filepath.Join(t.TempDir(), "every.yaml")
	w.write(every, []byte("filter/text: {prompt: 10s}\nsink/keep:\n  settings: {path: \"{{dir}}/rows.arrow\"}\n  object: \"{{dir}}/rows.arrow\"\n  prompt: 10s\n"))
	for name, args := range map[string][]string{
		"all stages":        {"--settings", absolute(t, filepath.Join(sources, "redact.test.yaml"))},
		"every text column": {"--settings", every},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.with(t)
			var got struct {
				Plugin, Version         string
				Passed, Failed, Skipped int
				Refused                 int
				Checks                  []struct {
					Stage, Check, Status string
					Refusals             int
					Details              []string
				}
			}
			r := w.run(append([]string{"plugin", "test", plugin(t), "--json"}, args...)...)
			if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
				t.Fatalf("it ended with %d: %v\n%s%s", r.code, err, r.stdout, r.stderr)
			}
			if r.code != 0 || got.Plugin != "redact" || got.Version != "1.0.0" || got.Passed < 15 || got.Failed+got.Refused+got.Skipped > 0 {
				t.Errorf("it ended with %d, and says %+v", r.code, got)
			}
			for _, c := range got.Checks {
				if c.Status != "passed" || c.Refusals > 0 {
					t.Errorf("%s: %s: %s: %q", c.Stage, c.Check, c.Status, c.Details)
				}
			}
		})
	}
}

// TestProtocolPage holds what sdk/PROTOCOL.md says against the code, as far as it is text.
func TestProtocolPage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../sdk/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	says := []string{
		control.Handshake.MagicCookieKey, control.Handshake.MagicCookieValue, control.EnvHostCertificate, control.EnvLifeline,
		fmt.Sprintf("This is protocol version **%d**", control.ProtocolVersion), fmt.Sprintf("at most %d MiB in either direction", control.MaxMessage>>20),
		fmt.Sprintf("Within %d seconds", host.DefaultStartTimeout/time.Second), fmt.Sprintf("After %d seconds of silence", host.DefaultSilence/time.Second),
		fmt.Sprintf("%d seconds the host kills", host.DefaultCancelGrace/time.Second), fmt.Sprintf("its limit (%d GiB)", host.DefaultMemoryLimit>>30),
		stage.MetaFraction, stage.MetaJSON, stage.MetaSourceType, stage.MetaCheckpoint, runner.UpstreamEnded, runner.DownstreamEnded, runner.LinkProtocol,
	}
	for _, kind := range stage.Kinds {
		says = append(says, "| "+string(kind)+" |")
	}
	for _, class := range []fault.Class{fault.Usage, fault.Connect, fault.Source, fault.Data, fault.Sink, fault.Plugin, fault.Cancelled, fault.Internal} {
		says = append(says, "| `"+string(class)+"` |")
	}
	for _, kind := range []config.Type{config.TypeString, config.TypeBoolean, config.TypeInteger, config.TypeNumber, config.TypeDuration,
		config.TypeSize, config.TypeSecret, config.TypeScalar, config.TypeList, config.TypeMap, config.TypeObject} {
		says = append(says, "`"+string(kind)+"`")
	}
	messages := pb.File_sdk_control_controlpb_control_proto.Messages()
	for _, name := range []string{"Event", "Limits", "StageManifest", "OpenRequest", "Fault"} {
		fields := messages.ByName(protoreflect.Name(name)).Fields()
		for i := range fields.Len() {
			says = append(says, "`"+string(fields.Get(i).Name())+"`")
		}
	}
	methods := pb.File_sdk_control_controlpb_control_proto.Services().Get(0).Methods()
	for i := range methods.Len() {
		says = append(says, "### "+string(methods.Get(i).Name()))
	}
	for _, want := range says {
		if !strings.Contains(page, want) {
			t.Errorf("sdk/PROTOCOL.md does not say %q", want)
		}
	}
}

func absolute(t testing.TB, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
