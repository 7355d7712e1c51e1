"""`websocket-server size` multiplies measured figures, and docs/operations.md shows its table as it is."""

import re

import pytest

import harness

PAGE = (harness.ROOT / "docs" / "operations.md").read_text()
UNITS = {"MiB": 1 << 20, "GiB": 1 << 30}


def size(*arguments):
    """The printed figures by name; those of bytes in bytes."""
    rows = re.findall(r"^  (\S.*?)  +(\d+(?:\.\d+)?)(?: (MiB|GiB|cores))?   ", harness.command("size", *arguments).stdout, re.M)
    return {name: float(number) * UNITS.get(unit, 1) for name, number, unit in rows}


def test_twice_the_users_need_twice_the_memory_and_half_the_mail_half_of_redis():
    one = size("--users", 100000, "--mails-per-day", 40, "--bytes", 2000)
    two = size("--users", 200000, "--mails-per-day", 20, "--bytes", 2000)
    assert two["sessions"] == 2 * one["sessions"] == 200000
    assert two["memory of the kernel"] == pytest.approx(2 * one["memory of the kernel"], rel=0.02)
    assert two["mail that is kept"] == one["mail that is kept"] == 100000 * 40 * 30
    assert two["memory"] == pytest.approx(one["memory"], rel=0.02)


def test_a_large_body_counts_once_for_all_its_recipients():
    one = size("--users", 1000, "--bytes", 1000000)
    many = size("--users", 1000, "--bytes", 1000000, "--recipients", 100)
    assert many["letters of these"] > 10 * one["letters of these"]
    assert many["memory"] < 1.1 * one["memory"]


def test_tls_costs_memory_and_time():
    plain, tls = size("--users", 50000), size("--users", 50000, "--tls")
    assert tls["memory of the processes"] > 5 * plain["memory of the processes"]
    assert tls["memory of the kernel"] == plain["memory of the kernel"]


def test_more_than_one_redis_can_take_is_said():
    assert "One Redis does not take that" in harness.command("size", "--users", 1000000, "--mails-per-day", 500).stdout
    assert "does not take" not in harness.command("size", "--users", 1000).stdout


@pytest.mark.parametrize("arguments, said", [
    ([], "--users N is needed"),
    (["--users", "many"], "allowed is a number from 1 to 1000000000"),
    (["--users", "10", "--bytes", "-1"], "--bytes"),
    (["--users", "10", "--days", "3"], "unrecognized option"),
    (["--users", "10", "more"], "unexpected argument"),
])
def test_what_cannot_be_computed_is_wrong_usage(arguments, said):
    result = harness.command("size", *arguments, check=False)
    assert result.returncode == 2 and said in result.stderr and not result.stdout


def test_the_page_has_every_coefficient_as_the_command_has_it():
    assert harness.command("size", "--coefficients").stdout in PAGE


def test_the_page_shows_what_the_command_prints():
    command, printed = re.search(r"^\$ websocket-server (size [^\n]*)\n(.*?)^```", PAGE, re.S | re.M).groups()
    assert harness.command(*command.split()).stdout == printed
