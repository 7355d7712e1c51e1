"""Ten thousand envelopes, all to all: none is lost or comes twice, all are in order, and no publish is needless."""

import asyncio
import collections
import re

import pytest

import harness
from clients import NodeClient, PythonClient, node, open_on, run

ENVELOPES = harness.scaled(10000)


async def crew(post, workers, process):
    """Four Python and four Node clients, two on each of four workers."""
    async def open_node(server, address, **options):
        return await NodeClient.open(server, address, process=process, **options)

    people = []
    for number in range(8):
        kind = PythonClient.open if number < 4 else open_node
        people.append(await open_on(post, number % workers, f"user{number}", kind))
    return people


async def write_all(writer, others, count):
    for number in range(count):
        await writer.send(others, str(number), id=f"{writer.address}-{number}-")
        if number % 50 == 49:
            await asyncio.sleep(0)  # readers in this process take their turn


async def read_all(reader, senders, count):
    """Checks that every message comes once, and the messages of each sender in order."""
    next_number = collections.Counter()
    for _ in range(count * len(senders)):
        message = await reader.message()
        sender, number = message["id"].rstrip("-").rsplit("-", 1)
        assert sender == message["from"]
        assert int(number) == next_number[sender], \
            f"{reader.address} got {number} of {sender} instead of {next_number[sender]}"
        next_number[sender] += 1
    assert next_number == {sender: count for sender in senders}


def check_publishes(lines, people, count, workers):
    """Checks one publish for each message and each other worker with a recipient; none for the sender's worker."""
    home = {person.address: person.welcome["worker"] for person in people}
    wanted = {f"{person.address}-{number}-": set(home.values()) - {home[person.address]}
              for person in people for number in range(count)}
    seen = collections.defaultdict(list)
    for line in lines:
        match = re.search(r'"PUBLISH" "([^"]*)" ', line, re.IGNORECASE)
        if not match:
            continue
        ids = re.findall(r'\\"id\\": ?\\"(user\d+-\d+-)\\"', line)
        assert len(ids) == 1, f"a publish that carries {len(ids)} messages: {line[:300]}"
        seen[ids[0]].append(match.group(1))
    channels = {channel for found in seen.values() for channel in found}
    assert len(channels) == (workers if workers > 1 else 0)
    for name, slots in wanted.items():
        assert len(seen[name]) == len(set(seen[name])) == len(slots), (name, slots, seen[name])
    by_home = collections.defaultdict(set)
    for name, found in seen.items():
        by_home[home[name.split("-")[0]]].update(found)
    for slot, found in by_home.items():
        assert len(found) == workers - 1, f"worker {slot} publishes to itself: {found}"


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_ten_thousand_envelopes_all_to_all(server, redis, workers):
    post = server(workers, {"limits": {"queueBytes": 256 << 20}})
    count = max(1, (ENVELOPES if workers == 4 else ENVELOPES // 10) // 8)

    async def scene():
        async with node() as process:
            people = await crew(post, workers, process)
            names = [person.address for person in people]
            before = post.status()["totals"]
            with redis.monitored() as lines:
                await asyncio.gather(
                    *(write_all(p, [n for n in names if n != p.address], count) for p in people),
                    *(read_all(p, [n for n in names if n != p.address], count) for p in people))
                for person in people:
                    await person.settle()
                    assert not person.inbox, f"{person.address} got more than was sent: {list(person.inbox)[:3]}"
            check_publishes(lines, people, count, workers)
            after = post.status()["totals"]
            totals = {name: after[name] - before[name] for name in after}
            assert totals["messages_out"] == count * 8 * 7
            assert totals["publishes"] == count * 8 * (workers - 1)
            assert totals["signals_shed"] == 0

    run(scene())
