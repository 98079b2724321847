package pages

import (
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/pipeline"
	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
)

func TestMain(m *testing.M) {
	cmdtest.Main(m, cmdtest.Program{Nouns: []session.Noun{pipeline.Commands}})
}
