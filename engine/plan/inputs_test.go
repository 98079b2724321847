package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/cipherstream/cipherstream/engine/diag"
)

// TestRunValues: every name of ${run.…} has its place in Inputs, and no value when that is empty.
func TestRunValues(t *testing.T) {
	t.Parallel()
	full := Inputs{
		RunID: "r1", StartedAt: time.Date(2024, 1, 31, 12, 0, 0, 500, time.FixedZone("", 3600)),
		Destination: Destination{Output: "/out", Digest: "none", Object: &ObjectDestination{
			Bucket: "s3://b", Name: "n", LinkTTL: 90 * time.Minute, LinkBaseURL: "https://x", Encryption: "AES256", KMSKey: "k",
			CredentialsExpire: time.Date(2024, 2, 1, 0, 0, 0, 0, time.UTC),
		}},
		Allow: AllowList{Tables: []string{"patient", "inv*"}, Procedures: []string{"p"}},
	}
	bare := Inputs{Destination: Destination{Object: &ObjectDestination{Bucket: "file:///b"}}}
	for name, want := range map[string]struct{ full, bare, empty string }{
		"id": {"r1", CodeUnknownReference, CodeUnknownReference}, "started_at": {"2024-01-31T11:00:00Z", CodeUnknownReference, CodeUnknownReference},
		"output": {"/out", CodeUnknownReference, CodeUnknownReference}, "bucket": {"s3://b", "file:///b", CodeUnknownReference},
		"object": {"n", "", CodeUnknownReference}, "link_ttl": {"1h30m0s", "0s", CodeUnknownReference}, "link_base_url": {"https://x", "", CodeUnknownReference},
		"object_encryption": {"AES256", "none", CodeUnknownReference}, "object_kms_key": {"k", "", CodeUnknownReference},
		"credentials_expire": {"2024-02-01T00:00:00Z", "", CodeUnknownReference},
		"digest":             {"none", "sha256", "sha256"},
		"allowed_tables":     {"patient,inv*", "", ""}, "allowed_procedures": {"p", "", ""},
		"procedures": {CodeUnknownReference, CodeUnknownReference, CodeUnknownReference},
	} {
		in := testInput(load(t, "\n  stages:\n    source: {use: mysql, with: {url: u, call: \"${run."+name+"}\"}}\n    encoder: {use: ndjson}\n    sink: {use: stream, with: {to: x}}\n"))
		for _, c := range []struct {
			inputs Inputs
			want   string
		}{{full, want.full}, {bare, want.bare}, {Inputs{}, want.empty}} {
			in.Inputs = c.inputs
			got := ""
			if plan, diags := built(in); plan == nil {
				got = diags.Problems()[0].Code
			} else {
				got = plan.Stages[0].Config["call"].(string)
			}
			if got != c.want {
				t.Errorf("${run.%s}: got %q, want %q", name, got, c.want)
			}
		}
		if bad := lint(in).HasErrors(); bad != (name == "procedures") {
			t.Errorf("${run.%s}: lint says %v", name, bad)
		}
	}
	if len(runNames) != 13 {
		t.Errorf("names that are not tested here: %v", runNames)
	}
}

// TestMemoryOfARun: a run has the smaller of what its pipeline allows itself and what it is given.
func TestMemoryOfARun(t *testing.T) {
	t.Parallel()
	const mebi = 1 << 20
	for _, c := range []struct {
		own         string
		given, want int64
	}{{"", 32, 32}, {"memory: 64MiB", 32, 32}, {"memory: 16MiB", 32, 16}, {"memory: 16MiB", 0, 16}, {"", 0, 0}} {
		in := testInput(load(t, "\n  limits: {"+c.own+"}\n  stages:\n    source: {use: mysql, with: {url: u, call: c}}\n    encoder: {use: ndjson}\n    sink: {use: stream, with: {to: x}}\n"))
		in.Inputs.Memory = c.given * mebi
		plan, diags := built(in)
		if plan == nil {
			t.Fatal(diags)
		}
		if got := plan.Limits.MemoryBytes; got != c.want*mebi {
			t.Errorf("%q of the pipeline and %d MiB given: %d", c.own, c.given, got)
		}
	}
}

// TestInputsByThemselves: what is wrong with inputs whatever the pipeline is.
func TestInputsByThemselves(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   Inputs
		want string
	}{
		{Inputs{}, ""},
		{Inputs{RunID: "appointments_1700000000000_0a1b2c3d"}, ""},
		{Inputs{RunID: "../x"}, CodeRunID},
		{Inputs{RunID: ".x"}, CodeRunID},
		{Inputs{RunID: "a b"}, CodeRunID},
		{Inputs{RunID: strings.Repeat("x", 201)}, CodeRunID},
		{Inputs{Allow: AllowList{Tables: []string{"*", "order items", "x*"}}}, ""},
		{Inputs{Allow: AllowList{Tables: []string{"a,*"}}}, CodeAllowList},
		{Inputs{Allow: AllowList{Procedures: []string{""}}}, CodeAllowList},
		{Inputs{Allow: AllowList{Procedures: []string{" "}}}, CodeAllowList},
		{Inputs{Traceparent: "x"}, CodeTraceparent},
	} {
		got := ""
		for _, d := range c.in.check() {
			got = d.Code
			if d.Pointer == "" || d.Hint == "" || (d.Severity == diag.Warning) != (d.Code == CodeTraceparent) {
				t.Errorf("%+v", d)
			}
		}
		if got != c.want {
			t.Errorf("%+v: got %q, want %q", c.in, got, c.want)
		}
	}
}

// TestTraceparent: the form by W3C Trace Context, sections 3.2.2 and 4.3.
func TestTraceparent(t *testing.T) {
	t.Parallel()
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for text, want := range map[string]bool{
		"00-" + trace + "-" + parent + "-01":            true,
		"00-" + trace + "-" + parent + "-00":            true,
		"00-" + trace + "-" + parent + "-ff":            true,
		"cc-" + trace + "-" + parent + "-01":            true,
		"cc-" + trace + "-" + parent + "-01-what-comes": true,
		"":                                   false,
		"ff-" + trace + "-" + parent + "-01": false,
		"00-" + trace + "-" + parent + "-01-more":                                   false,
		"00-" + trace + "-" + parent + "-01-":                                       false,
		"cc-" + trace + "-" + parent + "-01.more":                                   false,
		"00-" + trace + "-" + parent + "-1":                                         false,
		"00-" + trace + "-" + parent:                                                false,
		"0-" + trace + "-" + parent + "-01":                                         false,
		"00-" + strings.ToUpper(trace) + "-" + parent + "-01":                       false,
		"00-" + trace[1:] + "-" + parent + "-01":                                    false,
		"00-" + strings.Repeat("0", 32) + "-" + parent + "-01":                      false,
		"00-" + trace + "-" + strings.Repeat("0", 16) + "-01":                       false,
		" 00-" + trace + "-" + parent + "-01":                                       false,
		"00-" + trace + "-" + parent + "-01\n":                                      false,
		"cc-" + trace + "-" + parent + "-01-" + strings.Repeat("x", maxTraceparent): false,
	} {
		if got := validTraceparent(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
