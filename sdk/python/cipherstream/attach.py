"""A process that its author starts, under a debugger or in a terminal, and not the host (PROTOCOL.md, "Attaching for debugging")."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import struct
import sys
import threading

PATH = "CIPHERSTREAM_ATTACH"  # the variable with the socket's path
MOST_REQUEST = 64 << 10
PREFIXES = ("PLUGIN_", "CIPHERSTREAM_")  # of the variables that a run may set


def attach(path: str, name: str) -> socket.socket:
    """Connects to the run that waits at path, and puts the environment in place that it sends. Ends the process where none does.

    A debugger that was there before, as with python3 -m pdb, gets the threads of the stages too.
    """
    print(f"{name}: attaching to the run that waits at {path}", file=sys.stderr)
    os.environ.pop(PATH, None)  # what this process starts is no plugin
    try:
        connection, environment = request(path)
    except (OSError, ValueError) as e:
        gone = isinstance(e, (FileNotFoundError, ConnectionRefusedError))
        print(f"{name}: cannot attach: {'no run waits there any more' if gone else e}", file=sys.stderr)
        sys.exit(1)
    os.environ.update(environment)
    if tracing := sys.gettrace():
        threading.settrace(tracing)
    print(f"{name}: attached; waiting for the run to begin", file=sys.stderr)
    return connection


def request(path: str) -> tuple[socket.socket, dict[str, str]]:
    """The connection, and what the run sends as the first line of it."""
    directory = os.path.dirname(path)
    info = os.lstat(directory)
    # Who answers there is sent rows, and decides where they go.
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o077:
        raise ValueError(f"{directory} is not a directory of this user alone; start the plugin as the user who started the run")
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path)
        if hasattr(socket, "SO_PEERCRED"):
            _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if uid != os.getuid():
                raise ValueError("somebody else waits there")
        return connection, environment_of(_line(connection))
    except BaseException:
        connection.close()
        raise


def _line(connection: socket.socket) -> bytes:
    """The first line; the run sends nothing behind it."""
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = connection.recv(MOST_REQUEST)
        line += piece
        if not piece or len(line) > MOST_REQUEST:
            raise ValueError("the run ended before it said what it wants")
    return bytes(line)


def environment_of(line: bytes) -> dict[str, str]:
    """The variables of an attach request."""
    try:
        environment = json.loads(line)["environment"]
        texts = all(isinstance(value, str) for value in environment.values())
    except (ValueError, LookupError, TypeError, AttributeError):
        texts = False
    if not texts:
        raise ValueError("what waits there is not a run of cipherstream")
    if not environment.get("PLUGIN_CLIENT_CERT"):
        raise ValueError("the run sent no certificate")
    for variable in environment:
        if not variable.startswith(PREFIXES):
            raise ValueError(f"the run wants to set the variable {variable!r}")
    return dict(environment)


def interruptible() -> None:
    """An interrupt comes from the terminal of whoever started this process, and is meant for it."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
