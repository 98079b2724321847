package service

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestLoop: it does its work every time, a failure is logged and is not the end, and it does it once more at the end.
func TestLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		turns := 0
		l := &loop{name: "keys", every: time.Minute, atEnd: true, do: func(context.Context) error {
			if turns++; turns == 2 {
				return errors.New("no room")
			}
			return nil
		}}
		l.start(slog.New(slog.NewTextHandler(&log, nil)))
		time.Sleep(3*time.Minute + time.Second) // the bubble's own time
		synctest.Wait()
		if turns != 3 || !strings.Contains(log.String(), "loop=keys") || !strings.Contains(log.String(), "no room") {
			t.Errorf("%d turns: %s", turns, log.String())
		}
		l.stop()
		if turns != 4 {
			t.Errorf("%d turns with the one at the end", turns)
		}
		l.stop()
		time.Sleep(time.Hour)
		if turns != 4 {
			t.Errorf("%d turns after the end", turns)
		}
	})
	(&loop{}).stop() // before it was started
}
