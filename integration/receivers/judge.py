# Answers each line of questions with a line of verdicts (receivers.go), by the library of Standard Webhooks or by the check
# that is published for X-CipherStream-Signature.
import base64, hashlib, hmac, json, sys
from standardwebhooks import Webhook, WebhookVerificationError


def verify_webhook(payload, signature, secret):
    expected = hmac.new(secret.encode("utf-8"), payload, hashlib.sha256).hexdigest()
    return hmac.compare_digest(f"sha256={expected}".encode(), signature.encode())


def standard(secret, headers, body):
    try:
        Webhook(secret).verify(body, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):  # ValueError: a body that is no UTF-8, a signature that is no base64
        return False
    return True


def published(secret, headers, body):
    return verify_webhook(body, headers.get("x-cipherstream-signature", ""), secret)


judge = {"standard": standard, "published": published}[sys.argv[1]]
for line in sys.stdin:
    question = json.loads(line)
    print("".join(str(int(judge(question["secret"], r["headers"], base64.b64decode(r["body"] or "")))) for r in question["requests"]), flush=True)
