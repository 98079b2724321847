package plan

import (
	"cmp"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cipherstream/cipherstream/engine/diag"
	"github.com/cipherstream/cipherstream/sdk/config"
)

// The codes of inputs that are wrong by themselves, whatever the pipeline is.
const (
	CodeRunID       = "inputs.run_id"
	CodeAllowList   = "inputs.allow_list"
	CodeTraceparent = "inputs.traceparent"
)

// Inputs are the values of one run for a prepared pipeline. The zero value has none: Bind reports every reference of
// the pipeline that has no value here.
type Inputs struct {
	// Parameters are the given parameters: text, as on a command line, or decoded JSON values (json.Number keeps
	// decimals exact). A nil value counts as not given.
	Parameters map[string]any
	// Secrets answers ${secret.…}; nil means that there are none.
	Secrets Lookup
	// SecretKinds are the kinds of secrets that are not in KnownSecrets. A secret without a kind takes that of the
	// settings that use it.
	SecretKinds map[string]config.SecretKind
	// Env answers ${env.…} for the variables in EnvAllowed; nil means that there are none. A pipeline never reads a
	// variable that holds a secret: one in SecretEnv, or with the name of one.
	Env                   Lookup
	EnvAllowed, SecretEnv []string
	// RunID is ${run.id}, the identifier of the run, safe in a file name, and StartedAt is ${run.started_at}. The
	// facade fills in what is empty; here an empty one has no value.
	RunID     string
	StartedAt time.Time
	// Customer is whose data it is: ${customer.…}.
	Customer Customer
	// Destination is where a sink of the pipeline's own writes.
	Destination Destination
	// Allow says which tables and procedures may be asked for by name; default none.
	Allow AllowList
	// State is how far earlier runs of a pipeline that keeps state have come: the zero State where none has run. Nil is a
	// run that reads every row and keeps none.
	State *State
	// Timeout is the time limit of the run, and Stall that of one call of a stage, instead of the pipeline's own:
	// limits.timeout and limits.stall. Zero leaves those, and a negative Timeout is no limit. A run that reaches
	// its limit ends with the code "run.timeout", a cancelled one with "run.cancelled". The time is the wall's,
	// whether or not this process ran.
	Timeout, Stall time.Duration
	// Memory is the most that may be in flight in the run, in bytes, where the pipeline says nothing (limits.memory) or
	// allows itself more. Zero leaves it to the pipeline.
	Memory int64
	// Log receives what the stages of this run log, each line with the attribute "stage". Default nowhere; the run's
	// events have them as well.
	Log *slog.Logger
	// Traceparent is the W3C trace context of who asked, carried to every stage: the value of the header. One that is
	// malformed is a warning and is not carried, as the standard wants it.
	Traceparent string
	// Isolation spreads the stages over processes; empty means IsolationGroup.
	Isolation Isolation
	// End says whose the last stage is; default EndPipeline, the pipeline's own sink.
	End End
	// Source takes the place of the source that is on, for tests of pipelines.
	Source *StandIn
	// Encoder is for tests of pipelines that end in rows. With EndCaller, and where the pipeline has no encoder and its
	// own sink takes a table, it is put in front of the caller's sink, which takes bytes. Other pipelines do not get
	// it.
	Encoder *StandIn
	// Hint says how to provide a missing reference such as "secret.dsn". It may be nil.
	Hint func(reference string) string
}

// Customer is whose data a run is about.
type Customer struct {
	// ID is ${customer.id}, which sealing binds the output to.
	ID string
	// Attributes are more of ${customer.NAME}, for pipelines of the embedder's own: nil, bool, string, int64,
	// json.Number or config.Secret.
	Attributes map[string]any
}

// Destination is where a sink of a pipeline writes that leaves it to who runs it.
type Destination struct {
	// Output is ${run.output}: the absolute path of a file. Empty has no value.
	Output string
	// Digest is ${run.digest}, what the receipt of a file says of its bytes: sha256, or none. Empty is sha256.
	Digest string
	// Object is the place of an object; nil has no value for ${run.bucket} and the rest of it.
	Object *ObjectDestination
}

// ObjectDestination is where a sink leaves an object, and what becomes of it there.
type ObjectDestination struct {
	// Bucket is ${run.bucket}, a URL: file:///FOLDER or s3://NAME?region=….
	Bucket string
	// Name is ${run.object}, the object's name in the bucket; empty is the sink's default.
	Name string
	// LinkTTL is ${run.link_ttl}, for how long a link works; zero is no link. LinkBaseURL is ${run.link_base_url},
	// under which the objects of a folder are served; empty is nowhere.
	LinkTTL     time.Duration
	LinkBaseURL string
	// Encryption is ${run.object_encryption}, server-side encryption in S3: AES256, aws:kms, or none, which is
	// the default. KMSKey is ${run.object_kms_key}; empty is the account's own.
	Encryption, KMSKey string
	// CredentialsExpire is ${run.credentials_expire}, when the credentials for the bucket end; zero is never.
	CredentialsExpire time.Time
}

