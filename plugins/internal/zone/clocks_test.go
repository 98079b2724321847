package zone

import (
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/cipherstream/cipherstream/sdk"
)

// TestClocksThatAreSaid: clocks that are said by their changes show what those of the zone show that has them, in both directions.
func TestClocksThatAreSaid(t *testing.T) {
	const until = 1<<31 - 1
	for _, name := range []string{"Australia/Sydney", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca"} {
		named, known := Load(name)
		if !known {
			t.Fatal(name)
		}
		var changes []Change
		for _, at := range named.Changes(0, until) {
			changes = append(changes, Change{at, named.bounds(at).Offset})
		}
		made, ok := Clocks(named.bounds(0).Offset, changes)
		if !ok || made.Name != UTC || made.Fixed() {
			t.Fatalf("%s: %+v", name, made)
		}
		said, ok := Of(arrow.Field{Type: &arrow.TimestampType{TimeZone: "UTC"}, Metadata: arrow.MetadataFrom(map[string]string{sdk.MetaClocks: made.Text()})})
		if !ok || said.Text() != made.Text() {
			t.Fatalf("%s: %+v", name, said)
		}
		for second := int64(200000); second < until-200000; second += 1793 {
			want, got := named.At(second), said.At(second)
			if got.Offset != want.Offset || got.Doubled != want.Doubled {
				t.Fatalf("%s, %d: %+v, want %+v", name, second, got, want)
			}
			back, ok := said.Instant(second + got.Offset)
			if want, _ := named.Instant(second + got.Offset); !ok || back.Offset != want.Offset || back.Doubled != want.Doubled {
				t.Fatalf("%s, %d: back %+v, want %+v", name, second, back, want)
			}
		}
	}
}

// TestNoClocks: what nobody's clocks can be is refused, and a column without such clocks has those of its zone.
func TestNoClocks(t *testing.T) {
	field := func(zone, clocks string) arrow.Field {
		f := arrow.Field{Type: &arrow.TimestampType{TimeZone: zone}}
		if clocks != "" {
			f.Metadata = arrow.MetadataFrom(map[string]string{sdk.MetaClocks: clocks})
		}
		return f
	}
	for _, text := range []string{"x", "36000,", "36000,5", "36000,5=x", "36000,x=5", "36000,9=1,9=2", "36000,9=1,8=2", "86400", "36000,5=86400",
		"36000,4294967296=0", "36000" + strings.Repeat(",1=0", 3000)} {
		if z, ok := Of(field("UTC", text)); ok {
			t.Errorf("%.40q is %+v", text, z)
		}
	}
	if z, ok := Of(field("UTC", "36610")); !ok || z.At(0).Offset != 36610 || z.At(1<<31).Offset != 36610 {
		t.Errorf("clocks that never change: %+v", z)
	}
	if z, ok := Of(field("Australia/Sydney", "")); !ok || z.Name != "Australia/Sydney" || z.Text() != "" {
		t.Errorf("a zone with a name: %+v", z)
	}
	if _, ok := Of(arrow.Field{Type: arrow.PrimitiveTypes.Int64}); ok {
		t.Error("a number has a zone")
	}
}
