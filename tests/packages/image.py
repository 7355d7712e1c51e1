"""Assembles the root that a Dockerfile describes, without an engine, and runs it as an engine would.

The parser knows the instructions that our Dockerfile uses; another instruction or option fails the test, so that nothing
of the file is passed over. A container is a process in namespaces of its own: process 1, a network, a root that is read-only
but for its volumes, an unprivileged user, and no way to more rights.
"""

import fnmatch
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess

import psutil

import clients
import harness


class Image:
    """The last stage of a Dockerfile: a folder, and what runs in it."""

    def __init__(self, context, arch, folder):
        self.context, self.folder = pathlib.Path(context), pathlib.Path(folder)
        self.arguments = {"TARGETARCH": arch}  # an engine with BuildKit sets it
        self.stages = {}
        text = (self.context / "Dockerfile").read_text()
        for line in re.sub(r"\\\n", " ", text).splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                name, rest = line.strip().split(None, 1)
                getattr(self, f"do_{name.lower()}")(rest)

    # -- words

    def expand(self, text):
        known = {**self.known, **self.environment}
        return re.sub(r"\$\{(\w+)\}", lambda match: known[match.group(1)], text)

    def ignored(self, name):
        """Whether .dockerignore keeps the file out of the build: the last pattern that matches decides."""
        verdict = False
        for line in (self.context / ".dockerignore").read_text().splitlines():
            pattern = line.strip().lstrip("!")
            if not pattern or pattern.startswith("#"):
                continue
            parts = pathlib.PurePath(name).parts
            prefixes = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
            if any(fnmatch.fnmatch(prefix, pattern) and prefix.count("/") == pattern.count("/") for prefix in prefixes):
                verdict = not line.strip().startswith("!")
        return verdict

    def from_context(self, name):
        path = self.context / name
        for each in [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]:
            assert not self.ignored(each.relative_to(self.context).as_posix()), f".dockerignore keeps {each} out"
        return path

    # -- instructions

    def do_from(self, rest):
        base, _, name = rest.partition(" AS ")
        assert base == "scratch", base
        self.known, self.environment, self.user, self.ports = {}, {}, "0:0", []
        self.health = self.entrypoint = self.stop_signal = None
        self.command = []
        self.root = self.folder / (name or "root")
        self.root.mkdir(parents=True)
        self.root.chmod(0o755)
        self.stages[name] = self.root

    def do_arg(self, rest):
        name, _, value = rest.partition("=")
        # A default would win over what the engine sets for each platform.
        assert name != "TARGETARCH" or not value
        self.known[name] = self.arguments.get(name, value)

    def do_env(self, rest):
        name, value = self.expand(rest).split("=", 1)
        self.environment[name] = value

    def do_add(self, rest):
        archive, to = self.expand(rest).split()
        assert archive.endswith(".tar.gz") and to == "/"
        subprocess.run(["tar", "-xzf", self.from_context(archive), "-C", self.root], check=True)

    def do_copy(self, rest):
        words = self.expand(rest).split()
        options = dict(word[2:].split("=", 1) for word in words if word.startswith("--"))
        source, to = [word for word in words if not word.startswith("--")]
        assert set(options) <= {"from", "chown"} and to.startswith("/") and to.endswith("/")
        origin = self.stages[options["from"]] / source.lstrip("/") if "from" in options else self.from_context(source)
        target = self.root / to.strip("/")
        target.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            shutil.copytree(origin, target, dirs_exist_ok=True)
        else:
            shutil.copy(origin, target)
        owner = options.get("chown")
        if owner:
            for path in [target, *target.rglob("*")]:
                os.chown(path, *map(int, owner.split(":")))

    def do_user(self, rest):
        self.user = rest
        assert re.fullmatch(r"\d+:\d+", rest), "names need /etc/passwd, which the image does not have"

    def do_expose(self, rest):
        self.ports.append(int(rest))

    def do_stopsignal(self, rest):
        self.stop_signal = rest

    def do_healthcheck(self, rest):
        self.health = json.loads(rest[rest.index("CMD ") + 4:])

    def do_entrypoint(self, rest):
        self.entrypoint = json.loads(rest)

    def do_cmd(self, rest):
        self.command = json.loads(rest)


