package zone

import (
	"testing"
	"time"
)

func TestDoubledHour(t *testing.T) {
	sydney, ok := Load("Australia/Sydney")
	if !ok {
		t.Fatal("the zone is not known")
	}
	at := func(text string) int64 {
		u, err := time.Parse(time.DateTime, text)
		if err != nil {
			t.Fatal(err)
		}
		return u.Unix()
	}
	// Clocks were put back from 03:00 to 02:00 at 16:00 UTC of the day before.
	for _, c := range []struct {
		instant string
		offset  int64
		doubled bool
	}{
		{"2026-04-04 14:59:59", 11 * 3600, false}, {"2026-04-04 15:00:00", 11 * 3600, true}, {"2026-04-04 15:59:59", 11 * 3600, true},
		{"2026-04-04 16:00:00", 10 * 3600, true}, {"2026-04-04 16:59:59", 10 * 3600, true}, {"2026-04-04 17:00:00", 10 * 3600, false},
		{"2026-10-03 15:59:59", 10 * 3600, false}, {"2026-10-03 16:00:00", 11 * 3600, false},
	} {
		s := sydney.At(at(c.instant))
		if s.Offset != c.offset || s.Doubled != c.doubled || at(c.instant) < s.From || at(c.instant) >= s.Until {
			t.Errorf("%s: %+v", c.instant, s)
		}
		back, ok := sydney.Instant(at(c.instant) + c.offset)
		if !ok || back.Doubled != c.doubled || !c.doubled && back != s {
			t.Errorf("%s: back %+v %v", c.instant, back, ok)
		}
	}
	if s, ok := sydney.Instant(at("2026-04-05 02:30:00")); !ok || s.Offset != 11*3600 {
		t.Errorf("the earlier one is %+v %v", s, ok)
	}
	if _, ok := sydney.Instant(at("2026-10-04 02:30:00")); ok {
		t.Error("a skipped hour has an instant")
	}
}

// TestEveryHour: every hour of 70 years comes back from its local time, in zones with odd rules.
func TestEveryHour(t *testing.T) {
	for _, name := range []string{"Australia/Lord_Howe", "America/Havana", "Africa/Casablanca", "Europe/Dublin", "Pacific/Apia", "Asia/Kathmandu"} {
		z, ok := Load(name)
		if !ok {
			t.Fatal(name)
		}
		for second := int64(1); second < 1<<31; second += 3600 {
			s := z.At(second)
			if _, offset := time.Unix(second, 0).In(z.location).Zone(); int64(offset) != s.Offset || second < s.From || second >= s.Until {
				t.Fatalf("%s: %d: %+v", name, second, s)
			}
			back, ok := z.Instant(second + s.Offset)
			if !ok || back.Doubled != s.Doubled || !s.Doubled && back != s {
				t.Fatalf("%s: %d: %+v, back %+v %v", name, second, s, back, ok)
			}
		}
	}
}

func TestNames(t *testing.T) {
	for _, name := range Names {
		if _, ok := Load(name); !ok {
			t.Errorf("%s is not known", name)
		}
	}
	for _, name := range []string{"", "Local", "SYSTEM", "AEST!", "+10", "../etc/passwd"} {
		if _, ok := Load(name); ok {
			t.Errorf("%q is known", name)
		}
	}
	if z, ok := Load("-03:30"); !ok || !z.Fixed() || z.At(0).Offset != -12600 {
		t.Errorf("%+v", z)
	}
}
