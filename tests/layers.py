#!/usr/bin/python3
"""Holds the map of the rooms (ARCHITECTURE.md): who may include whom, and each library's one door.

Prints each breach as file:line: reason, and a closing line `N passed, N failed`, counting files.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# A file in the room on the left may include headers whose path begins with one of those on the right.
ROOMS = {
    "common": ["common/"],
    "config": ["config/", "common/"],
    "shm": ["shm/", "common/"],
    "worker": ["worker/", "config/", "shm/", "common/"],
    # Of the worker's room the master sees the entrance, and tokens for its command line.
    "master": ["master/", "worker/worker.h", "worker/token/token.h", "config/", "shm/", "common/"],
}

# Third-party headers, and the only files that may include them.
DOORS = {
    r"event2/": r"worker/io/loop\.[ch]$",
    r"hiredis/": r"worker/redis/redis\.c$",
    r"cjson/": r"config/[^/]+\.[ch]$",
    r"sodium(\.h$|/)": r"worker/token/[^/]+\.[ch]$",
}

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')


def breaches(path):
    """The lines of one file that the map forbids, as (line number, reason)."""
    name = path.relative_to(ROOT).as_posix()
    room = name.split("/", 1)[0]
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quote, header = match.groups()
        for library, door in DOORS.items():
            if re.match(library, header) and not re.search(door, name):
                yield number, f"{header} is only for {door}"
        if quote == "<":
            continue
        if "/" not in header or ".." in header:
            yield number, f'"{header}": write the path from the project\'s root'
        elif not any(header.startswith(allowed) for allowed in ROOMS[room]):
            yield number, f'{room}/ may not include "{header}"'


def main():
    passed = failed = 0
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.[ch]")):
            found = list(breaches(path))
            for number, reason in found:
                print(f"{path.relative_to(ROOT)}:{number}: {reason}")
            if found:
                failed += 1
            else:
                passed += 1
    print(f"layers: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
