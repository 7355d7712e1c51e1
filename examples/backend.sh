#!/bin/sh
# A backend that sends a mail and reads what became of it: backend.sh http://127.0.0.1:7600 ORDER ADDRESS TEXT,
# with a token for "erp" in TOKEN (websocket-server token issue --sub erp --send '*'). Repeated, it stores nothing twice.
set -eu
content=$(printf %s "$4" | base64 -w 0)
# The token goes through standard input: the arguments of a program are for all to see.
ask() { printf 'Authorization: Bearer %s\n' "$TOKEN" | curl --silent --show-error --fail-with-body -H @- "$@"; }
ask -H 'Content-Type: application/json' -H "Idempotency-Key: $2" "$1/api/v1/messages" \
    --data "{\"from\":\"erp\",\"to\":[\"$3\"],\"subject\":\"invoice\",\"content\":\"$content\",\"type\":1}"
ask "$1/api/v1/messages/erp/$2"
