#!/usr/bin/env python3
"""Keeps a copy of what CipherStream's Data Stream sends, in a file of SQLite:

    STREAM_SECRET=... python3 receiver.py --organization clinic --db copy.db 127.0.0.1:8080

Documents come in the order of their numbers, for each channel by itself. A request is answered when what it brought is on
the disk, with the number up to which the channel is there; the sender goes on behind that number, whatever it has sent. So a
request may be taken in part, and one that comes again, because its answer was lost, changes nothing. A receiver that is
started again goes on where it was.

It is an example to copy from. With --certificate and --key it speaks TLS itself, of a self-signed certificate too, when the
stream is told its pin; without them something in front of it has to. A copy that was restored from a backup lacks what came
since: reset each channel of the stream to the number that the backup has, which is printed at the start. It takes nothing but
Python's own library.
"""
import argparse
import hashlib
import hmac
import json
import os
import sqlite3
import ssl
import sys
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CHANNELS = ("entities", "logs")
MAX_BODY = 8 << 20  # bytes, before the body was compressed

TABLES = """
CREATE TABLE IF NOT EXISTS channels (channel TEXT PRIMARY KEY, max_sequence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (channel TEXT, type TEXT, id TEXT, sequence INTEGER NOT NULL, document TEXT,
    PRIMARY KEY (channel, type, id)) WITHOUT ROWID;
"""


class Copy:
    """What has come, in a file. A document that is gone stays as a row without a body, with the number that said so."""

    def __init__(self, path):
        self.db = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode = WAL")
        # What was answered has to be there after a power loss too, or it would never be sent again.
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.executescript(TABLES)
        self.one_by_one = threading.Lock()  # requests may come at once: one whose sender is gone, and the one of the next

    def last(self, channel):
        """Returns the number up to which a channel is there: 0 is nothing."""
        row = self.db.execute("SELECT max_sequence FROM channels WHERE channel = ?", (channel,)).fetchone()
        return row[0] if row else 0

    def take(self, channel, documents, late):
        """Takes (number, type, id, body or None) of a channel, ascending, in one transaction, and returns up to which number
        the channel is there then. Those that are there already are passed over. It takes one at least, and no more when it is
        late."""
        with self.one_by_one:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                last = self.last(channel)
                for i, (sequence, kind, id, body) in enumerate(documents):
                    if sequence <= last:
                        continue
                    if i > 0 and time.monotonic() > late:
                        break
                    self.db.execute("INSERT INTO documents (channel, type, id, sequence, document) VALUES (?, ?, ?, ?, ?) ON CONFLICT"
                                    " DO UPDATE SET sequence = excluded.sequence, document = excluded.document",
                                    (channel, kind, id, sequence, body))
                    last = sequence
                self.db.execute("INSERT INTO channels VALUES (?, ?) ON CONFLICT DO UPDATE SET max_sequence = excluded.max_sequence",
                                (channel, last))
                self.db.execute("COMMIT")
                return last
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise


class Refusal(Exception):
    """The status of an answer, and why."""

    def __init__(self, status, why):
        super().__init__(why)
        self.status, self.why = status, why


