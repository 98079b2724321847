package embedded

import (
	"io/fs"
	"log/slog"
	"time"

	"github.com/cipherstream/cipherstream/engine/sandbox"
)

// Config says what the embedded server serves, and where.
type Config struct {
	// SQL holds schema.sql and procedures/*.sql.
	SQL fs.FS
	// Options choose the rows.
	Options sandbox.Options
	// Changes, if above 0, is how often rows change; see sandbox.Living. Default never.
	Changes time.Duration
	// Addr is the loopback address to listen on. Empty means 127.0.0.1:0, a free port.
	Addr string
	// Log takes what the server has to say; nil drops it. The library logs through
	// a process-wide logger, so with several servers in one process the latest
	// started one's Log gets it all.
	Log *slog.Logger
}
