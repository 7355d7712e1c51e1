#!/usr/bin/python3
"""Holds the map of the rooms (ARCHITECTURE.md): which room may use which, and each library's one door.

    layers.py [--root TREE] [--build FOLDER] [--objects OBJECT...]

`make layers` builds the objects and names them all. Without --objects the tool reads an object for each source from
build/gcc. The tool finds

  * an include that goes up, or to a room that is not in the row of the file's room;
  * a call, or a use of data, that goes up or to such a room. The symbols of the objects show each call, so a
    function that is declared by hand or by another header cannot hide. Callbacks that worker/worker.c sets are the
    way up;
  * a circle between rooms;
  * a circle between files of one room that has no reason in CIRCLES, and a reason whose circle is gone.

Prints each breach as file:line: reason, the circles that have a reason, and a closing line
`N passed, N failed`, counting files; faults of the table count as one more.
"""

import argparse
import collections
import pathlib
import re
import subprocess
import sys

# The rooms from the bottom up. Files of a room may include and call files of the same room and of the rooms in the
# row; each row names only rooms of earlier rows. A header in a row allows the functions that the header declares.
ROOMS = {
    "common": "",
    "config": "common",
    "shm": "common",
    "worker/io": "common",
    "worker/wire": "common shm worker/io",
    "worker/token": "common config",
    "worker/envelope": "common config",
    "worker/redis": "common config worker/io worker/wire/stream.h worker/wire/tls.h worker/wire/tls_client.h",
    "worker/mailbox": "common config worker/redis",
    "worker/session": "common config shm worker/io worker/wire worker/token worker/envelope worker/mailbox",
    "worker/reach": "common config shm worker/io worker/redis worker/mailbox worker/session",
    "worker/delivery": "common shm worker/io worker/wire worker/envelope worker/mailbox worker/session worker/reach",
    "worker/service": "common shm worker/wire worker/envelope worker/redis worker/mailbox worker/session worker/reach"
                      " worker/delivery",
    "worker/groups": "common shm worker/io worker/wire worker/token worker/envelope worker/mailbox worker/session"
                     " worker/reach worker/delivery",
    "worker/entrance": "common shm worker/io worker/wire worker/token worker/envelope worker/mailbox"
                       " worker/session worker/reach worker/delivery worker/service worker/groups",
    "worker/router": "common shm worker/io worker/wire worker/token worker/envelope worker/mailbox"
                     " worker/session worker/reach worker/delivery worker/service worker/groups worker/entrance",
    "worker/clerk": "common config shm worker/io worker/wire worker/token worker/envelope worker/redis worker/mailbox"
                    " worker/session worker/reach worker/delivery worker/service worker/groups worker/router"
                    " worker/entrance",
    # worker.c wires the rooms, so it knows them all.
    "worker": "common config shm worker/io worker/wire worker/token worker/mailbox worker/session"
              " worker/reach worker/delivery worker/service worker/groups worker/entrance worker/router"
              " worker/clerk",
    # Of the workers the master sees the start, tokens for its command line, how TLS judges a certificate, and the table
    # of metrics for `explain-metrics`.
    "master": "common config shm worker/worker.h worker/token/token.h worker/wire/tls.h worker/wire/tls_client.h"
              " worker/clerk/metrics_table.h",
}

# Third-party headers, and the only files that may include them.
DOORS = {
    r"event2/": r"worker/io/loop\.[ch]$",
    r"hiredis/": r"worker/redis/redis\.c$",
    r"cjson/": r"config/[^/]+\.[ch]$",
    r"zlib\.h$": r"worker/wire/deflate\.c$",
    r"sodium(\.h$|/)": r"worker/token/[^/]+\.[ch]$",
    r"openssl/ssl\.h": r"worker/wire/tls(\.c|_(client|fault|pair|server)\.c|_parts\.h)$",
    r"openssl/": r"worker/(wire/tls(_client|_fault|_pair|_parts|_server)?|token/[^/]+)\.[ch]$",
}

