package cmdtest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/cipherstream/cipherstream/cmd/cipherstream/session"
	"github.com/cipherstream/cipherstream/engine/sandbox"
)

// sandboxName is the name of the program with the embedded server.
const sandboxName = "cipherstream-sandbox"

// The size of SmallPractice.
const (
	Patients     = 20
	Appointments = 300
)

// SmallPractice is Practice with data that most tests have enough of.
func SmallPractice(t *testing.T) string {
	return Practice(t, sandbox.Options{Patients: Patients, Appointments: Appointments})
}

// Practice serves a small practice for a test and returns its URL.
func Practice(t *testing.T, options sandbox.Options) string {
	t.Helper()
	server := exec.Command(os.Getenv(session.EnvSandbox), "-patients", fmt.Sprint(options.Patients), "-appointments", fmt.Sprint(options.Appointments))
	server.Stderr = os.Stderr
	hold, err := server.StdinPipe() // it serves until this is closed
	if err != nil {
		t.Fatal(err)
	}
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		hold.Close()
		if err := server.Wait(); err != nil {
			t.Errorf("the sandbox: %v", err)
		}
	})
	var said struct {
		DSN   string
		Fault json.RawMessage
	}
	if err := json.NewDecoder(out).Decode(&said); err != nil || said.DSN == "" {
		t.Fatalf("the sandbox says %s (%v)", said.Fault, err)
	}
	return said.DSN
}
