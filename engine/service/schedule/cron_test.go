package schedule

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/sdk/fault"
)

func parse(t *testing.T, expression, zone string) *Cron {
	t.Helper()
	c, err := ParseCron(expression, zone)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const wallFormat = "2006-01-02 15:04 MST"

// ticks are those of an expression in a span of time, as the zone's clock shows them.
func ticks(c *Cron, from, to time.Time) (all []string) {
	for at := c.Next(from); !at.IsZero() && at.Before(to); at = c.Next(at) {
		all = append(all, at.Format(wallFormat))
	}
	return all
}

func TestTicksAtChangesOfTheClock(t *testing.T) {
	t.Parallel()
	day := func(zone, date string) (from, to time.Time) {
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.ParseInLocation(time.DateOnly, date, location)
		if err != nil {
			t.Fatal(err)
		}
		return at.Add(-time.Nanosecond), at.AddDate(0, 0, 1)
	}
	for _, c := range []struct{ expression, zone, date, want string }{
		// Berlin leaps from 02:00 CET to 03:00 CEST.
		{"30 2 * * *", "Europe/Berlin", "2026-03-29", "2026-03-29 03:00 CEST"},
		{"0 2,3 * * *", "Europe/Berlin", "2026-03-29", "2026-03-29 03:00 CEST"},
		{"*/20 2 * * *", "Europe/Berlin", "2026-03-29", "2026-03-29 03:00 CEST"},
		{"59 1 * * *", "Europe/Berlin", "2026-03-29", "2026-03-29 01:59 CET"},
		{"*/30 1-3 * * *", "Europe/Berlin", "2026-03-29",
			"2026-03-29 01:00 CET|2026-03-29 01:30 CET|2026-03-29 03:00 CEST|2026-03-29 03:30 CEST"},
		// And goes back from 03:00 CEST to 02:00 CET.
		{"30 2 * * *", "Europe/Berlin", "2026-10-25", "2026-10-25 02:30 CEST"},
		{"0 2,3 * * *", "Europe/Berlin", "2026-10-25", "2026-10-25 02:00 CEST|2026-10-25 03:00 CET"},
		{"*/30 1-3 * * *", "Europe/Berlin", "2026-10-25", "2026-10-25 01:00 CEST|2026-10-25 01:30 CEST|" +
			"2026-10-25 02:00 CEST|2026-10-25 02:30 CEST|2026-10-25 03:00 CET|2026-10-25 03:30 CET"},
		// Lord Howe moves by half an hour, at 02:00.
		{"15 2 * * *", "Australia/Lord_Howe", "2026-10-04", "2026-10-04 02:30 +11"},
		{"45 1 * * *", "Australia/Lord_Howe", "2026-04-05", "2026-04-05 01:45 +11"},
		{"0 2 * * *", "Australia/Lord_Howe", "2026-04-05", "2026-04-05 02:00 +1030"},
		{"0 2 * * *", "Australia/Lord_Howe", "2026-10-04", "2026-10-04 02:30 +11"},
		// In Santiago there is no midnight once a year, and two the other time.
		{"0 0 * * *", "America/Santiago", "2026-09-06", "2026-09-06 01:00 -03"},
		{"30 23 * * *", "America/Santiago", "2026-04-04", "2026-04-04 23:30 -03"},
		// Apia had no 30 December 2011 at all.
		{"0 8 30 12 *", "Pacific/Apia", "2011-12-31", "2011-12-31 00:00 +14"},
		// Nothing changes here.
		{"30 2 * * *", "Asia/Kolkata", "2026-03-29", "2026-03-29 02:30 IST"},
	} {
		from, to := day(c.zone, c.date)
		if got := strings.Join(ticks(parse(t, c.expression, c.zone), from, to), "|"); got != c.want {
			t.Errorf("%s in %s on %s: %s, want %s", c.expression, c.zone, c.date, got, c.want)
		}
	}
}

// TestEveryHourGoesOn: an expression that takes every hour means a distance, and has ticks in both of two equal hours.
func TestEveryHourGoesOn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		expression, zone string
		month            time.Month
		day              int
		want             int
		most             time.Duration
	}{
		{"*/15 * * * *", "Europe/Berlin", 10, 25, 100, 15 * time.Minute},
		{"*/15 * * * *", "Europe/Berlin", 3, 29, 92, 15 * time.Minute},
		{"0 * * * *", "Europe/Berlin", 10, 25, 25, time.Hour},
		{"0 * * * *", "Australia/Lord_Howe", 4, 5, 24, 90 * time.Minute},
		{"15,45 * * * *", "Australia/Lord_Howe", 4, 5, 49, 30 * time.Minute},
		{"0 * * * *", "Australia/Lord_Howe", 10, 4, 24, time.Hour},
	} {
		cron := parse(t, c.expression, c.zone)
		start := time.Date(2026, c.month, c.day, 0, 0, 0, 0, cron.Zone())
		n, last := 0, cron.Next(start.Add(-1))
		for at := last; at.Before(start.AddDate(0, 0, 1)); at = cron.Next(at) {
			if at.Sub(last) > c.most {
				t.Errorf("%s: %v passes between %v and %v", c.expression, at.Sub(last), last, at)
			}
			n, last = n+1, at
		}
		if n != c.want {
			t.Errorf("%s in %s on %v: %d ticks, want %d", c.expression, c.zone, start, n, c.want)
		}
	}
}

