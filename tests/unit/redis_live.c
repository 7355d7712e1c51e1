/*
 * redis.c and bus.c against a real redis-server that this program starts, stops, kills and starts
 * again.
 *
 * Not part of `make check`, which needs no Redis. By hand:
 *     make build/gcc/tests/unit/redis_live && build/gcc/tests/unit/redis_live [tcp]
 * It is a list of steps: each starts something and names what must become true, and by when. What a
 * worker's shared memory would tell (who lives in which slot, the counters) is faked below.
 */
#include "common/log.h"
#include "shm/slots.h"
#include "worker/reach/bus.h"
#include "worker/redis/redis.h"

#include <arpa/inet.h>
#include <assert.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TIMEOUT_MS = 400, POLL_MS = 5, BURST = 1000, BIG = 32 << 20 };
#define PASSWORD "s3cr3t-of-this-test"

/* --- the shared memory that is not there --- */

static uint64_t incarnations[WORKERS_MAX] = { [0] = 11, [1] = 12, [5] = 99 };
static uint64_t counters[STAT_COUNT];

uint64_t slot_incarnation(const struct region *region, uint32_t slot)
{
    (void)region;
    return incarnations[slot];
}

void stats_add(struct stats_row *row, enum stat_id stat, uint64_t n)
{
    (void)row;
    counters[stat] += n;
}

/* --- the server --- */

static char folder[64], socket_path[128], fake_path[128], log_path[128];
static char port_text[8] = "0"; /* with "tcp": a free one */
static pid_t server;

static void server_start(void)
{
    server = fork();
    if (server == 0) {
        FILE *quiet = fopen("/dev/null", "w");
        dup2(fileno(quiet), 1);
        dup2(fileno(quiet), 2);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("redis-server", "redis-server", "--port", port_text, "--bind", "127.0.0.1",
               "--unixsocket", socket_path, "--save", "", "--appendonly", "no", "--dir", folder,
               "--proto-max-bulk-len", "64mb", (char *)NULL);
        _exit(127);
    }
}

static void server_kill(void)
{
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
}

/* --- what happened --- */

static struct loop *loop;
static struct config config;

static struct peer {
    struct bus *bus;
    unsigned ups, kicks, delivered;
    bool disorder;
} alice, bob;

enum { SENT_MAX = 2 * BURST };
static unsigned answers[SENT_MAX];
static unsigned sent, heard, unheard; /* bus_publish that returned OK, and its answers */
static bool inside;                   /* a call that must not call back */

static void on_deliver(void *arg, const struct slice *recipients, size_t count, struct msg *msg)
{
    struct peer *peer = arg;
    char want[32];

    assert(!inside && count == 3 && slice_equal(recipients[2], SLICE("c")));
    snprintf(want, sizeof want, "{%u}", peer->delivered);
    if (!slice_equal(msg_slice(msg), slice_of(want)) || msg->kind != MSG_MAIL || msg->level != 3)
        peer->disorder = true;
    peer->delivered++;
}

static void on_kick(void *arg, uint64_t session_number, uint16_t code)
{
    assert(session_number == 77 && code == 4500);
    ((struct peer *)arg)->kicks++;
}

static void on_bus_up(void *arg)
{
    ((struct peer *)arg)->ups++;
}

static void on_heard(void *arg, bool was_heard)
{
    unsigned *answered = arg;

    assert(!inside && *answered == 0); /* exactly once */
    *answered = 1;
    heard += was_heard;
    unheard += !was_heard;
}

static enum err publish(uint32_t slot, unsigned number)
{
    struct slice to[3] = { SLICE("a"), SLICE("b"), SLICE("c") };
    char text[32];
    struct msg *msg;
    enum err err;

    snprintf(text, sizeof text, "{%u}", number);
    msg = msg_new(slice_of(text), MSG_MAIL, 3);
    assert(sent < SENT_MAX && msg);
    inside = true;
    err = bus_publish(alice.bus, slot, to, 3, msg, on_heard, &answers[sent]);
    inside = false;
    msg_unref(msg);
    sent += err == OK;
    return err;
}

