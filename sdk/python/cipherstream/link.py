"""The data sockets: who is at the other end, and the Arrow streams on them (PROTOCOL.md, "Data")."""

from __future__ import annotations

import json
import os
import selectors
import socket
import struct
import threading
import time
from typing import Any, Iterator

import pyarrow as pa

from . import control_pb2 as pb
from .fault import Fault, cancelled
from .stage import Media

CHECKPOINT = b"cipherstream.checkpoint"
SHAPE, MEDIA = b"cipherstream.shape", b"cipherstream.media"
_SMALL = 4096  # bytes of a piece that is sent with the next one


class Stop:
    """Ends what waits on sockets. It may be set from any thread, and stays."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self.read_end, self._write_end = socket.socketpair()
        self._set = threading.Event()

    def is_set(self) -> bool:
        return self._set.is_set()

    def set(self) -> None:
        with self._lock:
            if not self._set.is_set():
                self._set.set()
                self._write_end.close()
            for s in self._sockets:
                _shut(s)

    def wait(self, seconds: float) -> bool:
        return self._set.wait(seconds)

    def hold(self, s: socket.socket) -> socket.socket:
        """A socket that is shut when the group is stopped."""
        with self._lock:
            self._sockets.append(s)
            if self._set.is_set():
                _shut(s)
        return s

    def release(self) -> None:
        """Closes all sockets."""
        with self._lock:
            for s in self._sockets:
                s.close()
            self._sockets.clear()


def _shut(s: socket.socket) -> None:
    try:
        s.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is closed, or was never connected


def _expected(s: socket.socket, peer: pb.Peer) -> bool:
    """Whether the system says that the right process is there, as far as it tells."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    pid, uid, _ = struct.unpack("3i", s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid != os.geteuid():
        return False
    if pid == 0 or not peer.pid or pid == peer.pid:
        return True  # a process that this one cannot see has no number here: the words tell
    try:
        return os.getpgid(pid) == peer.pid
    except OSError:
        return False


class Listener:
    """Where the stage before connects."""

    def __init__(self, path: str, peer: pb.Peer) -> None:
        self._peer = peer
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.bind(path)
            self._socket.listen(16)
            self._socket.setblocking(False)
        except OSError as e:
            self._socket.close()
            raise Fault("link.listen", "internal", f"the input's socket cannot be made: {os.strerror(e.errno or 0)}") from None

    def accept(self, stop: Stop) -> socket.socket:
        """The connection of whoever says the right word. Others are turned away, and keep nobody waiting."""
        patience = self._peer.patience_nanoseconds / 1e9 or None
        waiting: dict[socket.socket, tuple[bytearray, float | None]] = {}
        with selectors.DefaultSelector() as ready:
            ready.register(self._socket, selectors.EVENT_READ)
            ready.register(stop.read_end, selectors.EVENT_READ)

            def away(s: socket.socket) -> None:
                ready.unregister(s)
                del waiting[s]
                s.close()
            try:
                while True:
                    ends = [end for _, end in waiting.values() if end is not None]
                    events = ready.select(max(0.0, min(ends) - time.monotonic()) if ends else None)
                    if stop.is_set():
                        raise cancelled()
                    for key, _ in events:
                        s: Any = key.fileobj
                        if s is self._socket:
                            try:
                                one, _ = s.accept()
                            except OSError:
                                continue
                            if not _expected(one, self._peer):
                                one.close()
                            elif not self._peer.hello:
                                one.setblocking(True)
                                return stop.hold(one)
                            else:
                                one.setblocking(False)
                                waiting[one] = (bytearray(), time.monotonic() + patience if patience else None)
                                ready.register(one, selectors.EVENT_READ)
                            continue
                        if self._said(s, waiting[s][0]):
                            ready.unregister(s)
                            del waiting[s]
                            s.setblocking(True)
                            return stop.hold(s)
                        said = bytes(waiting[s][0])
                        if not said or not self._peer.hello.startswith(said):
                            away(s)
                    now = time.monotonic()
                    for s in [s for s, (_, end) in waiting.items() if end is not None and end <= now]:
                        away(s)
            finally:
                for s in waiting:
                    s.close()
                self.close()

    def _said(self, s: socket.socket, said: bytearray) -> bool:
        """Reads what there is of the word, and answers it when it is whole and right. A wrong or broken one is emptied."""
        hello = self._peer.hello
        try:
            piece = s.recv(len(hello) - len(said))
        except BlockingIOError:
            return False
        except OSError:
            piece = b""
        if not piece:
            said.clear()
            return False
        said += piece
        if bytes(said) != hello:
            return False
        try:
            s.sendall(self._peer.welcome)
        except OSError:
            said.clear()
            return False
        return True

    def close(self) -> None:
        self._socket.close()


