set -eo pipefail
ask() { curl --fail-with-body --no-progress-meter -H "Authorization: Bearer $CIPHERSTREAM_KEY" "$@"; }

job=$(ask -H "Content-Type: application/json" -H "Idempotency-Key: appointments-$(date -u +%F)" \
  -d "{\"customer_id\": \"$CIPHERSTREAM_CUSTOMER\", \"from_date\": \"2024-01-01\", \"to_date\": \"2024-12-31\", \"mode\": \"job\"}" \
  "$CIPHERSTREAM_URL/v1/procedures/appointments" | sed -E 's/.*"job_id":"([^"]+)".*/\1/')
at="$CIPHERSTREAM_URL/v1/customers/$CIPHERSTREAM_CUSTOMER/jobs/$job"

status=queued
while [ "$status" = queued ] || [ "$status" = running ]; do
  status=$(ask -H "Prefer: wait=50" "$at" | sed -E 's/.*"status":"([^"]+)".*/\1/')
done
[ "$status" = completed ]
ask --location -o appointments.ndjson "$at/download"
