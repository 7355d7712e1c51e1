#!/usr/bin/python3
"""Holds the walks of ARCHITECTURE.md: each stop names a function and the file that defines it.

    walks.py [--root TREE]

The section "## Three walks" has three numbered lists. Each stop of a list names at least one function as
`function` (`path/file.c`), or `function` in `path/file.c`; the named file must define the function. A script's name
(`append` for `worker/mailbox/lua/append.lua`) counts as a function of the script. A walk has at most twelve stops.
Without the section the tool checks nothing. Prints each breach as ARCHITECTURE.md:line: reason, and a closing line
`N passed, N failed`, counting stops; each fault of the section counts as one more.
"""

import argparse
import pathlib
import re
import sys

DOCUMENT = "ARCHITECTURE.md"
SECTION = "## Three walks"
WALKS = 3
STOPS_MAX = 12

STOP = re.compile(r"^(\d+)\. ")
NAMED = re.compile(r"`(\w+)(?:\(\))?`,?\s+(?:\(|in\s+)`([\w./-]+\.(?:c|h|lua))`")


def read_walks(text):
    """The walks of the section, each a list of (line number, stop's number, stop's text); None without a section."""
    walks, inside = None, False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("## "):
            inside = line.rstrip() == SECTION
            if inside:
                walks = []
            continue
        if not inside:
            continue
        stop = STOP.match(line)
        if stop and stop[1] == "1":
            walks.append([])
        if stop and walks:
            walks[-1].append([number, int(stop[1]), line])
        elif walks and line.startswith(" "):  # the stop goes on
            walks[-1][-1][2] += " " + line.strip()
    return walks


def defines(path, function):
    """Whether the file defines the function."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".lua":
        return function == path.stem or bool(re.search(
            rf"\bfunction\s+(?:\w+[.:])?{function}\s*\(|\b{function}\s*=\s*function\b", text))
    # From the first column: type, name, parameters, and the body's brace; a declaration has a semicolon instead.
    return bool(re.search(rf"^(?:[A-Za-z_][\w \t*]*[ \t*])?{function}\([^;{{}}]*\)\s*\{{", text, re.M))


def check_stop(root, stop):
    """What is wrong with one stop."""
    named = NAMED.findall(stop)
    if not named:
        yield "the stop names no `function` (`path/file.c`)"
    for function, name in named:
        if not (root / name).is_file():
            yield f"there is no {name}"
        elif not defines(root / name, function):
            yield f"{name} does not define {function}"


def check(root):
    """(breaches as text, how many stops are good, how many are not); None without the section."""
    walks = read_walks((root / DOCUMENT).read_text(encoding="utf-8"))
    if walks is None:
        return None
    lines, passed, failed = [], 0, 0
    if len(walks) != WALKS:
        lines.append(f'{DOCUMENT}: "{SECTION}" has {len(walks)} numbered lists, not {WALKS}')
        failed += 1
    for walk in walks:
        if len(walk) > STOPS_MAX:
            lines.append(f"{DOCUMENT}:{walk[STOPS_MAX][0]}: a walk of {len(walk)} stops; {STOPS_MAX} are the most")
            failed += 1
        for expected, (line, number, stop) in enumerate(walk, 1):
            reasons = list(check_stop(root, stop))
            if number != expected:
                reasons.append(f"stop {expected} has the number {number}")
            lines += [f"{DOCUMENT}:{line}: {reason}" for reason in reasons]
            passed, failed = passed + (not reasons), failed + bool(reasons)
    return lines, passed, failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    result = check(parser.parse_args().root)
    if result is None:
        print(f'walks: {DOCUMENT} has no section "{SECTION}"')
        return 0
    lines, passed, failed = result
    print("".join(f"{line}\n" for line in lines) + f"walks: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