def connect(path: str, peer: pb.Peer, stop: Stop) -> socket.socket:
    """Connects to the stage after, and says the word."""
    s = stop.hold(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    try:
        s.connect(path)
    except OSError:
        raise downstream_ended() from None
    if not _expected(s, peer):
        raise _stranger()
    try:
        s.sendall(peer.hello)
    except OSError:
        raise downstream_ended() from None
    return s


def answered(s: socket.socket, peer: pb.Peer) -> None:
    """Waits until the stage after has said its word: nothing is sent before."""
    got = b""
    s.settimeout(peer.patience_nanoseconds / 1e9 or None)
    try:
        while len(got) < len(peer.welcome):
            piece = s.recv(len(peer.welcome) - len(got))
            if not piece:
                raise downstream_ended()
            got += piece
    except TimeoutError:
        raise _stranger() from None
    except OSError:
        raise downstream_ended() from None
    if got != peer.welcome:
        raise _stranger()
    s.settimeout(None)


def _stranger() -> Fault:
    return Fault("link.stranger", "plugin", "somebody else listens at the output's socket")


def upstream_ended() -> Fault:
    return Fault("link.upstream_ended", "plugin", "the input ended before its end-of-stream marker")


def downstream_ended() -> Fault:
    return Fault("link.downstream_ended", "plugin", "the stage after does not take the output any more")


def _malformed(what: str) -> Fault:
    return Fault("link.protocol", "plugin", f"the input is no valid stream: {what}")


class _Incoming:
    """A socket as a file that is read. It notices its end, which a library would take for that of the stream."""

    def __init__(self, s: socket.socket) -> None:
        self._socket, self.ended, self.closed = s, False, False

    def read(self, n: int = -1) -> bytes | bytearray:
        if n <= 0:
            return b""
        out = bytearray(n)
        view, at = memoryview(out), 0
        while at < n:
            try:
                got = self._socket.recv_into(view[at:])
            except OSError:
                got = 0
            if got == 0:
                self.ended = True
                view.release()
                return bytes(out[:at])
            at += got
        view.release()
        return bytes(out) if n <= _SMALL else out

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


class Input:
    """A stream of batches from the stage before."""

    def __init__(self, s: socket.socket) -> None:
        self._file = _Incoming(s)
        self._reader = self._safely(lambda: pa.ipc.open_stream(pa.PythonFile(self._file, mode="r")))
        self.schema: pa.Schema = self._reader.schema
        refuse_types(self.schema, _malformed)
        meta = self.schema.metadata or {}
        try:
            self.shape = meta.get(SHAPE, b"table").decode()
            m = json.loads(meta.get(MEDIA, b"{}"))
            self.media = Media(m.get("Type", ""), m.get("Extension", ""), m.get("ContentEncoding", ""), m.get("Sealed", False))
        except (ValueError, AttributeError):
            raise _malformed("its shape or media cannot be read") from None
        if self.shape not in ("table", "records", "bytes"):
            raise _malformed("it has an unknown shape")
        if self.shape != "table" and (len(self.schema) != 1 or self.schema.field(0).type not in (pa.binary(), pa.large_binary())):
            raise _malformed("a stream of bytes has one column, which is binary")

    def _safely(self, call: Any) -> Any:
        try:
            return call()
        except StopIteration:
            if self._file.ended:
                raise upstream_ended() from None
            return None
        except (pa.ArrowException, OSError, ValueError, EOFError, UnicodeDecodeError) as e:
            if self._file.ended:
                raise upstream_ended() from None
            raise _malformed(type(e).__name__) from None

    def batches(self) -> Iterator[tuple[pa.RecordBatch, str | None]]:
        """The batches, each with the source's position behind it, up to the marker."""
        while (got := self._safely(self._reader.read_next_batch_with_custom_metadata)) is not None:
            self._safely(got.batch.validate)
            position = (got.custom_metadata or {}).get(CHECKPOINT)
            yield got.batch, None if position is None else position.decode()


class _Outgoing:
    """A socket as a file that is written. Small pieces are sent together."""

    def __init__(self, s: socket.socket) -> None:
        self._socket, self.bytes, self.closed = s, 0, False
        self._small = bytearray()

    def write(self, data: Any) -> int:
        n = len(data)
        self.bytes += n
        if n <= _SMALL:
            self._small += data
            return n
        self.flush()
        self._send(data)
        return n

    def flush(self) -> None:
        if self._small:
            small, self._small = self._small, bytearray()
            self._send(small)

    def _send(self, data: Any) -> None:
        try:
            self._socket.sendall(data)
        except OSError:
            raise downstream_ended() from None

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


class Output:
    """A stream of batches to the stage after. Without end() it has no marker, and counts as broken off."""

    def __init__(self, s: socket.socket, schema: pa.Schema) -> None:
        self._socket, self._file = s, _Outgoing(s)
        self._writer = pa.ipc.new_stream(pa.PythonFile(self._file, mode="w"), schema)
        self._file.flush()

    @property
    def bytes(self) -> int:
        return self._file.bytes

    def write(self, batch: pa.RecordBatch, position: str | None) -> None:
        metadata = None if position is None else {CHECKPOINT: position.encode()}
        self._writer.write_batch(batch, custom_metadata=metadata)
        self._file.flush()

    def end(self) -> None:
        self._writer.close()
        self._file.flush()
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            raise downstream_ended() from None


def stream_schema(shape: str, media: Media) -> pa.Schema:
    """The schema of a stream of records or bytes."""
    text = json.dumps({"Type": media.type, "Extension": media.extension, "ContentEncoding": media.content_encoding,
                       "Sealed": media.sealed})
    return pa.schema([pa.field(shape, pa.binary(), nullable=False)], metadata={SHAPE: shape.encode(), MEDIA: text.encode()})


def message_of_media(m: Media) -> pb.Media:
    return pb.Media(type=m.type, extension=m.extension, content_encoding=m.content_encoding, sealed=m.sealed)


def media_of_message(m: pb.Media) -> Media:
    return Media(m.type, m.extension, m.content_encoding, m.sealed)


def pieces(column: pa.Array) -> bytes:
    """The values of a binary column, end to end."""
    return b"".join(column.to_pylist())


def refuse_types(schema: pa.Schema, fault: Any) -> None:
    """No stream has dictionaries, unions, run-ends or views."""
    def look(t: pa.DataType) -> None:
        if isinstance(t, pa.BaseExtensionType):
            look(t.storage_type)
        elif pa.types.is_dictionary(t) or pa.types.is_union(t) or pa.types.is_run_end_encoded(t) or "view" in str(t):
            raise fault(f"the type {t.id} cannot be in a stream: decode it first")
        for i in range(t.num_fields):
            look(t.field(i).type)
    for f in schema:
        look(f.type)
