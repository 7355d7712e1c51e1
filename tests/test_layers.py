"""Tests of the tests: what tests/layers.py and tests/walks.py forbid is planted, found and named."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("POSTOFFICE_BUILD", ROOT / "build" / "gcc"))
sys.path.insert(0, str(ROOT / "tests"))

import layers  # noqa: E402
import walks  # noqa: E402

CLEAN = {
    "low/a.h": "int a_get(void);\nint b_get(void);\n",
    "low/a.c": '#include "low/a.h"\n\nint a_get(void)\n{\n    return b_get();\n}\n',
    "low/b.c": '#include "low/a.h"\n\nint b_get(void)\n{\n    return 1;\n}\n',
    "high/c.h": "extern int c_value;\nint c_get(void);\n",
    "high/c.c": '#include "low/a.h"\n#include "high/c.h"\n\nint c_value;\n\nint c_get(void)\n{\n    return a_get();\n}\n',
    "door/d.h": "int d_get(void);\n",
    "door/d.c": '#include "door/d.h"\n#include "low/a.h"\n\nint d_get(void)\n{\n    return a_get();\n}\n',
}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A tree of two rooms and one that may use a single header; tree(files) adds files and gives what is found."""
    monkeypatch.setattr(layers, "ROOMS", {"low": "", "high": "low", "door": "low/a.h"})
    monkeypatch.setattr(layers, "CIRCLES", {})
    monkeypatch.setattr(layers, "DOORS", {r"event2/": r"low/a\.c$"})

    def make(over=None):
        plant(tmp_path, {**CLEAN, **(over or {})})
        return run(tmp_path)

    make.root = tmp_path
    return make


