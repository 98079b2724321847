// What control.proto says, which Node.js loads as text. make proto writes this file.
export default String.raw`// The control plane between the CipherStream host and a plugin process. Data
// never passes here: it flows between neighbouring plugin processes as Arrow IPC
// streams on unix sockets.
//
// One process serves one run: Describe may be called at any time; Check before Open;
// Open, Start and Commit at most once each, in that order; Cancel at any time.
syntax = "proto3";

package cipherstream.plugin.v1;

option go_package = "github.com/cipherstream/cipherstream/sdk/control/controlpb";

service Plugin {
  // Describe says which stages the plugin offers.
  rpc Describe(DescribeRequest) returns (DescribeResponse);
  // Check says what is wrong with one stage before it runs. It reads no row and leaves
  // nothing behind, and may be called any number of times. A plugin need not have it:
  // UNIMPLEMENTED means that its stages cannot be checked.
  rpc Check(CheckRequest) returns (CheckResponse);
  // Open builds the stages from their settings and, when the group has an input,
  // starts to listen for it. Nothing is read or written yet.
  rpc Open(OpenRequest) returns (OpenResponse);
  // Start runs the group. The stream ends after Finished or Fault. An event comes
  // at least every second, so that silence means a process that hangs.
  rpc Start(StartRequest) returns (stream Event);
  // Commit makes the sink's output visible. It is called after Prepared, and only
  // when every other group has finished well.
  rpc Commit(CommitRequest) returns (CommitResponse);
  // Cancel asks the group to stop; Start then ends with a fault.
  rpc Cancel(CancelRequest) returns (CancelResponse);
  // Acknowledge says that the host has an announcement of this group. It comes while Start
  // streams.
  rpc Acknowledge(AcknowledgeRequest) returns (AcknowledgeResponse);
  // Undo ends what another process of this plugin had announced and cannot end any more,
  // because it, or its host, has died. It is called in place of Open, and may be called
  // again. A plugin need not have it: UNIMPLEMENTED means that its stages cannot undo.
  rpc Undo(UndoRequest) returns (UndoResponse);
}

message DescribeRequest {}

message DescribeResponse {
  string name = 1;
  string version = 2;
  repeated StageManifest stages = 3;
  // Whether a stage of the plugin opens network connections. Who installs the plugin
  // must allow it; a plugin that does not ask has no network where the system can
  // withhold it.
  bool network = 4;
  // Whether the plugin says and asks for the words of a Peer on its data sockets.
  bool link_words = 5;
}

message StageManifest {
  string kind = 1;
  string name = 2;
  string summary = 3;
  string doc = 4;
  string shape_in = 5;
  string shape_out = 6;
  bool concurrent = 7;
  bool keeps_rows = 8;
  // The settings' specification, as JSON.
  bytes spec = 9;
}

message CheckRequest {
  Stage stage = 1;
  string run_id = 2;
  // A private directory that the host removes when it has checked.
  string dir = 3;
  // The columns that a filter, an encoder or a sink of rows is given: an Arrow IPC stream without a
  // batch. Empty when they are not known.
  bytes columns = 4;
  // What any other stage but a source is given. Absent when it is not known.
  Media media = 5;
  // The columns are those that a filter is to give, and not those that it is given.
  bool backward = 6;
  // Whether to look at what the stage reaches: a server, a bucket, a folder.
  bool connect = 7;
}

message CheckResponse {
  repeated Finding findings = 1;
  // What the stage gives, where that is known: the columns of a source or a filter, and
  // with backward those that the filter must be given.
  bytes columns = 2;
  Media media = 3;
}

message Finding {
  // wrong: a run would fail with the fault. warning: a run would do what is rarely meant.
  // unchecked: only a run can tell. fine: it was looked at.
  string level = 1;
  // What was found; of "fine" and "unchecked" it has a code and a message.
  Fault fault = 2;
}

message OpenRequest {
  string run_id = 1;
  repeated Stage stages = 2;
  // Path of the unix socket to listen on; empty when the group starts with a source.
  string input = 3;
  // Path of the unix socket to connect to; empty when the group ends with a sink.
  string output = 4;
  Limits limits = 5;
  // A private directory that the host removes when the run ends.
  string dir = 6;
  // Who connects to input, and who listens at output.
  Peer input_peer = 7;
  Peer output_peer = 8;
  // The W3C trace context of who asked for the run, as the header traceparent; empty when
  // there is none. The host has checked its form.
  string traceparent = 9;
}

// Peer is who has to be at the other end of a data socket.
message Peer {
  // Its process, as the host numbers it, or the one whose process group it is in; 0 is unknown.
  int64 pid = 1;
  // What the writer sends first, and what the reader answers before the writer sends anything else. They are random and of
  // the same length. Both are empty when one of the two sides does not know them: then nothing is exchanged.
  bytes hello = 2;
  bytes welcome = 3;
  // How long to wait for an answer; 0 is for ever, as somebody debugs the other side.
  int64 patience_nanoseconds = 4;
  // Between two processes of the host's own program only: behind its answer the reader sends memory for the bodies of
  // batches. A plugin is never asked to.
  bool memory = 5;
  // To a writer: the reader may say that it needs no more batches, for a filter is at the other end or behind it. Where this is
  // false, a writer that listens for the word fails on it.
  bool may_finish = 6;
}

message Stage {
  // The name of the stage in the plan, for messages.
  string id = 1;
  string kind = 2;
  string name = 3;
  // Resolved settings as a JSON object. They may hold secrets.
  bytes settings = 4;
}

message Limits {
  // Bytes of data in flight in this process.
  int64 budget_bytes = 1;
  int32 workers = 2;
  int32 batch_rows = 3;
  int64 batch_bytes = 4;
  // The longest that one call of a stage that neither reads nor writes may take.
  int64 stall_nanoseconds = 5;
}

message OpenResponse {
  Fault fault = 1;
}

message StartRequest {}

message Event {
  oneof kind {
    Opened opened = 1;
    Progress progress = 2;
    Log log = 3;
    Prepared prepared = 4;
    Finished finished = 5;
    Fault fault = 6;
    Announced announced = 9;
    Released released = 10;
    Checkpoint checkpoint = 12;
  }
  // Beside a fault: what the group had done by then. A plugin need not send it.
  Finished account = 11;
}

// Opened says that the group's source knows its schema.
message Opened {
  repeated Column columns = 1;
  // About how many rows the source will deliver; 0 where it cannot say.
  int64 estimated_rows = 2;
}

message Column {
  string name = 1;
  string type = 2;
  bool nullable = 3;
  // The type's name at the source; empty if unknown.
  string source_type = 4;
}

message Progress {
  // Rows that entered the group, in total.
  int64 rows = 1;
  // Bytes that left the group's last stage, in total; for a sink: bytes delivered, none of rows.
  int64 bytes = 2;
  // As in Finished, so far; absent without an encoder.
  optional int64 encoded_rows = 3;
  optional int64 encoded_bytes = 4;
}

// Checkpoint says how far the group's source has come, in its own words: a later run that is given the position starts
// behind the rows that came before it. It is the newest one. What tells a sink which rows these are is the same position
// in the stream of batches (PROTOCOL.md, "Checkpoints").
message Checkpoint {
  string position = 1;
  // Rows that the source had delivered when it gave the position, in total.
  int64 rows = 2;
}

message Log {
  // slog levels: -4 debug, 0 info, 4 warn, 8 error.
  int32 level = 1;
  string message = 2;
  string stage = 3;
  map<string, string> attributes = 4;
}

// Prepared says that the sink has everything and waits for Commit.
message Prepared {
  // The account so far, which the caller of the run is shown before it lets the run be
  // committed.
  Finished account = 1;
  // Whether the sink's bytes are seen as they come, so that Commit only writes their end.
  bool streams = 2;
}

message Finished {
  int64 rows = 1;
  int64 bytes = 2;
  // Named counters of the stages: "STAGE.NAME".
  map<string, int64> counters = 3;
  Media media = 4;
  // CPU time of the process.
  int64 cpu_nanoseconds = 5;
  // Peak resident memory of the process.
  int64 peak_memory_bytes = 6;
  // Rows that the group's encoder, or its sink of rows, was given; absent when it has neither.
  optional int64 encoded_rows = 7;
  // What the stages have to say of this run that no number tells, such as how a
  // connection was protected: "STAGE.NAME". They appear in the receipt.
  map<string, string> facts = 8;
  // Bytes that the group's encoder made, before they were compressed or sealed; absent when there are none.
  optional int64 encoded_bytes = 9;
}

message Media {
  string type = 1;
  string extension = 2;
  string content_encoding = 3;
  bool sealed = 4;
}

message CommitRequest {}

message CommitResponse {
  Fault fault = 1;
  Receipt receipt = 2;
}

message Receipt {
  int64 bytes = 1;
  string sha256 = 2;
  string location = 3;
  string link = 4;
  // Seconds since 1970-01-01 00:00 UTC; 0 when there is no link.
  int64 link_expires = 5;
}

// Announced says what a stage is about to begin outside of its process, which somebody has
// to end when the process cannot. The stage begins it after Acknowledge.
message Announced {
  // Numbers the announcements of the process.
  int64 id = 1;
  // The stage's id in Open.
  string stage = 2;
  Resource resource = 3;
}

// Released says that what was announced is over: it was ended, or handed over by Commit.
message Released {
  int64 id = 1;
}

// Resource is something outside of the process that outlives it.
message Resource {
  // What it is, for people, and how a person ends it. They hold no secrets.
  string name = 1;
  string remedy = 2;
  // What the stage needs to find it again, and to know that it is its own. No secrets.
  bytes state = 3;
  // A later run to the same place finds it and ends it without having been told.
  bool discoverable = 4;
  // The run that announced it, as the host knows it; absent in Announced.
  string run_id = 5;
}

message AcknowledgeRequest {
  int64 id = 1;
}

message AcknowledgeResponse {}

message UndoRequest {
  // The stage with the settings of the run.
  Stage stage = 1;
  string run_id = 2;
  // A private directory that the host removes when it is done.
  string dir = 3;
  repeated Resource resources = 4;
}

message UndoResponse {
  // What became of each of the resources, in their order.
  repeated UndoOutcome outcomes = 1;
}

message UndoOutcome {
  // Why it was not undone; absent when it is gone. undo.elsewhere: it does not belong to the
  // place that the settings name. undo.foreign: it cannot be shown to be the stage's own.
  Fault fault = 1;
}

message CancelRequest {}

message CancelResponse {}

// Fault is a coded failure.
message Fault {
  string code = 1;
  string class = 2;
  string message = 3;
  string hint = 4;
  bool retryable = 5;
  map<string, string> details = 6;
  string stage = 7;
}
`;
