import json
import os
import socket
import tempfile
import threading
import unittest

from cipherstream.attach import MOST_REQUEST, environment_of, request

GOOD = {"PLUGIN_CLIENT_CERT": "pem", "CIPHERSTREAM_PLUGIN": "cookie"}


class TestRequest(unittest.TestCase):
    def asked(self, sent, mode=0o700):
        """What a run that sends some bytes is understood as."""
        with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as run:
            os.chmod(directory, mode)
            path = os.path.join(directory, "a")
            run.bind(path)
            run.listen()

            def answer():
                connection, _ = run.accept()
                with connection:
                    connection.sendall(sent)
            thread = threading.Thread(target=answer, daemon=True)
            thread.start()
            connection, environment = request(path)
            connection.close()
            return environment

    def test_good(self):
        self.assertEqual(self.asked(json.dumps({"environment": GOOD}).encode() + b"\n"), GOOD)

    def test_refused(self):
        for sent, why in ((b"", "ended before"), (b"{}", "ended before"), (b"x" * (MOST_REQUEST + 1), "ended before"), (b"{}\n", "not a run")):
            with self.subTest(sent[:20]), self.assertRaisesRegex(ValueError, why):
                self.asked(sent)
        with self.assertRaisesRegex(ValueError, "not a directory of this user alone"):
            self.asked(b"", 0o755)

    def test_environment(self):
        for value in (None, [], {"environment": []}, {"environment": {"PLUGIN_CLIENT_CERT": 1}}):
            with self.subTest(value), self.assertRaisesRegex(ValueError, "not a run"):
                environment_of(json.dumps(value).encode())
        for value, why in (({}, "no certificate"), ({**GOOD, "PATH": "/tmp"}, "'PATH'"), ({**GOOD, "LD_PRELOAD": "x"}, "LD_PRELOAD")):
            with self.subTest(why), self.assertRaisesRegex(ValueError, why):
                environment_of(json.dumps({"environment": value}).encode())


if __name__ == "__main__":
    unittest.main()
