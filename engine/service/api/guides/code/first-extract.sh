curl --fail-with-body --no-progress-meter \
  -H "Authorization: Bearer $CIPHERSTREAM_KEY" -H "Content-Type: application/json" \
  -d "{\"customer_id\": \"$CIPHERSTREAM_CUSTOMER\", \"from_date\": \"2024-01-01\", \"to_date\": \"2024-01-31\"}" \
  -o appointments.ndjson "$CIPHERSTREAM_URL/v1/procedures/appointments"
