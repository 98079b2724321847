"""Settings: every type, its limits, and that no value stands in a fault."""

import json
import pickle
import unittest
from decimal import Decimal

from cipherstream import Fault, Secret, Setting
from cipherstream.setting import duration, parse, size, spec_of


class Settings(unittest.TestCase):
    def test_values(self) -> None:
        settings = [Setting("text", required=True), Setting("count", "integer", default="7"), Setting("ratio", "number"),
                    Setting("wait", "duration", default="1m30s"), Setting("room", "size"), Setting("key", "secret"),
                    Setting("names", "list", items=Setting("", "string")), Setting("of", "object", fields=[Setting("a", "boolean")])]
        got = parse(b'{"text": "x", "ratio": 0.1, "room": "4MiB", "key": "geheim", "names": ["a"], "of": {"a": true}}', settings)
        self.assertEqual((got["text"], got["count"], got["wait"], got["room"]), ("x", 7, 90 * 10**9, 4 << 20))
        self.assertEqual(got["ratio"], Decimal("0.1"))  # every digit
        self.assertEqual((got["names"], got["of"]), (["a"], {"a": True}))
        self.assertEqual(got["key"].reveal(), "geheim")
        self.assertEqual(parse(b'{"text": "x", "count": 9223372036854775807}', settings)["count"], 2**63 - 1)

    def test_refused(self) -> None:
        for text, setting, says in (
            ('{"x": "geheim"}', Setting("y"), "x: there is no such setting"),
            ("{}", Setting("x", required=True), "x: it is required"),
            ('{"x": 1}', Setting("x"), "x: expected text"),
            ('{"x": true}', Setting("x", "integer"), "x: expected an integer"),
            ('{"x": 1.5}', Setting("x", "integer"), "x: expected an integer"),
            ('{"x": "geheim"}', Setting("x", enum=["a", "b"]), "x: expected one of a, b"),
            ('{"x": 11}', Setting("x", "integer", max="10"), "x: expected at most 10"),
            ('{"x": ""}', Setting("x", min="1"), "x: expected at least 1 characters"),
            ('{"x": "geheim"}', Setting("x", "duration"), "x: expected a duration"),
            ('{"x": -1}', Setting("x", "size"), "x: expected a size"),
            ('{"x": ["geheim"]}', Setting("x", "list", items=Setting("", "integer")), "x[0]: expected an integer"),
            ("[]", Setting("x"), "expected an object"),
            ("{", Setting("x"), "no JSON"),
        ):
            with self.subTest(text=text), self.assertRaises(Fault) as caught:
                parse(text.encode(), [setting])
            self.assertEqual((caught.exception.code, caught.exception.kind), ("config.invalid", "usage"))
            self.assertIn(says, caught.exception.message)
            self.assertNotIn("geheim", caught.exception.message)

    def test_units(self) -> None:
        for text, want in (("250ms", 250 * 10**6), ("1.5h", 5400 * 10**9), ("0", 0), ("-2s", -2 * 10**9), ("1", None), ("", None),
                           ("s", None), ("1s x", None), ("0.1ns", None), (1, None)):
            self.assertEqual(duration(text), want, text)
        for value, want in ((7, 7), ("64KiB", 65536), ("1.5kB", 1500), ("4 MiB", 4 << 20), ("1.0001kB", None), ("x", None), (True, None)):
            self.assertEqual(size(value), want, value)

    def test_secret_shows_nothing(self) -> None:
        s = Secret("geheim")
        self.assertNotIn("geheim", f"{s} {s!r} {[s]}")
        with self.assertRaises(TypeError):
            pickle.dumps(s)

    def test_spec(self) -> None:
        spec = json.loads(spec_of([Setting("key", "secret", required=True, secret="keys", doc="A key.")]))
        self.assertEqual(spec, {"fields": [{"name": "key", "type": "secret", "required": True, "secret": "keys", "doc": "A key."}]})


if __name__ == "__main__":
    unittest.main()
