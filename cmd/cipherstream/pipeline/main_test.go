package pipeline

import (
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/sandbox"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/sdk"
)

func TestMain(m *testing.M) {
	cmdtest.Main(m, cmdtest.Program{
		Nouns:  []session.Noun{Commands, sandbox.Commands},
		Plugin: func(name string) (sdk.Bundle, bool) { return foreign(), name == "foreign-plugin" },
	})
}
