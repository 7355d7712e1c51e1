"""Every printed command runs: the blocks of README.md, docs/operations.md and the man pages, as they stand and in their order.

They run in the bare root in which README's first command has run before (conftest.py), with a network of their own, and
with Debian's redis-server set up as docs/operations.md says. A block that cannot run there has a comment in front that says why:
`<!-- not run: needs a public host name -->`, in a man page `.\\" not run: …`. Blocks without a language, or of sh, are commands.
"""

import json
import pathlib
import re
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import bare  # noqa: E402
import bare_root  # noqa: E402

ROOT = bare.ROOT
BLOCK = re.compile(r"(?:^<!-- not run: (?P<why>[^>]+) -->\n)?^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.M | re.S)
# In a man page: blocks, and the commands of the list EXAMPLES.
MAN_BLOCK = re.compile(r'(?:^\.\\" not run: (?P<why>[^\n]+)\n)?(?:^\.(?:EX|nf)\n(?P<text>.*?)^\.(?:EE|fi)$|^\.TP\n(?P<line>\.B [^\n]*\n))', re.M | re.S)
OTHERS = {"json", "ini", "text", "console", "cron", "nginx", "haproxy", "caddy"}  # what a block may be besides commands


def blocks_of(path):
    """(line, text, why it is not run or None) of each block of commands."""
    page = (ROOT / path).read_text(encoding="utf-8")
    if not path.endswith(".md"):
        return man_blocks(page)
    found = []
    for match in BLOCK.finditer(page):
        if match["language"] in ("", "sh"):
            found.append((line_of(page, match), match["text"], match["why"]))
        else:
            assert match["language"] in OTHERS, f"{path}: what is a block of {match['language']}?"
    return found


def man_blocks(page):
    examples = page.find("\n.SH EXAMPLES\n")
    end = page.find("\n.SH ", examples + 1)
    return [(line_of(page, match), unroff(match["text"] or match["line"]), match["why"]) for match in MAN_BLOCK.finditer(page)
            if match["text"] or examples >= 0 and examples < match.start() < (end if end >= 0 else len(page))]


def line_of(page, match):
    return page[:match.start()].count("\n") + 1


def unroff(text):
    lines = [re.sub(r"^\.(?:B|I|BR|RB|IR|RI) ", "", line) for line in text.splitlines()]
    return re.sub(r"\\f[BIRP]|\\&", "", "\n".join(lines)).replace(r"\-", "-").replace(r"\e", "\\").replace(r"\(aq", "'") + "\n"


def pages():
    return ["README.md", "docs/operations.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("man/*.[18]"))]


@pytest.fixture(scope="module")
def machine(first_run):
    network = bare_root.Network(first_run.root)
    reader = Reader(network)
    try:
        reader.set_redis_up()
        yield reader
    finally:
        network.close()


class Reader:
    """Somebody who follows the pages from top to bottom. Most blocks are a script; two kinds need a person."""

    def __init__(self, network):
        self.network = network
        self.running = None  # `make run` in its terminal

    def set_redis_up(self):
        """Debian's service, with the lines that docs/operations.md gives for redis.conf."""
        page = (ROOT / "docs" / "operations.md").read_text()
        lines = re.search(r"^```ini\n(appendonly .*?|# .*?)^```$", page, re.M | re.S).group(1)
        self.network.run("cat >> /etc/redis/redis.conf", data=lines.encode())
        self.network.run("service redis-server start")
        self.wait_for("redis-cli PING", "Redis answers")

    def wait_for(self, text, what, seconds=160):
        end = time.monotonic() + seconds
        while subprocess.run(self.network.command(text), capture_output=True, check=False, stdin=subprocess.DEVNULL).returncode:
            assert time.monotonic() < end, f"waited in vain: {what}"
            time.sleep(0.2)

    def do(self, text):
        if re.search(r"^make run\b", text, re.M):
            return self.make_run(text)
        if re.search(r"^scripts/talk\b", text, re.M):
            return self.talk(text)
        self.leave()
        return self.network.run(text)

    def make_run(self, text):
        self.running = self.network.start(f"exec setsid --wait {text.strip()}")
        while "Ctrl-C" not in (line := self.running.stdout.readline()):
            assert line, "make run has ended"

    def talk(self, text):
        """Two terminals: what is typed into one is shown in the other."""
        terminals = [self.network.start(line.split(" #")[0]) for line in text.strip().splitlines()]
        first, second = terminals
        self.wait_for("./websocket-server status --json --config config/config-dev.json | grep -q '\"connections\":2'", "both talk")
        for writer, reader, words in ((first, second, "hello from here"), (second, first, "and back")):
            writer.stdin.write(words + "\n")
            writer.stdin.flush()
            while words not in (line := reader.stdout.readline()):
                assert line, f"{text} has ended"
        for terminal in terminals:
            terminal.stdin.close()
            terminal.wait(30)

    def leave(self):
        """Ctrl-C: SIGINT for all processes of the terminal."""
        if self.running:
            bare_root.interrupt(self.running)
            self.running.communicate(timeout=60)
            self.running = None


@pytest.mark.parametrize("page", pages())
def test_every_block_of_commands_runs(machine, page):
    for line, text, why in blocks_of(page):
        if why is None:
            began = time.monotonic()
            try:
                machine.do(text)
            except (AssertionError, subprocess.TimeoutExpired) as error:
                raise AssertionError(f"{page}:{line}: {error}") from None
            print(f"{page}:{line}: ran in {time.monotonic() - began:.1f} s")
        else:
            print(f"{page}:{line}: not run: {why}")
    machine.leave()


def test_the_chinese_readme_prints_the_same_commands():
    def commands(path):
        return [re.sub(r" +#.*", "", text) for _, text, _ in blocks_of(path)]

    assert commands("README.zh-CN.md") == commands("README.md")


def test_json_blocks_of_the_readmes_are_json():
    for page in ("README.md", "README.zh-CN.md"):
        for match in BLOCK.finditer((ROOT / page).read_text(encoding="utf-8")):
            if match["language"] == "json":
                json.loads(match["text"])


def test_a_block_that_is_neither_run_nor_marked_is_found(tmp_path, monkeypatch):
    (tmp_path / "page.md").write_text("```\none\n```\n<!-- not run: because -->\n```sh\ntwo\n```\n```json\n{}\n```\n")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    assert blocks_of("page.md") == [(1, "one\n", None), (4, "two\n", "because")]
    (tmp_path / "page.8").write_text('.SH FILES\n.TP\n.B not\n.SH EXAMPLES\n.EX\none \\-\\-all\n.EE\n'
                                     '.\\" not run: because\n.TP\n.B two\nTwo.\n.SH SEE\n.TP\n.B not\n')
    assert blocks_of("page.8") == [(5, "one --all\n", None), (8, "two\n", "because")]