# What an engine mounts into a root, before the root becomes read-only.
SETUP = """set -e
mkdir -p {root}/proc
mount --bind {root} {root}
mount -t proc proc {root}/proc
for volume in {volumes}; do
    point={root}/$(echo "$volume" | cut -d: -f2)
    mkdir -p "$point"
    mount --bind "${{volume%%:*}}" "$point"
    case $volume in *:ro) mount -o remount,bind,ro "$point" ;; esac
done
mount -o remount,bind,ro {root}
exec setpriv --no-new-privs {command}
"""


class Container:
    """A running image on a host of its own network (hosts.py); without a host it has no network at all."""

    def __init__(self, image, folder, host=None, hosts_file="", volumes=(), command=None, environment=None):
        self.folder, self.host, self.image = pathlib.Path(folder), host, image
        self.root = self.folder / "root"
        shutil.copytree(image.root, self.root)
        self.take_owners()
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost\n" + hosts_file)
        self.environment = {**image.environment, **(environment or {})}
        self.log_file = self.folder / "container.log"
        program = [*image.entrypoint, *(command or image.command)]
        script = SETUP.format(root=shlex.quote(str(self.root)), volumes=" ".join(map(shlex.quote, volumes)),
                              command=shlex.join(self.chroot(program)))
        network = host.inside() if host else ["unshare", "--net"]
        with open(self.log_file, "wb") as log:
            self.engine = subprocess.Popen(
                [*network, "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script],
                env={"PATH": os.environ["PATH"], **self.environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.port = image.ports[0]

    def take_owners(self):
        for path in [self.image.root, *self.image.root.rglob("*")]:
            status = path.stat()
            os.chown(self.root / path.relative_to(self.image.root), status.st_uid, status.st_gid)

    def chroot(self, program):
        return [shutil.which("chroot"), f"--userspec={self.image.user}", "--groups=", str(self.root), *map(str, program)]

    def first(self):
        """Process 1 of the container."""
        def look():
            assert self.engine.poll() is None, f"ended with {self.engine.poll()}: {self.log()}"
            found = psutil.Process(self.engine.pid).children()
            return found[0] if found and found[0].name().startswith("websocket-serve") else None
        return harness.wait_until(look, "process 1 is the server")

    def enter(self, program, check=False):
        """What `docker exec` does; the result has returncode, stdout and stderr."""
        result = subprocess.run(
            ["nsenter", "--target", str(self.first().pid), "--mount", "--pid", "--net", *self.chroot(program)],
            env=self.environment, capture_output=True, text=True, timeout=harness.DEADLINE, check=False)
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return result

    def healthy(self):
        return self.enter(self.image.health).returncode == 0

    def serves(self):
        said = self.enter([*self.image.entrypoint, "status", "--pid", "1", "--json"])
        rows = [row for row in json.loads(said.stdout)["workers"] if row["pid"]] if said.returncode == 0 else []
        return bool(rows) and all(row["state"] == "serving" for row in rows)

    def log(self):
        return self.log_file.read_text(errors="replace")

    def end(self):
        """The exit status after the image's own signal; the engine passes it on."""
        if self.engine.poll() is None:
            for process in psutil.Process(self.engine.pid).children():
                process.send_signal(signal.Signals[self.image.stop_signal])
            try:
                self.engine.wait(harness.DEADLINE)
            except subprocess.TimeoutExpired:
                self.engine.kill()
                self.engine.wait()
        return self.engine.returncode

    # -- as the clients of clients.py use a server

    def token(self, address, **_):
        return self.enter([*self.image.entrypoint, "token", "issue", "--sub", address, "--ttl", "600"],
                          check=True).stdout.strip()


def stored_mail(sender, recipient):
    """alice writes at one container while bob is away; bob reads at the other."""
    async def scenario():
        alice = await clients.PythonClient.open(sender, "alice")
        sent = await alice.send("bob", "between nodes", type=1)
        await alice.said("accepted", inReplyTo=sent["id"])
        bob = await clients.PythonClient.open(recipient, "bob")
        assert (await bob.message(id=sent["id"]))["content"] == sent["content"]
    clients.run(scenario())