// AllowList says what a pipeline that takes names may be asked for. In a name, * stands for any characters.
type AllowList struct {
	// Tables is ${run.allowed_tables}, and Procedures is ${run.allowed_procedures}.
	Tables, Procedures []string
}

// runNames are the names of the namespace run. It has no others.
var runNames = []string{"allowed_procedures", "allowed_tables", "bucket", "credentials_expire", "digest", "id", "link_base_url", "link_ttl",
	"object", "object_encryption", "object_kms_key", "output", "started_at"}

// RunNames are the names of the namespace run: of ${run.…}.
func RunNames() []string { return slices.Clone(runNames) }

// runValues are the values of ${run.…}, by name. A name that is missing has no value in this run.
func (in *Inputs) runValues() map[string]any {
	values := map[string]any{
		"allowed_tables": strings.Join(in.Allow.Tables, ","), "allowed_procedures": strings.Join(in.Allow.Procedures, ","),
	}
	if in.RunID != "" {
		values["id"] = in.RunID
	}
	if !in.StartedAt.IsZero() {
		values["started_at"] = in.StartedAt.UTC().Format(time.RFC3339)
	}
	values["digest"] = cmp.Or(in.Destination.Digest, "sha256")
	if in.Destination.Output != "" {
		values["output"] = in.Destination.Output
	}
	if o := in.Destination.Object; o != nil {
		values["bucket"], values["object"] = o.Bucket, o.Name
		values["link_ttl"], values["link_base_url"] = o.LinkTTL.String(), o.LinkBaseURL
		values["object_encryption"], values["object_kms_key"] = o.Encryption, o.KMSKey
		if o.Encryption == "" {
			values["object_encryption"] = "none"
		}
		values["credentials_expire"] = ""
		if !o.CredentialsExpire.IsZero() {
			values["credentials_expire"] = o.CredentialsExpire.UTC().Format(time.RFC3339)
		}
	}
	return values
}

// customerValues are the values of ${customer.…}, by name.
func (in *Inputs) customerValues() map[string]any {
	values := make(map[string]any, len(in.Customer.Attributes)+1)
	for name, v := range in.Customer.Attributes {
		values[name] = v
	}
	delete(values, "id")
	if in.Customer.ID != "" {
		values["id"] = in.Customer.ID
	}
	return values
}

// check reports what is wrong with the inputs whatever the pipeline is.
func (in *Inputs) check() (diags diag.List) {
	if in.RunID != "" && !runIDPattern().MatchString(in.RunID) {
		diags.Add(diag.Diagnostic{Code: CodeRunID, Severity: diag.Error, Pointer: "/run_id", Message: fmt.Sprintf("%q is no identifier of a run", printable(in.RunID)),
			Hint: "it names files: up to 200 letters, digits, dots, dashes and underscores, the first a letter or a digit"})
	}
	for where, names := range map[string][]string{"tables": in.Allow.Tables, "procedures": in.Allow.Procedures} {
		for i, name := range names {
			// The list travels as one text with commas in it: a comma would allow what nobody wrote.
			if strings.TrimSpace(name) == "" || strings.Contains(name, ",") {
				diags.Add(diag.Diagnostic{Code: CodeAllowList, Severity: diag.Error, Pointer: fmt.Sprintf("/allow/%s/%d", where, i),
					Message: fmt.Sprintf("%q cannot be allowed: it is no name", printable(name)), Hint: "give names one by one, without commas"})
			}
		}
	}
	if in.Traceparent != "" && !validTraceparent(in.Traceparent) {
		diags.Add(diag.Diagnostic{Code: CodeTraceparent, Severity: diag.Warning, Pointer: "/traceparent",
			Message: "the trace context is malformed, and is not carried", Hint: "a traceparent is 00-TRACE-PARENT-FLAGS, with 32, 16 and 2 hexadecimal digits (W3C Trace Context)"})
	}
	return diags
}

// It is large when compiled, so no process does that before it needs it.
var runIDPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$`) })

var traceparentPattern = regexp.MustCompile(`^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$`)

// validTraceparent checks the form of a traceparent by W3C Trace Context: neither ID is zero; version ff does not
// exist; version 00 has nothing behind the flags, and a later one may.
func validTraceparent(text string) bool {
	m := traceparentPattern.FindStringSubmatch(text)
	return m != nil && len(text) <= maxTraceparent && m[1] != "ff" && (m[1] != "00" || m[4] == "") &&
		strings.Trim(m[2], "0") != "" && strings.Trim(m[3], "0") != ""
}

// maxTraceparent bounds a traceparent of a later version, in bytes.
const maxTraceparent = 512