# Files of one room that call each other in a circle, and why that stays.
CIRCLES = {
    "shm/origins.c shm/ring.c shm/sessions.c shm/slots.c shm/stats.c":
        "each part of the mapping asks the slot table whether a worker lives; to purge a slot is to purge each part",
    "worker/mailbox/mailbox_large.c worker/mailbox/mailbox_pages.c":
        "one page: the first command takes a seat, and the last one gives the seat to the next page",
    "worker/redis/redis.c worker/redis/redis_login.c worker/redis/redis_tls.c":
        "one connection: its life begins the handshake and the login, and one that fails ends it",
    "worker/token/token.c worker/token/token_claims.c worker/token/token_jwt.c worker/token/token_paseto.c":
        "one verification: token.c chooses the format, and lends the formats its keys, its HMAC and its revocations",
}

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')


def room_of(name):
    return name.rsplit("/", 1)[0] if "/" in name else ""


class Tree:
    """The files of a tree, what they include, and what their objects use of each other."""

    def __init__(self, root, build, objects):
        self.root, self.build = root, build
        self.tops = sorted({room.split("/", 1)[0] for room in ROOMS})
        self.files = sorted(path.relative_to(root).as_posix() for top in self.tops if (root / top).is_dir()
                            for path in (root / top).rglob("*.[ch]"))
        self.breaches = []  # (file, line or None, reason)
        self.wrong = []  # what is wrong with the table or with the build
        self.uses = collections.defaultdict(dict)  # file -> file -> how: an include's or a symbol's name
        self.objects = objects or [self.build / f"{name[:-2]}.o" for name in self.files if name.endswith(".c")]

    def text(self, name):
        path = self.root / name
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def breach(self, name, line, reason):
        self.breaches.append((name, line, reason))

    # -- rooms

    def may_use(self, room, header=None, symbol=None, target_room=None):
        """Whether a file in the room may include the header, or use the symbol of a file in the target's room."""
        row = ROOMS[room].split()
        if header:
            return room_of(header) in (room, *row) or header in row
        return target_room in (room, *row) or any(
            re.search(rf"\b{symbol}\b", self.text(each)) for each in row if each.endswith(".h"))

    def check_table(self):
        seen = set()
        rooms = {room_of(name) for name in self.files}
        for room, row in ROOMS.items():
            for used in row.split():
                if (room_of(used) if used.endswith(".h") else used) not in seen:
                    self.wrong.append(f"ROOMS: {room} uses {used}, which does not stand below it")
            seen.add(room)
            if room not in rooms:
                self.wrong.append(f"ROOMS: {room}/ has no files")
        for room in sorted(rooms - set(ROOMS)):
            self.wrong.append(f"ROOMS: {room}/ has no row")

    # -- includes

    def check_includes(self, name):
        room = room_of(name)
        for number, line in enumerate(self.text(name).splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            quote, header = match.groups()
            for library, door in DOORS.items():
                if re.match(library, header) and not re.search(door, name):
                    self.breach(name, number, f"{header} is only for {door}")
            if quote == "<":
                continue
            if "/" not in header or ".." in header:
                self.breach(name, number, f'"{header}": write the path from the project\'s root')
                continue
            if room_of(header) != room:
                self.uses[name].setdefault(header, header)
            if room in ROOMS and not self.may_use(room, header=header):
                self.breach(name, number, f'{room}/ may not include "{header}"')

    # -- calls

    def read_symbols(self):
        """The symbols that each object defines, and those that it wants, by the name of its source."""
        missing = [path for path in self.objects if not path.exists()]
        if missing:
            self.wrong.append(f"{missing[0]} and {len(missing) - 1} more objects are not built: run make")
        defined, wanted = {}, collections.defaultdict(set)
        present = [path for path in self.objects if path.exists()]
        listing = subprocess.run(["nm", "-A", "-P", *map(str, present)], check=True, capture_output=True,
                                 text=True).stdout if present else ""
        for line in listing.splitlines():
            path, symbol, kind = line.split()[:3]
            name = pathlib.Path(path[:-1]).relative_to(self.build).with_suffix(".c").as_posix()
            if kind == "U":
                wanted[name].add(symbol)
            elif kind.isupper():
                defined.setdefault(symbol, name)
        return defined, wanted

    def line_of(self, name, symbol):
        for number, line in enumerate(self.text(name).splitlines(), 1):
            if re.search(rf"\b{symbol}\b", line):
                return number
        return None

    def check_calls(self):
        defined, wanted = self.read_symbols()
        for name in sorted(wanted):
            room = room_of(name)
            for symbol in sorted(wanted[name]):
                target = defined.get(symbol)
                if not target or target == name:
                    continue
                self.uses[name][target] = symbol
                if room in ROOMS and not self.may_use(room, symbol=symbol, target_room=room_of(target)):
                    self.breach(name, self.line_of(name, symbol), f"{room}/ may not use {symbol} of {target}")

    # -- circles

    def check_room_circles(self):
        graph, how = collections.defaultdict(set), {}
        for name, targets in self.uses.items():
            for target, what in targets.items():
                if room_of(name) != room_of(target):
                    graph[room_of(name)].add(room_of(target))
                    how.setdefault((room_of(name), room_of(target)), f"{what} in {name}")
        for rooms in circles(graph):
            way = path_around(graph, rooms)
            self.wrong.append("a circle between rooms: " + way[0] + "".join(
                f" -> {b} ({how[a, b]})" for a, b in zip(way, way[1:])))

    def check_file_circles(self):
        """Prints each circle that has a reason."""
        graph = collections.defaultdict(set)
        for name, targets in self.uses.items():
            graph[name] = {target for target in targets if target.endswith(".c") and room_of(target) == room_of(name)}
        expected = {frozenset(files.split()): reason for files, reason in CIRCLES.items()}
        for files in circles(graph):
            reason = expected.pop(frozenset(files), None)
            way = path_around(graph, files)
            around = way[0] + "".join(f" -> {b} ({self.uses[a][b]})" for a, b in zip(way, way[1:]))
            if reason:
                print(f"circle of {len(files)} files: {' '.join(sorted(files))}: {reason}")
            else:
                self.wrong.append(f"a circle of {len(files)} files without a reason in CIRCLES: "
                                  f"{' '.join(sorted(files))}; for one: {around}")
        for files in expected:
            self.wrong.append(f"CIRCLES: these files are no circle (any more): {' '.join(sorted(files))}")

    def check(self):
        self.check_table()
        for name in self.files:
            self.check_includes(name)
        self.check_calls()
        self.check_room_circles()
        self.check_file_circles()


def circles(graph):
    """The strongly connected parts with more than one member, each sorted."""
    def reachable(start):
        seen, waiting = set(), [start]
        while waiting:
            for following in graph.get(waiting.pop(), ()):
                if following not in seen:
                    seen.add(following)
                    waiting.append(following)
        return seen

    reach = {node: reachable(node) for node in list(graph)}
    found, done = [], set()
    for node in sorted(reach):
        if node in reach[node] and node not in done:
            part = sorted(other for other in reach[node] if node in reach.get(other, ()))
            done.update(part)
            if len(part) > 1:
                found.append(part)
    return found


def path_around(graph, members):
    """The shortest way from the first member back to it, through members."""
    start = members[0]
    ways = collections.deque([[start]])
    seen = set()
    while True:
        way = ways.popleft()
        for following in sorted(graph[way[-1]] & set(members)):
            if following == start:
                return [*way, start]
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    parser.add_argument("--build", type=pathlib.Path)
    parser.add_argument("--objects", nargs="*", type=pathlib.Path)
    options = parser.parse_args()
    tree = Tree(options.root, options.build or options.root / "build" / "gcc", options.objects)
    tree.check()
    for name, line, reason in sorted(tree.breaches, key=lambda breach: (breach[0], breach[1] or 0)):
        print(f"{name}:{line}: {reason}" if line else f"{name}: {reason}")
    for reason in tree.wrong:
        print(reason)
    failed = {name for name, _, _ in tree.breaches}
    passed = len(tree.files) - len(failed)
    count = len(failed) + bool(tree.wrong)
    print(f"layers: {passed} passed, {count} failed")
    return 1 if count or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
