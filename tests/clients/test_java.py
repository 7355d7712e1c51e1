"""The Java library by itself: it compiles without a warning, is documented whole, and its README does what it says.

Without a JDK the tests are skipped by name. Nothing is downloaded.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import xml.etree.ElementTree

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import harness  # noqa: E402  behind the path
import clients  # noqa: E402

LIBRARY = harness.ROOT / "clients/java"
SOURCES = sorted((LIBRARY / "src/main/java").rglob("*.java"))
PROGRAMS = ["java", "javac", "javadoc", "jar"]

pytestmark = [pytest.mark.skipif(any(not shutil.which(each) for each in PROGRAMS), reason="no JDK: java, javac, javadoc, jar"),
              pytest.mark.xdist_group("java")]

# What the pieces of the README take for granted.
FRAME = """
import java.io.*; import java.nio.file.*; import java.time.*; import java.util.*; import postoffice.client.*;
class %(name)s {
    String fetchToken() throws IOException { throw new IOException(); }
    void piece(%(given)s) throws Exception {
%(code)s
    }
}
"""


def run(*command, **options):
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, check=False, **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The jar, built as the README says, without a warning."""
    home = tmp_path_factory.mktemp("java")
    run("javac", "-Xlint:all", "-Werror", "--release", "11", "-d", home / "classes", *SOURCES)
    jar = home / "postoffice-client.jar"
    run("jar", "--create", "--file", jar, "-C", home / "classes", ".")
    return jar


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", (LIBRARY / "README.md").read_text(), re.DOTALL)


def test_the_library_compiles_for_jdk_11_without_a_warning(library):
    assert library.stat().st_size < 150_000


def test_the_driver_compiles_without_a_warning(library, tmp_path):
    run("javac", "-Xlint:all", "-Werror", "--release", "11", "-cp", library, "-d", tmp_path, HERE / "java/Driver.java")


def test_every_public_name_is_documented(tmp_path):
    run("javadoc", "-quiet", "-Xdoclint:all", "-Werror", "--release", "11", "-d", tmp_path, *SOURCES)


def test_the_library_needs_java_net_http_and_nothing_else(library):
    needs = run("jdeps", "-s", "--multi-release", "11", library).stdout
    assert set(re.findall(r"-> (\S+)", needs)) <= {"java.base", "java.net.http"}, needs


def test_pom_has_the_version_of_the_server():
    root = xml.etree.ElementTree.parse(LIBRARY / "pom.xml").getroot()
    space = "{http://maven.apache.org/POM/4.0.0}"
    version = re.search(r"^VERSION := (\S+)", (harness.ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert root.find(f"{space}artifactId").text == "postoffice-client" and root.find(f"{space}version").text == version


def test_the_commands_in_the_readme_build_the_jar(tmp_path):
    shutil.copytree(LIBRARY / "src", tmp_path / "src")
    for block in blocks("sh"):
        run("sh", "-e", "-c", block, cwd=tmp_path)
    assert (tmp_path / "build/postoffice-client.jar").exists()


def test_every_piece_of_code_in_the_readme_compiles(library, tmp_path):
    """The first one is a whole program, which the test below runs."""
    sources = []
    for number, code in enumerate(blocks("java")[1:]):
        given = "" if "PostOffice office" in code else "PostOffice office"
        source = tmp_path / f"Piece{number}.java"
        source.write_text(FRAME % {"name": source.stem, "given": given, "code": code})
        sources.append(source)
    assert len(sources) >= 6
    run("javac", "--release", "11", "-cp", library, "-d", tmp_path, *sources)


class Program:
    """The README's program, while it runs; `lines` is what it printed."""

    def __init__(self, library, home, *arguments):
        source = home / "Hello.java"
        source.write_text(blocks("java")[0])
        assert len(source.read_text().rstrip().splitlines()) <= 12
        run("javac", "--release", "11", "-cp", library, "-d", home, source)
        self.lines = []
        self.process = subprocess.Popen(["java", "-cp", f"{library}{os.pathsep}{home}", "Hello", *arguments],
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        threading.Thread(target=lambda: self.lines.extend(line.rstrip("\n") for line in self.process.stdout), daemon=True).start()

    def wait_line(self, line):
        harness.wait_until(lambda: line in self.lines, f"the program prints {line!r}; it printed {self.lines}", 60)

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path_factory):
    home = harness.make_directory()
    for name in ("redis", "server"):
        (home / name).mkdir()
        (home / name).chmod(0o755)
    redis = harness.Redis(home / "redis")
    made = harness.Server(home / "server", redis).start()
    yield made
    made.stop()
    redis.stop()
    made.judge()
    harness.remove_directory(home)


def test_the_ten_lines_of_the_readme_send_receive_and_survive_a_server_restart(library, server, tmp_path):
    program = Program(library, tmp_path, f"ws://127.0.0.1:{server.port}/ws", server.token("alice"), "bob")
    try:
        async def meet(text, own):
            bob = await clients.PythonClient.open(server, "bob")
            if own:
                heard = await bob.message()
                assert (heard["from"], heard["content"]) == ("alice", clients.b64("hello"))
                await bob.order("ack", references=heard["seq"])
            sent = await bob.send("alice", text, type=1)
            assert (await bob.said("accepted"))["inReplyTo"] == sent["id"]
            await bob.close()

        clients.run(meet("first", True))
        program.wait_line("bob: first")
        server.stop()
        server.start()
        clients.run(meet("second", False))
        program.wait_line("bob: second")
        assert program.lines.count("bob: first") == program.lines.count("bob: second") == 1
    finally:
        program.stop()
