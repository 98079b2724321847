#!/usr/bin/env python3
"""Opens a sealed delivery: python3 decrypt.py --customer clinic-7 --keys keys.txt sealed.zip > rows.ndjson

Every line of a delivery is {"encrypted_data":"KEY_ID:IV:CIPHERTEXT_AND_TAG"}, and each opens in its own place only:
the index of the line, counted from 0, and the customer stand in what GCM authenticates. A .gz or a .zip around the
lines is taken off here; a .zst by `zstd -d` before. A format that was compressed before it was sealed (everything but
NDJSON) comes out compressed, and from a .zip as .gz.

The lines do not show that they are all, that they are of one run, and that the delivery is not an old one: give its receipt
with --receipt, which is authenticated first (sdk/envelope/RECEIPT.md has its bytes), and the run that you expect with
--expect-run. Needs the package cryptography.
"""
import argparse
import base64
import gzip
import hashlib
import hmac
import json
import sys
import zipfile

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


MAX_RECEIPT = 1 << 20


def read_keys(path):
    """The keys of a file, one of base64 a line, by what the envelope calls them."""
    ring = {}
    with open(path, encoding="ascii") as file:
        for line in filter(None, map(str.strip, file)):
            key = base64.b64decode(line, validate=True)
            if len(key) != 32:
                raise ValueError("a key is 32 bytes in base64")
            ring[hashlib.sha256(key).hexdigest()[:16]] = key
    return ring


def open_lines(path):
    """The envelope lines of a delivery, whatever it is packed in."""
    with open(path, "rb") as file:
        start = file.read(4)
    if start[:2] == b"\x1f\x8b":
        return gzip.open(path, "rb")
    if start == b"PK\x03\x04":
        archive = zipfile.ZipFile(path)
        [entry] = archive.infolist()
        return archive.open(entry)
    return open(path, "rb")


def unseal(line, index, ring, customer):
    """What the line of that index was sealed from: a row, or a chunk of the file."""
    envelope = json.loads(line)
    key_id, iv, sealed = envelope["encrypted_data"].split(":")
    if key_id not in ring:
        raise ValueError(f"it was sealed with key {key_id}, which is not among yours")
    return AESGCM(ring[key_id]).decrypt(
        base64.b64decode(iv, validate=True),
        base64.b64decode(sealed, validate=True),
        f"stream:{customer}:{index}".encode(),
    )


def once(pairs):
    """A JSON object none of whose members comes twice."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("the receipt has a member twice")
    return members


def read_receipt(path, ring):
    """What the receipt proves: its statement, after its MAC was checked under the key that it names."""
    with open(path, "rb") as file:
        text = file.read(MAX_RECEIPT + 1)
    if len(text) > MAX_RECEIPT:
        raise ValueError("the receipt is too large")
    receipt = json.loads(text, object_pairs_hook=once)
    statement, mac = receipt.get("statement"), receipt.get("mac")
    if not isinstance(statement, str) or not isinstance(mac, str) or not mac.isascii():
        raise ValueError("the receipt is not authenticated, so it proves nothing")
    proved = json.loads(statement, object_pairs_hook=once)
    if json.dumps(proved, sort_keys=True, separators=(",", ":")) != statement:
        raise ValueError("the receipt is not in its canonical form")
    if proved["key_id"] not in ring:
        raise ValueError(f"the receipt was made with key {proved['key_id']}, which is not among yours")
    # HKDF-SHA256 (RFC 5869) with an empty salt, of one block.
    extracted = hmac.digest(bytes(32), ring[proved["key_id"]], "sha256")
    key = hmac.digest(extracted, b"cipherstream receipt v1\x01", "sha256")
    if not hmac.compare_digest(hmac.digest(key, statement.encode(), "sha256").hex(), mac):
        raise ValueError("the receipt is forged")
    return proved


def check_receipt(path, receipt, expect_run):
    if expect_run and receipt["run_id"] != expect_run:
        raise ValueError(f"this is the delivery of run {receipt['run_id']}, not of {expect_run}")
    with open(path, "rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != receipt["sha256"]:
        raise ValueError("the delivery is not the one of the receipt, or not all of it")


def main():
    parser = argparse.ArgumentParser(description="Opens a sealed delivery.")
    parser.add_argument("--customer", required=True, help="the customer_id that the data was asked for with")
    parser.add_argument("--keys", required=True, metavar="FILE", help="your keys in base64, one a line")
    parser.add_argument("--receipt", metavar="FILE", help="the receipt of the delivery")
    parser.add_argument("--expect-run", metavar="ID", help="the run that the delivery must be of; needs the receipt")
    parser.add_argument("sealed", metavar="FILE")
    o = parser.parse_args()
    if o.expect_run and not o.receipt:
        parser.error("--expect-run needs --receipt")
    index = 0
    try:
        ring = read_keys(o.keys)
        if o.receipt:
            check_receipt(o.sealed, read_receipt(o.receipt, ring), o.expect_run)
        with open_lines(o.sealed) as lines:
            for index, line in enumerate(lines):
                if not line.endswith(b"\n"):
                    raise ValueError("it is cut off")
                sys.stdout.buffer.write(unseal(line, index, ring, o.customer))
        sys.stdout.buffer.flush()
    except InvalidTag:
        sys.exit(f"line {index}: altered, out of its place, or of another customer or key")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, EOFError, OSError, zipfile.BadZipFile) as problem:
        sys.exit(f"line {index}: {problem}")


if __name__ == "__main__":
    main()
