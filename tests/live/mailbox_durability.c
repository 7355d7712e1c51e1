/*
 * worker/mailbox: what an append promises under each durability, with a replica and without; and
 * what becomes of letters when a mailbox is freed.
 */
#include "mailbox_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

static bool has_fault(void)
{
    return mailbox_fault(workers[0].mailbox)[0] != 0;
}

static void remake(char *durability)
{
    mailbox_free(workers[0].mailbox);
    config.mailbox.durability = durability;
    worker_mailbox(&workers[0], 0);
}

static uint16_t free_port(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert(fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0 &&
           getsockname(fd, (struct sockaddr *)&at, &len) == 0);
    close(fd);
    return ntohs(at.sin_port);
}

/* Replication needs a port; the server has one from here on. */
static pid_t replica_start(const char *path)
{
    char command[64], port[8];
    uint16_t number = free_port();
    const char *words[] = { "redis-server",
                            "--port",
                            "0",
                            "--unixsocket",
                            path,
                            "--save",
                            "",
                            "--appendonly",
                            "no",
                            "--dir",
                            folder,
                            "--dbfilename",
                            "replica.rdb",
                            "--replicaof",
                            "127.0.0.1",
                            port,
                            NULL };

    redis_do("CONFIG SET bind 127.0.0.1");
    snprintf(command, sizeof command, "CONFIG SET port %u", number);
    redis_do(command);
    redis_do("CONFIG SET repl-diskless-sync-delay 0");
    snprintf(port, sizeof port, "%u", number);
    return quiet_start(words);
}

/* -> XLEN of the key as the replica answers it, by an inline command; -1: no answer. */
static int64_t replica_len(const char *path, const char *key)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char text[256];
    long long len = -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert(fd >= 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int size = snprintf(text, sizeof text, "XLEN %s\r\n", key);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        write(fd, text, (size_t)size) == size && read(fd, text, sizeof text) > 1 && text[0] == ':')
        len = strtoll(text + 1, NULL, 10);
    close(fd);
    return len;
}

static void test_replica(void)
{
    static char durability[] = "replica";
    char path[160];

    snprintf(path, sizeof path, "%s/replica.sock", folder);
    pid_t replica = replica_start(path);
    check(redis_says("INFO replication", "state=online"), "a replica has come");
    config.mailbox.replica_timeout_ms = 2000;
    remake(durability);
    wait_for(all_up, WAIT_MS);
    letters_reset();
    append_many(0, "copied", 100);
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_STORED) &&
              replica_len(path, "po:{copied}:box") == 100,
          "replica: what is accepted the replica has");
    kill(replica, SIGSTOP);
    letters_reset();
    append_many(0, "uncopied", 10);
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_UNAVAILABLE),
          "replica: one that is stopped: not promised");
    kill(replica, SIGCONT);
    letters_reset();
    append_many(0, "uncopied", 10);
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_REPEATED) &&
              replica_len(path, "po:{uncopied}:box") == 10,
          "… goes on: sent again, they were there, and now the replica has them");
    kill(replica, SIGKILL);
    waitpid(replica, NULL, 0);
    redis_do("CONFIG SET port 0");
}

static void test_durability(void)
{
    static char fsync[] = "fsync", replica[] = "replica", memory[] = "memory";

    remake(fsync);
    check(wait_for(all_up, WAIT_MS) && append_one("fs", "x", MAILBOX_STORED),
          "fsync: Redis is set so");
    redis_do("CONFIG SET appendfsync everysec");
    remake(fsync);
    check(wait_for(has_fault, WAIT_MS) && !mailbox_is_up(workers[0].mailbox) &&
              append_as(0, "fs", "y", "y") == ERR_DOWN,
          "fsync: Redis is not set so");
    redis_do("CONFIG SET appendfsync always");
    check(wait_for(all_up, WAIT_MS) && !has_fault(), "and is then");
    config.mailbox.replica_timeout_ms = 50;
    remake(replica);
    check(wait_for(all_up, WAIT_MS) && append_one("rep", "x", MAILBOX_UNAVAILABLE),
          "replica: there is none");
    test_replica();
    remake(memory);
    wait_for(all_up, WAIT_MS);
    letters_reset();
    append_many(0, "freed", 10);
    flush_all(NULL);
    mailbox_free(workers[0].mailbox);
    check(answered == 10 && all_are(MAILBOX_UNKNOWN), "freed: all are told");
    worker_mailbox(&workers[0], 0);
    wait_for(all_up, WAIT_MS);
    letters_reset();
    append_many(0, "freed", 10);
    mailbox_free(workers[0].mailbox);
    check(answered == 10 && all_are(MAILBOX_UNAVAILABLE), "… what never left is not stored");
    worker_mailbox(&workers[0], 0);
    check(wait_for(all_up, WAIT_MS), "another in its place");
}

int main(void)
{
    static void (*const promises[])(void) = { test_durability, NULL };

    return live_run(promises);
}
