"""Table tests of the scripts that run inside Redis: state before, call, answer, state after.

A row is a `Case`. A state is a dict of keys: a str is a string, a dict a hash, a list of (member,
score) a sorted set, a `Stream` a stream. `after` names only the keys that the call changes, None for
a key that goes; all other keys must be as they were before. `ttl` names every key that has a time to
live, in seconds. Where an expected value depends on the time, the value is a `Now` or a `Like`.

The texts come from the program print_script, which prints a script as a worker loads the script.
Redis gives an entry the time as its seq, unless the stream's last seq is larger: the streams here
begin in the far future, so that each next seq is known (`FAR`, `next_seq`).
"""

import hashlib
import os
import pathlib
import re
import subprocess
import time

import redis as redis_client

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("POSTOFFICE_BUILD", ROOT / "build" / "gcc"))
LIMITS = {"messages_max": 100, "full": "trim", "age_s": 1000, "dedupe_s": 300, "devices_max": 3,
          "bytes_max": 1000000, "known_s": 0}
KEEP = 2 * LIMITS["age_s"] + 10000  # how long keys are kept after their last use
YEAR = 31536000
FAR = 9000000000000


def seq(n, ms=FAR):
    return f"{ms}-{n}"


def letter(one, sender="ann", **more):
    """The fields of an entry."""
    return {"f": sender, "i": one, "b": "{}", **more}


def rank(text):
    """A seq as bytes that sort as the seqs do: worker/mailbox/lua/piece_rank.lua."""
    return "".join(chr(96 + len(number)) + number for number in text.split("-"))


class Now:
    """A number of seconds (or of 1 / `unit` seconds) near the present, plus `offset`."""

    def __init__(self, offset=0, unit=1):
        self.offset = offset
        self.unit = unit

    def __eq__(self, other):
        return abs(float(other) / self.unit - time.time() - self.offset) < 20

    def __repr__(self):
        return f"Now({self.offset})"


class Like:
    """A text that matches a regular expression."""

    def __init__(self, pattern):
        self.pattern = pattern

    def __eq__(self, other):
        return isinstance(other, str) and re.fullmatch(self.pattern, other, re.DOTALL) is not None

    def __repr__(self):
        return f"Like({self.pattern!r})"


def receipt_id(state, to, sender, one, at):
    """The id of the receipt about a message: piece_owe.lua."""
    return f"receipt-{state}." + hashlib.sha1("\0".join((sender, to, one, at)).encode()).hexdigest()


def owed(state, to, sender, one, at, level=0):
    """A line of PREFIXowed."""
    line = "\n".join((state, to, sender, one, receipt_id(state, to, sender, one, at)))
    return Like(re.escape(line) + rf"\n\d+\n{level}")


class Error(str):
    """An error of Redis that begins with this text."""

    def __eq__(self, other):
        return isinstance(other, Error) and other.startswith(str(self))

    __hash__ = str.__hash__


class Stream:
    """Entries as {seq: fields}; `last`: the newest seq it ever gave; `groups` as {name: (the last
    seq given, {consumer: [seqs that it holds]})}."""

    def __init__(self, entries, last=None, groups=None):
        self.entries = entries
        self.last = last or (list(entries)[-1] if entries else "0-0")
        self.groups = groups or {}

    def __eq__(self, other):
        return isinstance(other, Stream) and vars(self) == vars(other)

    def __repr__(self):
        return f"Stream({self.entries}, last={self.last}, groups={self.groups})"

    def write(self, redis, key):
        held = {one for _, consumers in self.groups.values() for seqs in consumers.values() for one in seqs}
        gone = held - set(self.entries)
        for one in sorted(gone | set(self.entries), key=lambda text: tuple(map(int, text.split("-")))):
            redis.execute_command("XADD", key, one, *flat(self.entries.get(one, {"gone": "1"})))
        for name, (given, consumers) in self.groups.items():
            redis.execute_command("XGROUP", "CREATE", key, name, given, "MKSTREAM")
            for consumer, seqs in consumers.items():
                redis.execute_command("XGROUP", "CREATECONSUMER", key, name, consumer)
                for one in seqs:
                    redis.execute_command("XCLAIM", key, name, consumer, 0, one, "FORCE", "JUSTID")
            redis.execute_command("XGROUP", "SETID", key, name, given)
        for one in gone:
            redis.execute_command("XDEL", key, one)
        if not self.entries and not self.groups:
            redis.execute_command("XADD", key, self.last, "a", "b")
            redis.execute_command("XDEL", key, self.last)
        redis.execute_command("XSETID", key, self.last)


