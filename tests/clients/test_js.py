"""clients/js as a package: loads both ways, is small, has true types, and its README's program works."""

import base64
import gzip
import json
import os
import re
import shutil
import signal
import subprocess

import pytest

from e2e_fixtures import directory, redis, server  # noqa: F401  fixtures
import harness  # behind the path that e2e_fixtures sets
from conversation import Peer

PACKAGE = harness.ROOT / "clients" / "js"
PAGE_BYTES = 12_000
NODE = next((path for path in ("/usr/bin/node", shutil.which("node")) if path and os.path.exists(path)), None)

pytestmark = pytest.mark.skipif(not NODE, reason="no node: scripts/setup --test installs it")


HOW = dict.fromkeys(("esbuild", "tsc"), ": scripts/setup --clients installs it")


def needs(program):
    return pytest.mark.skipif(not shutil.which(program), reason=f"no {program}" + HOW.get(program, ""))


def run(*command, cwd, **options):
    result = subprocess.run([str(each) for each in command], cwd=cwd, capture_output=True, text=True, timeout=3 * harness.DEADLINE,
                            check=False, **options)
    assert result.returncode == 0, f"{command}: {result.returncode}\n{result.stdout}{result.stderr}"
    return result.stdout


@pytest.fixture
def project(directory):  # noqa: F811
    """A project of somebody else's that has installed the package: exactly the files that `npm pack` would take."""
    installed = directory / "node_modules" / "postoffice-client"
    package = json.loads((PACKAGE / "package.json").read_text())
    installed.mkdir(parents=True)
    for name in [*package["files"], "package.json", "README.md"]:
        source = PACKAGE / name
        if name == "dist":
            run(NODE, PACKAGE / "build.mjs", installed / "dist", cwd=directory)
        elif source.is_dir():
            shutil.copytree(source, installed / name)
        else:
            shutil.copy(source, installed / name)
    return directory


def test_every_file_that_the_package_names_is_in_it(project):
    package = json.loads((PACKAGE / "package.json").read_text())
    assert package["name"] == "postoffice-client" and package["license"] == "Apache-2.0"
    assert not package.keys() & {"dependencies", "peerDependencies", "optionalDependencies", "bundledDependencies"}
    named = re.findall(r'"(\./[^"]+)"', json.dumps([package[each] for each in ("main", "module", "types", "browser", "exports", "sideEffects")]))
    missing = {each for each in named if not (project / "node_modules" / "postoffice-client" / each).is_file()}
    assert named and not missing


@needs("npm")
def test_npm_packs_what_the_tests_install(project):
    listed = json.loads(run("npm", "pack", "--dry-run", "--json", "--ignore-scripts", "--offline", cwd=project / "node_modules" / "postoffice-client",
                            env={**os.environ, "HOME": str(project)}))
    packed = {each["path"] for each in listed[0]["files"]}
    root = project / "node_modules" / "postoffice-client"
    assert packed == {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


class Program:
    """A program in a process; its lines are read as they come."""

    def __init__(self, project, text, **env):
        (project / "program.mjs").write_text(text)
        self.process = subprocess.Popen([NODE, "program.mjs"], cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **env})

    def line(self):
        """The next line; a program that says nothing is ended, and the test with it."""
        alarm = signal.signal(signal.SIGALRM, lambda *_: self.process.kill())
        signal.alarm(3 * harness.DEADLINE)
        try:
            line = self.process.stdout.readline()
            assert line, "the program says nothing more"
            return line.rstrip("\n")
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, alarm)

    def kill(self):
        self.process.kill()
        self.process.wait(harness.DEADLINE)
        self.process.stdout.close()


NAMES = ["ClosedError", "IndexedDBStorage", "MemoryStorage", "OutboxFullError", "PostOffice", "RejectedError", "TimeoutError"]
NODE_NAMES = sorted([*NAMES, "FileStorage", "NodeWebSocket"])


