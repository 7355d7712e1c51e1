#!/usr/bin/python3
"""Holds clients of clients/python for the table of behaviours: line JSON in, line JSON out.

A request is one object a line, {"n", "do", "client", ...}; its answer has the same "n", with "ok" or "error". Events
are {"event", "client", "data"}. Answers come in any order. Nothing else is written to stdout.
"""

import asyncio
import base64
import collections
import json
import os
import pathlib
import ssl
import sys

if not os.environ.get("POSTOFFICE_INSTALLED"):  # a test of the built wheel has the package elsewhere
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "clients" / "python" / "src"))

import postoffice
from postoffice.link import LinkFailed, open_link

NAMES = {"ackBatch": "ack_batch", "maxWaiting": "max_waiting", "rememberIds": "remember_ids",
         "sendWindow": "send_window", "outboxMessages": "outbox_messages", "outboxBytes": "outbox_bytes",
         "onHandlerError": "on_handler_error", "address": "address", "device": "device", "since": "since",
         "epoch": "epoch", "heartbeat": "heartbeat", "heartbeatTimeout": "heartbeat_timeout"}
MILLISECONDS = {"ackDelay": "ack_delay", "minBackoff": "min_backoff", "maxBackoff": "max_backoff"}
FIELDS = {"contentType": "content_type", "inReplyTo": "in_reply_to", "subjectId": "subject_id",
          "expiresAt": "expires_at"}


def write(value):
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def described(message):
    """A message as the table reads it."""
    raw = message.raw
    found = {name: raw.get(name) for name in (
        "id", "from", "to", "cc", "subject", "type", "contentType", "seq", "log", "inReplyTo", "level", "tags", "state",
        "attachments", "references", "subjectId", "receipt", "expiresAt", "fromTag", "charset")}
    found = {name: value for name, value in found.items() if value is not None}
    found.update(text=message.text, bytes=base64.b64encode(message.bytes).decode(), group=message.group,
                 mine=message.mine, other=message.other,
                 files=[{"name": file.name, "type": file.type, "bytes": base64.b64encode(file.data).decode()}
                        for file in message.files])
    try:
        found["json"] = message.json()
    except ValueError:
        pass
    return found


def arguments(message):
    """The arguments of send() for a message as the table writes it."""
    given = {FIELDS.get(name, name): value for name, value in message.items()}
    if "bytes" in given:
        given["content"] = base64.b64decode(given.pop("bytes"))
    if "files" in given:
        given["files"] = [postoffice.File(one["name"], base64.b64decode(one["bytes"]), one["type"])
                          for one in given["files"]]
    for name in ("from", "token"):
        if name in given:
            given[name + "_" if name == "from" else name] = given.pop(name)
    known = {"to", "text", "json", "content", "subject", "cc", "content_type", "charset", "level", "tags",
             "attachments", "files", "references", "in_reply_to", "subject_id", "expires_at", "receipt", "id", "from_",
             "token"}
    extra = dict(given.pop("other", {}))
    extra.update({name: given.pop(name) for name in list(given) if name not in known})
    return {**given, "extra": extra}


def error_of(failure):
    name = type(failure).__name__
    if isinstance(failure, asyncio.TimeoutError):
        name = "TimeoutError"
    if name not in ("RejectedError", "ClosedError", "TimeoutError"):
        name, message = "Error", f"{name}: {failure}"
    else:
        message = str(failure)
    return {"name": name, "code": getattr(failure, "code", None), "message": message,
            "id": getattr(failure, "id", None), "field": getattr(failure, "field", None),
            "refused": [one._asdict() for one in getattr(failure, "refused", ())]}


class Held:
    """One client, its link, and how it handles messages."""

    def __init__(self, name, options, handle):
        self.name = name
        self.links = []
        self.reachable = True
        self.online_again = asyncio.Event()
        self.held = asyncio.Semaphore(0)
        self.fail = int(handle.partition(":")[2] or 0) if handle.startswith("fail") else 0
        self.tokens = options.get("tokens") or []
        self.asked = 0
        self.tasks = set()
        self.messages = collections.OrderedDict()  # the latest, by id: for read and reply
        self.client = postoffice.PostOffice(options["url"], **self.settings(options))
        self.listen()
        self.handling(handle)

    def settings(self, options):
        found = {NAMES[name]: value for name, value in options.items() if name in NAMES and value is not None}
        found.update({MILLISECONDS[name]: options[name] / 1000 for name in MILLISECONDS
                      if options.get(name) is not None})
        storage = options.get("storage", "memory")
        if storage != "memory":
            folder = pathlib.Path(storage)
            folder.mkdir(parents=True, exist_ok=True)
            found["storage"] = postoffice.FileStorage(folder / "postoffice.sqlite3")
        if options.get("caFile"):
            found["ssl"] = ssl.create_default_context(cafile=options["caFile"])
        elif options.get("allowInsecure"):
            found["ssl"] = ssl._create_unverified_context()
        if self.tokens:
            found["get_token"] = self.token
        found["opener"] = self.open_link
        return found

    def event(self, name, data):
        write({"event": name, "client": self.name, "data": data})

    async def token(self):
        self.asked += 1
        self.event("token", {"n": self.asked})
        token = self.tokens[min(self.asked, len(self.tokens)) - 1]
        if token is None:
            raise postoffice.TokenError("there is no token any more")
        return token

    async def open_link(self, url, **options):
        if not self.reachable:
            raise LinkFailed("the driver is offline")
        link = await open_link(url, **options)
        self.links = [link]
        return link

    def listen(self):
        on = self.client.on
        on("signal", lambda message: self.event("signal", described(message)))
        on("receipt", lambda one: self.event("receipt", {"id": one.id, "from": one.from_, "state": one.state}))
        on("recalled", lambda one: self.event("recalled", {"id": one.id, "from": one.from_}))
        on("state", lambda one: self.event("state", {"state": one.state, "code": one.code, "reason": one.reason,
                                                     "until": one.until}))
        on("welcome", lambda one: self.event("welcome", welcome_of(one)))
        on("replayed", lambda one: self.event("replayed", {"log": one.log, "seq": one.seq}))
        on("gap", lambda one: self.event("gap", {"log": one.log, "epochChanged": one.epoch_changed}))
        on("error", lambda one: self.event("error", error_of(one)))
        on("handled", lambda one: self.event("handled", {"id": one.id, "from": one.from_}))
        on("acked", lambda one: self.event("acked", {"seq": one.seq, "log": one.log}))

    def handling(self, handle):
        if handle == "none":
            return
        if handle == "iterate":
            self.spawn(self.iterate())
        else:
            self.client.on("message", self.hold if handle == "hold" else self.handle)

    def tell(self, message):
        self.messages[message.id] = message
        while len(self.messages) > 1000:
            self.messages.popitem(last=False)
        self.event("message", described(message))

    def handle(self, message):
        self.tell(message)
        if self.fail > 0:
            self.fail -= 1
            raise RuntimeError("the driver was told to fail")

    async def hold(self, message):
        self.tell(message)
        await self.held.acquire()

    async def iterate(self):
        async for message in self.client.messages():
            self.tell(message)

    async def serve(self, concurrency, mode):
        async def answer(message):
            self.tell(message)
            if mode == "hold":
                await self.held.acquire()
            return message.text.upper() if mode == "upper" else message.text
        await self.client.serve(answer, concurrency=concurrency)

    def spawn(self, work):
        task = asyncio.ensure_future(self.watched(work))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def watched(self, work):
        try:
            await work
        except postoffice.ClosedError:
            pass
        except Exception as failure:
            self.event("error", error_of(failure))