static void reset_counts(void)
{
    assert(heard + unheard == sent); /* no answer is still to come */
    memset(answers, 0, sizeof answers);
    sent = heard = unheard = alice.ups = bob.ups = bob.delivered = 0;
    memset(counters, 0, sizeof counters);
}

static struct peer *peer_start(struct peer *peer, uint32_t slot)
{
    struct bus_events events = {
        .deliver = on_deliver, .kick = on_kick, .up = on_bus_up, .arg = peer
    };

    peer->bus = bus_new(loop, &config, NULL, NULL, "host", slot, incarnations[slot], &events);
    assert(peer->bus);
    return peer;
}

static bool both_up(void)
{
    return bus_is_up(alice.bus) && bus_is_up(bob.bus);
}

static bool both_down(void)
{
    return !bus_is_up(alice.bus) && !bus_is_up(bob.bus);
}

/* --- a connection of its own, for commands and for log-ins
 * ---------------------------------------- */

static struct redis *admin, *other;
static unsigned other_ups, other_downs;

static void other_up(void *arg)
{
    (void)arg;
    other_ups++;
}

static void other_down(void *arg)
{
    (void)arg;
    other_downs++;
}

static struct redis *connect_as(const char *user, const char *password, int64_t db,
                                const char *path)
{
    struct redis_events events = { other_up, other_down, NULL };
    struct config its = config;
    char user_copy[64], password_copy[64], path_copy[128];
    struct redis *redis;

    snprintf(user_copy, sizeof user_copy, "%s", user);
    snprintf(password_copy, sizeof password_copy, "%s", password);
    snprintf(path_copy, sizeof path_copy, "%s", path);
    its.redis.user = user_copy;
    its.redis.password = password_copy;
    its.redis.path = path_copy;
    if (path == fake_path)
        its.redis.kind = CONFIG_REDIS_UNIX;
    its.redis.db = db;
    other_ups = other_downs = 0;
    redis = redis_new(loop, &its, "other", &events);
    assert(redis);
    return redis;
}

static unsigned answers_wanted, answers_good;

static void ask(struct redis *redis, redis_cb callback, size_t count, const struct slice *args)
{
    enum err err;

    inside = true;
    err = redis_command(redis, args, count, callback, NULL);
    inside = false;
    assert(err == OK);
    answers_wanted++;
}

#define ASK(redis, callback, ...)                                                                  \
    ask(redis, callback, sizeof((struct slice[]){ __VA_ARGS__ }) / sizeof(struct slice),           \
        (struct slice[]){ __VA_ARGS__ })

static void want_status(void *arg, const struct redis_reply *reply)
{
    (void)arg;
    answers_good += reply->type == REDIS_STATUS;
}

static void want_integer(void *arg, const struct redis_reply *reply)
{
    (void)arg;
    answers_good += reply->type == REDIS_INTEGER;
}

static void want_nil(void *arg, const struct redis_reply *reply)
{
    (void)arg;
    answers_good += reply->type == REDIS_NIL;
}

static void want_error(void *arg, const struct redis_reply *reply)
{
    (void)arg;
    answers_good += reply->type == REDIS_ERROR && slice_starts(reply->text, SLICE("ERR "));
}

static void want_lost(void *arg, const struct redis_reply *reply)
{
    (void)arg;
    answers_good += reply->type == REDIS_LOST;
}

#define BINARY SLICE("a\0b\r\n%s \xff*3\r\n")

static void want_binary(void *arg, const struct redis_reply *reply)
{
    struct redis_reply first = redis_reply_at(reply, 0), beyond = redis_reply_at(reply, 2);

    (void)arg;
    answers_good += reply->type == REDIS_ARRAY && reply->count == 2 && first.type == REDIS_STRING &&
                    slice_equal(first.text, BINARY) && beyond.type == REDIS_NIL;
}

static void want_big(void *arg, const struct redis_reply *reply)
{
    (void)arg;
    answers_good += reply->type == REDIS_STRING && reply->text.len == BIG;
}

