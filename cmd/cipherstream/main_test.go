package main

import (
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/cmdtest"
)

func TestMain(m *testing.M) {
	cmdtest.Main(m, cmdtest.Program{Nouns: nouns})
}
