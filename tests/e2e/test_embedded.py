"""Embedded storage: the server keeps its mail in a Redis of its own, which it starts, watches and ends.

Nothing accepted is lost whoever dies, and each thing that keeps the storage from starting is said in words that help.
"""

import asyncio
import contextlib
import os
import pathlib
import shutil
import signal
import stat
import subprocess

import psutil
import pytest
import redis as redis_client

import clients
import harness
from clients import PythonClient, eventually, run

QUICK = harness.FAST
ROOT = os.geteuid() == 0


def storage(post):
    return post.status()["storage"]


def folder_of(post):
    return post.directory / "storage"


def redis_process(post):
    return psutil.Process(storage(post)["pid"])


def lives(process):
    """A dead child of a dead master may stay as a zombie where nobody reaps it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def client_of(post):
    return redis_client.Redis(unix_socket_path=str(folder_of(post) / "redis.sock"))


def setting(post, name):
    return client_of(post).config_get(name)[name]


def has_written(post):
    """`memory` promises what the kernel has: Redis holds writes back while an fsync of a slow disk goes on."""
    facts = client_of(post).info("persistence")
    return facts["aof_pending_bio_fsync"] == facts["aof_buffer_length"] == 0


async def accepted(sender, to, content, **fields):
    """Sends mail under one id until it is accepted."""
    fields.setdefault("id", f"m{clients.next_number()}")
    while True:
        await sender.send(to, content, type=1, **fields)
        answer = await sender.take(lambda m: m["subject"] in ("accepted", "rejected") and m.get("inReplyTo") == fields["id"])
        if answer["subject"] == "accepted":
            return fields["id"]
        assert answer["code"] == "storage-unavailable", answer
        await asyncio.sleep(0.05)


async def send_all(post, count, to="bob", size=20):
    sender = await PythonClient.open(post, "alice")
    sent = [await accepted(sender, to, "x" * size) for _ in range(count)]
    await sender.close()
    return sent


async def read_all(post, sent, reader="bob"):
    """All of it comes, once and in order."""
    reader = await PythonClient.open(post, reader)
    got = [(await reader.message())["id"] for _ in sent]
    assert got == sent
    await reader.close()


def is_there_again(post, before):
    return (storage(post)["pid"] not in (0, before)) and storage(post)["state"] == "ready"


def refused(post, status=1):
    """Starts the server, which ends by itself; returns what it says."""
    result = harness.command("serve", "--config", post.config_file, check=False, env=post.env)
    assert result.returncode == status, result.stderr
    return result.stderr


# ------------------------------------------------------------------------------------------------ its life


def test_mail_of_an_earlier_run_is_found_again(embedded):
    post = embedded()
    view = storage(post)
    assert view["state"] == "ready" and view["restarts"] == 0 and view["version"]
    assert view["folder"] == str(folder_of(post)) and pathlib.Path(view["program"]).name in ("redis-server", "valkey-server")
    assert 0 < view["memoryBytes"] < view["memoryBytesMax"] == 512 << 20
    sent = run(send_all(post, 5))
    assert post.stop() == 0
    assert not psutil.pid_exists(view["pid"])
    assert "event=storage_exited" in post.log() and "event=storage_overdue" not in post.log()
    post.start()
    run(read_all(post, sent))
    assert "event=mailbox_epoch_changed" not in post.log()


def test_the_folder_and_the_socket_are_for_the_workers_user_alone(embedded):
    post = embedded(1)
    worker = psutil.Process(post.worker_pids()[0])
    assert redis_process(post).uids() == worker.uids() and redis_process(post).gids() == worker.gids()
    assert not ROOT or worker.uids().real != 0
    status = pathlib.Path(f"/proc/{redis_process(post).pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status and "CapEff:\t0000000000000000" in status
    for path in (folder_of(post), folder_of(post) / "redis.sock", folder_of(post) / "appendonlydir"):
        info = path.stat()
        assert info.st_uid == worker.uids().real and stat.S_IMODE(info.st_mode) == 0o700, path
    assert not redis_process(post).connections("inet"), "no port"
    assert setting(post, "maxmemory-policy") == "noeviction" and setting(post, "appendonly") == "yes"


def test_ctrl_c_ends_the_redis_last_and_leaves_its_file_whole(embedded):
    post = embedded(2)
    sent = run(send_all(post, 3))
    family = post.processes()
    post.process.send_signal(signal.SIGINT)  # a terminal sends it to the whole group
    assert post.process.wait(harness.DEADLINE) == 0
    assert not psutil.wait_procs(family, timeout=harness.DEADLINE)[1]
    log = post.log()
    assert log.rindex("event=worker_exited") < log.index("Received SIGTERM") < log.index("event=server_stopped clean=yes")
    assert not (folder_of(post) / "redis.sock").exists() and not (folder_of(post) / "master.pid").exists()
    check = shutil.which("redis-check-aof")
    if check:
        manifest = folder_of(post) / "appendonlydir" / "appendonly.aof.manifest"
        result = subprocess.run([check, manifest], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout
    post.start()
    run(read_all(post, sent))


def test_a_long_folder_and_one_behind_a_closed_folder_have_a_socket_elsewhere(embedded, directory):
    for number, place in enumerate(["deep/" * 24 + "storage", "closed/storage"]):
        post = embedded(1, {"dataSource": {"redis": {"main": {"uri": f"embedded:{place}"}}}}, start=False)
        if place.startswith("closed"):
            (post.directory / "closed").mkdir(mode=0o700)
        if not ROOT:
            post.env["XDG_RUNTIME_DIR"] = str(directory)
        post.start()
        sockets = [each.laddr for each in redis_process(post).connections("unix") if each.laddr.endswith("redis.sock")]
        outside = number == 0 or ROOT
        assert sockets and all(os.path.isabs(path) == outside and len(path) < 108 for path in sockets)
        if outside:
            info = pathlib.Path(sockets[0]).parent.stat()
            assert info.st_uid == redis_process(post).uids().real and stat.S_IMODE(info.st_mode) == 0o700
        sent = run(send_all(post, 2))
        run(read_all(post, sent))
        assert post.stop() == 0
        assert not outside or not pathlib.Path(sockets[0]).parent.exists(), "nothing is left behind"


# ------------------------------------------------------------------------------------------------- deaths


@pytest.mark.parametrize("durability", ["memory", "fsync"])
def test_a_killed_redis_is_started_again_and_nothing_accepted_is_lost(embedded, durability):
    post = embedded(2, {**QUICK, "mailbox": {"durability": durability}})
    assert setting(post, "appendfsync") == ("always" if durability == "fsync" else "everysec")

    async def scene():
        alice = await PythonClient.open(post, "alice")
        sent = []
        for round_ in range(3):
            before = storage(post)["pid"]
            sent += [await accepted(alice, "bob", "x") for _ in range(20)]
            await eventually(lambda: has_written(post), "the kernel has what was accepted")
            os.kill(before, signal.SIGKILL)
            sent += [await accepted(alice, "bob", "x") for _ in range(20)]
            await eventually(lambda b=before: is_there_again(post, b), "the master knows that it is there again")
            assert storage(post)["restarts"] == round_ + 1
        await alice.close()
        await read_all(post, sent)

    run(scene())
    assert post.total("storage_restarts") == 3 and post.status()["restarts"] == 0
    assert post.log().count("event=storage_exited") == 3 and "signal=9 asked=no" in post.log()


def test_a_stopped_redis_delays_mail_and_goes_on(embedded):
    post = embedded(1, QUICK)

    async def scene():
        alice = await PythonClient.open(post, "alice")
        sent = [await accepted(alice, "bob", "before")]
        process = redis_process(post)
        process.suspend()
        await eventually(lambda: post.status()["workers"][0]["redis"] == "away", "the worker notices")
        process.resume()
        sent.append(await accepted(alice, "bob", "after"))
        assert storage(post)["restarts"] == 0 and storage(post)["pid"] == process.pid
        await alice.close()
        await read_all(post, sent)

    run(scene())


def test_a_stopped_redis_does_not_hold_up_the_end(embedded):
    post = embedded(1, QUICK)
    sent = run(send_all(post, 3))
    redis_process(post).suspend()
    assert post.stop() == 0
    assert "event=storage_overdue" not in post.log(), "it is told to go on, and ends by itself"
    post.start()
    run(read_all(post, sent))


def test_a_killed_master_takes_the_redis_along_and_its_mail_is_there_for_the_next(embedded):
    post = embedded(2)
    sent = run(send_all(post, 5))
    process, family = redis_process(post), post.processes()
    post.process.kill()
    post.process.wait()
    post.start()  # at once: the old one may still be ending
    assert not lives(process) and storage(post)["pid"] != process.pid
    run(read_all(post, sent))
    harness.wait_until(lambda: not any(lives(each) for each in family), "all of the first server has ended")


def test_a_redis_that_a_killed_master_left_behind_is_ended(embedded):
    post = embedded(1)
    sent = run(send_all(post, 5))
    process = redis_process(post)
    process.suspend()  # and so it does not hear that its master died
    post.process.kill()
    post.process.wait()
    assert lives(process)
    post.start()
    assert f"event=storage_left_behind pid_of_redis={process.pid}" in post.log()
    assert not lives(process)
    run(read_all(post, sent))


def test_a_second_server_on_the_same_folder_is_refused(embedded):
    post = embedded(1)
    other = embedded(1, {"dataSource": {"redis": {"main": {"uri": f"embedded:{folder_of(post)}"}}}}, start=False)
    said = refused(other)
    assert f"{folder_of(post)}: another server uses it (pid {post.process.pid})" in said
    assert post.is_serving() and storage(post)["restarts"] == 0


# ------------------------------------------------------------------------------------------ what is refused


def test_a_missing_program_is_named_with_the_package_that_has_it(embedded):
    post = embedded(1, {"redis": {"program": "no-such-redis"}}, start=False)
    checked = harness.command("check-config", "--strict", "--config", post.config_file, check=False)
    assert checked.returncode != 0
    for said in (refused(post, 2), checked.stdout + checked.stderr):
        assert 'redis.program' in said and '"no-such-redis"' in said and "apt install redis-server" in said
    post.write_config({"redis": {"program": "bin/redis-server"}})
    assert "allowed empty, a program's name, or an absolute path" in refused(post, 2)
    post.write_config({"redis": {"program": None}})
    post.start()
    post.write_config({"redis": {"program": "/no/such/redis"}})
    post.process.send_signal(signal.SIGHUP)
    harness.wait_until(lambda: "event=config_kept" in post.log(), "the reload is refused")
    assert storage(post)["restarts"] == 0


def test_a_folder_of_somebody_else_or_open_to_others_is_refused_with_the_command(embedded):
    post = embedded(1, start=False)
    folder = folder_of(post)
    folder.mkdir(mode=0o700)
    if ROOT:
        assert f"chown -R nobody '{folder}'" in refused(post)
        shutil.chown(folder, "nobody", "nogroup")
    folder.chmod(0o750)
    assert f"chmod 700 '{folder}'" in refused(post)
    folder.chmod(0o700)
    post.start()


def test_a_folder_that_cannot_be_made_or_written_is_refused(embedded):
    post = embedded(1, {"dataSource": {"redis": {"main": {"uri": "embedded:server.pid.d/x"}}}}, start=False)
    (post.directory / "server.pid.d").write_text("a file")
    assert f"{post.directory}/server.pid.d/x: " in refused(post)
    post.write_config({"dataSource": {"redis": {"main": {"uri": "embedded:locked/x"}}}})
    (post.directory / "locked").mkdir(mode=0o500)
    if not ROOT:  # root writes everywhere
        assert f"{post.directory}/locked/x: cannot be made: Permission denied" in refused(post)
    if ROOT:
        subprocess.run(["chown", "-R", "nobody", post.directory], check=True)
        result = harness.command("serve", "--config", post.config_file, check=False, user="nobody")
        assert f"{post.directory}/locked/x: cannot be made: Permission denied" in result.stderr


def test_a_server_without_root_has_embedded_storage_too(embedded):
    if not ROOT:
        pytest.skip("every other test is such a server")
    post = embedded(1, start=False)
    subprocess.run(["chown", "-R", "nobody", post.directory], check=True)
    with open(post.log_file, "ab") as log:
        post.process = subprocess.Popen([harness.BINARY, "serve", "--config", post.config_file], user="nobody",
                                        group="nogroup", extra_groups=[], env=post.env, stdin=subprocess.DEVNULL,
                                        stdout=log, stderr=log, cwd=post.directory)
    post.wait_serving()
    sent = run(send_all(post, 2))
    run(read_all(post, sent))
    assert set(redis_process(post).uids()) == {os.stat(folder_of(post)).st_uid}


def test_a_redis_that_cannot_start_ends_the_start_and_says_why(embedded, directory):
    post = embedded(1)
    run(send_all(post, 3))
    assert post.stop() == 0
    manifest = folder_of(post) / "appendonlydir" / "appendonly.aof.manifest"
    good = manifest.read_bytes()
    manifest.write_bytes(b"nonsense\n")
    said = refused(post)
    assert "event=storage_exited" in said and "AOF manifest" in said and "event=start_failed" in said
    manifest.write_bytes(good)
    post.start()


def test_replicas_and_another_spelling_are_errors_of_the_configuration(embedded):
    post = embedded(1, {"mailbox": {"durability": "replica"}}, start=False)
    assert "found replica with embedded storage" in refused(post, 2)
    post.write_config({"mailbox": {"durability": "memory"},
                       "dataSource": {"redis": {"main": {"uri": "embedded://storage"}}}})
    assert "embedded:DIR, without //" in refused(post, 2)


# ------------------------------------------------------------------------------------------------ settings


def test_past_the_memory_bound_mail_is_refused_and_nothing_is_lost(embedded):
    post = embedded(1, {**QUICK, "redis": {**QUICK["redis"], "memoryBytes": 16 << 20}})

    async def fill():
        alice = await PythonClient.open(post, "alice")
        sent, answer = [], None
        for number in range(400):
            await alice.send("bob", "x" * 100000, type=1, id=f"f{number}")
            answer = await alice.take(lambda m: m["subject"] in ("accepted", "rejected"))
            if answer["subject"] == "rejected":
                break
            sent.append(answer["inReplyTo"])
        assert answer["code"] == "storage-unavailable" and answer["retryAfter"] > 0
        assert 20 < len(sent) < 200
        await alice.close()
        return sent

    sent = run(fill())
    assert 'error="OOM' in post.log() and storage(post)["restarts"] == 0
    before = storage(post)["pid"]
    post.reload(redis={"memoryBytes": 64 << 20})  # live: the Redis ends gently, and another one has room
    harness.wait_until(lambda: is_there_again(post, before), "a Redis with more memory")
    assert storage(post)["restarts"] == 0 and storage(post)["memoryBytesMax"] == 64 << 20
    sent += run(send_all(post, 3))
    run(read_all(post, sent))


def test_a_reload_with_another_durability_restarts_the_redis_before_the_workers(embedded):
    post = embedded(2, QUICK)
    sent = run(send_all(post, 3))
    before, workers = storage(post)["pid"], set(post.worker_pids().values())
    post.reload(mailbox={"durability": "fsync"})
    harness.wait_until(lambda: is_there_again(post, before), "a Redis with the new setting")
    harness.wait_until(lambda: len(post.worker_pids()) == 2 and not workers & set(post.worker_pids().values()),
                       "other workers")
    assert setting(post, "appendfsync") == "always"
    assert "event=mailbox_durability" not in post.log() and post.status()["restarts"] == 0
    sent += run(send_all(post, 3))
    run(read_all(post, sent))


def test_another_folder_waits_for_a_restart(embedded):
    post = embedded(1)
    before = storage(post)
    post.reload(dataSource={"redis": {"main": {"uri": "embedded:elsewhere"}}})
    assert "needs_restart=dataSource.redis" in post.log()
    assert storage(post)["pid"] == before["pid"] and storage(post)["folder"] == before["folder"]
    post.reload(dataSource={"redis": {"main": {"uri": "unix:/nowhere/redis.sock"}}})
    run(read_all(post, run(send_all(post, 2))))


def test_a_redis_that_talks_at_any_rate_fills_no_log_and_delays_nothing(embedded):
    post = embedded(1, start=False)
    program = post.directory / "talkative"
    program.write_text('#!/bin/sh\nyes "all work and no play" | head -n 200000\nexec redis-server "$@"\n')
    program.chmod(0o755)
    post.write_config({"redis": {"program": str(program)}})
    post.start()
    harness.wait_until(lambda: storage(post)["pid"] and client_answers(post), "the Redis behind it answers")
    run(read_all(post, run(send_all(post, 2))))
    harness.wait_until(lambda: "event=storage_says held_back=" in post.log(), "the log says how many were left out")
    assert post.log().count("event=storage_says") < 1000


def client_answers(post):
    with contextlib.suppress(redis_client.ConnectionError, redis_client.BusyLoadingError):
        return client_of(post).ping()
    return False


async def until_it_is_full(post, alice):
    """Sends mail until it is rejected, or until the Redis has ended for want of room; then its answer is still to come."""
    sent = []
    for number in range(100):
        await alice.send("bob", "x" * 100000, type=1, id=f"d{number}")
        while True:
            with contextlib.suppress(AssertionError):
                answer = await alice.take(lambda m: m["subject"] in ("accepted", "rejected"), deadline=0.5)
                break
            if post.total("storage_restarts"):
                return sent, f"d{number}"
        if answer["subject"] == "rejected":
            assert answer["code"] == "storage-unavailable"
            return sent, None
        sent.append(answer["inReplyTo"])
    raise AssertionError("the disk has room for all of it")


@pytest.mark.parametrize("durability", ["memory", "fsync"])
def test_on_a_full_disk_no_mail_is_accepted_until_there_is_room_and_nothing_is_lost(embedded, durability):
    post = embedded(1, {**QUICK, "mailbox": {"durability": durability}}, start=False)
    folder_of(post).mkdir()
    owner = "uid=nobody,gid=nogroup," if ROOT else ""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"{owner}mode=700,size=4m", "none", folder_of(post)],
                      capture_output=True, check=False).returncode:
        pytest.skip("no file system of a small size can be mounted here")

    async def scene():
        alice = await PythonClient.open(post, "alice")
        sent, unanswered = await until_it_is_full(post, alice)
        assert 10 < len(sent) < 50
        subprocess.run(["mount", "-o", "remount,size=64m", folder_of(post)], check=True)
        if unanswered:
            await alice.said("accepted", inReplyTo=unanswered)
            sent.append(unanswered)
        sent.append(await accepted(alice, "bob", "room again"))
        await alice.close()
        await read_all(post, sent)

    try:
        post.start()
        run(scene())
        assert post.stop() == 0
    finally:
        post.stop()
        subprocess.run(["umount", folder_of(post)], check=True)