def welcome_of(one):
    return {"session": one.session, "seq": one.seq, "cursor": one.cursor, "recovered": one.recovered,
            "epoch": one.epoch, "service": one.service, "address": one.address, "device": one.device,
            "limits": dict(one.limits)}


def sent(answer):
    return {"id": answer.id, "state": answer.state, "refused": [one._asdict() for one in answer.refused]}


class Driver:
    """The clients, and one method for each thing that can be asked for."""

    def __init__(self):
        self.clients = {}

    async def carry_out(self, request):
        try:
            ok = await getattr(self, "do_" + request["do"])(request)
            write({"n": request["n"], "ok": ok})
        except Exception as failure:
            write({"n": request["n"], "error": error_of(failure)})

    def of(self, request):
        return self.clients[request["client"]]

    async def do_open(self, request):
        self.clients[request["client"]] = Held(request["client"], request["options"], request.get("handle") or "auto")
        return {}

    async def do_connect(self, request):
        return welcome_of(await self.of(request).client.connect())

    async def do_release(self, request):
        for _ in range(request.get("count", 1)):
            self.of(request).held.release()
        return {}

    async def do_send(self, request):
        return sent(await self.of(request).client.send(**arguments(request["message"])))

    async def do_post(self, request):
        given = arguments(request["message"])
        return sent(await self.of(request).client.post(given.pop("to"), **given))

    async def do_signal(self, request):
        return {"sent": self.of(request).client.signal(**arguments(request["message"]))}

    async def do_read(self, request):
        return sent(await self.of(request).messages[request["id"]].mark_read())

    async def do_reply(self, request):
        return sent(await self.of(request).messages[request["id"]].reply(**arguments(request["message"])))

    async def do_recall(self, request):
        done = await self.of(request).client.recall(request["id"])
        return {"recalled": done.recalled, "notRecalled": [one._asdict() for one in done.not_recalled]}

    async def do_history(self, request):
        found = []
        async for message in self.of(request).client.history(
                group=request.get("group"), subject_id=request.get("subjectId"), before=request.get("before"),
                limit=request.get("limit") or 200):
            if request.get("max") is not None and len(found) >= request["max"]:
                break
            found.append(described(message))
        return {"messages": found}

    async def do_presence(self, request):
        return {"online": await self.of(request).client.presence(request["addresses"])}

    async def do_subscribe(self, request):
        return {"groups": await self.of(request).client.subscribe(
            request["groups"], since=request.get("since"), epoch=request.get("epoch"))}

    async def do_unsubscribe(self, request):
        await self.of(request).client.unsubscribe(request["groups"])
        return {}

    async def do_serve(self, request):
        held = self.of(request)
        held.spawn(held.serve(request.get("concurrency") or 1, request.get("mode") or "echo"))
        return {}

    async def do_request(self, request):
        return described(await self.of(request).client.request(
            timeout=request.get("timeout", 30_000) / 1000, **arguments(request["message"])))

    async def do_offline(self, request):
        held = self.of(request)
        held.reachable = False
        for link in held.links:
            link.abort()
        return {}

    async def do_online(self, request):
        held = self.of(request)
        held.reachable = True
        held.client.online()
        return {}

    async def do_stats(self, request):
        numbers = self.of(request).client.stats()
        return {"state": numbers.state, "outbox": numbers.outbox, "handled": numbers.handled, "acked": numbers.acked,
                "attempts": numbers.attempts}

    async def do_close(self, request):
        await self.of(request).client.close()
        return {}


async def main():
    driver, tasks = Driver(), set()
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=64 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while True:
        line = await lines.readline()
        if not line:
            break
        task = asyncio.ensure_future(driver.carry_out(json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    asyncio.run(main())