static bool all_answered(void)
{
    return answers_good == answers_wanted;
}

/* --- a server that talks nonsense
 * ----------------------------------------------------------------- */

static struct loop_watch fake_watch;
static int fake_listener,
    fake_peer = -1; /* a peer stays until the next comes: all it said is read */
static unsigned fake_accepted;

static void fake_accept(void *arg, int fd, unsigned events)
{
    static const char *const nonsense[] = { ":1\r\n:1\r\n:1\r\n:1\r\n",
                                            "hello\r\n",
                                            "*3\r\n$7\r\nmessage\r\n:1\r\n:2\r\n",
                                            "*-5\r\n*2147483647\r\n",
                                            "$99999999999999\r\n",
                                            "+PONG\r\n*0\r\n*1\r\n*0\r\n",
                                            "-ERR max number of clients reached\r\n" };
    size_t count = sizeof nonsense / sizeof nonsense[0];
    if (fake_peer >= 0)
        close(fake_peer);
    fake_peer = accept(fd, NULL, NULL);

    (void)arg;
    (void)events;
    if (fake_peer < 0)
        return;
    const char *text = nonsense[fake_accepted++ % count];
    assert(write(fake_peer, text, strlen(text)) > 0);
}

static void fake_start(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    assert(strlen(fake_path) < sizeof address.sun_path);
    memcpy(address.sun_path, fake_path, strlen(fake_path));
    assert(bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 8) == 0);
    assert(loop_watch(loop, &fake_watch, fd, LOOP_READ, fake_accept, NULL) == OK);
    fake_listener = fd;
}

/* --- the steps
 * ------------------------------------------------------------------------------------ */

static void start_peers(void)
{
    assert(!bus_decided(peer_start(&alice, 0)->bus));
    assert(publish(1, 0) == ERR_DOWN);
    peer_start(&bob, 1);
}

static bool first_attempts_failed(void)
{
    return bus_decided(alice.bus) && bus_decided(bob.bus) && both_down();
}

static bool up_once_each(void)
{
    return both_up() && alice.ups == 1 && bob.ups == 1;
}

static void publish_burst(void)
{
    reset_counts();
    for (unsigned i = 0; i < BURST; i++)
        assert(publish(1, i) == OK);
}

static bool burst_arrived(void)
{
    return heard == BURST && unheard == 0 && bob.delivered == BURST && !bob.disorder &&
           counters[STAT_publishes] == BURST && counters[STAT_bus_in] == BURST;
}

static void kick(void)
{
    assert(bus_kick(bob.bus, 0, 10, 77, 4500) == ERR_DOWN); /* an incarnation that is gone */
    assert(bus_kick(bob.bus, 0, 11, 77, 4500) == OK);
}

static bool kicked(void)
{
    return alice.kicks == 1;
}

static void publish_to_nobody(void)
{
    reset_counts();
    assert(publish(7, 0) == ERR_DOWN); /* a dead slot */
    assert(publish(5, 0) == OK);       /* alive, but not subscribed */
}

static bool one_unheard(void)
{
    return heard == 0 && unheard == 1 && counters[STAT_publishes_unheard] == 1;
}

static void send_nonsense(void)
{
    reset_counts();
    ASK(admin, want_integer, SLICE("PUBLISH"), SLICE("po:w:host:1:12"), SLICE("\xb5\x07nonsense"));
}

static bool nonsense_counted(void)
{
    return counters[STAT_bus_bad] == 1 && both_up();
}

static void stop_server(void)
{
    reset_counts();
    kill(server, SIGSTOP);
    for (unsigned i = 0; i < 10; i++)
        assert(publish(1, i) == OK);
}

static bool ten_lost_and_down(void)
{
    return both_down() && heard == 0 && unheard == 10 && publish(1, 0) == ERR_DOWN &&
           counters[STAT_redis_timeouts] >= 10;
}

static void continue_server(void)
{
    alice.ups = bob.ups = 0;
    kill(server, SIGCONT);
}

