"""Which configuration a command reads: that of its own installation, wherever the command is typed."""

import shutil
import subprocess

import pytest

import harness


def run(binary, *arguments, cwd="/", **env):
    return subprocess.run([binary, *arguments], capture_output=True, text=True, timeout=harness.DEADLINE, check=False,
                          cwd=cwd, env={**harness.environment(), **env})


@pytest.fixture
def installed(directory):
    """A program in PREFIX/sbin, its configuration in PREFIX/etc/postoffice."""
    folder = directory / "prefix" / "sbin"
    folder.mkdir(parents=True)
    shutil.copy(harness.BINARY, folder / "websocket-server")
    settings = directory / "prefix" / "etc" / "postoffice"
    settings.mkdir(parents=True)
    (settings / "config-zhycit.json").write_text('{"auth": {"keyDir": "keys"}}')
    (settings / "config.json").write_text('{"auth": {"keyDir": "packaged-keys"}}')
    return folder / "websocket-server", settings


@pytest.fixture
def checkout(directory):
    """A folder with ./config, as a checkout has it, and a program that was built there."""
    (directory / "checkout" / "config").mkdir(parents=True)
    shutil.copy(harness.BINARY, directory / "checkout" / "websocket-server")
    for name in ("dev", "zhycit"):
        (directory / "checkout" / "config" / f"config-{name}.json").write_text('{"auth": {"keyDir": "keys"}}')
    return directory / "checkout"


def test_an_installed_program_makes_keys_in_its_own_configuration_from_within_a_checkout(installed, checkout):
    program, settings = installed
    result = run(program, "keygen", "--env", "zhycit", cwd=checkout)
    assert result.returncode == 0, result.stderr
    assert list((settings / "keys").glob("*.pub")) and not (checkout / "config" / "keys").exists()
    assert f"configuration {settings}/config-zhycit.json" in result.stderr
    assert str(settings / "keys") in result.stdout


def test_an_installed_program_finds_the_packages_config_json(installed, checkout):
    program, settings = installed
    result = run(program, "keygen", cwd=checkout)
    assert result.returncode == 0 and f"configuration {settings}/config.json" in result.stderr
    assert (settings / "packaged-keys").is_dir()


def test_a_built_program_reads_beside_itself_whatever_folder_it_is_called_from(installed, checkout):
    result = run(checkout / "websocket-server", "keygen", cwd="/")
    assert result.returncode == 0, result.stderr
    assert f"configuration {checkout}/config/config-dev.json" in result.stderr
    assert list((checkout / "config" / "keys").glob("*.pub"))


def test_a_link_to_a_built_program_is_that_program(checkout, directory):
    (directory / "bin").mkdir()
    (directory / "bin" / "websocket-server").symlink_to(checkout / "websocket-server")
    result = run(directory / "bin" / "websocket-server", "check-config")
    assert f"configuration {checkout}/config/config-dev.json" in result.stderr


def test_what_is_not_found_says_where_it_was_looked_for(installed, checkout):
    program, settings = installed
    result = run(program, "check-config", "--env", "blue", cwd=checkout)
    assert result.returncode == 2
    assert "/etc/postoffice/config-blue.json" in result.stderr and f"{settings}/config-blue.json" in result.stderr
    assert str(checkout) not in result.stderr
    result = run(checkout / "websocket-server", "check-config", "--env", "blue", "--config-dir", settings)
    assert result.returncode == 2 and str(checkout) not in result.stderr


def test_a_file_that_was_named_is_not_announced_and_json_stays_clean(checkout):
    program = checkout / "websocket-server"
    run(program, "keygen")
    named = run(program, "token", "issue", "--sub", "a", "--config", checkout / "config" / "config-dev.json")
    assert named.returncode == 0 and "configuration " not in named.stderr
    found = run(program, "token", "issue", "--sub", "a")
    assert "configuration " in found.stderr and len(found.stdout.split()) == 1


def test_a_reload_reads_the_file_of_the_start(server):
    """Found in --config-dir as config-dev.json; a config.json that appears later is another file."""
    post = server(1, start=False)
    folder = post.config_file.parent
    post.config_file.rename(folder / "config-dev.json")
    log = open(post.log_file, "ab")
    with log:
        post.process = subprocess.Popen([harness.BINARY, "serve", "--config-dir", "."], env=post.env, cwd=folder,
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    post.wait_serving()
    (folder / "config.json").write_text('{"noSuchKey": 1}')
    before = post.status()["configGeneration"]
    post.process.send_signal(harness.signal.SIGHUP)
    harness.wait_until(lambda: post.status()["configGeneration"] > before, "the reload is applied")
