package service

import (
	"context"
	"log/slog"
	"time"

	"github.com/cipherstream/cipherstream/engine/service"
	"github.com/cipherstream/cipherstream/engine/service/config"
	"github.com/cipherstream/cipherstream/engine/service/store/mysql"
	"github.com/cipherstream/cipherstream/engine/service/store/sqlite"
)

// record is the record of a service, whatever keeps it.
type record interface {
	service.Record
	Close() error
}

// openRecord opens the record that the settings name.
func openRecord(ctx context.Context, set *config.Settings, log *slog.Logger) (record, error) {
	if set.Shared {
		return mysql.Open(ctx, set.Record, mysql.Options{Log: log})
	}
	return sqlite.Open(ctx, set.Directory, time.Now)
}
