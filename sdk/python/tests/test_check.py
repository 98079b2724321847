import unittest

import pyarrow as pa
from cipherstream import Fault, Media, Setting, compressor, control_pb2 as pb, encoder, filter, sink, source
from cipherstream.session import Session

COLUMNS = pa.schema([pa.field("a", pa.string())])


def stream(schema):
    out = pa.BufferOutputStream()
    pa.ipc.new_stream(out, schema).close()
    return bytes(out.getvalue())


@filter("f", settings=[Setting("column", required=True)])
class Filter:
    def __init__(self, settings, context):
        self.column = settings["column"]

    def bind(self, schema):
        if self.column not in schema.names:
            raise Fault("t.column", "usage", "there is no such column", details={"setting": "column"})
        return schema.append(pa.field("b", pa.int64()))

    def apply(self, batch):
        raise AssertionError("no row is read")


@encoder("e")
class Encoder:
    def __init__(self, settings, context):
        pass

    def bind(self, schema):
        return Media("text/x", ".x")

    def encode(self, batch):
        raise AssertionError("no row is read")


@compressor("c")
class Compressor:
    def __init__(self, settings, context):
        pass

    def bind(self, media):
        return media.replace(extension=media.extension + ".c")

    def write(self, data):
        raise AssertionError("nothing is read")

    end = write


@source("s")
class Source:
    def __init__(self, settings, context):
        pass

    def open(self):
        raise AssertionError("nothing is opened")

    batches = open

    def check(self, report):
        report.fine("the server answers")
        report.warn(Fault("t.slow", "source", "the server is slow"))
        return COLUMNS


@sink("k")
class Sink:
    def __init__(self, settings, context):
        pass

    def open(self, media):
        raise AssertionError("nothing is opened")

    write = commit = abort = open


class TestCheck(unittest.TestCase):
    def check(self, kind, name, settings=b"{}", **more):
        stage = pb.Stage(id="it", kind=kind, name=name, settings=settings)
        return Session((Filter, Encoder, Compressor, Source, Sink)).check(pb.CheckRequest(stage=stage, run_id="r", **more))

    def found(self, response):
        return [(f.level, f.fault.code, f.fault.stage) for f in response.findings]

    def test_filter(self):
        got = self.check("filter", "f", b'{"column": "a"}', columns=stream(COLUMNS))
        self.assertEqual(self.found(got), [])
        self.assertEqual(pa.ipc.open_stream(got.columns).schema.names, ["a", "b"])
        self.assertEqual(self.found(self.check("filter", "f", b'{"column": "x"}', columns=stream(COLUMNS))), [("wrong", "t.column", "it")])
        self.assertEqual(self.found(self.check("filter", "f", b"{}")), [("wrong", "config.invalid", "it")])

    def test_what_is_not_known_is_not_judged(self):
        for schema in (COLUMNS.with_metadata({"cipherstream.open": "true"}),
                       pa.schema([pa.field("a", pa.null(), metadata={"cipherstream.unknown": "true"})])):
            self.assertEqual(self.found(self.check("filter", "f", b'{"column": "x"}', columns=stream(schema))), [])
        for more in ({}, {"columns": stream(COLUMNS), "backward": True}):
            got = self.check("filter", "f", b'{"column": "x"}', **more)
            self.assertEqual((self.found(got), got.columns), ([], b""))

    def test_media(self):
        self.assertEqual(self.check("encoder", "e", columns=stream(COLUMNS)).media.type, "text/x")
        got = self.check("compressor", "c", media=pb.Media(type="text/x", extension=".x"))
        self.assertEqual((got.media.type, got.media.extension), ("text/x", ".x.c"))

    def test_ends(self):
        got = self.check("source", "s", connect=True)
        self.assertEqual(self.found(got), [("fine", "check.fine", "it"), ("warning", "t.slow", "it")])
        self.assertEqual(pa.ipc.open_stream(got.columns).schema, COLUMNS)
        self.assertEqual(self.found(self.check("sink", "k", connect=True)), [("unchecked", "check.unchecked", "it")])
        for kind, name in (("source", "s"), ("sink", "k")):
            self.assertEqual(self.found(self.check(kind, name)), [])
        self.assertEqual(self.found(self.check("filter", "nobody")), [("wrong", "plugin.unknown_stage", "it")])


if __name__ == "__main__":
    unittest.main()