@pytest.mark.parametrize("conditions, names", [([], NODE_NAMES), (["--conditions=browser"], NAMES)], ids=["node", "browser"])
@pytest.mark.parametrize("kind", ["import", "require"])
def test_the_package_loads_by_import_and_by_require(project, kind, conditions, names):
    load = "await import('postoffice-client')" if kind == "import" else "require('postoffice-client')"
    file = project / ("load.mjs" if kind == "import" else "load.cjs")
    file.write_text(f"const all = {load};\nconsole.log(JSON.stringify(Object.keys(all).sort()));\n")
    assert json.loads(run(NODE, *conditions, file, cwd=project)) == names


def test_a_page_without_a_bundler_loads_one_file(project):
    file = project / "load.mjs"
    file.write_text("const all = await import('./node_modules/postoffice-client/dist/postoffice.js');\n"
                    "console.log(JSON.stringify(Object.keys(all).sort()));\n")
    assert json.loads(run(NODE, file, cwd=project)) == NAMES


@needs("esbuild")
def test_a_page_loads_less_than_12_kb_and_nothing_of_node(project):
    file = project / "page.js"
    file.write_text("export * from 'postoffice-client';\n")
    small = run("esbuild", "--bundle", "--minify", "--format=esm", "--platform=browser", file, cwd=project)
    size = len(gzip.compress(small.encode(), 9))
    assert size < PAGE_BYTES, size
    assert "node:" not in small


TYPED = """
import { PostOffice, RejectedError, FileStorage, type Message, type Options, type Storage } from 'postoffice-client';

const options: Options = { url: 'ws://127.0.0.1:1/ws', address: 'bob', storage: new FileStorage('/tmp/x'), getToken: async () => 'token' };
const office = new PostOffice(options);

async function talk(): Promise<void> {
  const stop: () => void = office.on('message', async (message: Message) => {
    const text: string | undefined = message.text;
    message.keep('last', text);
    await message.reply({ text: `${message.from}, ${text}` });
  });
  office.on('gap', ({ log, epochChanged }) => console.log(log?.length, epochChanged === true));
  const { session, limits } = await office.connect();
  console.log(session.length + limits.messageBytes);
  const sent = office.send({ to: ['alice'], json: { a: 1 }, receipt: 'read', expiresAt: new Date() });
  sent.onReceipt(({ from, state }) => console.log(from.length, state === 3));
  await sent.stored;
  try {
    const { id, refused } = await sent;
    console.log(id.length, refused.map(({ address, code }) => address + code));
  } catch (error) {
    if (error instanceof RejectedError) console.log(error.code.length);
  }
  for await (const message of office.history({ group: '#all', limit: 10 })) console.log(message.files[0]?.bytes.length);
  for await (const message of office.messages()) console.log(message.sentAt?.getTime(), message.mine === false);
  office.serve(async (request) => ({ json: request.json() }), { concurrency: 4 });
  const answer: Message = await office.request({ to: '/service/x', text: '?' }, { timeout: 10 });
  const { alice } = await office.presence('alice');
  console.log(answer.id, alice?.length);
  stop();
  await office.close();
}

class Mine implements Storage {
  readonly durable = true;
  async open(): Promise<void> {}
  async list(prefix: string): Promise<Array<[string, unknown]>> { return [[prefix, null]]; }
  async write(): Promise<void> {}
  async close(): Promise<void> {}
}
console.log(talk, new PostOffice({ url: 'wss://example.com/ws', storage: new Mine() }).state === 'idle');
"""

# Each line must be refused: types that allow anything would pass the program above too.
UNTYPED = [
    "new PostOffice({});",
    "new PostOffice({ url: 'ws://x', ackBatch: '16' });",
    "office.send({ text: 'to nobody' });",
    "office.on('mesage', () => {});",
    "office.on('gap', ({ lgo }) => lgo);",
    "office.send({ to: 'x' }).then(({ state }) => state.length);",
    "office.on('message', (message) => message.text.length);",
    "const flag: boolean = office.state;",
]


