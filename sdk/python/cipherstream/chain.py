"""A group of stages in a row: each takes what the one before gives. It owns the order of their calls, and what is counted of them."""

from __future__ import annotations

import builtins
import os
import threading
import time
from typing import Any, Callable, Iterable

import pyarrow as pa

from .fault import Fault, fault_of
from .link import Output, pieces, refuse_types, stream_schema
from .stage import At, Context, Media, Receipt

MOST_BATCH = 8 << 20  # bytes of a batch that is sent; the host's stages keep below twice that
MOST_POSITION = 16 << 10
MOST_PIECE = 1 << 20  # bytes of one value in a stream of bytes


class Stall:
    """Which stage's code is running, and since when: it must not take too long over one batch."""

    def __init__(self, most_nanoseconds: int) -> None:
        self.most = most_nanoseconds / 1e9 or 10.0
        self._lock = threading.Lock()
        self._call: str | None = None
        self._ran = 0.0
        self._looked = 0.0

    def enter(self, stage: str) -> str | None:
        with self._lock:
            before, self._call, self._ran, self._looked = self._call, stage, 0.0, time.monotonic()
            return before

    def leave(self, before: str | None) -> None:
        with self._lock:
            self._call, self._ran, self._looked = before, 0.0, time.monotonic()

    def running(self) -> str | None:
        with self._lock:
            return self._call

    def stalled(self) -> str | None:
        """The stage that has run for too long. A pause of the whole process counts for a second at most."""
        with self._lock:
            now = time.monotonic()
            if self._call is None:
                return None
            self._ran, self._looked = self._ran + min(1.0, now - self._looked), now
            return self._call if self._ran > self.most else None


class Node:
    """A stage in the row."""

    def __init__(self, stage: Any, context: Context, stall: Stall) -> None:
        self.stage, self.context, self._stall = stage, context, stall
        self.next: Any = None
        self._called: Any = None  # the code of the author's method that was called last

    def call(self, method: Callable[..., Any], *args: Any) -> Any:
        """Calls the author's code, which computes and must come back soon."""
        before = self._stall.enter(self.context.stage)
        try:
            return self.wait(method, *args)
        finally:
            self._stall.leave(before)

    def wait(self, method: Callable[..., Any], *args: Any) -> Any:
        """The same of a call that may wait for others, a server for instance: that is no stall. What goes wrong names the stage."""
        self._called = getattr(method, "__code__", self._called)
        try:
            return method(*args)
        except BaseException as e:
            raise fault_of(e, self.context.stage) from None

    def optional(self, name: str) -> Any:
        return getattr(self.stage, name, None)

    def wrong(self, what: str) -> Fault:
        code = self._called
        where = f" (at {os.path.basename(code.co_filename)}:{code.co_firstlineno})" if code else ""
        return Fault("plugin.contract", "plugin", what + where, stage=self.context.stage)

    def batch_of(self, given: Any, schema: pa.Schema) -> pa.RecordBatch:
        if not isinstance(given, pa.RecordBatch):
            raise self.wrong(f"the stage gave a {type(given).__name__} instead of a pyarrow.RecordBatch")
        if not given.schema.equals(schema):
            raise self.wrong(f"the stage gave a batch with the columns {columns_of(given.schema)}; it had said {columns_of(schema)}")
        return given if given.schema.equals(schema, check_metadata=True) else given.replace_schema_metadata(schema.metadata)

    def schema_of(self, given: Any) -> pa.Schema:
        if not isinstance(given, pa.Schema):
            raise self.wrong(f"the stage gave a {type(given).__name__} instead of a pyarrow.Schema")
        refuse_types(given, self.wrong)
        return given

    def bytes_of(self, given: Any) -> bytes:
        if given is None:
            return b""
        if not isinstance(given, (bytes, bytearray, memoryview)):
            raise self.wrong(f"the stage gave a {type(given).__name__} instead of bytes")
        return bytes(given)


def columns_of(schema: pa.Schema) -> str:
    return ", ".join(f"{f.name} ({f.type}{'' if f.nullable else ', not null'})" for f in schema) or "none"


