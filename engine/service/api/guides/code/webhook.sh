set -eo pipefail
ask() { curl --fail-with-body --no-progress-meter -H "Authorization: Bearer $CIPHERSTREAM_KEY" "$@"; }
at="$CIPHERSTREAM_URL/v1/customers/$CIPHERSTREAM_CUSTOMER/webhook"

ask -X PUT -H "Content-Type: application/json" "$at" -o webhook.json \
  -d '{"webhook_url": "https://hooks.example.com/cipherstream", "events": ["job.completed", "job.failed"], "retry_policy": "durable"}'
sed -nE 's/.*"secret":"([^"]+)".*/\1/p' webhook.json > webhook.secret   # the one time that it is shown

ask -X POST "$at/test"
ask "$at/deliveries?event=webhook.test&limit=1" -o tests.json
