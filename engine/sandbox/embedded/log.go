//go:build gms_pure_go

package embedded

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	vitesslog "github.com/dolthub/vitess/go/vt/log"
	"github.com/sirupsen/logrus"
)

// libraryLog is where the library's log lines go: nowhere while nil.
var libraryLog atomic.Pointer[slog.Logger]

// takeLibraryLog puts this package between the library and the two process-wide
// loggers that it writes to standard error with: logrus's and vitess's.
var takeLibraryLog = sync.OnceFunc(func() {
	logger := logrus.StandardLogger()
	logger.SetOutput(io.Discard)
	logger.AddHook(slogHook{})
	line := func(level slog.Level) func(...any) {
		return func(args ...any) { logLine(level, fmt.Sprint(args...)) }
	}
	linef := func(level slog.Level) func(string, ...any) {
		return func(format string, args ...any) { logLine(level, fmt.Sprintf(format, args...)) }
	}
	vitesslog.Info, vitesslog.Infof = line(slog.LevelDebug), linef(slog.LevelDebug)
	vitesslog.Warning, vitesslog.Warningf = line(slog.LevelWarn), linef(slog.LevelWarn)
	vitesslog.Error, vitesslog.Errorf = line(slog.LevelError), linef(slog.LevelError)
})

// routeLibraryLog sends what the library logs to log, or nowhere.
func routeLibraryLog(log *slog.Logger) {
	takeLibraryLog()
	libraryLog.Store(log)
	if log == nil {
		logrus.SetLevel(logrus.PanicLevel) // saves formatting
	} else {
		logrus.SetLevel(logrus.InfoLevel)
	}
}

func logLine(level slog.Level, message string, attrs ...slog.Attr) {
	if log := libraryLog.Load(); log != nil {
		log.LogAttrs(context.Background(), level, message, attrs...)
	}
}

// slogHook takes logrus entries.
type slogHook struct{}

func (slogHook) Levels() []logrus.Level { return logrus.AllLevels }

func (slogHook) Fire(entry *logrus.Entry) error {
	level := slog.LevelDebug // the library's info is two lines per connection
	switch entry.Level {
	case logrus.PanicLevel, logrus.FatalLevel, logrus.ErrorLevel:
		level = slog.LevelError
	case logrus.WarnLevel:
		level = slog.LevelWarn
	}
	attrs := make([]slog.Attr, 0, len(entry.Data))
	for name, value := range entry.Data {
		attrs = append(attrs, slog.Any(name, value))
	}
	logLine(level, entry.Message, attrs...)
	return nil
}
