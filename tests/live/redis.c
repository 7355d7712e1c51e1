/*
 * worker/redis: all kinds of answers, log-ins that Redis accepts and refuses, a connection that is
 * freed in its own callback, a server that talks nonsense.
 */
#include "steps.h"

#include <sys/un.h>

enum { BIG = 32 << 20 };

static struct redis *admin, *other;
static char fake_path[128];

/* --- answers --- */

static void want_status(void *arg, const struct redis_reply *reply)
{
    (void)arg;
    answers_good += reply->type == REDIS_STATUS;
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

/* --- a server that talks nonsense --- */

static struct loop_watch fake_watch;
static int fake_listener,
    fake_peer = -1; /* closed when the next one comes: by then all its bytes were read */
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

/* --- the steps --- */

static void start_server(void)
{
    server_start();
    admin = connect_as("", "", 3, socket_path);
    assert(!redis_is_up(admin) && !redis_tried(admin));
}

static bool admin_up(void)
{
    return redis_is_up(admin) && redis_tried(admin) && connection_ups == 1;
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

static void ask_for_passwords(void)
{
    ASK(admin, want_status, SLICE("ACL"), SLICE("SETUSER"), SLICE("post"), SLICE("on"),
        SLICE(">" PASSWORD), SLICE("~*"), SLICE("&*"), SLICE("+@all"), SLICE("-ping"));
    ASK(admin, want_status, SLICE("CONFIG"), SLICE("SET"), SLICE("requirepass"), SLICE(PASSWORD));
}

static bool passwords_are_set(void)
{
    return redis_is_up(admin) && all_answered();
}

static void connect_wrong(void)
{
    other = connect_as("", PASSWORD "-wrong", 0, socket_path);
}

static bool refused(void)
{
    return redis_tried(other) && !redis_is_up(other) && connection_ups == 0 &&
           connection_downs == 0;
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
    return redis_is_up(other) && connection_ups == 1;
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
    snprintf(fake_path, sizeof fake_path, "%s/fake.sock", folder);
    fake_start();
    other = connect_as("", "", 0, fake_path);
}

static bool fake_survived(void)
{
    return fake_accepted >= 9 && !redis_is_up(other) && connection_ups == connection_downs;
}

static void ask_again(void)
{
    redis_free(other);
    other = NULL;
    answers_wanted = answers_good = 0;
    ASK(admin, want_integer, SLICE("INCR"), SLICE("n"));
}

static const struct step list[] = {
    { "a connection comes up in database 3", start_server, admin_up },
    { "all kinds of answers, any byte, 32 MiB", ask_everything, all_answered },
    { "passwords are set", ask_for_passwords, passwords_are_set },
    { "a wrong password is refused", connect_wrong, refused },
    { "none is refused", connect_without_password, refused },
    { "a database that does not exist is refused", connect_wrong_db, refused },
    { "the right one is accepted", connect_right, accepted },
    { "a user of an ACL is accepted, even without PING", connect_user, accepted },
    { "a redis may be freed in its own callback; the others are told LOST", connect_right,
      accepted },
    { "… and they are", free_in_a_callback, all_answered },
    { "a server that talks nonsense is survived", connect_fake, fake_survived },
    { "the rest is still well", ask_again, all_answered },
};

static void flush_connections(void)
{
    if (admin)
        redis_flush(admin);
    if (other)
        redis_flush(other);
}

static void explain(void)
{
    printf("       answers=%u/%u ups=%u downs=%u\n", answers_good, answers_wanted, connection_ups,
           connection_downs);
}

static void end(void)
{
    redis_free(other);
    redis_free(admin);
    if (fake_listener) {
        loop_unwatch(&fake_watch);
        close(fake_listener);
        close(fake_peer);
    }
}

int main(int argc, char **argv)
{
    static const struct steps steps = { list, sizeof list / sizeof list[0], flush_connections,
                                        explain, end };

    return steps_run(&steps, argc, argv);
}
