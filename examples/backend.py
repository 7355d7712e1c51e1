#!/usr/bin/python3
"""A backend that sends a mail and reads what became of it: backend.py http://127.0.0.1:7600 ORDER ADDRESS TEXT,
with a token for "erp" in TOKEN (websocket-server token issue --sub erp --send '*'). Repeated, it stores nothing twice."""
import base64, json, os, sys, urllib.error, urllib.request

url, order, to, text = sys.argv[1:]
mail = {"from": "erp", "to": [to], "subject": "invoice", "content": base64.b64encode(text.encode()).decode(), "type": 1}
headers = {"Authorization": "Bearer " + os.environ["TOKEN"], "Content-Type": "application/json", "Idempotency-Key": order}
try:
    answer = urllib.request.urlopen(urllib.request.Request(url + "/api/v1/messages", json.dumps(mail).encode(), headers))
    state = urllib.request.urlopen(urllib.request.Request(url + "/api/v1/messages/erp/" + order, headers=headers))
except urllib.error.HTTPError as refused:
    sys.exit("refused: " + json.load(refused)["code"])
print("{id} {outcome}".format(**json.load(answer)), *("{address}: {state}".format(**one) for one in json.load(state)["recipients"]))
