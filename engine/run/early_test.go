package run_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/engine/run"
)

// TestFilterEndsTheSource: a filter that has its rows ends a source that would go on for hours, wherever the two of them run.
func TestFilterEndsTheSource(t *testing.T) {
	for _, isolation := range isolations {
		t.Run(string(isolation), func(t *testing.T) {
			s := newSetup(t, host.Config{})
			p := s.callerPlan(isolation, settings{"rows": math.MaxInt32}, "pass", "first", "pass")
			for i := range p.Stages {
				if p.Stages[i].Name == "first" {
					p.Stages[i].Config = settings{"rows": 25}
				}
			}
			sink := &probe{}
			receipt, err := run.Execute(t.Context(), s.host, p, run.Options{ID: "r1", Sink: sink})
			if err != nil {
				t.Fatal(err)
			}
			if lines := bytes.Count(sink.data.Bytes(), []byte("\n")); receipt.Rows != 25 || lines != 25 {
				t.Errorf("the receipt says %d rows, and %d lines came", receipt.Rows, lines)
			}
		})
	}
}