static void kill_server(void)
{
    reset_counts();
    for (unsigned i = 0; i < 10; i++)
        assert(publish(1, i) == OK); /* queued, not yet sent */
    server_kill();
}

static bool ten_answered_and_down(void)
{
    return both_down() && heard + unheard == 10 && counters[STAT_redis_reconnects] == 4;
}

static void restart_server(void)
{
    reset_counts();
    server_start();
}

static void connect_admin(void)
{
    admin = connect_as("", "", 3, socket_path);
    assert(!redis_is_up(admin) && !redis_tried(admin));
}

static bool admin_up(void)
{
    return redis_is_up(admin) && redis_tried(admin) && other_ups == 1;
}

static bool admin_is_back(void)
{
    return redis_is_up(admin) && other_ups == 2 && other_downs == 1;
}

static void ask_everything(void)
{
    static char big[BIG];

    answers_wanted = answers_good = 0;
    ASK(admin, want_nil, SLICE("GET"), SLICE("nothing"));
    ASK(admin, want_integer, SLICE("INCR"), SLICE("n"));
    ASK(admin, want_error, SLICE("INCR"));
    ASK(admin, want_status, SLICE("SET"), BINARY, BINARY);
    ASK(admin, want_binary, SLICE("MGET"), BINARY, SLICE("nothing"));
    ASK(admin, want_status, SLICE("SET"), SLICE("big"), slice_make(big, BIG));
    ASK(admin, want_big, SLICE("GET"), SLICE("big"));
    ASK(admin, want_integer, SLICE("DEL"), SLICE("big"));
}

static void cut_inboxes(void)
{
    reset_counts();
    ASK(admin, want_integer, SLICE("CLIENT"), SLICE("KILL"), SLICE("TYPE"), SLICE("pubsub"));
}

static void cut_commands(void)
{
    reset_counts();
    ASK(admin, want_integer, SLICE("CLIENT"), SLICE("KILL"), SLICE("TYPE"), SLICE("normal"),
        SLICE("SKIPME"), SLICE("yes"));
}

static bool two_reconnects(void)
{
    return up_once_each() && counters[STAT_redis_reconnects] == 2;
}

static uint64_t idle_until_ms;

static void idle(void)
{
    reset_counts();
    idle_until_ms = loop_now_ms(loop) + 4 * TIMEOUT_MS;
}

static bool idled_undisturbed(void)
{
    return both_up() && redis_is_up(admin) && !counters[STAT_redis_reconnects] &&
           loop_now_ms(loop) >= idle_until_ms;
}

static void ask_for_passwords(void)
{
    ASK(admin, want_status, SLICE("ACL"), SLICE("SETUSER"), SLICE("post"), SLICE("on"),
        SLICE(">" PASSWORD), SLICE("~*"), SLICE("&*"), SLICE("+@all"), SLICE("-ping"));
    ASK(admin, want_status, SLICE("CONFIG"), SLICE("SET"), SLICE("requirepass"), SLICE(PASSWORD));
}

static void connect_wrong(void)
{
    other = connect_as("", PASSWORD "-wrong", 0, socket_path);
}

static bool refused(void)
{
    return redis_tried(other) && !redis_is_up(other) && other_ups == 0 && other_downs == 0;
}

static void connect_without_password(void)
{
    redis_free(other);
    other = connect_as("", "", 0, socket_path);
}

static void connect_right(void)
{
    redis_free(other);
    other = connect_as("", PASSWORD, 0, socket_path);
}

static void connect_user(void)
{
    redis_free(other);
    other = connect_as("post", PASSWORD, 2, socket_path);
}

static bool accepted(void)
{
    return redis_is_up(other) && other_ups == 1;
}

static void connect_wrong_db(void)
{
    redis_free(other);
    other = connect_as("", PASSWORD, 99, socket_path);
}

static void free_inside(void *arg, const struct redis_reply *reply)
{
    (void)arg;
    answers_good += reply->type == REDIS_STATUS;
    redis_free(other);
    other = NULL;
}

