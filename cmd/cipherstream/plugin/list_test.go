package plugin

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
)

func TestPluginList(t *testing.T) {
	text := cmdtest.Call(t, "plugin", "list")
	if !regexp.MustCompile(`(?m)^cipherstream \S+ \(first party\)\n  source +mysql +→ table +\S`).MatchString(text.Stdout) {
		t.Errorf("plugin list: %s%s", text.Stdout, text.Stderr)
	}
	var list struct{ Plugins []offeredPlugin }
	if err := json.Unmarshal([]byte(cmdtest.Call(t, "plugin", "list", "--json").Stdout), &list); err != nil {
		t.Fatal(err)
	}
	settings := map[string]int{}
	for _, s := range list.Plugins[0].Stages {
		settings[string(s.Kind)+"/"+s.Name] = len(s.Settings)
	}
	if len(settings) != strings.Count(text.Stdout, "\n")-1 || settings["source/mysql"] == 0 || settings["sink/stream"] != 2 {
		t.Errorf("plugin list --json: %v", settings)
	}
}