class SourceNode(Node):
    """The stage that rows come from."""

    def __init__(self, stage: Any, context: Context, stall: Stall, batch_rows: int) -> None:
        super().__init__(stage, context, stall)
        self._batch_rows = batch_rows or 8192
        self.rows = 0
        self.position: str | None = None

    def run(self, opened: Callable[[pa.Schema, int], None], check: Callable[[], None]) -> None:
        try:
            schema = self.schema_of(self.wait(self.stage.open))
            opened(schema, int(self.optional("estimated_rows") or 0))
            self.next.begin(schema)
            batches = iter(self.wait(self.stage.batches))
            while (given := self.wait(next, batches, None)) is not None:
                batch, position = given if isinstance(given, At) else (given, None)
                batch = self.batch_of(batch, schema)
                if position is not None and len(position.encode()) > MOST_POSITION:
                    raise self.wrong("the position of a checkpoint is longer than 16 KiB")
                for part, last in parts(batch, self._batch_rows):
                    check()
                    self.rows += part.num_rows
                    self.next.put(part, position if last else None)
                self.position = position or self.position
            self.next.finish()
        finally:
            if close := self.optional("close"):
                self.wait(close)


def parts(batch: pa.RecordBatch, most_rows: int) -> Iterable[tuple[pa.RecordBatch, bool]]:
    """A batch in parts that are not too large, each with whether it is the last."""
    rows = batch.num_rows
    each = most_rows
    if rows and batch.nbytes > MOST_BATCH:
        each = max(1, min(each, rows * MOST_BATCH // batch.nbytes))
    for at in range(0, max(rows, 1), each):
        yield batch.slice(at, each), at + each >= rows


class FilterNode(Node):
    """A stage from rows to rows. One that holds rows back hands a position on at its end, behind them."""

    def begin(self, schema: pa.Schema) -> None:
        self._schema = self.schema_of(self.call(self.stage.bind, schema))
        self._keeps = self.stage.manifest.keeps_rows
        self._holds = self.optional("end") is not None and not self._keeps
        self._waiting: str | None = None
        self.next.begin(self._schema)

    def put(self, batch: pa.RecordBatch, position: str | None) -> None:
        given = self.call(self.stage.apply, batch) if batch.num_rows else None
        if self._keeps and batch.num_rows and (given is None or given.num_rows != batch.num_rows):
            made = 0 if given is None else given.num_rows
            raise self.wrong(f"the filter says that it keeps every row, and made {made} of {batch.num_rows}")
        if self._holds:
            self._waiting, position = position or self._waiting, None
        if given is not None:
            given = self.batch_of(given, self._schema)
        elif position is not None:
            given = self._schema.empty_table().to_batches()[0] if len(self._schema) == 0 else empty(self._schema)
        if given is not None:
            self.next.put(given, position)

    def finish(self) -> None:
        if end := self.optional("end"):
            given = iter(self.call(end) or ())
            while (batch := self.call(next, given, None)) is not None:
                self.next.put(self.batch_of(batch, self._schema), None)
        if self._waiting is not None:
            self.next.put(empty(self._schema), self._waiting)
        self.next.finish()


def empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)


class EncoderNode(Node):
    """A stage from rows to bytes or records."""

    rows = 0
    bytes = 0

    def begin(self, schema: pa.Schema) -> None:
        self._shape = self.stage.manifest.shape_out
        self.media = self.call(self.stage.bind, schema)
        if not isinstance(self.media, Media):
            raise self.wrong("bind of an encoder gives the Media that it makes")
        self.next.begin_stream(self._shape, self.media)

    def put(self, batch: pa.RecordBatch, position: str | None) -> None:
        self.rows += batch.num_rows
        if batch.num_rows:
            self._give(self.call(self.stage.encode, batch), batch.num_rows)

    def _give(self, given: Any, rows: int | None) -> None:
        if self._shape == "bytes":
            values = [self.bytes_of(given)]
        else:
            values = [self.bytes_of(v) for v in given or ()]
            if rows is not None and len(values) != rows:
                raise self.wrong("an encoder of records gives one for every row")
        self.bytes += sum(map(len, values))
        self.next.put_stream(values)

    def finish(self) -> None:
        if end := self.optional("end"):
            self._give(self.call(end), None)
        self.next.finish()


class BytesNode(Node):
    """A compressor or an encryptor."""

    def begin_stream(self, shape: str, media: Media) -> None:
        self._records = self.stage.manifest.shape_in == "records"
        if self._records and shape != "records":
            raise Fault("link.protocol", "plugin", "the stage takes records, and is given a stream of bytes", stage=self.context.stage)
        self.media = self.call(self.stage.bind, media)
        if not isinstance(self.media, Media):
            raise self.wrong("bind of a stage of bytes gives the Media that it makes")
        self.next.begin_stream("records" if self._records else "bytes", self.media)

    def put_stream(self, values: list[bytes]) -> None:
        if self._records:
            self.next.put_stream([self.bytes_of(self.call(self.stage.seal, v)) for v in values])
        elif data := b"".join(values):
            self.next.put_stream([self.bytes_of(self.call(self.stage.write, data))])

    def finish(self) -> None:
        if not self._records:
            self.next.put_stream([self.bytes_of(self.call(self.stage.end))])
        self.next.finish()


class SinkNode(Node):
    """Where it ends: in somebody's hands after commit, and nowhere after abort."""

    rows = 0
    bytes = 0
    _over = False

    @property
    def takes_rows(self) -> bool:
        return bool(self.stage.manifest.shape_in == "table")

    def begin(self, schema: pa.Schema) -> None:
        self.wait(self.stage.open, schema)

    def begin_stream(self, shape: str, media: Media) -> None:
        self.wait(self.stage.open, media)

    def put(self, batch: pa.RecordBatch, position: str | None) -> None:
        self.wait(self.stage.write, batch, position)
        self.rows += batch.num_rows

    def put_stream(self, values: list[builtins.bytes]) -> None:
        if data := b"".join(values):
            self.wait(self.stage.write, data)
            self.bytes += len(data)

    def finish(self) -> None:
        pass

    def commit(self) -> Receipt:
        receipt = self.wait(self.stage.commit)
        if not isinstance(receipt, Receipt):
            raise self.wrong("commit of a sink gives a Receipt")
        return receipt

    def abort(self) -> None:
        if not self._over:
            self._over = True
            self.wait(self.stage.abort)


class OutputNode:
    """What the group gives, on its way to the stage after."""

    def __init__(self, ready: Callable[[], Any], check: Callable[[], None]) -> None:
        self._ready, self._check = ready, check
        self._output: Output | None = None
        self.tells_position = True

    @property
    def bytes(self) -> int:
        return self._output.bytes if self._output else 0

    def begin(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._output = Output(self._ready(), schema)

    def begin_stream(self, shape: str, media: Media) -> None:
        self._shape = shape
        self.begin(stream_schema(shape, media))

    def put(self, batch: pa.RecordBatch, position: str | None) -> None:
        assert self._output
        for part, last in parts(batch, max(1, batch.num_rows)):
            self._check()
            self._output.write(part, position if last else None)

    def put_stream(self, values: list[builtins.bytes]) -> None:
        if self._shape == "bytes":
            whole = b"".join(values)
            values = [whole[at:at + MOST_PIECE] for at in range(0, len(whole), MOST_PIECE)]
        if values:
            self.put(pa.record_batch([pa.array(values, pa.binary())], schema=self._schema), None)

    def finish(self) -> None:
        assert self._output
        self._check()
        self._output.end()


def feed(first: Any, shape: str, batch: pa.RecordBatch, position: str | None) -> None:
    """Gives a batch of the input to the first stage."""
    if shape == "table":
        first.put(batch, position)
        return
    column = batch.column(0)
    if column.null_count:
        raise Fault("link.protocol", "plugin", "the input is no valid stream: a null in a stream of bytes")
    first.put_stream(column.to_pylist() if shape == "records" else [pieces(column)])
