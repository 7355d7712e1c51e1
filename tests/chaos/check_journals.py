#!/usr/bin/python3
"""Judges, from the journals of the clients alone, whether the server kept its promise.

    check_journals.py [--backlog] JOURNAL...

load.py lists the lines of a journal. The judge prints each finding as `kind: who and what`, then counts and the closing
line `N findings`; the exit status is 1 when there are findings. The judge shares no code with the writers of journals.

| finding | meaning |
| --- | --- |
| lost | a message was accepted for an address, and one of its devices never got it (only for journals with an end) |
| stored-twice | one mailbox has the same message under two seqs |
| same-place | one mailbox has two messages under one seq |
| repeated | a connection got a message twice, or a message at or before the cursor that the connection began with |
| order | messages of one sender arrived in another order than sent; or the seqs of one connection do not ascend |
| cursor | a cursor went back, or an acknowledged cursor was forgotten though Redis was well |
| answered | a message was both accepted and rejected; an answer has no message; or `accepted` came in another order |
| rejected-delivered | every attempt at a message was rejected, and a device got the message |
| unasked | a device got a message for another address, a message that nobody sent, or its own copy |
| told-lost | the server said that data was lost; the chaos loses none |
| unresolved | a message had no answer until the end |
| unfinished | a journal has no end |
| backlog | (--backlog) the last connection of a device did not get the whole mailbox before `replayed` |

When Redis goes away in the middle, the server can refuse one message of a sender and take the next one. The sender sees
the refusal, unless its connection is cut too. Then the sender sends both messages again; the server takes the first
message now, and the first message comes second. So messages that had an attempt without an answer while Redis was away
are counted (`unordered`) and left out of the comparison of order.

The server confirms an acknowledgement when the acknowledgement is on its way to Redis. So an acknowledgement may be
forgotten around an absence of Redis, or when its worker is killed at about that time; and a connection that begins
within six seconds need not know the acknowledgement yet. A copy for the sender's other devices has no answer, and may
be stored only when the message is sent again.
"""

import argparse
import collections
import json
import sys

TROUBLE_BEFORE_S, TROUBLE_AFTER_S = 1, 5  # around an absence of Redis
UNSURE_ACK_S = 6  # the time that a busy Redis may take to store a cursor: an open can take four seconds then
LATE_S = 3  # so much later a busy client may write an answer into its journal


def place(seq):
    ms, n = seq.split("-")
    return int(ms), int(n)


class Mail:
    """One message, with what its sender knows about the message."""

    __slots__ = ("rank", "to", "attempts", "open", "accepted", "refused", "rejected", "troubled", "unanswered")

    def __init__(self, rank, to):
        self.rank, self.to = rank, to
        self.attempts = 0        # on all connections
        self.open = 0            # attempts on the present connection without an answer
        self.accepted = False
        self.refused = ()        # recipients that the acceptance left out
        self.rejected = 0        # attempts that were rejected
        self.unanswered = 0      # attempts that never had an answer
        self.troubled = False    # an attempt may have been refused, unknown to the sender


class Connection:
    __slots__ = ("number", "since", "start", "seqs", "newest", "sent", "answered", "heard_rejected", "replayed",
                 "names", "attempted_at", "acked", "worker")

    def __init__(self, number, since):
        self.number, self.since = number, since
        self.start = None            # the seq after which the connection begins
        self.seqs = set()
        self.newest = (0, 0)
        self.sent = {}               # id -> position in the order of (first) sending on this connection
        self.attempted_at = {}
        self.answered = -1           # that position of the newest accepted message
        self.heard_rejected = False
        self.replayed = False
        self.names = set()
        self.acked = []              # (seq, when)
        self.worker = None           # (node, slot)


class Device:
    def __init__(self):
        self.connection = None
        self.firsts = []             # (from, id) in the order of first arrival
        self.have = set()
        self.tags = {}               # (from, id) -> fromTag
        self.cursor = (0, 0)         # the newest cursor of a welcome
        self.acked = (0, 0)          # the newest confirmed cursor that every new connection must know
        self.acked_at = 0.0
        self.acks = collections.deque()  # (seq, when, worker): confirmed, and not yet in `acked`
        self.epoch = None


