package service

import (
	"context"
	"log/slog"
	"time"

	"github.com/cipherstream/cipherstream/engine/service"
	"github.com/cipherstream/cipherstream/engine/service/config"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlite"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// record is the record of a service, whatever keeps it.
type record interface {
	service.Record
	Close() error
}

// openRecord opens the record that the settings name.
func openRecord(ctx context.Context, set *config.Settings, log *slog.Logger) (record, error) {
	if set.Shared {
		return nil, fault.New(config.CodeState, fault.Usage, "records on a server are not supported yet")
	}
	return sqlite.Open(ctx, set.Directory, time.Now)
}
