package datastream

import (
	"log"
	"os"
	"testing"

	"github.com/cipherstream/cipherstream/integration/servers"
)

func TestMain(m *testing.M) {
	var err error
	if programs, err = os.MkdirTemp("", "datastream-"); err != nil {
		log.Fatal(err)
	}
	servers.Main(m, func() { os.RemoveAll(programs) })
}