func TestDays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ expression, from, want string }{
		{"0 0 13 * 5", "2026-02-01", "02-06 02-13 02-20 02-27"},    // either
		{"0 0 */2 * 1", "2026-02-01", "02-09 02-23 03-09 03-23"},   // both
		{"0 0 1-7 * */7", "2026-02-01", "02-01 03-01 04-05"},       // both: the first Sunday
		{"0 0 31 * *", "2026-02-01", "03-31 05-31 07-31 08-31"},    // short months are passed over
		{"0 0 29 2 *", "2097-01-01", "2104-02-29 2108-02-29"},      // 2100 is no leap year
		{"0 0 29 2 0", "2026-01-01", "02-01 02-08 02-15"},          // either, in February
		{"0 0 L * *", "2028-01-15", "01-31 02-29 03-31"},           // the last day
		{"0 0 * * 5L", "2026-01-15", "01-30 02-27"},                // the last Friday
		{"0 0 * * 1#2", "2026-01-15", "02-09 03-09"},               // the second Monday
		{"0 0 ? * MON-FRI", "2026-01-02", "01-02 01-05 01-06"},     // names
		{"0 0 1 JAN,jul ?", "2026-01-02", "2026-07-01 2027-01-01"}, // in either case
		{"0 0 * * 7", "2026-01-02", "01-04 01-11"},                 // Sunday is 0 and 7
		{"0 0 * * 5-7", "2026-01-02", "01-02 01-03 01-04 01-09"},
		{"0 0 * * 0,6", "2026-01-02", "01-03 01-04 01-10"},
	} {
		cron := parse(t, c.expression, "UTC")
		from, err := time.Parse(time.DateOnly, c.from)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for at := cron.Next(from.Add(-1)); len(got) <= strings.Count(c.want, " "); at = cron.Next(at) {
			got = append(got, at.Format(time.DateOnly))
		}
		for i, want := range strings.Fields(c.want) {
			if !strings.HasSuffix(got[i], want) {
				t.Errorf("%s: %v, want %s", c.expression, got, c.want)
				break
			}
		}
	}
}

