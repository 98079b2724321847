set -eo pipefail
ask() { curl --fail-with-body --no-progress-meter -H "Authorization: Bearer $CIPHERSTREAM_KEY" "$@"; }
at="$CIPHERSTREAM_URL/v1/customers/$CIPHERSTREAM_CUSTOMER/data-stream"

ask -X PUT -H "Content-Type: application/json" "$at" \
  -d '{"url": "https://receiver.example.com/documents", "shared_secret": "a-secret-of-your-own", "channels": ["entities"]}'
ask -X POST "$at/enable"
ask "$at"   # how far it is
