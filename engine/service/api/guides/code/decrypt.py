import base64, json, sys
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

customer, key_file = sys.argv[1:]
with open(key_file) as file:
    cipher = AESGCM(base64.b64decode(file.read().strip(), validate=True))
for index, line in enumerate(sys.stdin):
    if not line.endswith("\n"):
        sys.exit(f"line {index}: cut off")
    key_id, iv, sealed = json.loads(line)["encrypted_data"].split(":")
    aad = f"stream:{customer}:{index}".encode()
    sys.stdout.buffer.write(cipher.decrypt(base64.b64decode(iv), base64.b64decode(sealed), aad))
