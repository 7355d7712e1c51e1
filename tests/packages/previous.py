"""Builds the version that the file `previous` names, out of this repository, and says why when that cannot be."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILE = pathlib.Path(__file__).with_name("previous")


def revision():
    """What the file names, or POSTOFFICE_PREVIOUS."""
    lines = [line.split()[0] for line in FILE.read_text(encoding="utf-8").splitlines() if line.strip() and line[0] != "#"]
    return os.environ.get("POSTOFFICE_PREVIOUS") or lines[0]


def git(*arguments, **options):
    # The checkout may belong to another user than the test (CI, as root).
    return subprocess.run(["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, *arguments], check=True, capture_output=True,
                          **options).stdout


def commit():
    """The full name of the commit; None: it is not here (a shallow clone, a tarball)."""
    try:
        return git("rev-parse", "--verify", "--quiet", f"{revision()}^{{commit}}").decode().strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def binary():
    """The path of the built server. It is built once, in build/previous/COMMIT."""
    name = commit()
    folder = ROOT / "build" / "previous" / name
    program = folder / "websocket-server"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["tar", "-x", "-C", folder], input=git("archive", name), check=True)
        environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "SAN", "CC")}
        subprocess.run(["make", "-s", f"-j{os.cpu_count()}", "websocket-server"], cwd=folder, check=True, env=environment)
    return str(program)
