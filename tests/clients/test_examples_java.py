"""The two services in examples/services answer every order once, while their processes are killed."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading

import psutil
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))

import harness  # noqa: E402  behind the path

EXAMPLE = harness.ROOT / "examples/services"
ORDERS = 200

pytestmark = [pytest.mark.skipif(not (shutil.which("java") and shutil.which("javac")), reason="no JDK: java, javac"),
              pytest.mark.xdist_group("java")]


@pytest.fixture
def server():
    home = harness.make_directory()
    for name in ("redis", "server"):
        (home / name).mkdir()
        (home / name).chmod(0o755)
    redis = harness.Redis(home / "redis")
    made = harness.Server(home / "server", redis, config={"serviceAddresses": ["/service/*"]}).start()
    yield made
    made.stop()
    redis.stop()
    made.judge()
    harness.remove_directory(home)


class Commands:
    """The commands of the example's README, as they stand there, in a copy of the folder; `lines` is what they print."""

    def __init__(self, home, server):
        shutil.copytree(harness.ROOT / "clients/java/src", home / "clients/java/src")
        shutil.copytree(EXAMPLE, home / "examples/services", ignore=shutil.ignore_patterns("build"))
        (home / "bin").mkdir()
        (home / "bin/websocket-server").symlink_to(pathlib.Path(harness.BINARY).resolve())
        script = "\n".join(re.findall(r"```sh\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL))
        env = {**harness.environment(), "URL": f"ws://127.0.0.1:{server.port}/ws", "KEY": str(server.keys.seed_file()),
               "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
               "JDK_JAVA_OPTIONS": "-Xmx64m -XX:+UseSerialGC -XX:TieredStopAtLevel=1"}
        self.lines, self.errors = [], []
        self.shell = subprocess.Popen(["sh", "-e", "-c", script], cwd=home / "examples/services", env=env, text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        for pipe, lines in ((self.shell.stdout, self.lines), (self.shell.stderr, self.errors)):
            threading.Thread(target=lambda pipe=pipe, lines=lines: lines.extend(pipe), daemon=True).start()

    def answers(self):
        return [line for line in list(self.lines) if line.startswith("order ")]

    def processes(self, name):
        return [child for child in psutil.Process(self.shell.pid).children() if name in child.cmdline()]

    def stop(self):
        if self.shell.poll() is None:
            os.killpg(self.shell.pid, signal.SIGKILL)
        self.shell.wait()


def test_every_order_is_answered_once_by_three_processes_of_each_service_some_of_which_are_killed(server, tmp_path):
    commands = Commands(tmp_path, server)
    try:
        def told(count):
            assert commands.shell.poll() is None or len(commands.answers()) >= count, commands.errors
            return len(commands.answers()) >= count

        harness.wait_until(lambda: told(1), "the first order is answered", 180)
        for name in ("Price", "Orders"):
            running = commands.processes(name)
            if running:
                running[0].kill()
        harness.wait_until(lambda: told(ORDERS), "every order is answered", 180)
        prices = dict(re.fullmatch(r"order (\d+): (.*)", line.rstrip()).groups() for line in commands.answers())
        assert prices == {str(number): f'{{"cents":{12 * number + 2 * 7}}}' for number in range(1, ORDERS + 1)}
        assert len(commands.answers()) == ORDERS
    finally:
        commands.stop()
