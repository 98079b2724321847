package sample

import (
	"syscall"
	"testing"
	"time"
)

// Meter measures the throughput of a benchmark, in wall time and, for machines
// that do other things meanwhile, in CPU time.
type Meter struct {
	b          *testing.B
	cpu        time.Duration
	Rows, Size int64
}

// NewMeter starts to measure.
func NewMeter(b *testing.B) *Meter {
	b.ReportAllocs()
	return &Meter{b: b, cpu: cpuTime()}
}

// Report reports rows/s and MB/s, nanoseconds a row, and bytes a row, of the Rows
// and the Size (in bytes) that were added up.
func (m *Meter) Report() {
	cpu := cpuTime() - m.cpu
	rows, seconds := float64(m.Rows), m.b.Elapsed().Seconds()
	m.b.ReportMetric(rows/seconds, "rows/s")
	m.b.ReportMetric(float64(m.Size)/seconds/1e6, "MB/s")
	m.b.ReportMetric(float64(cpu.Nanoseconds())/rows, "cpu-ns/row")
	m.b.ReportMetric(float64(m.Size)/rows, "B/row")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	// It fails only for a bad argument.
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
