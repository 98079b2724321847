"""One run of one group of stages: Open, Start, Acknowledge, Commit, Cancel; or, in place of a run, Undo."""

from __future__ import annotations

import logging
import os
import queue
import resource
import sys
import threading
import time
from typing import Any, Callable, Iterator, Sequence

import pyarrow as pa

from . import chain, control_pb2 as pb
from .check import check
from .fault import Fault, cancelled, fault_of, place_of_thread
from .link import Input, Listener, Stop, answered, connect, message_of_media
from .setting import parse
from .stage import Context, Media, Receipt, Resource, details_of

HEARTBEAT = 0.25  # seconds; the host asks for an event every second
MOST_EVENTS = 256
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def plain(code: str, message: str) -> Fault:
    return Fault(code, "internal", message)


def _at(thread: threading.Thread) -> str:
    place = place_of_thread(thread.ident)
    return f" (at {place})" if place else ""


def memory_limit() -> int:
    """The process's memory limit in bytes, of which the host tells a part; 0 without one."""
    text = os.environ.get("GOMEMLIMIT", "")
    return int(text) // 3 * 4 if text.isdigit() else 0


def resident() -> int:
    """Resident memory in bytes; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


class _Events(logging.Handler):
    """Events for the host, of which log lines may be lost when it is slow, and nothing else."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.queue: queue.SimpleQueue[pb.Event] = queue.SimpleQueue()
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        if self.queue.qsize() >= MOST_EVENTS:
            self._lost += 1
            return
        attributes = {k: str(v)[:8192] for k, v in vars(record).items() if k not in _PLAIN}
        if record.exc_info and record.exc_info[0]:
            attributes["error"] = record.exc_info[0].__name__  # its text may quote a row
        if self._lost:
            attributes["lost_lines"], self._lost = str(self._lost), 0
        level = -4 if record.levelno < 20 else 0 if record.levelno < 30 else 4 if record.levelno < 40 else 8
        stage = attributes.pop("stage", "")
        self.queue.put(pb.Event(log=pb.Log(level=level, message=record.getMessage()[:8192], stage=stage, attributes=attributes)))


class _Announced:
    """What outlives the process: announcements, and the host's acknowledgements."""

    def __init__(self, put: Callable[[pb.Event], None], stop: Stop) -> None:
        self._put, self._stop = put, stop
        self._lock = threading.Lock()
        self._last = 0
        self._waiting: dict[int, threading.Event] = {}

    def announce(self, stage: str, r: Resource) -> Callable[[], None]:
        acknowledged = threading.Event()
        with self._lock:
            self._last += 1
            number = self._last
            self._waiting[number] = acknowledged
        self._put(pb.Event(announced=pb.Announced(id=number, stage=stage, resource=pb.Resource(
            name=r.name, remedy=r.remedy, state=r.state, discoverable=r.discoverable))))
        while not acknowledged.wait(0.05):
            if self._stop.is_set():
                self._put(pb.Event(released=pb.Released(id=number)))
                raise cancelled()
        released = threading.Event()

        def release() -> None:
            if not released.is_set():
                released.set()
                self._put(pb.Event(released=pb.Released(id=number)))
        return release

    def acknowledge(self, number: int) -> None:
        with self._lock:
            waiting = self._waiting.pop(number, None)
        if waiting:
            waiting.set()