func TestMistakesInExpressions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ expression, zone, code string }{
		{"", "UTC", CodeCron}, {"* * * *", "UTC", CodeCron}, {"* * * * * *", "UTC", CodeCron}, {"0 0 1 1 * 2026", "UTC", CodeCron},
		{"@daily", "UTC", CodeCron}, {"60 * * * *", "UTC", CodeCron}, {"* 24 * * *", "UTC", CodeCron}, {"* * 0 * *", "UTC", CodeCron},
		{"* * 32 * *", "UTC", CodeCron}, {"* * * 13 *", "UTC", CodeCron}, {"* * * 0 *", "UTC", CodeCron}, {"* * * * 8", "UTC", CodeCron},
		{"5-1 * * * *", "UTC", CodeCron}, {"1,x * * * *", "UTC", CodeCron}, {"1, * * * *", "UTC", CodeCron}, {"*/0 * * * *", "UTC", CodeCron},
		{"*/x * * * *", "UTC", CodeCron}, {"5/15 * * * *", "UTC", CodeCron}, {"1,* * * * *", "UTC", CodeCron}, {"? * * * *", "UTC", CodeCron},
		{"-1 * * * *", "UTC", CodeCron}, {"1-2-3 * * * *", "UTC", CodeCron}, {"* * 32W * *", "UTC", CodeCron}, {"* L * * *", "UTC", CodeCron},
		{"0 0 30 2 *", "UTC", CodeCron}, {"0 0 31 4,6,9,11 *", "UTC", CodeCron}, {"* * * * 6#6", "UTC", CodeCron}, {"MON * * * *", "UTC", CodeCron}, {"* * * MON *", "UTC", CodeCron}, {"* * * * JAN", "UTC", CodeCron},
		{"0 0 * * *", "", CodeZone}, {"0 0 * * *", "Local", CodeZone}, {"0 0 * * *", "Mars/Phobos", CodeZone}, {"0 0 * * *", "../etc/passwd", CodeZone},
	} {
		if _, err := ParseCron(c.expression, c.zone); !fault.Is(err, c.code) {
			t.Errorf("%q in %q: %v, want %s", c.expression, c.zone, err, c.code)
		}
	}
}

// TestTicksOfYears walks minute by minute over years, in zones of all kinds, and compares.
func TestTicksOfYears(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{"Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata", "Africa/Casablanca"} {
		for _, expression := range []string{"0 2 * * *", "15,45 1-3 * * 1-5", "30 0 1 * *", "59 23 L * *"} {
			cron := parse(t, expression, zone)
			from := time.Date(2017, 1, 1, 0, 0, 0, 0, cron.Zone())
			to := from.AddDate(2, 0, 0)
			if want, got := walked(cron, from, to), ticks(cron, from, to); !slices.Equal(got, want) {
				for i := range max(len(got), len(want)) {
					if i >= len(got) || i >= len(want) || got[i] != want[i] {
						t.Fatalf("%s in %s: tick %d of %d and %d: %v, want %v", expression, zone, i, len(got), len(want),
							got[min(i, len(got)):min(i+2, len(got))], want[min(i, len(want)):min(i+2, len(want))])
					}
				}
			}
		}
	}
}

// walked are the ticks of a span of time, found by watching the clock: each minute that it shows for the first time
// counts, and those that it never shows count when it has leapt over them.
func walked(c *Cron, from, to time.Time) (all []string) {
	shown := from.UTC().Add(offsetOf(from))
	for at := from.Add(time.Minute); at.Before(to); at = at.Add(time.Minute) {
		wall := at.UTC().Add(offsetOf(at))
		due := false
		for shown.Before(wall) {
			shown = shown.Add(time.Minute)
			due = due || c.takes(shown)
		}
		if due {
			all = append(all, at.Format(wallFormat))
		}
	}
	return all
}

func (c *Cron) takes(wall time.Time) bool { return c.wallAfter(wall, wall.Add(1)).Equal(wall) }

func ExampleCron_Next() {
	c, _ := ParseCron("30 2 * * *", "Europe/Berlin")
	at := time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
	for range 2 {
		at = c.Next(at)
		fmt.Println(at)
	}
	// Output:
	// 2026-03-29 03:00:00 +0200 CEST
	// 2026-03-30 02:30:00 +0200 CEST
}

func FuzzParseCron(f *testing.F) {
	for _, seed := range []string{"30 2 * * *", "0 0 L * 5#1", "*/5 1-3,7 1W JAN SUN", "0 0 31 2 *", "@yearly", "1,,2 * * * *"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, expression string) {
		c, err := ParseCron(expression, "Europe/Berlin")
		if err != nil {
			return
		}
		from := time.Date(2026, 10, 24, 12, 0, 0, 0, time.UTC)
		first := c.Next(from)
		if first.IsZero() || !first.After(from) || first.Second() != 0 {
			t.Fatalf("%q: %v", expression, first)
		}
		if second := c.Next(first); !second.After(first) {
			t.Fatalf("%q: %v after %v", expression, second, first)
		}
	})
}