def compiled(project, **files):
    """The compiler's word on the files: as .mts they import the package, as .cts they require it."""
    for name, text in files.items():
        (project / name.replace("_", ".")).write_text(text)
    return subprocess.run(["tsc", "--strict", "--noEmit", "--target", "es2022", "--lib", "es2022,dom", "--module", "node16",
                           "--moduleResolution", "node16", *[name.replace("_", ".") for name in files]], cwd=project,
                          capture_output=True, text=True, timeout=6 * harness.DEADLINE, check=False)


@needs("tsc")
def test_strict_typescript_programs_compile_and_wrong_ones_do_not(project):
    head = "import { PostOffice } from 'postoffice-client';\nconst office = new PostOffice({ url: 'ws://x' });\n"
    result = compiled(project, typed_mts=TYPED, typed_cts=TYPED, wrong_mts=head + "\n".join(UNTYPED) + "\n")
    refused = {int(line) for line in re.findall(r"^wrong\.mts\((\d+),", result.stdout, re.M)}
    assert refused == set(range(3, 3 + len(UNTYPED))), result.stdout
    assert "typed." not in result.stdout, result.stdout


def test_the_public_names_of_the_library_are_those_that_the_types_declare(project):
    """Methods and accessors of the classes, as the sources have them, against index.d.ts."""
    file = project / "names.mjs"
    file.write_text("""
import { PostOffice } from 'postoffice-client';
const office = new PostOffice({ url: 'ws://x/' });
console.log(JSON.stringify(Object.getOwnPropertyNames(PostOffice.prototype).filter((name) => name !== 'constructor')));
""")
    names = set(json.loads(run(NODE, file, cwd=project)))
    types = (PACKAGE / "src" / "index.d.ts").read_text()
    face = re.search(r"class PostOffice \{(.*?)\n\}", types, re.S)[1]
    declared = set(re.findall(r"^  (?:readonly )?(\w+)[(:<]", face, re.M)) - {"constructor"}
    assert names == declared


# ------------------------------------------------------------------------------------------- a browser's WebSocket

PLAIN = """
import { NodeWebSocket, PostOffice } from 'postoffice-client';

class Plain { // what every WebSocket can do, and no more: no ping, no pause, no status of a refusal
  #socket;
  constructor(url, protocols) {
    this.#socket = new NodeWebSocket(url, protocols);
    this.#socket.onmessage = (event) => this.onmessage(event);
    this.#socket.onclose = ({ code, reason }) => this.onclose({ code, reason });
  }
  get readyState() { return this.#socket.readyState; }
  send(text) { this.#socket.send(text); }
  close(code, reason) { this.#socket.close(code, reason); }
}

const office = new PostOffice({
  url: process.env.URL, address: 'bob', token: process.env.TOKEN, WebSocket: { Plain, NodeWebSocket }[process.env.SOCKET],
  maxWaiting: 4, minBackoff: 10, maxBackoff: 50, heartbeat: 0.2, heartbeatTimeout: 60,
});
office.on('error', (error) => console.log(`error ${error}`));
await office.connect();
console.log((await office.send({ to: 'carol', text: 'before there is a handler' })).state);
office.on('message', async ({ text }) => {
  await office.send({ to: 'carol', text });
  console.log(text);
});
"""


@pytest.mark.parametrize("websocket", ["Plain", "NodeWebSocket"])
def test_a_backlog_that_may_not_wait_keeps_no_answer_from_being_read(server, project, websocket):  # noqa: F811
    """With the WebSocket for Node, and with one that can neither ping nor pause."""
    post = server(1)
    texts = [f"mail-{number}" for number in range(100)]
    with Peer(post, "alice") as alice:
        for text in texts:
            alice.send("bob", text)
        program = Program(project, PLAIN, URL=f"ws://127.0.0.1:{post.port}/ws", TOKEN=post.token("bob"), SOCKET=websocket)
        try:
            assert program.line() == "1"
            assert [program.line() for _ in texts] == texts, "each once, in order, although only 4 may wait"
            if websocket == "Plain":
                answers = post.total("answers_out")
                harness.wait_until(lambda: post.total("answers_out") > answers + 3, "the library asks for signs of life by commands")
            alice.send("bob", "still there")
            assert program.line() == "still there"
        finally:
            program.kill()


