"""The man pages have every command, option and key; the completion offers them."""

import re
import shutil
import subprocess

import pytest

import harness
from harness import command

MAN = harness.ROOT / "docs" / "man"
COMPLETION = harness.ROOT / "scripts" / "completions" / "websocket-server.bash"
OPTION = r"--[a-z][a-z-]*"
KEY = r"[a-z][A-Za-z]*(?:\.[a-zA-Z]+)*"
# Options that say which configuration is read stand once, in a section of their own.
OF_THE_CONFIGURATION = {"--config", "--env", "--config-dir"}


def commands():
    """Every command as its words: token has two."""
    names = re.findall(r"^  ([a-z][a-z-]*)  ", command("--help").stdout, re.MULTILINE)
    assert "serve" in names and "reload" in names
    return [[name] for name in names if name != "token"] + [["token", "issue"], ["token", "verify"]]


def options(words):
    text = command(*words, "--help").stdout
    text = text.split("`reload --strict`")[0].split("\nExit status:")[0]
    return set(re.findall(r"(?<![\w-])" + OPTION, text)) - {"--help"}


def page(name):
    """The text of a page by its headings, without the marks of roff."""
    sections, heading = {}, ""
    for line in (MAN / name).read_text().splitlines():
        line = line.replace("\\-", "-")
        if line.startswith((".SH ", ".SS ")):
            heading = line[4:]
        sections[heading] = sections.get(heading, "") + re.sub(r"^\.\w+ ", "", line).replace('" ', "").replace('"', "") + "\n"
    return sections


def test_the_page_has_every_command_and_option_and_no_other():
    sections = page("websocket-server.8")
    assert OF_THE_CONFIGURATION <= set(re.findall(OPTION, sections["WHICH CONFIGURATION"]))
    for words in commands():
        name = " ".join(words)
        assert name in sections, f"{name} has no section"
        told = set(re.findall(OPTION, sections[name])) - OF_THE_CONFIGURATION
        assert told == options(words) - OF_THE_CONFIGURATION, f"{name}: {told ^ options(words)}"


def test_every_exit_status_that_help_names_is_in_the_page():
    named = re.findall(r"\b(\d) ", command("--help").stdout.split("Exit status:")[1])
    told = re.findall(r"^(\d)$", page("websocket-server.8")["EXIT STATUS"], re.MULTILINE)
    assert set(named) <= set(told)


def test_the_page_of_the_configuration_has_every_key_and_no_other():
    keys = {key.removesuffix(".<name>.uri") for key in re.findall(r"^(\S+)$", command("explain-config").stdout, re.MULTILINE)}
    text = (MAN / "postoffice.json.5").read_text().split(".SH KEYS")[1].split(".SH EXAMPLE")[0]
    named = {key for line in text.splitlines() if line.startswith((".BR ", ".B ")) for key in re.findall(KEY, line[3:])}
    assert named == keys, named ^ keys


@pytest.mark.skipif(not shutil.which("groff"), reason="no groff")
@pytest.mark.parametrize("name", ["websocket-server.8", "postoffice.json.5"])
def test_groff_has_no_complaint(name):
    result = subprocess.run(["groff", "-man", "-ww", "-z", "-Tutf8", MAN / name], capture_output=True, text=True, check=False,
                            timeout=harness.DEADLINE)
    assert result.returncode == 0 and not result.stderr, result.stderr


def complete(*words):
    """What bash offers for the last of the words."""
    script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _websocket_server; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    result = subprocess.run(["/bin/bash", "-c", script, "bash", COMPLETION, harness.BINARY, *words], capture_output=True,
                            text=True, check=True, timeout=harness.DEADLINE, env=harness.environment(), cwd=harness.ROOT)
    assert not result.stderr, result.stderr
    return set(result.stdout.split())


def test_commands_and_their_options_are_completed():
    assert {words[0] for words in commands()} <= complete("")
    assert complete("re") == {"reload"}
    assert complete("token", "") >= {"issue", "verify"}
    for words in commands():
        assert options(words) <= complete(*words, "--"), words
    assert complete("--pid-") == {"--pid-file"}, "without a command: those of serve"


def test_values_are_completed():
    assert complete("keygen", "--kty", "") == {"ed25519", "hmac"}
    assert complete("token", "issue", "--format", "p") == {"paseto"}
    assert complete("serve", "--config", "config/config-d") == {"config/config-dev.json"}
    assert "config" in complete("serve", "--config-dir", "con")
    assert complete("explain-config", "limits.bur") == {"limits.burst"}
    assert complete("token", "issue", "--sub", "") == set()


def test_bash_knows_whom_the_completion_is_for():
    script = 'source "$1"; complete -p websocket-server'
    result = subprocess.run(["/bin/bash", "-c", script, "bash", COMPLETION], capture_output=True, text=True, check=True,
                            timeout=harness.DEADLINE)
    assert "_websocket_server" in result.stdout
