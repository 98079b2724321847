package service

import (
	"testing"

	"github.com/cipherstream/cipherstream/integration/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }
