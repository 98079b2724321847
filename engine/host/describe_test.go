package host_test

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cipherstream/cipherstream/engine/host"
	"github.com/cipherstream/cipherstream/sdk/fault"
)

// TestDescribe: the program says what it offers, under the name that it gives itself.
func TestDescribe(t *testing.T) {
	s := newSetup(t, host.Config{}, pinned{name: thirdParty, self: true})
	for _, name := range []string{firstParty, thirdParty} {
		offer, err := s.Describe(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if offer.Plugin != name || offer.Version == "" || len(offer.Stages) != len(bundle(name).Stages) {
			t.Errorf("%s: got %+v", name, offer)
		}
	}
	if _, err := s.Describe(t.Context(), "unknown"); !fault.Is(err, "plugin.unknown") {
		t.Errorf("a plugin that nobody knows: %v", err)
	}
	s.nothingRuns(t)
}

// TestSurvey: a plugin that is broken does not hide the others.
func TestSurvey(t *testing.T) {
	s := newSetup(t, host.Config{}, pinned{name: "gone", missing: true}, pinned{name: thirdParty, self: true},
		pinned{name: "fourth", self: true})
	found, err := s.Survey(t.Context())
	if err != nil || len(found) != 4 {
		t.Fatalf("got %+v, %v", found, err)
	}
	if own := found[0]; own.Err != nil || !own.Offer.FirstParty || !reflect.DeepEqual(own.Entry, host.LockEntry{}) || own.Offer.Protocol != 1 {
		t.Errorf("the first party is %+v", own)
	}
	if gone := found[1]; gone.Entry.Name != "gone" || !fault.Is(gone.Err, "plugin.missing") {
		t.Errorf("the missing one is %+v", gone)
	}
	if third := found[2]; third.Err != nil || third.Offer.Plugin != thirdParty || third.Entry.Name != thirdParty || third.Offer.Protocol != 1 {
		t.Errorf("the good one is %+v", third)
	}
	if fourth := found[3]; fourth.Entry.Name != "fourth" || !fault.Is(fourth.Err, "plugin.name") {
		t.Errorf("the one of another name is %+v", fourth)
	}
	for name, code := range map[string]string{firstParty: "", thirdParty: "", "fourth": "plugin.name"} {
		found, err := s.Look(t.Context(), name)
		if f := fault.From(found.Err); err != nil || (code == "") != (f == nil) || f != nil && f.Code != code || code == "" && found.Offer.Plugin != name {
			t.Errorf("%s: got %+v, %v", name, found, err)
		}
	}
	s.EndAsked()
	s.nothingRuns(t)
	if _, err := s.Look(t.Context(), "nobody"); !fault.Is(err, "plugin.unknown") {
		t.Errorf("a plugin that nobody knows: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Survey(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestSurveyTogether: no plugin waits for another, which may take its time: each of these ends when the other is there.
func TestSurveyTogether(t *testing.T) {
	meeting := t.TempDir()
	waits := func(own, other string) pinned {
		return pinned{name: own, files: []string{meeting + ":rw"}, program: script("echo here > '"+filepath.Join(meeting, own)+"'",
			"until [ -s '"+filepath.Join(meeting, other)+"' ]; do sleep 0.01; done", "exit 7")}
	}
	s := newSetup(t, host.Config{}, waits("first", "second"), waits("second", "first"))
	all, err := s.Survey(t.Context())
	if err != nil || len(all) != 3 {
		t.Fatalf("got %+v, %v", all, err)
	}
	for _, found := range all[1:] {
		if f := fault.From(found.Err); f == nil || f.Code != "plugin.start" || !strings.Contains(f.Message, "exited with status 7") {
			t.Errorf("%s: %v", found.Entry.Name, found.Err)
		}
	}
	s.nothingRuns(t)
}

// TestTry: a program that no lock file pins is started, and verified, as one that is.
func TestTry(t *testing.T) {
	s := newSetup(t, host.Config{}, pinned{name: thirdParty, self: true})
	entry, err := s.Locked(thirdParty)
	if err != nil {
		t.Fatal(err)
	}
	entry.File = entry.Program()
	entry.Name = "new"
	offer, err := s.Try(t.Context(), entry, s.plugins)
	if err != nil || offer.Plugin != thirdParty || offer.Network {
		t.Errorf("got %+v, %v", offer, err)
	}
	entry.SHA256 = strings.Repeat("0", 64)
	if _, err := s.Try(t.Context(), entry, s.plugins); !fault.Is(err, "plugin.digest") {
		t.Errorf("with another digest: %v", err)
	}
	if _, err := s.Locked("new"); !fault.Is(err, "plugin.unknown") {
		t.Errorf("it was pinned: %v", err)
	}
}
