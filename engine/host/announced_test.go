package host

import (
	"strings"
	"testing"

	pb "github.com/cipherstream/cipherstream/sdk/control/controlpb"
	"github.com/cipherstream/cipherstream/sdk/fault"
	"github.com/cipherstream/cipherstream/sdk/stage"
)

// TestAnnouncedBounds: what a hostile process announces does not fill the host.
func TestAnnouncedBounds(t *testing.T) {
	t.Parallel()
	say := func(id int64, r *pb.Resource) *pb.Event {
		return &pb.Event{Kind: &pb.Event_Announced{Announced: &pb.Announced{Id: id, Resource: r}}}
	}
	long := strings.Repeat("x", stage.LongestResourceText+1)
	for name, events := range map[string][]*pb.Event{
		"a number twice":       {say(1, nil), say(1, nil)},
		"a long name":          {say(1, &pb.Resource{Name: long})},
		"a long remedy":        {say(1, &pb.Resource{Remedy: long})},
		"a long state":         {say(1, &pb.Resource{State: make([]byte, stage.LongestResourceState+1)})},
		"a stage that is long": {{Kind: &pb.Event_Announced{Announced: &pb.Announced{Id: 1, Stage: long}}}},
	} {
		var a announced
		for i, e := range events {
			err := a.check("hostile", e)
			if last := i == len(events)-1; last != (err != nil) || last && err.Code != "plugin.contract" {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	var a announced
	for i := range int64(10_000) { // released in time, any number is fine
		if err := a.check("good", say(i, &pb.Resource{Name: "x"})); err != nil {
			t.Fatal(err)
		}
		if err := a.check("good", &pb.Event{Kind: &pb.Event_Released{Released: &pb.Released{Id: i}}}); err != nil {
			t.Fatal(err)
		}
	}
	var last *fault.Fault
	n := 0
	for ; last == nil; n++ {
		last = a.check("hostile", say(int64(n), nil))
	}
	if n != stage.MostResources+1 || last.Code != "plugin.contract" {
		t.Errorf("after %d: %v", n, last)
	}
}