class Receiver:
    def __init__(self, secret, organization, copy, most):
        self.expected = hashlib.sha256(f"bearer {secret}".encode()).digest()
        self.organization, self.copy, self.most = organization, copy, most

    def receive(self, headers, body):
        """Returns what to answer. The names of headers have no case: headers.get("encoding")."""
        # Hashes are compared, so that how long it takes tells nothing of the secret, not even its length.
        given = hashlib.sha256(headers.get("authorization", "").encode("latin-1")).digest()
        if not hmac.compare_digest(given, self.expected):
            raise Refusal(401, "the secret is not right")
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "the type is not application/json")
        if headers.get("encoding") != "gzip":
            raise Refusal(415, "the encoding is not gzip")
        channel, documents = self.parse(inflate(body))
        try:
            last = self.copy.take(channel, documents, time.monotonic() + self.most)
        except sqlite3.Error as problem:
            print(f"{channel}: {problem}", file=sys.stderr)
            raise Refusal(503, "try again later") from problem
        last = min(last, documents[-1][0])  # where more is there than was sent, the answer is about what was sent
        print(f"{channel}: {len(documents)} documents came, up to {last}", flush=True)
        return {"status": "ok", "organization_id": self.organization, "channel": channel, "max_sequence_processed": last}

    def parse(self, text):
        """Returns the channel, and (number, type, id, body or None) of each document."""
        try:
            whole = json.loads(text)
            channel, organization, entries = whole["channel"], whole["organization_id"], whole["documents"]
            documents, before = [], 0
            for entry in entries:
                sequence, document = entry["sequence"], entry["document"]
                kind, id = document["type"], document["id"]
                if type(sequence) is not int or type(kind) is not str or type(id) is not str or not kind:
                    raise Refusal(400, "a document has no type, id or number")
                if sequence <= before:
                    raise Refusal(400, "the numbers do not ascend")
                before = sequence
                gone = document.get("deleted") is True
                documents.append((sequence, kind, id, None if gone else json.dumps(document, ensure_ascii=False, separators=(",", ":"))))
        except (ValueError, TypeError, KeyError, AttributeError) as problem:
            raise Refusal(400, "the body is not what a stream sends") from problem
        if organization != self.organization:
            raise Refusal(403, "the documents of another organization are not taken")
        if channel not in CHANNELS:
            raise Refusal(400, "there is no such channel")
        if not documents:
            raise Refusal(400, "there are no documents")
        return channel, documents


def inflate(compressed):
    z = zlib.decompressobj(wbits=31)  # gzip
    try:
        body = z.decompress(compressed, MAX_BODY + 1)
    except zlib.error as problem:
        raise Refusal(400, "the body is not compressed with gzip") from problem
    if len(body) > MAX_BODY:
        raise Refusal(413, "the body is too large")
    if not z.eof or z.unused_data:
        raise Refusal(400, "the body is not compressed with gzip")
    return body


class Handler(BaseHTTPRequestHandler):
    timeout = 300  # seconds for a request to come; a connection is kept, and a stream may have nothing to send
    protocol_version = "HTTP/1.1"
    receiver = None

    def do_POST(self):
        try:
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal():
                raise Refusal(411, "how long the body is has to be said")
            if int(length) > MAX_BODY:
                self.rfile.read(min(int(length), 2 * MAX_BODY))  # so that a sender that writes hears the answer
                raise Refusal(413, "the body is too large")
            body = self.rfile.read(int(length))
            if len(body) < int(length):
                raise Refusal(400, "the body is cut off")
            answer = json.dumps(self.receiver.receive(self.headers, body)).encode()
        except Refusal as refused:
            return self.answer(refused.status, "text/plain; charset=utf-8", refused.why.encode())
        self.answer(200, "application/json", answer)

    def do_GET(self):
        self.answer(405, "text/plain; charset=utf-8", b"documents are posted", Allow="POST")

    def answer(self, status, media, text, **headers):
        if status >= 400:  # the body may not have been read
            headers["Connection"] = "close"
            self.close_connection = True
        self.send_response(status)
        for name, value in {"Content-Type": media, "Content-Length": str(len(text)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def main():
    options = argparse.ArgumentParser(description="Keeps a copy of what a data stream sends.")
    options.add_argument("--organization", required=True, help="the customer whose documents are taken")
    options.add_argument("--db", default="copy.db", help="the file of the copy")
    options.add_argument("--certificate", help="a file with the server's certificate, in PEM")
    options.add_argument("--key", help="a file with its key, in PEM")
    options.add_argument("--most", type=float, default=10, help="seconds that a request is worked on; what is left of it is to be sent again")
    options.add_argument("address", nargs="?", default="127.0.0.1:8080")
    given = options.parse_args()
    secret = os.environ.get("STREAM_SECRET", "")
    if not secret:
        sys.exit("STREAM_SECRET is empty: then anybody could change the copy")
    copy = Copy(given.db)
    for channel in CHANNELS:
        print(f"{channel}: up to {copy.last(channel)}", flush=True)
    Handler.receiver = Receiver(secret, given.organization, copy, given.most)
    host, _, port = given.address.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Handler)
    scheme = "http"
    if given.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(given.certificate, given.key)
        # The handshake is done by the thread of its connection, so that one that hangs holds up no other.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        scheme = "https"
    print(f"listening on {scheme}://{host}:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
