"""The data sockets: who is let in, and that a stream without its end is not taken for a whole one."""

import os
import socket
import tempfile
import threading
import time
import unittest
from decimal import Decimal

import pyarrow as pa
from cipherstream import Fault, control_pb2 as pb
from cipherstream.link import Input, Listener, Output, Stop, connect, refuse_types

SCHEMA = pa.schema([pa.field("amount", pa.decimal256(60, 20)), pa.field("n", pa.int64())])


def batch(n: int) -> pa.RecordBatch:
    return pa.record_batch([pa.array([Decimal("12345678901234567890123456789012345678.12345678901234567890")] * n, pa.decimal256(60, 20)),
                            pa.array(range(n), pa.int64())], schema=SCHEMA)


class Streams(unittest.TestCase):
    def read(self, end: bool, cut: int = 0) -> list:
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        out = Output(theirs, SCHEMA)
        out.write(batch(3), None)
        out.write(batch(0), "position")
        if end:
            out.end()
        if cut:
            theirs.sendall(b"\xff\xff\xff\xff\x10"[:cut])
        theirs.close()
        return list(Input(ours).batches())

    def test_whole(self) -> None:
        got = self.read(end=True)
        self.assertEqual([(b.num_rows, p) for b, p in got], [(3, None), (0, "position")])
        self.assertTrue(got[0][0].equals(batch(3)))

    def test_broken_off(self) -> None:
        for cut in (0, 1, 4, 5):
            with self.subTest(cut=cut), self.assertRaises(Fault) as caught:
                self.read(end=False, cut=cut)
            self.assertEqual(caught.exception.code, "link.upstream_ended")

    def test_garbage(self) -> None:
        for text, code in ((b"", "link.upstream_ended"), (b"\xff\xff\xff\xff\x08\0\0\0garbage!" + b"x" * 64, "link.protocol")):
            ours, theirs = socket.socketpair()
            theirs.sendall(text)
            theirs.close()
            with ours, self.subTest(text=text), self.assertRaises(Fault) as caught:
                list(Input(ours).batches())
            self.assertEqual(caught.exception.code, code)

    def test_types(self) -> None:
        for t in (pa.dictionary(pa.int8(), pa.string()), pa.list_(pa.dictionary(pa.int8(), pa.string())), pa.string_view(),
                  pa.dense_union([pa.field("a", pa.int8())]), pa.run_end_encoded(pa.int32(), pa.int8())):
            with self.subTest(type=t), self.assertRaises(Fault):
                refuse_types(pa.schema([pa.field("x", t)]), lambda what: Fault("x.y", "plugin", what))


class Strangers(unittest.TestCase):
    def setUp(self) -> None:
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        self.path = os.path.join(self.dir.name, "s")
        self.peer = pb.Peer(hello=b"h" * 16, welcome=b"w" * 16, patience_nanoseconds=50_000_000)
        self.stop = Stop()
        self.addCleanup(self.stop.release)

    def test_only_who_says_the_word(self) -> None:
        listener = Listener(self.path, self.peer)
        strangers = []
        for word in (b"", b"h", b"x" * 16):  # silent, too slow, wrong
            s = socket.socket(socket.AF_UNIX)
            s.connect(self.path)
            s.sendall(word)
            strangers.append(s)
        writer = connect(self.path, self.peer, self.stop)
        reader = listener.accept(self.stop)
        self.assertEqual(writer.recv(16), self.peer.welcome)
        writer.sendall(b"stream")
        self.assertEqual(reader.recv(16), b"stream")
        for s in strangers:
            s.settimeout(5)
            try:
                self.assertEqual(s.recv(16), b"")  # turned away, and sent nothing
            except ConnectionResetError:
                pass
            s.close()

    def test_cancelled_while_it_waits(self) -> None:
        listener = Listener(self.path, self.peer)
        threading.Timer(0.05, self.stop.set).start()
        began = time.monotonic()
        with self.assertRaises(Fault) as caught:
            listener.accept(self.stop)
        self.assertEqual(caught.exception.code, "run.cancelled")
        self.assertLess(time.monotonic() - began, 5)


if __name__ == "__main__":
    unittest.main()
