"""A Redis that cannot keep the promise is told of at the start, in words that mend it."""

import re
import time

import harness


class ClusterRedis(harness.Redis):
    def command(self):
        return [*super().command(), "--cluster-enabled", "yes", "--cluster-port", str(harness.free_port())]


def warnings(post):
    return re.findall(r"event=redis_may_lose_mail setting=(\S+) found=(\S+) .*cure=\"CONFIG SET", post.log())


def test_an_evicting_redis_that_keeps_nothing_on_disk_is_warned_of(server_with_own_redis, own_redis):
    own_redis.client().config_set("maxmemory-policy", "allkeys-lru")
    post = server_with_own_redis(1)
    harness.wait_until(lambda: sorted(warnings(post)) == [("appendonly", "no"), ("maxmemory-policy", "allkeys-lru")], "both are told")
    own_redis.client().script_flush()  # prepares again: the same words are not said again
    post.reload(limits={"messageBytes": 70000})
    time.sleep(1.5)
    assert len(warnings(post)) == 2


def test_a_redis_that_is_as_it_should_be_is_not(server_with_own_redis, own_redis):
    own_redis.client().config_set("appendonly", "yes")
    assert not warnings(server_with_own_redis(1))


def test_a_redis_that_does_not_tell_is_used_all_the_same(server_with_own_redis, own_redis):
    own_redis.client().execute_command("ACL", "SETUSER", "default", "-info")
    post = server_with_own_redis(1)
    assert not warnings(post)
    assert post.stop() == 0
    own_redis.client().execute_command("ACL", "SETUSER", "default", "+info")


def test_a_cluster_is_named_as_such_and_the_start_ends(server, directory):
    home = directory / "cluster"
    home.mkdir()
    home.chmod(0o755)
    cluster = ClusterRedis(home)
    try:
        cluster.client().execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        post = server(1, redis=cluster, start=False)
        result = harness.command("serve", "--config", post.config_file, check=False)
        assert result.returncode == 1
        assert "event=redis_is_a_cluster" in result.stderr and "cluster-enabled no" in result.stderr
        assert "CROSSSLOT" not in result.stderr
    finally:
        cluster.stop()


def test_a_password_for_a_redis_without_one_is_told(server, own_redis):
    port = harness.free_port()
    own_redis.client().config_set("protected-mode", "no")
    own_redis.client().config_set("port", port)
    post = server(1, {"dataSource": {"redis": {"private": {"uri": f"redis://:hunter2@127.0.0.1:{port}/0"}}}})
    harness.wait_until(lambda: "login refused: Redis has no password: take it out of dataSource" in post.log(), "told")
    assert "hunter2" not in post.log()
