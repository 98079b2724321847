"""Coded failures: what a machine and a person can act on (PROTOCOL.md, "Failures")."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Mapping, Sequence

from . import control_pb2 as pb

CLASSES = ("usage", "connect", "source", "data", "sink", "plugin", "cancelled", "internal")

_OWN = os.path.dirname(os.path.abspath(__file__))


class Fault(Exception):
    """What went wrong, for a stage to raise.

    code is stable and begins with the plugin's name ("redact.unknown_column"); kind is one of CLASSES. The message
    never holds a value of a row or a secret: it is logged and shown.
    """

    def __init__(self, code: str, kind: str, message: str, *, hint: str = "", retryable: bool = False,
                 details: Mapping[str, str] | None = None, stage: str = "") -> None:
        if kind not in CLASSES:
            raise ValueError("a fault's class is one of " + ", ".join(CLASSES))
        super().__init__(message)
        self.code, self.kind, self.message = code, kind, message
        self.hint, self.retryable, self.details, self.stage = hint, retryable, dict(details or {}), stage

    def message_of(self) -> pb.Fault:
        """The fault as the host takes it. "class" is a word of Python's own."""
        m = pb.Fault(code=self.code, message=self.message, hint=self.hint, retryable=self.retryable,
                     details=self.details, stage=self.stage)
        setattr(m, "class", self.kind)
        return m


def cancelled() -> Fault:
    return Fault("run.cancelled", "cancelled", "the run was cancelled")


def fault_of(error: BaseException, stage: str = "") -> Fault:
    """The fault of an error. Of one that nobody expected it says the kind and the line of the author's code, and no more:
    its text may quote a row."""
    if isinstance(error, Fault):
        error.stage = error.stage or stage
        return error
    frames = traceback.extract_tb(error.__traceback__)
    place = place_of([(f.filename, f.lineno or 0) for f in frames])
    where = f" at {place}" if place else ""
    kind = type(error).__name__
    trail = "".join(f"\n  {f.filename}:{f.lineno} in {f.name}" for f in frames)
    print(f"unexpected {kind} in stage {stage or '(none)'}{trail}", file=sys.stderr, flush=True)
    return Fault("plugin.panic", "plugin", f"the plugin's code raised {kind}{where}", stage=stage,
                 hint="the log says which calls led there")


def place_of(lines: Sequence[tuple[str, int]]) -> str:
    """The last line of the author's own among the lines of calls, rather than one of a library that it has called."""
    authored = [(file, line) for file, line in lines if not os.path.abspath(file).startswith(_OWN + os.sep)]
    own = [(file, line) for file, line in authored
           if "site-packages" not in file and os.sep + "lib" + os.sep not in file and not file.startswith("<")] or authored
    return f"{os.path.basename(own[-1][0])}:{own[-1][1]}" if own else ""


def place_of_thread(thread: int | None) -> str:
    """The line of the author's own at which a thread is."""
    frame = sys._current_frames().get(thread or 0)
    lines = []
    while frame is not None:
        lines.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return place_of(lines[::-1])
