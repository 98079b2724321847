package job

import (
	"math"
	"time"

	"github.com/cipherstream/cipherstream/engine/service/store"
)

// Progress is how far a job is: percent of the rows that are expected, and how long the rest will take, if it is
// running. Percent never falls while rows and estimate do not, and is 100 of completed jobs only; known is false where
// nobody can say how many rows there will be. Remaining is 0 where it is not known, as of a second attempt, whose
// rows may still be those of the first.
func (m *Manager) Progress(job store.Job) (percent int, remaining time.Duration, known bool) {
	if job.Status == store.Completed {
		return 100, 0, true
	}
	if job.EstimatedRows <= 0 {
		return 0, 0, false
	}
	rows := min(job.Rows, job.EstimatedRows)
	percent = min(99, int(float64(rows)/float64(job.EstimatedRows)*100))
	if elapsed := m.Now().Sub(job.StartedAt); job.Status == store.Running && job.Attempts == 1 && rows > 0 && elapsed > 0 {
		if left := float64(elapsed) / float64(rows) * float64(job.EstimatedRows-rows); left < math.MaxInt64 {
			remaining = time.Duration(left).Round(time.Second)
		}
	}
	return percent, remaining, true
}
