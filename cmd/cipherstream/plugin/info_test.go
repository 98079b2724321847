package plugin

import (
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/terminal"
)

func TestPluginInfoOfOneStage(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"where", "cipherstream/where"} {
		r := cmdtest.Call(t, "plugin", "info", name)
		if r.Code != terminal.ExitDone || !strings.Contains(r.Stdout, "filter where") || !strings.Contains(r.Stdout, "code (cel)") || strings.Contains(r.Stdout, "filter mask") {
			t.Errorf("%s: exit %d: %s%s", name, r.Code, r.Stdout, r.Stderr)
		}
	}
	if r := cmdtest.Call(t, "plugin", "info", "wher"); r.Code != terminal.ExitUsage {
		t.Errorf("exit %d: %s", r.Code, r.Stdout)
	}
}