static void free_in_a_callback(void)
{
    answers_wanted = answers_good = 0;
    ASK(other, free_inside, SLICE("PING"));
    ASK(other, want_lost, SLICE("PING"));
    ASK(other, want_lost, SLICE("PING"));
}

static void connect_fake(void)
{
    fake_start();
    other = connect_as("", "", 0, fake_path);
}

static bool fake_survived(void)
{
    return fake_accepted >= 9 && !redis_is_up(other) && other_ups == other_downs;
}

static void nothing(void)
{
}

static void reset_only(void)
{
    redis_free(other);
    other = NULL;
    reset_counts();
}

static const struct step {
    const char *promise;
    void (*start)(void);
    bool (*done)(void);
    unsigned ms_max;
} steps[] = {
    { "with no server the first attempts are decided soon", start_peers, first_attempts_failed,
      500 },
    { "both find the server when it comes", restart_server, up_once_each, 3000 },
    { "a thousand publishes arrive in order, each heard once", publish_burst, burst_arrived, 2000 },
    { "a kick arrives, one for an incarnation that is gone is not sent", kick, kicked, 500 },
    { "a publish that nobody hears says so", publish_to_nobody, one_unheard, 500 },
    { "a connection of its own comes up in database 3", connect_admin, admin_up, 500 },
    { "what is no frame is counted and hurts nobody", send_nonsense, nonsense_counted, 500 },
    { "all kinds of answers, any byte, 32 MiB", ask_everything, all_answered, 5000 },
    { "SIGSTOP: what was sent is lost once, within the time-out", stop_server, ten_lost_and_down,
      3 * TIMEOUT_MS },
    { "SIGCONT: up again", continue_server, up_once_each, 2000 },
    { "and works", publish_burst, burst_arrived, 2000 },
    { "kill -9: what was queued is answered once, both are down at once", kill_server,
      ten_answered_and_down, 300 },
    { "started again: up again", restart_server, up_once_each, 3000 },
    { "and works", publish_burst, burst_arrived, 2000 },
    { "the admin is back too", nothing, admin_is_back, 1000 },
    { "CLIENT KILL of the subscribers: subscribed again", cut_inboxes, two_reconnects, 2000 },
    { "and works", publish_burst, burst_arrived, 2000 },
    { "CLIENT KILL of the others: up again", cut_commands, two_reconnects, 2000 },
    { "and works", publish_burst, burst_arrived, 2000 },
    { "idle for four time-outs: nothing is lost", idle, idled_undisturbed, 5 * TIMEOUT_MS },
    { "passwords are set", ask_for_passwords, both_up, 500 },
    { "a wrong password is refused", connect_wrong, refused, 1000 },
    { "none is refused", connect_without_password, refused, 1000 },
    { "a database that does not exist is refused", connect_wrong_db, refused, 1000 },
    { "the right one is accepted", connect_right, accepted, 1000 },
    { "a user of an ACL is accepted, even without PING", connect_user, accepted, 1000 },
    { "a redis may be freed in its own callback; the others are told LOST", connect_right, accepted,
      1000 },
    { "… and they are", free_in_a_callback, all_answered, 500 },
    { "a server that talks nonsense is survived", connect_fake, fake_survived, 8000 },
    { "the rest is still well", reset_only, both_up, 500 },
    { "and works", publish_burst, burst_arrived, 2000 },
};

/* A name instead of a number: localhost may be ::1 first, where nobody listens, and then 127.0.0.1.
 */
