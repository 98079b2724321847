"""What an author writes: a class for each stage, and a decorator that says what it is.

Every class is made with (settings, context), and its methods are called from one thread, one after the other:

| kind | methods |
|---|---|
| source | open() -> schema; batches() -> iterable of RecordBatch or At(batch, position); may have close(), estimated_rows |
| filter | bind(schema) -> schema; apply(batch) -> batch or None; may have end() -> iterable of batches |
| encoder | bind(schema) -> Media; encode(batch) -> bytes, or a list of records; may have end() -> the same |
| compressor | bind(media) -> Media; write(data) -> bytes; end() -> bytes |
| encryptor | the same; one of records has seal(record) -> bytes in place of write and end |
| sink | open(media); write(data); commit() -> Receipt; abort(); may have undo(resource, run_id) |
| sink of rows | open(schema); write(batch, position); commit() -> Receipt; abort(); may have undo |
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Mapping, NamedTuple, Sequence, TypeVar

import pyarrow as pa

from .setting import Setting

T = TypeVar("T", bound=type)


@dataclass(frozen=True)
class Media:
    """What a stream of bytes is. replace() makes one that differs."""

    type: str = "application/octet-stream"
    extension: str = ""
    content_encoding: str = ""
    sealed: bool = False

    def replace(self, **changes: Any) -> "Media":
        return replace(self, **changes)


class At(NamedTuple):
    """A source's batch (which may have no rows) and the position behind it, from which a later run can go on."""

    batch: pa.RecordBatch
    position: str


@dataclass(frozen=True)
class Receipt:
    """What a sink has made visible: bytes and SHA-256 of the object, and where it is, without credentials."""

    bytes: int = 0
    sha256: str = ""
    location: str = ""
    link: str = ""
    link_expires: int = 0


@dataclass(frozen=True)
class Resource:
    """Something outside of the process that outlives it. None of the texts holds a secret."""

    name: str
    remedy: str
    state: bytes = b""
    discoverable: bool = False


class Context:
    """What a stage may use of its run."""

    def __init__(self, stage: str, run_id: str, dir: str, traceparent: str, log: logging.Logger,
                 announce: Callable[[str, Resource], Callable[[], None]], cancelled: Callable[[], bool]) -> None:
        self.stage, self.run_id, self.dir, self.traceparent, self.log = stage, run_id, dir, traceparent, log
        self.counters: dict[str, int] = {}
        self.facts: dict[str, str] = {}
        self._announce, self._cancelled = announce, cancelled

    def count(self, name: str, n: int = 1) -> None:
        """Adds to a counter of the receipt."""
        self.counters[name] = self.counters.get(name, 0) + n

    def fact(self, name: str, text: str) -> None:
        """Says something of this run that no number tells; it stands in the receipt."""
        self.facts[name] = text

    def cancelled(self) -> bool:
        """Whether the run is to end: what takes long looks here, and returns early."""
        return self._cancelled()

    def announce(self, resource: Resource) -> Callable[[], None]:
        """Tells the host what is about to be begun outside of this process, and returns when the host has it. What it returns
        is called when that has ended."""
        return self._announce(self.stage, resource)


@dataclass(frozen=True)
class Manifest:
    """What Describe says of a stage."""

    kind: str
    name: str
    summary: str
    doc: str
    shape_in: str
    shape_out: str
    keeps_rows: bool
    settings: Sequence[Setting] = field(default=())


def _stage(kind: str, name: str, shape_in: str, shape_out: str, methods: str, *, summary: str, doc: str,
           settings: Sequence[Setting], keeps_rows: bool = False) -> Callable[[T], T]:
    def mark(cls: T) -> T:
        for method in methods.split():
            if not callable(getattr(cls, method, None)):
                raise TypeError(f"{kind} {name!r} ({cls.__name__}) has no method {method}()")
        text = doc or (cls.__doc__ or "").strip()
        line = summary or text.partition("\n")[0] or f"{kind} {name}"
        cls.manifest = Manifest(kind, name, line, text, shape_in, shape_out, keeps_rows, tuple(settings))  # type: ignore[attr-defined]
        return cls
    return mark


def source(name: str, *, settings: Sequence[Setting] = (), summary: str = "", doc: str = "") -> Callable[[T], T]:
    """A stage that reads rows from somewhere."""
    return _stage("source", name, "", "table", "open batches", summary=summary, doc=doc, settings=settings)


def filter(name: str, *, settings: Sequence[Setting] = (), summary: str = "", doc: str = "",
           keeps_rows: bool = False) -> Callable[[T], T]:
    """A stage that takes rows and gives rows. keeps_rows says that it gives exactly one for each."""
    return _stage("filter", name, "table", "table", "bind apply", summary=summary, doc=doc, settings=settings,
                  keeps_rows=keeps_rows)


def encoder(name: str, *, records: bool = False, settings: Sequence[Setting] = (), summary: str = "",
            doc: str = "") -> Callable[[T], T]:
    """A stage that makes bytes of rows; with records, a list with one record, and its line end, for each."""
    return _stage("encoder", name, "table", "records" if records else "bytes", "bind encode", summary=summary, doc=doc,
                  settings=settings)


def compressor(name: str, *, settings: Sequence[Setting] = (), summary: str = "", doc: str = "") -> Callable[[T], T]:
    """A stage that makes fewer bytes of bytes."""
    return _stage("compressor", name, "bytes", "bytes", "bind write end", summary=summary, doc=doc, settings=settings)


def encryptor(name: str, *, records: bool = False, settings: Sequence[Setting] = (), summary: str = "",
              doc: str = "") -> Callable[[T], T]:
    """A stage that seals bytes; with records, each record by itself."""
    shape = "records" if records else "bytes"
    return _stage("encryptor", name, shape, shape, "bind seal" if records else "bind write end", summary=summary, doc=doc,
                  settings=settings)


def sink(name: str, *, rows: bool = False, settings: Sequence[Setting] = (), summary: str = "",
         doc: str = "") -> Callable[[T], T]:
    """A stage that leaves bytes, or rows, somewhere: visible after commit, and without a trace after abort."""
    return _stage("sink", name, "table" if rows else "bytes", "", "open write commit abort", summary=summary, doc=doc,
                  settings=settings)


def details_of(mapping: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Counters and facts under the stage's id."""
    return {f"{prefix}.{k}": v for k, v in mapping.items()}
