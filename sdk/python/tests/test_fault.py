"""Failures: what the host is told of them, and what not."""

import contextlib
import io
import unittest

from cipherstream import Fault
from cipherstream.fault import fault_of


class Faults(unittest.TestCase):
    def test_unexpected(self) -> None:
        noise = io.StringIO()
        try:
            int("geheim")
        except ValueError as e:
            with contextlib.redirect_stderr(noise):
                f = fault_of(e, "filter")
        self.assertEqual((f.code, f.kind, f.stage), ("plugin.panic", "plugin", "filter"))
        self.assertRegex(f.message, r"^the plugin's code raised ValueError at test_fault\.py:[0-9]+$")
        self.assertNotIn("geheim", f.message + noise.getvalue())
        self.assertIn("test_fault.py", noise.getvalue())

    def test_coded(self) -> None:
        f = fault_of(Fault("x.y", "data", "text", hint="do", details={"a": "b"}), "filter")
        m = f.message_of()
        self.assertEqual((m.code, getattr(m, "class"), m.message, m.hint, m.stage, dict(m.details)), ("x.y", "data", "text", "do", "filter", {"a": "b"}))

    def test_class(self) -> None:
        with self.assertRaises(ValueError):
            Fault("x.y", "oops", "text")


if __name__ == "__main__":
    unittest.main()
