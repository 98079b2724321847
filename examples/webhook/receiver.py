#!/usr/bin/env python3
"""Receives the webhooks of CipherStream, and believes none that is not signed:

    WEBHOOK_SECRETS=whsec_... python3 receiver.py 127.0.0.1:8080

Three headers prove a delivery, as Standard Webhooks (https://www.standardwebhooks.com) has them: webhook-signature holds
signatures of webhook-id, webhook-timestamp and the body. So none of the three can be altered, and what somebody else sends
again is told by them: it is too old, or its id has been handled. While a secret is rotated, deliveries are signed with the
old one and the new one; WEBHOOK_SECRETS may hold both, with a comma between them.

It is an example to copy from. Receiver is all that a program needs, whatever serves its HTTP, but for a store: the ids that
were handled are in memory here; keep yours with what an event has changed, in one transaction. It takes nothing but
Python's own library, and something in front of it that ends TLS.
"""
import base64
import hashlib
import hmac
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MAX_BODY = 1 << 20  # bytes; an event has a few KiB, and a batch up to a hundred of them
TOLERANCE = 5 * 60  # seconds that a delivery may be old, or of the future
REMEMBERED = 7 * 24 * 3600  # seconds; what fails is tried again, under the same id, for up to 27 hours


class Receiver:
    """Hands each event to handle(event) once. Where that raises, the sender is told to come again."""

    def __init__(self, secrets, handle, now=time.time):
        self.keys = [base64.b64decode(secret.removeprefix("whsec_"), validate=True) for secret in secrets]
        if any(len(key) < 24 for key in self.keys):
            raise ValueError("a secret is whsec_ and at least 24 bytes in base64")
        self.handle = handle
        self.now = now
        self.one_by_one = threading.Lock()
        self.handled = {}  # when, by the id of the delivery

    def receive(self, headers, body):
        """Returns the status to answer with, and why. The names of headers have no case: headers.get("webhook-id")."""
        delivery, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        if not self.signed(f"{delivery}.{timestamp}.".encode() + body, headers.get("webhook-signature", "")):
            return 401, "the signature is not right"
        if abs(self.now() - int(timestamp)) > TOLERANCE:
            return 400, "the delivery is too old, or of the future"
        try:
            event = json.loads(body)
            events = event["events"] if event["event"] == "batch" else [event]
            ids = [str(event["delivery_id"]) for event in events]
        except (ValueError, TypeError, KeyError):
            return 400, "this is no event"
        with self.one_by_one:  # so that a delivery that comes twice at once is not handled twice
            for id, event in zip(ids, events):
                if id in self.handled:
                    continue  # the answer to it got lost, or it was sent again
                try:
                    self.handle(event)
                except Exception as problem:
                    print(f"{id}: {problem!r}", file=sys.stderr)
                    return 503, "try again later"
                self.remember(id)
        return 200, "thank you"

    def signed(self, content, signatures):
        """Reports whether one of the signatures is right. How long that takes tells nothing about the right one."""
        given = [one.removeprefix("v1,").encode() for one in signatures.split(" ") if one.startswith("v1,")]
        right = False
        for key in self.keys:
            expected = base64.b64encode(hmac.digest(key, content, hashlib.sha256))
            for one in given:
                right |= hmac.compare_digest(expected, one)
        return right

    def remember(self, id):
        now = self.now()
        while self.handled and now - next(iter(self.handled.values())) > REMEMBERED:
            del self.handled[next(iter(self.handled))]  # the oldest is the first
        self.handled[id] = now


class Handler(BaseHTTPRequestHandler):
    timeout = 15  # seconds for a request to come
    protocol_version = "HTTP/1.1"
    receiver = None

    def do_POST(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            return self.answer(411, "how long the body is has to be said")
        if int(length) > MAX_BODY:
            self.rfile.read(min(int(length), 2 * MAX_BODY))  # so that a sender that writes hears the answer
            return self.answer(413, "the body is too large")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            return self.answer(400, "the body is cut off")
        self.answer(*self.receiver.receive(self.headers, body))

    def do_GET(self):
        self.answer(405, "events are posted", Allow="POST")

    def answer(self, status, text, **headers):
        if status >= 400:  # the body may not have been read
            headers["Connection"] = "close"
            self.close_connection = True
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


def show(event):
    """What this example does with an event: one that is about a job tells of it, any other that it came."""
    data = event["data"]
    about = f": job {data['job_id']} ({data['procedure_name']}) is {data['status']}" if "job_id" in data else ""
    rows = f" with {data['rows_processed']} rows" if "rows_processed" in data else ""
    print(f"{event['event']} {event['delivery_id']}{about}{rows}", flush=True)


def main():
    host, _, port = (sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8080").rpartition(":")
    secrets = [secret.strip() for secret in os.environ.get("WEBHOOK_SECRETS", "").split(",") if secret.strip()]
    if not secrets:
        sys.exit("WEBHOOK_SECRETS is empty: a delivery whose signature cannot be checked is worth nothing")
    Handler.receiver = Receiver(secrets, show)
    server = ThreadingHTTPServer((host, int(port)), Handler)
    print(f"listening on http://{host}:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
