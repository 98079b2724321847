"""Settings of a stage: what the host is told of them, and their values, checked (PROTOCOL.md, "Settings")."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Sequence

from .fault import Fault

TYPES = ("string", "boolean", "integer", "number", "duration", "size", "secret", "scalar", "list", "map", "object")
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_SIZES = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
          "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h)")


class Secret:
    """A secret setting. It shows nothing of itself when it is printed; reveal() gives the text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __reduce__(self) -> Any:
        raise TypeError("a secret is not written anywhere")


@dataclass(frozen=True)
class Setting:
    """One setting. default, min and max are text, as in YAML; items and fields describe what lists, maps and objects hold.

    A stage is given: str, bool, int; Decimal for "number"; nanoseconds (int) for "duration"; bytes (int) for "size";
    Secret; list and dict. One that was not given and has no default is None.
    """

    name: str
    type: str = "string"
    required: bool = False
    default: str | None = None
    enum: Sequence[str] = ()
    min: str | None = None
    max: str | None = None
    items: "Setting | None" = None
    fields: Sequence["Setting"] = field(default=())
    doc: str = ""
    code: str = ""
    secret: str = ""

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise ValueError(f"setting {self.name!r}: a type is one of {', '.join(TYPES)}")

    def spec(self) -> dict[str, Any]:
        """The setting as Describe tells it."""
        out: dict[str, Any] = {"name": self.name, "type": self.type}
        for key in ("required", "default", "min", "max", "doc", "code", "secret"):
            value = getattr(self, key)
            if value not in (None, "", False):
                out[key] = value
        if self.enum:
            out["enum"] = list(self.enum)
        if self.items is not None:
            out["items"] = self.items.spec()
        if self.fields:
            out["fields"] = [f.spec() for f in self.fields]
        return out


def spec_of(settings: Sequence[Setting]) -> bytes:
    return json.dumps({"fields": [s.spec() for s in settings]}).encode()


def parse(text: bytes, settings: Sequence[Setting]) -> dict[str, Any]:
    """The values of a stage's settings, of which none is quoted in a fault."""
    try:
        given = json.loads(text or b"{}", parse_float=Decimal)
    except ValueError:
        raise invalid("", "the settings are no JSON") from None
    return _object(given, settings, "")


def invalid(place: str, what: str) -> Fault:
    return Fault("config.invalid", "usage", f"{place}: {what}" if place else what,
                 details={"setting": place} if place else None)


def _object(given: Any, settings: Sequence[Setting], place: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise invalid(place, "expected an object")
    known = {s.name: s for s in settings}
    for name in given:
        if name not in known:
            raise invalid(_in(place, name), "there is no such setting" + (f"; there are {', '.join(known)}" if known else ""))
    out: dict[str, Any] = {}
    for name, s in known.items():
        at = _in(place, name)
        if name in given:
            out[name] = _value(given[name], s, at)
        elif s.required:
            raise invalid(at, "it is required")
        else:
            out[name] = None if s.default is None else _value(_default(s), s, at)
    return out


def _in(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _default(s: Setting) -> Any:
    assert s.default is not None
    if s.type in ("string", "secret", "duration", "size"):
        return s.default
    return json.loads(s.default, parse_float=Decimal)


def _value(v: Any, s: Setting, at: str) -> Any:
    kind = s.type
    if kind == "string" or kind == "secret":
        if not isinstance(v, str):
            raise invalid(at, "expected text")
        if s.enum and v not in s.enum:
            raise invalid(at, "expected one of " + ", ".join(s.enum))
        _bounds(len(v), s, at, "characters", int)
        return Secret(v) if kind == "secret" else v
    if kind == "boolean":
        if not isinstance(v, bool):
            raise invalid(at, "expected true or false")
        return v
    if kind == "integer":
        if isinstance(v, bool) or not isinstance(v, int):
            raise invalid(at, "expected an integer")
        _bounds(v, s, at, "", int)
        return v
    if kind == "number":
        if isinstance(v, bool) or not isinstance(v, (int, Decimal)):
            raise invalid(at, "expected a number")
        _bounds(Decimal(v), s, at, "", Decimal)
        return Decimal(v)
    if kind == "duration":
        n = duration(v)
        if n is None:
            raise invalid(at, 'expected a duration such as "250ms" or "1m30s"')
        _bounds(n, s, at, "", duration)
        return n
    if kind == "size":
        n = size(v)
        if n is None:
            raise invalid(at, 'expected a size such as 4096 or "64KiB"')
        _bounds(n, s, at, "", size)
        return n
    if kind == "scalar":
        if not isinstance(v, (str, bool, int, Decimal, type(None))):
            raise invalid(at, "expected text, a number, true, false or null")
        return v
    if kind == "list":
        if not isinstance(v, list):
            raise invalid(at, "expected a list")
        _bounds(len(v), s, at, "elements", int)
        return [_value(x, s.items, f"{at}[{i}]") if s.items else x for i, x in enumerate(v)]
    if not isinstance(v, dict):
        raise invalid(at, "expected an object")
    if kind == "object":
        return _object(v, s.fields, at)
    _bounds(len(v), s, at, "elements", int)
    return {k: _value(x, s.items, _in(at, k)) if s.items else x for k, x in v.items()}


def _bounds(n: Any, s: Setting, at: str, unit: str, read: Any) -> None:
    of = f" {unit}" if unit else ""
    if s.min is not None and n < read(s.min):
        raise invalid(at, f"expected at least {s.min}{of}")
    if s.max is not None and n > read(s.max):
        raise invalid(at, f"expected at most {s.max}{of}")


def duration(text: Any) -> int | None:
    """Nanoseconds of a duration; None when it is none, or has parts of a nanosecond."""
    if not isinstance(text, str):
        return None
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text)
    if rest == "0":
        return 0
    at, total = 0, Decimal(0)
    for m in _DURATION.finditer(rest):
        if m.start() != at:
            return None
        at, total = m.end(), total + Decimal(m[1]) * _UNITS[m[2]]
    if at != len(rest) or at == 0 or total != int(total):
        return None
    return sign * int(total)


def size(v: Any) -> int | None:
    """Bytes of a size; None when it is none."""
    if isinstance(v, bool):
        return None
    if isinstance(v, int):
        return v if v >= 0 else None
    m = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([kKMGT]?i?B?)", v) if isinstance(v, str) else None
    if m is None or m[2] not in _SIZES:
        return None
    try:
        n = Decimal(m[1]) * _SIZES[m[2]]
    except InvalidOperation:
        return None
    return int(n) if n == int(n) else None
