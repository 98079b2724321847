from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("name", "version", "stages", "network", "link_words")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    LINK_WORDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    stages: _containers.RepeatedCompositeFieldContainer[StageManifest]
    network: bool
    link_words: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., stages: _Optional[_Iterable[_Union[StageManifest, _Mapping]]] = ..., network: _Optional[bool] = ..., link_words: _Optional[bool] = ...) -> None: ...

class StageManifest(_message.Message):
    __slots__ = ("kind", "name", "summary", "doc", "shape_in", "shape_out", "concurrent", "keeps_rows", "spec")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    DOC_FIELD_NUMBER: _ClassVar[int]
    SHAPE_IN_FIELD_NUMBER: _ClassVar[int]
    SHAPE_OUT_FIELD_NUMBER: _ClassVar[int]
    CONCURRENT_FIELD_NUMBER: _ClassVar[int]
    KEEPS_ROWS_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    summary: str
    doc: str
    shape_in: str
    shape_out: str
    concurrent: bool
    keeps_rows: bool
    spec: bytes
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ..., summary: _Optional[str] = ..., doc: _Optional[str] = ..., shape_in: _Optional[str] = ..., shape_out: _Optional[str] = ..., concurrent: _Optional[bool] = ..., keeps_rows: _Optional[bool] = ..., spec: _Optional[bytes] = ...) -> None: ...

class CheckRequest(_message.Message):
    __slots__ = ("stage", "run_id", "dir", "columns", "media", "backward", "connect")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    DIR_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    MEDIA_FIELD_NUMBER: _ClassVar[int]
    BACKWARD_FIELD_NUMBER: _ClassVar[int]
    CONNECT_FIELD_NUMBER: _ClassVar[int]
    stage: Stage
    run_id: str
    dir: str
    columns: bytes
    media: Media
    backward: bool
    connect: bool
    def __init__(self, stage: _Optional[_Union[Stage, _Mapping]] = ..., run_id: _Optional[str] = ..., dir: _Optional[str] = ..., columns: _Optional[bytes] = ..., media: _Optional[_Union[Media, _Mapping]] = ..., backward: _Optional[bool] = ..., connect: _Optional[bool] = ...) -> None: ...

