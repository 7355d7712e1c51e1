"""Parts of the Java library that a client stands on: JSON in and out, and the storage in files."""

import json
import pathlib
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import harness  # noqa: E402  behind the path

pytestmark = [pytest.mark.skipif(not (shutil.which("java") and shutil.which("javac")), reason="no JDK: java, javac"),
              pytest.mark.xdist_group("java")]


@pytest.fixture(scope="session")
def classes(tmp_path_factory):
    home = tmp_path_factory.mktemp("parts")
    sources = [*sorted((harness.ROOT / "clients/java/src/main/java").rglob("*.java")), HERE / "java/Parts.java"]
    subprocess.run(["javac", "-Xlint:all", "-Werror", "--release", "11", "-d", home, *sources], check=True, timeout=300)
    return home


class Parts:
    """The program, asked a line at a time."""

    def __init__(self, classes, *arguments):
        self.process = subprocess.Popen(["java", "-XX:TieredStopAtLevel=1", "-cp", classes, "Parts", *arguments], text=True,
                                        encoding="utf-8", stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()

    def line(self):
        return self.process.stdout.readline().rstrip("\n")

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.line()

    def kill(self):
        self.process.kill()
        self.process.wait()


GOOD = ['{}', '[]', '""', '0', '-0', 'true', 'null', '[1,2.5,-3e2,1e400,9007199254740993,123456789012345678901234567890]',
        '{"a":{"b":[{"c":null}]},"":"empty"}', '"\\u0000\\b\\f\\n\\r\\t\\"\\\\\\/"', '"ü 你好 📮 \\ud83d\\udcee \\u2028"', ' [ 1 , { "x" : false } ] ',
        '[' * 200 + ']' * 200]
BAD = ['', '{', '[1,]', '{"a":1,}', '{a:1}', "'a'", '01', '1.', '.5', '+1', '1e', 'NaN', 'tru', '"', '"\t"', '"\\x"', '"\\u12"', '[] []', '[1 2]',
       '{"a" 1}', '[' * 100_000]


def test_json_that_was_read_is_written_as_the_same_value(classes):
    with Parts(classes, "json") as parts:
        for text in GOOD:
            again = parts.ask(text)
            assert json.loads(again) == json.loads(text), text
            if "1e400" in text:
                assert "9007199254740993" in again and "123456789012345678901234567890" in again, "no digit is lost"


def test_what_is_no_json_is_refused(classes):
    with Parts(classes, "json") as parts:
        for text in BAD:
            assert parts.ask(text) == "bad", text[:50]


def test_half_a_character_is_written_as_an_escape(classes):
    with Parts(classes, "json") as parts:
        assert parts.ask('"a\\ud83d"') == '"a\\ud83d"'
        assert parts.ask('"\\udceeb"') == '"\\udceeb"'


def test_what_was_written_is_there_after_kill_9(classes, tmp_path):
    with Parts(classes, "storage", tmp_path) as first:
        assert json.loads(first.line()) == {}
        first.ask('{"a": "1", "b": "2"}')
        first.ask('{"a": null, "c": "ü\\n"}')
        first.kill()
    with Parts(classes, "storage", tmp_path) as second:
        assert json.loads(second.line()) == {"b": "2", "c": "ü\n"}


def test_a_journal_that_was_cut_off_gives_back_every_whole_record_and_goes_on(classes, tmp_path):
    with Parts(classes, "storage", tmp_path) as first:
        first.line()
        for number in range(3):
            first.ask(json.dumps({f"key{number}": "x" * 10}))
    journal = tmp_path / "postoffice.journal"
    whole = journal.read_bytes()
    records = whole.splitlines(keepends=True)
    ends = [len(records[0]), len(records[0]) + len(records[1])]
    for cut in (0, 5, ends[0] - 1, ends[0], ends[0] + 1, ends[1] - 1, len(whole) - 1):
        journal.write_bytes(whole[:cut])
        kept = {f"key{number}": "x" * 10 for number, end in enumerate(ends) if end <= cut}
        with Parts(classes, "storage", tmp_path) as again:
            assert json.loads(again.line()) == kept, cut
            again.ask('{"next": "1"}')
        with Parts(classes, "storage", tmp_path) as after:
            assert json.loads(after.line()) == {**kept, "next": "1"}, cut


def test_a_journal_does_not_grow_without_end(classes, tmp_path):
    with Parts(classes, "storage", tmp_path) as first:
        first.line()
        first.ask('{"stays": "here"}')
        for number in range(60):
            first.ask(json.dumps({"changes": f"{number}" + "x" * 100_000}))
    assert (tmp_path / "postoffice.journal").stat().st_size < 3_000_000
    with Parts(classes, "storage", tmp_path) as second:
        kept = json.loads(second.line())
    assert kept == {"stays": "here", "changes": "59" + "x" * 100_000}


def test_a_storage_that_another_client_uses_is_refused(classes, tmp_path):
    with Parts(classes, "storage", tmp_path) as first:
        first.line()
        with Parts(classes, "storage", tmp_path) as second:
            assert "another client" in json.loads(second.line())["refused"]