class Session:
    """Serves one run. Its methods are called from the control service's threads."""

    def __init__(self, stages: Sequence[type]) -> None:
        self._stages = {(s.manifest.kind, s.manifest.name): s for s in stages}  # type: ignore[attr-defined]
        self._lock = threading.Lock()
        self._stop = Stop()
        self._events = _Events()
        self._announced = _Announced(self._events.queue.put, self._stop)
        self._request: pb.OpenRequest | None = None
        self._nodes: list[Any] = []
        self._listener: Listener | None = None
        self._output: chain.OutputNode | None = None
        self._started = False
        self._over = threading.Event()
        self._prepared = False
        self._commit: queue.SimpleQueue[Fault | None] = queue.SimpleQueue()
        self._rows = 0
        self._told: str | None = None
        self._stall = chain.Stall(0)
        self._full = False

    # Open

    def open(self, request: pb.OpenRequest) -> None:
        """Makes the stages, and listens for the input."""
        with self._lock:
            if self._request is not None:
                raise plain("control.order", "this process already serves a run")
            self._stall = chain.Stall(request.limits.stall_nanoseconds)
            nodes = [self._node(s, request) for s in request.stages]
            if not nodes or isinstance(nodes[0], chain.SourceNode) == bool(request.input) or \
                    isinstance(nodes[-1], chain.SinkNode) == bool(request.output):
                raise plain("internal", "a group needs an input unless it begins with a source, and an output unless it ends with a sink")
            if request.input:
                self._listener = Listener(request.input, request.input_peer)
            self._nodes, self._request = nodes, request

    def _make(self, of: pb.Stage, run_id: str, dir: str, traceparent: str) -> tuple[Any, Context]:
        cls = self._stages.get((of.kind, of.name))
        if cls is None:
            raise Fault("plugin.unknown_stage", "plugin", f"there is no {of.kind} called {of.name!r} in this plugin", stage=of.id)
        log = logging.getLogger(f"cipherstream.stage.{of.id}")
        log.setLevel(logging.INFO)
        log.propagate = False
        log.handlers = [self._events]
        log.filters = [_named(of.id)]
        context = Context(of.id, run_id, dir, traceparent, log, self._announced.announce, self._stop.is_set)
        try:
            return cls(parse(of.settings, cls.manifest.settings), context), context  # type: ignore[attr-defined]
        except Exception as e:
            raise fault_of(e, of.id) from None

    def _node(self, of: pb.Stage, request: pb.OpenRequest) -> Any:
        stage, context = self._make(of, request.run_id, request.dir, request.traceparent)
        if of.kind == "source":
            return chain.SourceNode(stage, context, self._stall, request.limits.batch_rows)
        kinds: dict[str, Any] = {"filter": chain.FilterNode, "encoder": chain.EncoderNode, "sink": chain.SinkNode}
        return kinds.get(of.kind, chain.BytesNode)(stage, context, self._stall)

    # Start

    def start(self, active: Callable[[], bool]) -> Iterator[pb.Event]:
        """Runs the group, and gives its events, of which the last is finished or fault."""
        with self._lock:
            if self._request is None or self._started:
                yield pb.Event(fault=plain("control.order", "Start comes once, after Open").message_of())
                return
            self._started = True
        result: queue.SimpleQueue[Fault | None] = queue.SimpleQueue()
        stages = threading.Thread(target=lambda: result.put(self._execute()), name="stages", daemon=True)
        stages.start()
        failure: Fault | None = None
        beat = time.monotonic()
        while not self._over.is_set():
            try:
                yield self._events.queue.get(timeout=max(0.0, beat + HEARTBEAT - time.monotonic()))
            except queue.Empty:
                pass
            if time.monotonic() >= beat + HEARTBEAT:
                beat = time.monotonic()
                yield from self._progress()
                if not active():
                    self.cancel()
                if stalled := self._stall.stalled():
                    # The thread cannot be stopped: the host ends the process.
                    failure = Fault("plugin.stalled", "plugin",
                                    f"one call of the stage has taken more than {self._stall.most:g}s{_at(stages)}", stage=stalled,
                                    hint="this is a defect of the stage, or a batch that is too much for it; "
                                         "limits.stall of the pipeline gives it longer")
                    break
                self._watch_memory(stages)
        failure = failure or result.get()
        while not self._events.queue.empty():
            yield self._events.queue.get()
        if failure:
            yield pb.Event(fault=failure.message_of(), account=self._account())
        else:
            yield pb.Event(finished=self._account())

    def _watch_memory(self, stages: threading.Thread) -> None:
        """Says once where the stages are when memory runs out: the host ends the process soon, and shows its last lines."""
        limit = memory_limit()
        if self._full or limit == 0 or (used := resident()) < limit * 0.7:
            return
        self._full = True
        print(f"{used >> 20} MiB of memory are used, of at most {limit >> 20}; stage {self._stall.running() or '(none)'} is running{_at(stages)}",
              file=sys.stderr, flush=True)

    def _progress(self) -> Iterator[pb.Event]:
        account = self._account()
        progress = pb.Progress(rows=account.rows, bytes=account.bytes)
        if account.HasField("encoded_rows"):
            progress.encoded_rows = account.encoded_rows
        if account.HasField("encoded_bytes"):
            progress.encoded_bytes = account.encoded_bytes
        yield pb.Event(progress=progress)
        first = self._nodes[0]
        if isinstance(first, chain.SourceNode) and first.position not in (None, self._told):
            self._told = first.position
            yield pb.Event(checkpoint=pb.Checkpoint(position=first.position, rows=first.rows))

    def _execute(self) -> Fault | None:
        failure: Fault | None = None
        try:
            self._run()
            sink = self._nodes[-1]
            for event in self._progress():
                self._events.queue.put(event)
            if isinstance(sink, chain.SinkNode):
                self._decision()
        except BaseException as e:
            if isinstance(e, _Decided):
                failure = e.fault
            else:
                failure = cancelled() if self._stop.is_set() else fault_of(e)
            self._abort()
        finally:
            if self._listener:
                self._listener.close()
            self._stop.release()  # only now, when it is known what went wrong
            self._over.set()
            self._events.queue.put(pb.Event(progress=pb.Progress(rows=self._rows_now(), bytes=self._account().bytes)))
        return failure

    def _check(self) -> None:
        if self._stop.is_set():
            raise cancelled()

    def _run(self) -> None:
        request = self._request
        assert request is not None
        self._check()
        if request.output:
            after = connect(request.output, request.output_peer, self._stop)

            def ready() -> Any:
                answered(after, request.output_peer)
                return after
            self._output = chain.OutputNode(ready, self._check)
        for node, following in zip(self._nodes, [*self._nodes[1:], self._output]):
            node.next = following
        first = self._nodes[0]
        if isinstance(first, chain.SourceNode):
            first.run(self._opened, self._check)
            return
        assert self._listener
        given = Input(self._listener.accept(self._stop))
        self._begin(first, given)
        for batch, position in given.batches():
            self._check()
            self._rows += batch.num_rows
            chain.feed(first, given.shape, batch, position)
        self._check()
        first.finish()

    def _begin(self, first: Any, given: Input) -> None:
        takes = first.stage.manifest.shape_in
        if (takes == "table") != (given.shape == "table"):
            raise Fault("link.protocol", "plugin", f"the stage takes {takes}, and is given {given.shape}", stage=first.context.stage)
        if takes == "table":
            first.begin(given.schema)
        else:
            first.begin_stream(given.shape, given.media)

    def _opened(self, schema: pa.Schema, estimated: int) -> None:
        columns = []
        for f in schema:
            meta = f.metadata or {}
            columns.append(pb.Column(name=f.name, type=type_name(f), nullable=f.nullable,
                                     source_type=meta.get(b"cipherstream.source_type", b"").decode(errors="replace")))
        self._events.queue.put(pb.Event(opened=pb.Opened(columns=columns, estimated_rows=estimated)))

    # The end

    def _decision(self) -> None:
        """Waits for the outcome of Commit, which decides once it has begun, or for the end of the run."""
        with self._lock:
            self._prepared = True
        self._events.queue.put(pb.Event(prepared=pb.Prepared(account=self._account())))
        while True:
            try:
                outcome = self._commit.get(timeout=0.05)
                break
            except queue.Empty:
                pass
            with self._lock:
                if self._stop.is_set() and self._prepared:
                    self._prepared = False
                    raise cancelled()
        if outcome is not None:
            raise _Decided(outcome)

    def commit(self) -> Receipt:
        """Makes the sink's output visible. It comes once, when everything has been written."""
        with self._lock:
            if not self._prepared:
                raise plain("control.order", "Commit comes once, after Prepared")
            self._prepared = False
        try:
            receipt: Receipt = self._nodes[-1].commit()
        except BaseException as e:
            failure = fault_of(e)
            self._commit.put(failure)
            raise failure from None
        self._commit.put(None)
        return receipt

    def _abort(self) -> None:
        for node in self._nodes:
            if isinstance(node, chain.SinkNode):
                try:
                    node.abort()
                except Fault as f:
                    print(f"clean-up after the failure failed too: {f.code}", file=sys.stderr, flush=True)

    def cancel(self) -> None:
        """Stops the group; what is being read or written breaks off."""
        self._stop.set()
        with self._lock:
            if not self._started:
                if self._listener:
                    self._listener.close()
                self._abort()

    def end(self, seconds: float) -> None:
        """Stops the group, and waits until the sink has cleaned up."""
        self.cancel()
        if self._started:
            self._over.wait(seconds)

    def acknowledge(self, number: int) -> None:
        self._announced.acknowledge(number)

    def check(self, request: pb.CheckRequest) -> pb.CheckResponse:
        """Says what is wrong with one stage before it runs."""
        return check(lambda: self._make(request.stage, request.run_id, request.dir, "")[0], request)

    def undo(self, request: pb.UndoRequest) -> list[Fault | None]:
        """Ends what another process had announced: a fault for each resource that could not be."""
        outcomes: list[Fault | None] = []
        for r in request.resources:
            try:
                stage, _ = self._make(request.stage, request.run_id, request.dir, "")
                undo = getattr(stage, "undo", None)
                if undo is None:
                    raise Fault("undo.unsupported", "plugin", "this stage announces nothing")
                undo(Resource(r.name, r.remedy, r.state, r.discoverable), r.run_id)
                outcomes.append(None)
            except Exception as e:
                outcomes.append(fault_of(e, request.stage.id))
        return outcomes

    # The account

    def _rows_now(self) -> int:
        first = self._nodes[0]
        return first.rows if isinstance(first, chain.SourceNode) else self._rows

    def _account(self) -> pb.Finished:
        used = resource.getrusage(resource.RUSAGE_SELF)
        peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        account = pb.Finished(rows=self._rows_now(), bytes=self._output.bytes if self._output else 0,
                              cpu_nanoseconds=int((used.ru_utime + used.ru_stime) * 1e9), peak_memory_bytes=peak)
        for node in self._nodes:
            account.counters.update(details_of(dict(node.context.counters), node.context.stage))
            account.facts.update(details_of(dict(node.context.facts), node.context.stage))
            if isinstance(node, (chain.EncoderNode, chain.BytesNode)) and isinstance(getattr(node, "media", None), Media):
                account.media.CopyFrom(message_of_media(node.media))
            if isinstance(node, chain.EncoderNode):
                account.encoded_rows = node.rows
                if node.bytes:
                    account.encoded_bytes = node.bytes
            if isinstance(node, chain.SinkNode):
                account.bytes = node.bytes
                if node.takes_rows:
                    account.encoded_rows = node.rows
        return account


class _Decided(Exception):
    """The outcome of a Commit that failed, which a Cancel that came meanwhile does not change."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self.fault = fault


def _named(stage: str) -> Callable[[logging.LogRecord], bool]:
    def add(record: logging.LogRecord) -> bool:
        record.stage = stage
        return True
    return add


_NAMES = {"bool": "boolean", "float": "float32", "double": "float64", "date32[day]": "date", "large_string": "string",
          "large_binary": "binary"}


def type_name(f: pa.Field) -> str:
    """A type in the words of a pipeline's columns."""
    t = f.type
    if pa.types.is_decimal(t):
        return f"decimal({t.precision},{t.scale})"
    if pa.types.is_timestamp(t):
        return "timestamp"
    if pa.types.is_duration(t) or pa.types.is_time(t):
        return "time"
    if (f.metadata or {}).get(b"cipherstream.json") == b"true":
        return "json"
    return _NAMES.get(str(t), str(t))
