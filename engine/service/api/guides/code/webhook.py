import base64, hashlib, hmac, os, sys, time

def verify(secrets, headers, body, now=time.time):
    """Says whether a delivery is CipherStream's, whole, and not an old one that somebody sends again."""
    id, at = headers["webhook-id"], headers["webhook-timestamp"]
    content = f"{id}.{at}.".encode() + body            # the body as it came: parsed and written again it is another
    given = [s.removeprefix("v1,") for s in headers["webhook-signature"].split() if s.startswith("v1,")]
    for secret in secrets:                              # two while one is rotated
        key = base64.b64decode(secret.removeprefix("whsec_"))
        right = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
        if any(hmac.compare_digest(right, s) for s in given):
            return abs(now() - int(at)) <= 300          # and remember the id for a week: what comes twice counts once
    return False

if __name__ == "__main__":                              # python3 webhook.py ID TIMESTAMP SIGNATURE < body
    names = ["webhook-id", "webhook-timestamp", "webhook-signature"]
    good = verify(os.environ["WEBHOOK_SECRETS"].split(","), dict(zip(names, sys.argv[1:])), sys.stdin.buffer.read())
    sys.exit(0 if good else "this is not to be believed")