static void use_tcp(void)
{
    static char host[] = "localhost";
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert(bind(fd, (const struct sockaddr *)&address, len) == 0 &&
           getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    close(fd);
    config.redis.kind = CONFIG_REDIS_TCP;
    config.redis.host = host;
    config.redis.port = ntohs(address.sin_port);
    snprintf(port_text, sizeof port_text, "%u", ntohs(address.sin_port));
}

static unsigned descriptors(void)
{
    DIR *open_ones = opendir("/proc/self/fd");
    unsigned count = 0;

    assert(open_ones);
    while (readdir(open_ones))
        count++;
    closedir(open_ones);
    return count;
}

/* --- running them
 * ---------------------------------------------------------------------------------- */

static struct loop_timer ticker;
static size_t step_now;
static uint64_t step_started_ms;
static int status;

static void begin(void)
{
    step_started_ms = loop_now_ms(loop);
    steps[step_now].start();
    loop_timer_set(&ticker, POLL_MS);
}

static void on_tick(void *arg)
{
    const struct step *step = &steps[step_now];
    uint64_t took_ms = loop_now_ms(loop) - step_started_ms;
    bool done = step->done();

    (void)arg;
    if (!done && took_ms < step->ms_max) {
        loop_timer_set(&ticker, POLL_MS);
        return;
    }
    printf("%s %2zu %5llu ms  %s\n", done ? "ok    " : "FAILED", step_now + 1,
           (unsigned long long)took_ms, step->promise);
    if (!done)
        printf("       sent=%u heard=%u unheard=%u delivered=%u ups=%u,%u reconnects=%llu "
               "timeouts=%llu answers=%u/%u\n",
               sent, heard, unheard, bob.delivered, alice.ups, bob.ups,
               (unsigned long long)counters[STAT_redis_reconnects],
               (unsigned long long)counters[STAT_redis_timeouts], answers_good, answers_wanted);
    status |= !done;
    step_now++;
    if (!done || step_now == sizeof steps / sizeof steps[0])
        loop_stop(loop);
    else
        begin();
}

static void hook(void *arg)
{
    (void)arg;
    inside = true;
    bus_flush(alice.bus);
    bus_flush(bob.bus);
    if (admin)
        redis_flush(admin);
    if (other)
        redis_flush(other);
    inside = false;
}

static void log_must_not_hold_the_password(void)
{
    static char log[1 << 20];
    FILE *file = fopen(log_path, "r");
    size_t len = file ? fread(log, 1, sizeof log - 1, file) : 0;

    log[len] = 0;
    if (file)
        fclose(file);
    if (len == 0 || strstr(log, PASSWORD)) {
        printf("FAILED: the log is empty, or holds a password\n");
        status = 1;
    }
    fputs(log, stderr);
}

int main(int argc, char **argv)
{
    unsigned descriptors_before;

    setvbuf(stdout, NULL, _IOLBF, 0);
    static char empty[] = "", prefix[] = "po:";

    snprintf(folder, sizeof folder, "/tmp/redis_live.XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    snprintf(socket_path, sizeof socket_path, "%s/redis.sock", folder);
    snprintf(fake_path, sizeof fake_path, "%s/fake.sock", folder);
    snprintf(log_path, sizeof log_path, "%s/log", folder);
    log_set_fd(fileno(fopen(log_path, "a")));
    log_set_level(LOG_DEBUG);
    config.redis.kind = CONFIG_REDIS_UNIX;
    config.redis.path = socket_path;
    config.redis.host = config.redis.user = config.redis.password = empty;
    config.redis_options.prefix = prefix;
    config.redis_options.command_timeout_ms = TIMEOUT_MS;
    config.redis_options.reconnect_min_ms = 50;
    config.redis_options.reconnect_max_ms = 200;
    if (argc > 1 && strcmp(argv[1], "tcp") == 0)
        use_tcp();
    descriptors_before = descriptors();
    loop = loop_new();
    if (!loop)
        return 1;
    loop_timer_init(loop, &ticker, on_tick, NULL);
    begin();
    loop_add_hook(loop, hook, NULL);
    loop_run(loop);
    redis_free(other);
    redis_free(admin);
    bus_free(alice.bus);
    bus_free(bob.bus);
    if (fake_listener) {
        loop_unwatch(&fake_watch);
        close(fake_listener);
        close(fake_peer);
    }
    loop_free(loop);
    if (descriptors() != descriptors_before) {
        printf("FAILED: %u descriptors before, %u after\n", descriptors_before, descriptors());
        status = 1;
    }
    server_kill();
    log_must_not_hold_the_password();
    unlink(fake_path);
    unlink(log_path);
    unlink(socket_path);
    rmdir(folder);
    return status;
}