class Checker:
    def __init__(self):
        self.findings = collections.Counter()
        self.mails = {}              # (from, id) -> Mail
        self.ranks = collections.Counter()
        self.devices = collections.defaultdict(Device)
        self.boxes = collections.defaultdict(dict)   # address -> (from, id) -> seq
        self.places = collections.defaultdict(dict)  # address -> seq -> (from, id)
        self.absences = []
        self.kills = collections.defaultdict(list)   # (node, slot) -> when
        self.counts = collections.Counter()
        self.ended = False

    def find(self, kind, text):
        self.findings[kind] += 1
        if self.findings[kind] <= 20:
            print(f"{kind}: {text}")

    # -- the absences of Redis, which are in a journal of their own

    def learn_absences(self, paths):
        events = [line for path in paths for line in lines(path) if line[0] == "event"]
        events.sort(key=lambda line: line[1])
        for _, at, what, *rest in events:
            self.counts[what] += 1
            if what == "worker-killed":
                self.kills[tuple(rest[:2])].append(at)
            if what == "redis-down":
                self.absences.append([at - TROUBLE_BEFORE_S, float("inf")])
            elif what == "redis-up" and self.absences:
                self.absences[-1][1] = at + TROUBLE_AFTER_S

    def troubled(self, begin, end):
        return any(begin <= absence[1] and end >= absence[0] for absence in self.absences)

    # -- lines, in order

    def read(self, path):
        for kind, at, *rest in lines(path):
            handler = getattr(self, "on_" + kind, None)
            if handler:
                handler(at, *rest)
            elif kind != "event":
                self.find("unasked", f"{path}: a line of kind {kind!r}")

    def on_end(self, _):
        self.ended = True

    def on_device(self, _, address, device):
        self.devices[address, device].epoch = None

    def on_open(self, at, address, device, number, since):
        this = self.devices[address, device]
        this.connection = Connection(number, since)
        while this.acks and this.acks[0][1] < at - UNSURE_ACK_S:
            where, when, worker = this.acks.popleft()
            if where > this.acked and not any(-LATE_S <= killed - when <= UNSURE_ACK_S for killed in self.kills[worker]):
                this.acked, this.acked_at = where, when
        self.counts["connections"] += 1

    def on_welcome(self, at, address, device, number, cursor, _seq, epoch, recovered, node, slot):
        this = self.devices[address, device]
        who = f"{address}/{device} connection {number}"
        this.connection.worker = (node, slot)
        if not epoch:  # the connection began while Redis was away; a second welcome will follow
            this.connection.since = ""
            return
        if not recovered or (this.epoch is not None and epoch != this.epoch):
            self.find("told-lost", f"{who}: recovered {recovered}, epoch {epoch} after {this.epoch}")
        this.epoch = epoch
        start = place(cursor)
        this.connection.start = start
        if this.connection.since:
            return
        if start < this.cursor:
            self.find("cursor", f"{who}: begins at {cursor}, an earlier one at {this.cursor}")
        elif start < this.acked:
            if not self.troubled(this.acked_at, at):
                self.find("cursor", f"{who}: begins at {cursor}, though {this.acked} was acknowledged")
            this.acked = start
        this.cursor = max(this.cursor, start)

    def on_replayed(self, _, address, device, _number):
        self.devices[address, device].connection.replayed = True

    def on_send(self, at, address, device, number, name, to):
        key = (address, name)
        mail = self.mails.get(key)
        if not mail:
            sender = (address, device)
            self.ranks[sender] += 1
            mail = self.mails[key] = Mail(self.ranks[sender], to)
            self.counts["messages"] += 1
        connection = self.devices[address, device].connection
        mail.attempts += 1
        mail.open += 1
        connection.sent[name] = len(connection.attempted_at)
        connection.attempted_at[len(connection.attempted_at)] = (name, at)

    def answered(self, address, device, number, name):
        """The Mail that an answer is about; None when there was nothing to answer."""
        mail = self.mails.get((address, name))
        if not mail or mail.open == 0:
            self.find("answered", f"{address}/{device} connection {number}: an answer to {name!r}, which waited for none")
            return None
        mail.open -= 1
        return mail

    def on_accepted(self, _, address, device, number, name, refused):
        connection = self.devices[address, device].connection
        mail = self.answered(address, device, number, name)
        if not mail:
            return
        self.counts["accepted"] += 1
        if connection.sent[name] < connection.answered:
            self.find("answered", f"{address}/{device} connection {number}: {name} was accepted behind a later one")
        connection.answered = max(connection.answered, connection.sent[name])
        mail.refused = refused if not mail.accepted else [one for one in mail.refused if one in refused]
        mail.accepted = True

    def on_rejected(self, _, address, device, number, name, code):
        mail = self.answered(address, device, number, name)
        self.devices[address, device].connection.heard_rejected = True
        self.counts["rejections"] += 1
        if not mail:
            return
        if mail.accepted:
            self.find("answered", f"{address}/{device}: {name} was accepted, and then rejected ({code})")
        mail.rejected += 1
        mail.troubled = True  # the order of the attempts means nothing any more

    def on_got(self, _, address, device, number, sender, tag, name, seq):
        this = self.devices[address, device]
        connection = this.connection
        key, where = (sender, name), place(seq)
        who = f"{address}/{device} connection {number}: {name} at {seq}"
        self.counts["deliveries"] += 1
        if key in connection.names or seq in connection.seqs:
            self.find("repeated", f"{who}, twice on this connection")
        elif connection.start is not None and where <= connection.start:
            self.find("repeated", f"{who}, though it began after {connection.start}")
        elif where < connection.newest:
            self.find("order", f"{who}, behind {connection.newest}")
        connection.names.add(key)
        connection.seqs.add(seq)
        connection.newest = max(connection.newest, where)
        if key not in this.have:
            this.have.add(key)
            this.firsts.append(key)
            this.tags[key] = tag
        before = self.boxes[address].setdefault(key, seq)
        if before != seq:
            self.find("stored-twice", f"{name} of {sender} in the mailbox of {address}: at {before} and at {seq}")
        other = self.places[address].setdefault(seq, key)
        if other != key:
            self.find("same-place", f"{seq} in the mailbox of {address}: {other} and {key}")

    def on_ack(self, *_):
        self.counts["acks"] += 1

    def on_acked(self, at, address, device, _number, cursor):
        acked = self.devices[address, device].connection.acked
        if not acked or place(cursor) > acked[-1][0]:  # the same cursor again confirms nothing
            acked.append((place(cursor), at))

    def on_closed(self, at, address, device, _number, _code):
        this = self.devices[address, device]
        connection = this.connection
        this.acks.extend((*ack, connection.worker) for ack in connection.acked)
        for name, sent_at in connection.attempted_at.values():
            mail = self.mails[address, name]
            if not mail.open:
                continue
            mail.open -= 1
            mail.unanswered += 1
            if connection.heard_rejected or self.troubled(sent_at, at):
                mail.troubled = True

    # -- at the end of all journals

    def judge(self, backlog):
        if not self.ended:
            self.find("unfinished", "no journal says that everything had an answer and had arrived")
        for (address, name), mail in self.mails.items():
            self.judge_mail(address, name, mail)
        of_address = collections.defaultdict(list)
        for (address, device), this in self.devices.items():
            of_address[address].append((device, this))
            self.judge_arrivals(address, device, this)
        if self.ended:
            self.judge_losses(of_address)
        if backlog:
            for (address, device), this in self.devices.items():
                self.judge_backlog(address, device, this)
        self.counts["unordered"] = sum(mail.troubled and mail.accepted for mail in self.mails.values())

    def judge_mail(self, address, name, mail):
        if mail.accepted:
            return
        if mail.rejected < mail.attempts:
            self.find("unresolved", f"{name} of {address}: {mail.attempts} attempts, {mail.rejected} rejected")
            return
        for recipient in mail.to:
            if (address, name) in self.boxes[recipient]:
                self.find("rejected-delivered", f"{name} of {address} to {recipient}")

    def judge_arrivals(self, address, device, this):
        """Every message that came was for this device, and in the order of its sender."""
        newest = {}  # (from, tag) -> (rank, name)
        for key in this.firsts:
            sender, name = key
            mail = self.mails.get(key)
            tag = this.tags[key]
            copy = sender == address and tag != device and (not mail or address not in mail.to)
            if not mail or (address not in mail.to and not copy):
                self.find("unasked", f"{address}/{device} got {name} of {sender}/{tag}")
                continue
            if mail.troubled or (copy and mail.unanswered):
                continue
            before = newest.get((sender, tag), (0, ""))
            if mail.rank < before[0]:
                self.find("order", f"{address}/{device} got {name} of {sender}/{tag} behind {before[1]}")
            else:
                newest[sender, tag] = (mail.rank, name)

    def judge_losses(self, of_address):
        for key, mail in self.mails.items():
            if not mail.accepted:
                continue
            for recipient in mail.to:
                if recipient in mail.refused:
                    continue
                for device, this in of_address[recipient]:
                    if key not in this.have:
                        self.find("lost", f"{key[1]} of {key[0]} was accepted; {recipient}/{device} never got it")

    def judge_backlog(self, address, device, this):
        last = this.connection
        whole = {key for key in self.boxes[address]
                 if key[0] != address or key in this.have or key not in self.mails or address in self.mails[key].to}
        left_out = [key[1] for key in whole - last.names]
        if not last.replayed or left_out:
            self.find("backlog", f"{address}/{device} connection {last.number}: replayed {last.replayed}, "
                                 f"without {left_out[:5]} ({len(left_out)})")


def lines(path):
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):  # a killed writer may have left half a line
                yield json.loads(line)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--backlog", action="store_true", help="the last connection of each device got everything")
    parser.add_argument("journals", nargs="+")
    wanted = parser.parse_args()
    checker = Checker()
    checker.learn_absences(wanted.journals)
    for path in wanted.journals:
        checker.read(path)
    checker.judge(wanted.backlog)
    print(" ".join(f"{name}={count}" for name, count in sorted(checker.counts.items())))
    for kind, count in sorted(checker.findings.items()):
        print(f"{kind}: {count} in all")
    total = sum(checker.findings.values())
    print(f"{total} findings")
    sys.exit(1 if total else 0)


if __name__ == "__main__":
    main()
