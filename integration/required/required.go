// Package required holds what becomes of a test that needs something that this machine has not got: it is skipped and says
// so, or fails where everything is required. It never looks for anything itself. Only tests, and packages for tests, import it.
package required

import (
	"os"
	"testing"
)

// Everything reports whether what is missing is a failure: in CI, and with CIPHERSTREAM_REQUIRE_SERVERS=1.
func Everything() bool {
	return os.Getenv("CI") != "" || os.Getenv("CIPHERSTREAM_REQUIRE_SERVERS") == "1"
}

// Missing ends a test that needs what cannot be had. The message says what that is, and how it is installed.
func Missing(tb testing.TB, message string) {
	tb.Helper()
	if Everything() {
		tb.Fatal(message)
	}
	tb.Skip("SKIPPED, NOT TESTED: " + message)
}
