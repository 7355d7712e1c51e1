"""What every Python program here says and waits for, as a generator: yields what to send, or None to receive."""

import json
import sys

order = json.load(sys.stdin)


def envelope(**fields):
    return json.dumps({"from": order["address"], "subject": "", "content": "", **fields})


def talk():
    """yield None: returns the next message. yield TEXT: sends it. Returns what has come of it."""
    told = {}
    while (yield)["subject"] != "welcome":
        pass
    yield envelope(to=[order["address"]], type=1, id="foreign", content=order["content"])
    accepted = mail = None
    while not (accepted and mail):
        message = yield
        if message["subject"] == "accepted":
            accepted = message
        elif message["from"] == order["address"]:
            mail = message
    told["content"], told["seq"] = mail["content"], mail["seq"]
    yield envelope(to=["postmaster"], type=4, subject="ack", references=mail["seq"], id="ack")
    while True:
        message = yield
        if message["subject"] == "result" and message["inReplyTo"] == "ack":
            told["cursor"] = message["cursor"]
            return told


def tell(told, protocol, code, compressed):
    print(json.dumps({**told, "protocol": protocol or "", "code": code, "compressed": compressed}))
