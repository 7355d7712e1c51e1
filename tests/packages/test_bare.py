"""README's first command on a bare Debian 12: `make run` installs what is missing, builds, serves, and a mail is stored.

The root is Debian's smallest, with what README asks for before: make (and git, with which the checkout comes).
"""

import os
import pathlib
import re

import bare


def test_make_run_installs_builds_serves_and_stores_a_mail(first_run):
    assert first_run.had == [], "the root was not bare"
    assert first_run.status is None, first_run.text[-3000:]
    took = re.search(r"Packages took \d+\.\d s, the build \d+\.\d s, start and first stored mail \d+\.\d s\.", first_run.text)
    assert took, first_run.text[-3000:]
    assert "a mail was stored, and delivered when its reader connected" in first_run.text
    packages = bare.run("chroot", first_run.root.path, "dpkg-query", "-W", "-f", "${Package}\n").stdout.split()
    assert "redis-server" in packages and not {"nodejs", "python3-pytest", "clang"} & set(packages)
    print(f"\n{len(packages)} packages; {took[0]}")


def test_nothing_of_it_is_left_running(first_run):
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                assert not os.readlink(entry / "root").startswith(str(first_run.root.path)), entry
            except OSError:
                continue
