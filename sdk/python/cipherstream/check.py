"""Says what is wrong with one stage before it runs (PROTOCOL.md, "Check"): no row is read, and nothing is left behind."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from . import control_pb2 as pb
from .fault import Fault, fault_of
from .link import media_of_message, message_of_media
from .stage import Media

_OPEN, _UNKNOWN = b"cipherstream.open", b"cipherstream.unknown"


class Report:
    """What the check of a source or a sink has found, for the author's check(report) to fill."""

    def __init__(self, stage: str) -> None:
        self.findings: list[pb.Finding] = []
        self._stage = stage

    def wrong(self, fault: Fault) -> None:
        """A run would fail with it."""
        self._add("wrong", fault)

    def warn(self, fault: Fault) -> None:
        """A run would do what is rarely meant."""
        self._add("warning", fault)

    def unchecked(self, message: str) -> None:
        """Only a run can tell."""
        self._add("unchecked", Fault("check.unchecked", "usage", message))

    def fine(self, message: str) -> None:
        """It was looked at, and is well."""
        self._add("fine", Fault("check.fine", "usage", message))

    def _add(self, level: str, fault: Fault) -> None:
        fault.stage = fault.stage or self._stage
        self.findings.append(pb.Finding(level=level, fault=fault.message_of()))


def check(make: Any, request: pb.CheckRequest) -> pb.CheckResponse:
    """Makes the stage and, as far as it is known what it would be given, binds it. make gives the stage of a request."""
    report, response = Report(request.stage.id), pb.CheckResponse()
    try:
        stage = make()
        _look(stage, request, report, response)
    except Exception as e:
        report.wrong(fault_of(e, request.stage.id))
    response.findings.extend(report.findings)
    return response


def _look(stage: Any, request: pb.CheckRequest, report: Report, response: pb.CheckResponse) -> None:
    kind = request.stage.kind
    if kind in ("source", "sink"):
        look = getattr(stage, "check", None)
        if not request.connect:
            return
        if look is None:
            report.unchecked("what the stage reaches is seen when it runs")
            return
        schema = look(report)
        if isinstance(schema, pa.Schema):
            response.columns = _stream(schema)
        return
    if kind in ("filter", "encoder"):
        schema = _known(request)
        if schema is None:
            return
        given = stage.bind(schema)
        if isinstance(given, pa.Schema):
            response.columns = _stream(given)
    else:
        if not request.HasField("media"):
            return
        given = stage.bind(media_of_message(request.media))
    if isinstance(given, Media):
        response.media.CopyFrom(message_of_media(given))


def _known(request: pb.CheckRequest) -> pa.Schema | None:
    """The columns that the stage would be given, when all of them are known."""
    if request.backward or not request.columns:
        return None
    schema = pa.ipc.open_stream(request.columns).schema
    if (schema.metadata or {}).get(_OPEN) == b"true" or any((f.metadata or {}).get(_UNKNOWN) == b"true" for f in schema):
        return None
    return schema


def _stream(schema: pa.Schema) -> bytes:
    sink = pa.BufferOutputStream()
    pa.ipc.new_stream(sink, schema).close()
    return bytes(sink.getvalue())