def read_stream(redis, key):
    entries = {text(one): pairs(fields) for one, fields in redis.execute_command("XRANGE", key, "-", "+")}
    groups = {}
    for info in redis.xinfo_groups(key):
        name = text(info["name"])
        consumers = {text(one["name"]): [] for one in redis.xinfo_consumers(key, name)}
        for one in redis.xpending_range(key, name, "-", "+", 1000):
            consumers[text(one["consumer"])].append(text(one["message_id"]))
        groups[name] = (text(info["last-delivered-id"]), consumers)
    return Stream(entries, text(redis.xinfo_stream(key)["last-generated-id"]), groups)


def flat(fields):
    return [part for pair in fields.items() for part in pair]


def text(value):
    return value.decode("latin-1") if isinstance(value, bytes) else value


def pairs(values):
    """[name, value, …], or redis-py's dict of that, as a dict of texts."""
    if isinstance(values, dict):
        values = flat(values)
    return {text(values[i]): text(values[i + 1]) for i in range(0, len(values), 2)}


def plain(answer):
    if isinstance(answer, (list, tuple)):
        return [plain(part) for part in answer]
    if isinstance(answer, redis_client.ResponseError):
        return Error(str(answer))
    return text(answer)


class Case:
    def __init__(self, promise, *, keys, argv=(), before=None, answer, after=None, ttl=None, limits=None,
                 listen=(), heard=None):
        self.promise = promise
        self.keys, self.argv = keys, argv
        self.before, self.answer, self.after = before or {}, answer, after or {}
        self.ttl = ttl or {}
        self.limits = {**LIMITS, **(limits or {})}
        self.listen = listen  # channels with a subscriber
        self.heard = heard or []  # what the subscriber received, as [(channel, text)]

    def __str__(self):
        return self.promise


class Table:
    def __init__(self, redis):
        self.redis = redis
        # One form of answer, as Redis sends it.
        self.redis.response_callbacks.clear()
        self.reader = redis_client.Redis(connection_pool=redis.connection_pool)
        self.texts = {}

    def load(self, name, limits):
        """The script's sha; loading is how a worker begins, too."""
        arguments = (name, *map(str, (limits["messages_max"], limits["full"], limits["age_s"], limits["dedupe_s"],
                                     limits["devices_max"], limits["bytes_max"], limits["known_s"])))
        if arguments not in self.texts:
            program = BUILD / "tests" / "scripts" / "print_script"
            self.texts[arguments] = subprocess.run([program, *arguments], capture_output=True, check=True).stdout
        return self.redis.execute_command("SCRIPT", "LOAD", self.texts[arguments])

    def write(self, state):
        for key, value in state.items():
            if isinstance(value, Stream):
                value.write(self.redis, key)
            elif isinstance(value, dict):
                self.redis.execute_command("HSET", key, *(part.encode("latin-1") for part in flat(value)))
            elif isinstance(value, list):
                for member, score in value:
                    self.redis.execute_command("ZADD", key, score, member.encode("latin-1"))
            else:
                self.redis.execute_command("SET", key, value)

    def read(self):
        state = {}
        for key in map(text, self.redis.execute_command("KEYS", "*")):
            kind = text(self.redis.execute_command("TYPE", key))
            if kind == "stream":
                state[key] = read_stream(self.reader, key)
            elif kind == "hash":
                state[key] = pairs(self.redis.execute_command("HGETALL", key))
            elif kind == "zset":
                found = [text(one) for one in self.redis.execute_command("ZRANGE", key, 0, -1, "WITHSCORES")]
                state[key] = [(found[i], float(found[i + 1])) for i in range(0, len(found), 2)]
            else:
                state[key] = text(self.redis.execute_command("GET", key))
        return state

    def check(self, name, case):
        self.redis.execute_command("FLUSHALL")
        self.write(case.before)
        sha = self.load(name, case.limits)
        arguments = [str(one).encode("latin-1") for one in (*case.keys, *case.argv)]
        with self.reader.pubsub() as listener:
            if case.listen:
                listener.subscribe(*case.listen)
                for _ in case.listen:
                    listener.get_message(timeout=10)
            try:
                answer = self.redis.execute_command("EVALSHA", sha, len(case.keys), *arguments)
            except redis_client.ResponseError as error:
                answer = error
            heard = [listener.get_message(timeout=10) for _ in case.heard]
            assert [(text(one["channel"]), text(one["data"])) for one in heard] == case.heard
        assert case.answer == plain(answer)
        expected = {key: value for key, value in {**case.before, **case.after}.items() if value is not None}
        found = self.read()
        assert sorted(expected) == sorted(found)
        for key, value in expected.items():
            assert value == found[key], key
        lives = {key: self.redis.execute_command("TTL", key) for key in found}
        lives = {key: ttl for key, ttl in lives.items() if ttl != -1}
        assert sorted(lives) == sorted(case.ttl)
        for key, ttl in case.ttl.items():
            assert ttl - 20 < lives[key] <= ttl, key