def plant(root, files):
    """Writes the files, and compiles what is to be compiled into root/build."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name in files:
        if name.endswith(".c"):
            made = root / "build" / f"{name[:-2]}.o"
            made.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["gcc", f"-I{root}", "-c", "-o", made, root / name], check=True)


def run(root):
    found = layers.Tree(root, root / "build", None)
    found.check()
    return [f"{name}:{line}: {reason}" for name, line, reason in found.breaches] + found.wrong


def test_a_clean_tree_has_no_breach(tree):
    assert tree() == []


def test_an_include_that_goes_up_is_named_with_its_line(tree):
    found = tree({"low/b.c": f'{CLEAN["low/b.c"]}\n#include "high/c.h"\n'})
    assert found[0] == 'low/b.c:8: low/ may not include "high/c.h"'


def test_an_include_that_its_row_does_not_allow_is_named_with_its_line(tree):
    found = tree({"door/d.c": f'#include "high/c.h"\n{CLEAN["door/d.c"]}'})
    assert found == ['door/d.c:1: door/ may not include "high/c.h"']


def test_an_include_without_its_path_is_named(tree):
    assert tree({"low/b.c": f'{CLEAN["low/b.c"]}#include "a.h"\n'}) == [
        'low/b.c:7: "a.h": write the path from the project\'s root']


def test_a_library_beside_its_door_is_named(tree):
    assert tree({"low/x.h": "#include <event2/event.h>\n"}) == [
        r"low/x.h:1: event2/event.h is only for low/a\.c$"]


def test_a_call_that_goes_up_is_named_though_its_function_is_declared_by_hand(tree):
    found = tree({"low/b.c": "int c_get(void);\n\nint b_get(void)\n{\n    return c_get();\n}\n"})
    assert found[0] == "low/b.c:1: low/ may not use c_get of high/c.c"
    assert any(line.startswith("a circle between rooms: high -> low") for line in found[1:])


def test_data_of_a_higher_room_is_named(tree):
    found = tree({"low/b.c": "extern int c_value;\n\nint b_get(void)\n{\n    return c_value;\n}\n"})
    assert found[0] == "low/b.c:1: low/ may not use c_value of high/c.c"


def test_a_call_past_the_one_header_that_a_row_names_is_named(tree):
    found = tree({"low/e.c": "int e_get(void);\n\nint e_get(void)\n{\n    return 2;\n}\n",
                 "door/d.c": "int e_get(void);\nint d_get(void);\n\nint d_get(void)\n{\n    return e_get();\n}\n"})
    assert found == ["door/d.c:1: door/ may not use e_get of low/e.c"]


def test_a_circle_between_rooms_is_named_with_its_way(tree):
    found = tree({"low/b.c": f'#include "high/c.h"\n{CLEAN["low/b.c"]}'})
    assert found == ['low/b.c:1: low/ may not include "high/c.h"',
                     "a circle between rooms: high -> low (low/a.h in high/c.c) -> high (high/c.h in low/b.c)"]


CIRCLE = '#include "low/a.h"\n\nint b_get(void)\n{\n    return a_get();\n}\n'


def test_a_circle_between_files_without_a_reason_is_named_with_its_way(tree):
    assert tree({"low/b.c": CIRCLE}) == [
        "a circle of 2 files without a reason in CIRCLES: low/a.c low/b.c; "
        "for one: low/a.c -> low/b.c (b_get) -> low/a.c (a_get)"]


def test_a_circle_between_files_with_a_reason_is_printed(tree, monkeypatch, capsys):
    monkeypatch.setattr(layers, "CIRCLES", {"low/a.c low/b.c": "they are one thing"})
    assert tree({"low/b.c": CIRCLE}) == []
    assert "circle of 2 files: low/a.c low/b.c: they are one thing\n" in capsys.readouterr().out


def test_a_reason_whose_circle_is_gone_is_named(tree, monkeypatch):
    monkeypatch.setattr(layers, "CIRCLES", {"low/a.c low/b.c": "they are one thing"})
    assert tree() == ["CIRCLES: these files are no circle (any more): low/a.c low/b.c"]


def test_a_room_without_a_row_and_a_row_without_a_room_are_named(tree, monkeypatch):
    monkeypatch.setattr(layers, "ROOMS", {**layers.ROOMS, "attic": "low"})
    assert tree({"low/cellar/x.h": ""}) == ["ROOMS: attic/ has no files", "ROOMS: low/cellar/ has no row"]


def test_a_row_that_uses_what_stands_above_it_is_named(tree, monkeypatch):
    monkeypatch.setattr(layers, "ROOMS", {"low": "high", "high": "low", "door": "low/a.h"})
    assert tree() == ["ROOMS: low uses high, which does not stand below it"]


def test_an_object_that_is_not_built_is_named(tree):
    tree()
    (tree.root / "build" / "low" / "b.o").unlink()
    assert [line.rsplit("/", 1)[1] for line in run(tree.root)] == ["b.o and 0 more objects are not built: run make"]


# ------------------------------------------------------------------------------------- the real tree's table


@pytest.fixture
def real(tmp_path):
    """A copy of the sources and objects of the real tree."""
    for top in sorted({room.split("/", 1)[0] for room in layers.ROOMS}):
        shutil.copytree(ROOT / top, tmp_path / top)
        shutil.copytree(BUILD / top, tmp_path / "build" / top, ignore=shutil.ignore_patterns("*.d"))
    return tmp_path


def tell(root):
    """What the tool prints, and its exit status."""
    result = subprocess.run([sys.executable, ROOT / "tests" / "layers.py", "--root", root, "--build", root / "build"],
                            capture_output=True, text=True, check=False)
    assert not result.stderr
    return result.stdout, result.returncode


def test_what_is_planted_into_the_real_tree_is_found(real):
    plant(real, {
        "worker/io/planted.c": '#include "worker/worker.h"\n',
        "worker/wire/planted.c": "int directory_init(void);\nint planted(void);\nint planted(void)\n{\n"
                                 "    return directory_init();\n}\n",
        "worker/session/planted_a.c": "int planted_b(void);\nint planted_a(void)\n{\n    return planted_b();\n}\n",
        "worker/session/planted_b.c": "int planted_a(void);\nint planted_b(void)\n{\n    return planted_a();\n}\n",
    })
    printed, status = tell(real)
    assert status == 1
    assert 'worker/io/planted.c:1: worker/io/ may not include "worker/worker.h"\n' in printed
    assert "worker/wire/planted.c:1: worker/wire/ may not use directory_init of worker/session/directory.c\n" in printed
    assert "a circle between rooms: worker" in printed
    assert "worker/session/planted_a.c -> worker/session/planted_b.c (planted_b)" in printed


# ---------------------------------------------------------------------------------------------------- walks

FILES = {
    "a.c": "static int\na_found_too(void)\n{\n    return 1;\n}\n\n\nint a_declared(int x);\n\nstatic struct a *a_found(int (*cb)(void),\n"
           "                         int x)\n{\n    return 0;\n}\n",
    "b.lua": "local function piece(x)\n  return x\nend\n",
}
GOOD = "1. `a_found` (`a.c`): bytes\n2. then `a_found_too()` in `a.c`,\n   and `piece` (`b.lua`)\n3. `b` (`b.lua`)\n"


def walk(tmp_path, *lists, head="## Three walks"):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "ARCHITECTURE.md").write_text(
        f"# A\n\n1. a list of another section\n\n{head}\n\n" + "\n### one\n\n".join(lists) + "\n## Next\n\n1. no stop\n")
    return walks.check(tmp_path)


def test_true_walks_pass(tmp_path):
    assert walk(tmp_path, GOOD, GOOD, GOOD) == ([], 9, 0)


def test_without_the_section_there_is_nothing_to_hold(tmp_path):
    assert walk(tmp_path, GOOD, head="## Other") is None


def test_a_walk_that_is_missing_is_named(tmp_path):
    assert walk(tmp_path, GOOD, GOOD) == (['ARCHITECTURE.md: "## Three walks" has 2 numbered lists, not 3'], 6, 1)
    assert walk(tmp_path) == (['ARCHITECTURE.md: "## Three walks" has 0 numbered lists, not 3'], 0, 1)


@pytest.mark.parametrize("stop, reason", [
    ("`a_gone` (`a.c`)", "a.c does not define a_gone"),
    ("`a_declared` (`a.c`)", "a.c does not define a_declared"),
    ("`a_found` (`gone.c`)", "there is no gone.c"),
    ("`nothing` in `b.lua`", "b.lua does not define nothing"),
    ("the loop turns", "the stop names no `function` (`path/file.c`)"),
])
def test_a_stop_that_is_not_true_is_named_with_its_line(tmp_path, stop, reason):
    assert walk(tmp_path, f"1. {stop}\n", GOOD, GOOD) == ([f"ARCHITECTURE.md:7: {reason}"], 6, 1)


def test_a_walk_has_at_most_twelve_stops(tmp_path):
    long = [f"{number}. `a_found` (`a.c`)\n" for number in range(1, 14)]
    assert walk(tmp_path, "".join(long[:12]), GOOD, GOOD) == ([], 18, 0)
    assert walk(tmp_path, "".join(long), GOOD, GOOD)[0] == [
        "ARCHITECTURE.md:19: a walk of 13 stops; 12 are the most"]


def test_stops_are_numbered_in_order(tmp_path):
    assert walk(tmp_path, "1. `a_found` (`a.c`)\n3. `a_found` (`a.c`)\n", GOOD, GOOD)[0] == [
        "ARCHITECTURE.md:8: stop 2 has the number 3"]
