since=$(cat appointments.since 2>/dev/null || date -u -d yesterday +%F)
today=$(date -u +%F)
curl --fail-with-body --no-progress-meter \
  -H "Authorization: Bearer $CIPHERSTREAM_KEY" -H "Content-Type: application/json" \
  -d "{\"customer_id\": \"$CIPHERSTREAM_CUSTOMER\", \"date_modifier\": \"Updated\", \"from_date\": \"$since\", \"to_date\": \"$today\"}" \
  -o appointments.changed.ndjson "$CIPHERSTREAM_URL/v1/procedures/appointments" \
  && date -u -d "$today - 1 day" +%F > appointments.since