class CheckResponse(_message.Message):
    __slots__ = ("findings", "columns", "media")
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    MEDIA_FIELD_NUMBER: _ClassVar[int]
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    columns: bytes
    media: Media
    def __init__(self, findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., columns: _Optional[bytes] = ..., media: _Optional[_Union[Media, _Mapping]] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("level", "fault")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    level: str
    fault: Fault
    def __init__(self, level: _Optional[str] = ..., fault: _Optional[_Union[Fault, _Mapping]] = ...) -> None: ...

class OpenRequest(_message.Message):
    __slots__ = ("run_id", "stages", "input", "output", "limits", "dir", "input_peer", "output_peer", "traceparent")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    DIR_FIELD_NUMBER: _ClassVar[int]
    INPUT_PEER_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_PEER_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    stages: _containers.RepeatedCompositeFieldContainer[Stage]
    input: str
    output: str
    limits: Limits
    dir: str
    input_peer: Peer
    output_peer: Peer
    traceparent: str
    def __init__(self, run_id: _Optional[str] = ..., stages: _Optional[_Iterable[_Union[Stage, _Mapping]]] = ..., input: _Optional[str] = ..., output: _Optional[str] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., dir: _Optional[str] = ..., input_peer: _Optional[_Union[Peer, _Mapping]] = ..., output_peer: _Optional[_Union[Peer, _Mapping]] = ..., traceparent: _Optional[str] = ...) -> None: ...

class Peer(_message.Message):
    __slots__ = ("pid", "hello", "welcome", "patience_nanoseconds", "memory", "may_finish")
    PID_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    PATIENCE_NANOSECONDS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    MAY_FINISH_FIELD_NUMBER: _ClassVar[int]
    pid: int
    hello: bytes
    welcome: bytes
    patience_nanoseconds: int
    memory: bool
    may_finish: bool
    def __init__(self, pid: _Optional[int] = ..., hello: _Optional[bytes] = ..., welcome: _Optional[bytes] = ..., patience_nanoseconds: _Optional[int] = ..., memory: _Optional[bool] = ..., may_finish: _Optional[bool] = ...) -> None: ...

class Stage(_message.Message):
    __slots__ = ("id", "kind", "name", "settings")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: str
    name: str
    settings: bytes
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[str] = ..., name: _Optional[str] = ..., settings: _Optional[bytes] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("budget_bytes", "workers", "batch_rows", "batch_bytes", "stall_nanoseconds")
    BUDGET_BYTES_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    BATCH_ROWS_FIELD_NUMBER: _ClassVar[int]
    BATCH_BYTES_FIELD_NUMBER: _ClassVar[int]
    STALL_NANOSECONDS_FIELD_NUMBER: _ClassVar[int]
    budget_bytes: int
    workers: int
    batch_rows: int
    batch_bytes: int
    stall_nanoseconds: int
    def __init__(self, budget_bytes: _Optional[int] = ..., workers: _Optional[int] = ..., batch_rows: _Optional[int] = ..., batch_bytes: _Optional[int] = ..., stall_nanoseconds: _Optional[int] = ...) -> None: ...

class OpenResponse(_message.Message):
    __slots__ = ("fault",)
    FAULT_FIELD_NUMBER: _ClassVar[int]
    fault: Fault
    def __init__(self, fault: _Optional[_Union[Fault, _Mapping]] = ...) -> None: ...

class StartRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Event(_message.Message):
    __slots__ = ("opened", "progress", "log", "prepared", "finished", "fault", "announced", "released", "checkpoint", "account")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    PREPARED_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    FAULT_FIELD_NUMBER: _ClassVar[int]
    ANNOUNCED_FIELD_NUMBER: _ClassVar[int]
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    opened: Opened
    progress: Progress
    log: Log
    prepared: Prepared
    finished: Finished
    fault: Fault
    announced: Announced
    released: Released
    checkpoint: Checkpoint
    account: Finished
    def __init__(self, opened: _Optional[_Union[Opened, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., log: _Optional[_Union[Log, _Mapping]] = ..., prepared: _Optional[_Union[Prepared, _Mapping]] = ..., finished: _Optional[_Union[Finished, _Mapping]] = ..., fault: _Optional[_Union[Fault, _Mapping]] = ..., announced: _Optional[_Union[Announced, _Mapping]] = ..., released: _Optional[_Union[Released, _Mapping]] = ..., checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ..., account: _Optional[_Union[Finished, _Mapping]] = ...) -> None: ...

class Opened(_message.Message):
    __slots__ = ("columns", "estimated_rows")
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_ROWS_FIELD_NUMBER: _ClassVar[int]
    columns: _containers.RepeatedCompositeFieldContainer[Column]
    estimated_rows: int
    def __init__(self, columns: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., estimated_rows: _Optional[int] = ...) -> None: ...

class Column(_message.Message):
    __slots__ = ("name", "type", "nullable", "source_type")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NULLABLE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_TYPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: str
    nullable: bool
    source_type: str
    def __init__(self, name: _Optional[str] = ..., type: _Optional[str] = ..., nullable: _Optional[bool] = ..., source_type: _Optional[str] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("rows", "bytes", "encoded_rows", "encoded_bytes")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    ENCODED_ROWS_FIELD_NUMBER: _ClassVar[int]
    ENCODED_BYTES_FIELD_NUMBER: _ClassVar[int]
    rows: int
    bytes: int
    encoded_rows: int
    encoded_bytes: int
    def __init__(self, rows: _Optional[int] = ..., bytes: _Optional[int] = ..., encoded_rows: _Optional[int] = ..., encoded_bytes: _Optional[int] = ...) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("position", "rows")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    position: str
    rows: int
    def __init__(self, position: _Optional[str] = ..., rows: _Optional[int] = ...) -> None: ...

class Log(_message.Message):
    __slots__ = ("level", "message", "stage", "attributes")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    level: int
    message: str
    stage: str
    attributes: _containers.ScalarMap[str, str]
    def __init__(self, level: _Optional[int] = ..., message: _Optional[str] = ..., stage: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Prepared(_message.Message):
    __slots__ = ("account", "streams")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    account: Finished
    streams: bool
    def __init__(self, account: _Optional[_Union[Finished, _Mapping]] = ..., streams: _Optional[bool] = ...) -> None: ...

class Finished(_message.Message):
    __slots__ = ("rows", "bytes", "counters", "media", "cpu_nanoseconds", "peak_memory_bytes", "encoded_rows", "facts", "encoded_bytes")
    class CountersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class FactsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    MEDIA_FIELD_NUMBER: _ClassVar[int]
    CPU_NANOSECONDS_FIELD_NUMBER: _ClassVar[int]
    PEAK_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    ENCODED_ROWS_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    ENCODED_BYTES_FIELD_NUMBER: _ClassVar[int]
    rows: int
    bytes: int
    counters: _containers.ScalarMap[str, int]
    media: Media
    cpu_nanoseconds: int
    peak_memory_bytes: int
    encoded_rows: int
    facts: _containers.ScalarMap[str, str]
    encoded_bytes: int
    def __init__(self, rows: _Optional[int] = ..., bytes: _Optional[int] = ..., counters: _Optional[_Mapping[str, int]] = ..., media: _Optional[_Union[Media, _Mapping]] = ..., cpu_nanoseconds: _Optional[int] = ..., peak_memory_bytes: _Optional[int] = ..., encoded_rows: _Optional[int] = ..., facts: _Optional[_Mapping[str, str]] = ..., encoded_bytes: _Optional[int] = ...) -> None: ...

class Media(_message.Message):
    __slots__ = ("type", "extension", "content_encoding", "sealed")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    EXTENSION_FIELD_NUMBER: _ClassVar[int]
    CONTENT_ENCODING_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    type: str
    extension: str
    content_encoding: str
    sealed: bool
    def __init__(self, type: _Optional[str] = ..., extension: _Optional[str] = ..., content_encoding: _Optional[str] = ..., sealed: _Optional[bool] = ...) -> None: ...

class CommitRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CommitResponse(_message.Message):
    __slots__ = ("fault", "receipt")
    FAULT_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    fault: Fault
    receipt: Receipt
    def __init__(self, fault: _Optional[_Union[Fault, _Mapping]] = ..., receipt: _Optional[_Union[Receipt, _Mapping]] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("bytes", "sha256", "location", "link", "link_expires")
    BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    LINK_EXPIRES_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    sha256: str
    location: str
    link: str
    link_expires: int
    def __init__(self, bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., location: _Optional[str] = ..., link: _Optional[str] = ..., link_expires: _Optional[int] = ...) -> None: ...

class Announced(_message.Message):
    __slots__ = ("id", "stage", "resource")
    ID_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    id: int
    stage: str
    resource: Resource
    def __init__(self, id: _Optional[int] = ..., stage: _Optional[str] = ..., resource: _Optional[_Union[Resource, _Mapping]] = ...) -> None: ...

class Released(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    def __init__(self, id: _Optional[int] = ...) -> None: ...

class Resource(_message.Message):
    __slots__ = ("name", "remedy", "state", "discoverable", "run_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DISCOVERABLE_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    remedy: str
    state: bytes
    discoverable: bool
    run_id: str
    def __init__(self, name: _Optional[str] = ..., remedy: _Optional[str] = ..., state: _Optional[bytes] = ..., discoverable: _Optional[bool] = ..., run_id: _Optional[str] = ...) -> None: ...

class AcknowledgeRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    def __init__(self, id: _Optional[int] = ...) -> None: ...

class AcknowledgeResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UndoRequest(_message.Message):
    __slots__ = ("stage", "run_id", "dir", "resources")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    DIR_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    stage: Stage
    run_id: str
    dir: str
    resources: _containers.RepeatedCompositeFieldContainer[Resource]
    def __init__(self, stage: _Optional[_Union[Stage, _Mapping]] = ..., run_id: _Optional[str] = ..., dir: _Optional[str] = ..., resources: _Optional[_Iterable[_Union[Resource, _Mapping]]] = ...) -> None: ...

class UndoResponse(_message.Message):
    __slots__ = ("outcomes",)
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    outcomes: _containers.RepeatedCompositeFieldContainer[UndoOutcome]
    def __init__(self, outcomes: _Optional[_Iterable[_Union[UndoOutcome, _Mapping]]] = ...) -> None: ...

class UndoOutcome(_message.Message):
    __slots__ = ("fault",)
    FAULT_FIELD_NUMBER: _ClassVar[int]
    fault: Fault
    def __init__(self, fault: _Optional[_Union[Fault, _Mapping]] = ...) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CancelResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Fault(_message.Message):
    __slots__ = ("code", "message", "hint", "retryable", "details", "stage")
    class DetailsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODE_FIELD_NUMBER: _ClassVar[int]
    CLASS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    hint: str
    retryable: bool
    details: _containers.ScalarMap[str, str]
    stage: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., hint: _Optional[str] = ..., retryable: _Optional[bool] = ..., details: _Optional[_Mapping[str, str]] = ..., stage: _Optional[str] = ..., **kwargs) -> None: ...
