"""Coded failures: what a machine and a person can act on (PROTOCOL.md, "Failures")."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Mapping

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
    authored = [f for f in frames if not os.path.abspath(f.filename).startswith(_OWN + os.sep)]
    # The last line of the author's own, rather than one of a library that it has called.
    own = [f for f in authored if "site-packages" not in f.filename and os.sep + "lib" + os.sep not in f.filename] or authored
    where = f" at {os.path.basename(own[-1].filename)}:{own[-1].lineno}" if own else ""
    kind = type(error).__name__
    trail = "".join(f"\n  {f.filename}:{f.lineno} in {f.name}" for f in frames)
    print(f"unexpected {kind} in stage {stage or '(none)'}{trail}", file=sys.stderr, flush=True)
    return Fault("plugin.panic", "plugin", f"the plugin's code raised {kind}{where}", stage=stage,
                 hint="the log says which calls led there")
