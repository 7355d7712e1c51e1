"""Runs the unit tests' programs whose allocations fail, as many at once as there are processors.

    tests/torture/torture.py FOLDER NAME...

FOLDER holds the programs; torture.c says what each does. The first run is of planted.c, whose
faults have to be found, each in the test that is named for it, and no others. Ends with
`torture: N passed, N failed`: programs.
"""

import concurrent.futures
import os
import re
import subprocess
import sys
import time

# What torture.c has to say of planted.c: the test, and the fault in it.
PLANTED = {
    ("unchecked", "report of a sanitizer"),
    ("used_after_free", "report of a sanitizer"),
    ("freed_twice", "report of a sanitizer"),
    ("own_assertion", "killed by a signal"),
    ("leaked_on_the_way_out", "leak"),
    ("tries_forever", "hang"),
    ("second_failure_unchecked", "report of a sanitizer"),
    ("fails_without_a_failure", "fails without a failed allocation"),
}

# Started first, so that the last to end is a short one.
LONG = ["test_config_text", "test_config_pack", "test_config_keys", "test_config", "test_carrier", "test_keyfile", "test_session", "test_token"]


def run(folder, name):
    began = time.monotonic()
    done = subprocess.run([os.path.join(folder, name)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    return done.returncode, done.stdout, time.monotonic() - began


def planted(folder):
    _, output, _ = run(folder, "planted")
    found = set(re.findall(r"^FAULT (\w+): ([^,\n]+),", output, re.M))
    for name, fault in sorted(found ^ PLANTED):
        print("planted: %s: %s was %s" % (name, fault, "not found" if (name, fault) in PLANTED else "not planted"))
    if found == PLANTED:
        print("planted: all %d faults were found" % len(PLANTED))
    else:
        print(output)
    return found == PLANTED


def main():
    folder, names = sys.argv[1], sys.argv[2:]
    names.sort(key=lambda name: LONG.index(name) if name in LONG else len(LONG))
    verdicts = [planted(folder)]
    sys.stdout.flush()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = {pool.submit(run, folder, name): name for name in names}
        for one in concurrent.futures.as_completed(runs):
            status, output, seconds = one.result()
            # all of it when something is wrong, else the closing line
            print(output if status else output.strip().rpartition("\n")[2])
            print("%s: %s, %d s" % (runs[one], "FAILED" if status else "ok", seconds))
            sys.stdout.flush()
            verdicts.append(status == 0)
    print("torture: %d passed, %d failed" % (verdicts.count(True), verdicts.count(False)))
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