# ------------------------------------------------------------------------------------------- the README's program


def programs():
    return re.findall(r"```js\n(.*?)```", (PACKAGE / "README.md").read_text(), re.S)


def test_the_program_of_the_readme_survives_a_restart_of_the_server_and_its_own(server, project):  # noqa: F811
    post = server(2)
    text = programs()[0]
    assert len(text.strip().splitlines()) <= 12 and "127.0.0.1:7502" in text
    text = text.replace("127.0.0.1:7502", f"127.0.0.1:{post.port}")
    program = Program(project, text, TOKEN=post.token("bob"))
    try:
        assert program.line().startswith("accepted {")
        with Peer(post, "alice", "1") as alice:
            alice.send("bob", "before")
        assert program.line() == "alice: before"
        post.stop()
        post.start()
        with Peer(post, "alice", "2") as alice:
            alice.send("bob", "behind the restart 你好")
        assert program.line() == "alice: behind the restart 你好"
        program.kill()
        with Peer(post, "alice", "3") as alice:
            alice.send("bob", "while it was away")
        program = Program(project, text, TOKEN=post.token("bob"))
        lines = set()
        while "alice: while it was away" not in lines or not any(each.startswith("accepted {") for each in lines):
            lines.add(program.line())
        # What was printed in the moment of the kill may be printed again: a print is nothing that a storage can keep.
        assert "alice: before" not in lines, lines
    finally:
        program.kill()
    with Peer(post, "alice", "4") as alice:
        from_bob = 0
        while from_bob < 2:
            from_bob += alice.all(1)[0]["from"] == "bob"


def test_the_readmes_records_are_there_again_after_a_kill(server, project):  # noqa: F811
    post = server(1)
    program_text = f"""
import {{ PostOffice }} from 'postoffice-client';
const office = new PostOffice({{ url: 'ws://127.0.0.1:{post.port}/ws', address: 'bob', storage: './kept', token: process.env.TOKEN }});
const show = (mail) => console.log(`kept ${{mail.from}}: ${{mail.text}}`);
office.on('handled', async () => console.log(`${{await office.kept('count')}} handled`));
{programs()[1]}
await office.connect();
"""
    for number in (1, 2):
        program = Program(project, program_text, TOKEN=post.token("bob"))
        try:
            for earlier in range(1, number):
                assert program.line() == f"kept alice: mail {earlier}"
            with Peer(post, "alice", str(number)) as alice:
                alice.send("bob", f"mail {number}")
            assert program.line() == f"{number} handled"
        finally:
            program.kill()


def test_the_readmes_service_answers(server, project):  # noqa: F811
    post = server(1, {"serviceAddresses": ["/service/*"]})
    program_text = f"""
import {{ PostOffice }} from 'postoffice-client';
const url = 'ws://127.0.0.1:{post.port}/ws', getToken = () => process.env.TOKEN;
const priceOf = async (article) => ({{ article, price: article * 2 }});
{programs()[2]}
"""
    assert len(programs()) == 3, "each block is run"
    with Peer(post, "alice") as alice:
        alice.send("/service/prices", json.dumps({"article": 7}), id="question", contentType=3)
        program = Program(project, program_text, TOKEN=post.token("/service/prices"))
        try:
            answer = alice.all(1)[0]
        finally:
            program.kill()
    assert (answer["from"], answer["inReplyTo"], answer["contentType"]) == ("/service/prices", "question", 3)
    assert json.loads(base64.b64decode(answer["content"])) == {"article": 7, "price": 14}
