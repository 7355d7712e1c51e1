/* One connection to Redis, against the stand-in of redis_fixture.h: the login, answers in order,
 * commands that are lost with a connection, pauses, time-outs and bounds. */
#include "redis_fixture.h"

#include "common/log.h"
#include "worker/redis/redis.h"

#include <sys/mman.h>

enum { TIMEOUT_MS = 40, PAUSE_MIN_MS = 4, PAUSE_MAX_MS = 10, NOTES_MAX = 64 };
#define PASSWORD "correct-horse"

static struct config config;
static struct redis *redis;
static bool inside; /* a call that must not call back */
static int log_file, log_before;

/* The replies that callbacks were given, in the order of the calls. */
static struct note {
    unsigned who;
    enum redis_reply_type type;
    int64_t integer;
    size_t count;
    char text[64];
} notes[NOTES_MAX];
static unsigned note_count, ups, downs, downs_after; /* downs_after: notes before the first down */
static char heard[4][64];
static unsigned heard_count;

/* ---- callbacks ---- */

static void on_up(void *arg)
{
    (void)arg;
    assert_false(inside);
    ups++;
}

static void on_down(void *arg)
{
    (void)arg;
    assert_false(inside);
    assert_int_equal(redis_command(redis, &SLICE("PING"), 1, NULL, NULL), ERR_DOWN);
    downs++;
    downs_after = note_count;
}

static void on_reply(void *arg, const struct redis_reply *reply)
{
    struct note *note = &notes[note_count++];

    assert_false(inside);
    assert_true(note_count < NOTES_MAX);
    *note = (struct note){ .who = (unsigned)(uintptr_t)arg,
                           .type = reply->type,
                           .integer = reply->integer,
                           .count = reply->count };
    snprintf(note->text, sizeof note->text, "%.*s", (int)reply->text.len,
             reply->text.len ? reply->text.data : "");
}

static void on_message(void *arg, struct slice payload)
{
    (void)arg;
    assert_true(heard_count < 4);
    snprintf(heard[heard_count++], sizeof heard[0], "%.*s", (int)payload.len, payload.data);
}

/* ---- the connection of a test ---- */

static void flush(void *arg)
{
    (void)arg;
    inside = true;
    if (redis)
        redis_flush(redis);
    inside = false;
}

static int setup(void **state)
{
    static char empty[] = "";

    (void)state;
    note_count = ups = downs = heard_count = 0;
    inside = false;
    server_open();
    loop = loop_new();
    log_file = memfd_create("log", MFD_CLOEXEC);
    log_before = log_set_fd(log_file);
    log_set_level(LOG_DEBUG);
    config = (struct config){ 0 };
    config.redis.kind = CONFIG_REDIS_UNIX;
    config.redis.path = server.path;
    config.redis.host = config.redis.user = config.redis.password = empty;
    config.redis_options.command_timeout_ms = TIMEOUT_MS;
    config.redis_options.reconnect_min_ms = PAUSE_MIN_MS;
    config.redis_options.reconnect_max_ms = PAUSE_MAX_MS;
    loop_add_hook(loop, flush, NULL);
    loop_add_hook(loop, server_turn, NULL);
    loop_add_hook(loop, count_turn, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    redis_free(redis);
    redis = NULL;
    log_set_fd(log_before);
    close(log_file);
    server_close();
    loop_free(loop);
    return 0;
}

static const char *log_so_far(void)
{
    static char text[64 * 1024];
    ssize_t len = pread(log_file, text, sizeof text - 1, 0);

    assert_true(len >= 0);
    text[len] = 0;
    return text;
}

static void begin(void)
{
    const struct redis_events events = { .up = on_up, .down = on_down };

    redis = redis_new(loop, &config, "test", &events);
    assert_non_null(redis);
}

static void begin_subscriber(void)
{
    begin();
    redis_subscribe(redis, SLICE("w:me"), on_message, NULL);
}

/* Timers of the loop run in real time; the clock of the test goes along. */
static void pass_until(bool (*done)(void))
{
    for (unsigned i = 0; i < 3000 && !done(); i++) {
        turns(1);
        usleep(1000);
        clock_ms++;
    }
    assert_true(done());
}

static bool is_up(void)
{
    return redis_is_up(redis);
}

static bool is_down(void)
{
    return !redis_is_up(redis);
}

static void come_up(void)
{
    begin();
    pass_until(is_up);
}

static void ask(unsigned who, size_t count, const struct slice *args)
{
    inside = true;
    assert_int_equal(redis_command(redis, args, count, on_reply, (void *)(uintptr_t)who), OK);
    inside = false;
}

static void ask_for(unsigned who, const char *key)
{
    ask(who, 2, (struct slice[]){ SLICE("GET"), slice_of(key) });
}

/* The words of the first connection's commands without an answer, each in brackets. */
static const char *row_of(const struct served *served)
{
    static char text[1024];
    size_t at = 0;

    text[0] = 0;
    for (size_t i = 0; i < served->count; i++)
        for (size_t j = 0; j < served->row[i]->count; j++)
            at += (size_t)snprintf(text + at, sizeof text - at, "%s%.*s%s", j ? " " : "[",
                                   (int)served->row[i]->args[j].len, served->row[i]->args[j].data,
                                   j + 1 == served->row[i]->count ? "]" : "");
    return text;
}

static void say_raw(const char *text)
{
    served_say(&server.served[0], text, strlen(text));
}

static bool has_connected(void)
{
    return server.accepted > 0 && server.served[0].count > 0;
}

/* Connected to a server that answers nothing by itself. */
static void connect_by_hand(void)
{
    server.by_hand = true;
    pass_until(has_connected);
}

static bool tried_and_down(void)
{
    return redis_tried(redis) && !redis_is_up(redis);
}

/* ---- logging in ---- */

static void without_a_password_only_a_ping_is_asked(void **state)
{
    (void)state;
    begin();
    connect_by_hand();
    assert_string_equal(row_of(&server.served[0]), "[PING]");
}

static void login_database_and_channel_leave_at_once_in_this_order(void **state)
{
    static char user[] = "post", password[] = PASSWORD;

    (void)state;
    config.redis.user = user;
    config.redis.password = password;
    config.redis.db = 3;
    begin_subscriber();
    connect_by_hand();
    assert_string_equal(row_of(&server.served[0]),
                        "[AUTH post " PASSWORD "][SELECT 3][PING][SUBSCRIBE w:me]");
}

static void a_password_without_a_user_takes_the_old_form(void **state)
{
    static char password[] = PASSWORD;

    (void)state;
    config.redis.password = password;
    begin();
    connect_by_hand();
    assert_string_equal(row_of(&server.served[0]), "[AUTH " PASSWORD "][PING]");
}

static void up_is_said_once_and_by_the_last_answer(void **state)
{
    (void)state;
    begin_subscriber();
    connect_by_hand();
    say_raw("+PONG\r\n");
    turns(2);
    assert_false(redis_is_up(redis));
    assert_false(redis_tried(redis));
    say_raw("*3\r\n$9\r\nsubscribe\r\n$4\r\nw:me\r\n:1\r\n");
    turns(2);
    assert_true(redis_is_up(redis));
    assert_int_equal(ups, 1);
}

static void nothing_is_queued_before_it_is_up(void **state)
{
    (void)state;
    begin();
    assert_int_equal(redis_command(redis, &SLICE("PING"), 1, on_reply, NULL), ERR_DOWN);
    assert_false(redis_tried(redis));
    connect_by_hand();
    assert_int_equal(redis_command(redis, &SLICE("PING"), 1, on_reply, NULL), ERR_DOWN);
    assert_int_equal(note_count, 0);
}

/* A table: answers that end an attempt, and the reason in the log. */
static void every_refusal_ends_the_attempt_and_names_itself(void **state)
{
    static const struct {
        const char *answers, *reason;
    } refusals[] = {
        { "+OK\r\n-ERR DB index is out of range\r\n", "SELECT refused: ERR DB index" },
        { "+OK\r\n+OK\r\n-LOADING Redis is loading\r\n", "not ready: LOADING" },
        { "+OK\r\n+OK\r\n:7\r\n", "PING answered with something else" },
        { "+OK\r\n+OK\r\n+PONG\r\n-NOPERM no channel\r\n", "SUBSCRIBE refused: NOPERM" },
        { "+OK\r\n+OK\r\n+PONG\r\n*0\r\n", "SUBSCRIBE answered with something else" },
        { "hello\r\n", "not understood" },
    };
    static char password[] = PASSWORD;

    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        if (i)
            setup(state);
        config.redis.password = password;
        config.redis.db = 99;
        begin_subscriber();
        connect_by_hand();
        say_raw(refusals[i].answers);
        turns(2);
        assert_true(tried_and_down());
        assert_int_equal(ups + downs, 0);
        if (!strstr(log_so_far(), refusals[i].reason))
            print_error("\"%s\" is not in: %s\n", refusals[i].reason, log_so_far());
        assert_non_null(strstr(log_so_far(), refusals[i].reason));
        if (i + 1 < sizeof refusals / sizeof refusals[0])
            teardown(state);
    }
}

static void a_refused_password_is_not_in_the_log(void **state)
{
    static char password[] = PASSWORD;

    (void)state;
    config.redis.password = password;
    begin();
    connect_by_hand();
    say_raw("-ERR unknown command 'AUTH', with args beginning with: '" PASSWORD "'\r\n");
    turns(2);
    assert_true(tried_and_down());
    assert_non_null(strstr(log_so_far(), "login refused: ERR"));
    assert_null(strstr(log_so_far(), PASSWORD));
}

/* An operator who gives a password to a Redis without one reads what to do, and not "ERR". */
static void a_login_that_cannot_be_says_what_is_wrong(void **state)
{
    static char password[] = PASSWORD;
    static const char *const cases[][2] = {
        { "-ERR AUTH <password> called without any password configured for the default user. Are "
          "you sure your configuration is correct?\r\n",
          "Redis has no password" },
        { "-ERR Client sent AUTH, but no password is set\r\n", "Redis has no password" },
        { "-ERR wrong number of arguments for 'auth' command\r\n", "older than 6" },
        { "-ERR invalid password\r\n", "the password is wrong" },
        { "-WRONGPASS invalid username-password pair or user is disabled.\r\n", "WRONGPASS" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        teardown(state);
        setup(state);
        config.redis.password = password;
        begin();
        connect_by_hand();
        say_raw(cases[i][0]);
        turns(2);
        assert_true(tried_and_down());
        if (!strstr(log_so_far(), cases[i][1]))
            fail_msg("%s: %s", cases[i][0], log_so_far());
    }
}

static void a_user_who_may_not_ping_is_logged_in_all_the_same(void **state)
{
    (void)state;
    begin();
    connect_by_hand();
    say_raw("-NOPERM this user has no permissions to run the 'ping' command\r\n");
    turns(2);
    assert_true(redis_is_up(redis));
}

/* ---- masters ---- */

static void begin_with_a_master(void)
{
    begin();
    redis_need_master(redis, SLICE("po:probe"));
}

static void a_login_that_needs_a_master_writes_before_the_ping(void **state)
{
    (void)state;
    begin_with_a_master();
    connect_by_hand();
    assert_string_equal(row_of(&server.served[0]), "[EXPIRE po:probe 1][PING]");
    say_raw("-NOPERM no right to this key\r\n+PONG\r\n");
    turns(2);
    assert_true(redis_is_up(redis));
}

static void a_replica_ends_the_attempt_of_a_login_that_needs_a_master(void **state)
{
    (void)state;
    begin_with_a_master();
    connect_by_hand();
    say_raw("-READONLY You can't write against a read only replica.\r\n+PONG\r\n");
    turns(2);
    assert_true(tried_and_down());
    assert_int_equal(ups + downs, 0);
    assert_non_null(strstr(log_so_far(), "a replica, not a master"));
}

static bool is_up_again(void)
{
    return ups == 2;
}

static void a_renewed_connection_is_answered_first_and_then_made_anew(void **state)
{
    (void)state;
    come_up();
    ask_for(1, "key");
    turns(1);
    redis_renew(redis, "another master");
    assert_int_equal(redis_command(redis, &SLICE("PING"), 1, on_reply, NULL), ERR_DOWN);
    turns(2);
    assert_int_equal(downs, 0);
    answer(server.served[0].row[0], "s", "value");
    pass_until(is_up_again);
    assert_string_equal(notes[0].text, "value");
    assert_int_equal(downs, 1);
    redis_renew(redis, "with nothing to wait for");
    turns(2);
    assert_int_equal(downs, 2);
}

static void a_held_connection_connects_when_it_is_released(void **state)
{
    (void)state;
    begin();
    redis_hold(redis);
    for (unsigned i = 0; i < 20; i++) {
        turns(1);
        usleep(1000);
    }
    assert_int_equal(server.accepted, 0);
    redis_release(redis);
    pass_until(is_up);
    redis_hold(redis);
    pass_until(is_down);
    for (unsigned i = 0; i < 20; i++) {
        turns(1);
        usleep(1000);
    }
    assert_int_equal(server.accepted, 1);
    redis_release(redis);
    pass_until(is_up);
}

static unsigned demotions;

static void on_demotion(void *arg, bool elsewhere)
{
    (void)arg;
    demotions += 1 + elsewhere;
}

static void a_demotion_is_told_while_the_connection_is_up(void **state)
{
    (void)state;
    demotions = 0;
    begin();
    redis_on_demoted(redis, on_demotion, NULL);
    redis_demoted(redis, true);
    assert_int_equal(demotions, 0);
    pass_until(is_up);
    redis_demoted(redis, false);
    assert_int_equal(demotions, 1);
    redis_renew(redis, "another master");
    redis_demoted(redis, true);
    assert_int_equal(demotions, 1);
}

/* ---- answers ---- */

static void commands_of_a_turn_leave_together_and_are_answered_in_order(void **state)
{
    (void)state;
    come_up();
    for (unsigned i = 1; i <= 3; i++)
        ask_for(i, "key");
    assert_true(redis_backlog(redis) > 0);
    turns(1);
    assert_int_equal(redis_backlog(redis), 0);
    assert_string_equal(row_of(&server.served[0]), "[GET key][GET key][GET key]");
    answer(server.served[0].row[2], "s", "third");
    turns(2);
    assert_int_equal(note_count, 0);
    answer(server.served[0].row[0], "s", "first");
    answer(server.served[0].row[1], "s", "second");
    turns(2);
    assert_int_equal(note_count, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(notes[i].who, i + 1);
    assert_string_equal(notes[0].text, "first");
    assert_string_equal(notes[2].text, "third");
}

static void an_argument_may_hold_any_byte(void **state)
{
    struct slice binary = SLICE("a\0b\r\n%s \xff*3\r\n$1");

    (void)state;
    come_up();
    ask(1, 3, (struct slice[]){ SLICE("SET"), binary, SLICE("") });
    turns(1);
    assert_true(slice_equal(server.served[0].row[0]->args[1], binary));
    assert_int_equal(server.served[0].row[0]->args[2].len, 0);
}

static void each_kind_of_answer_is_told_as_it_is(void **state)
{
    static const struct note wanted[] = {
        { 1, REDIS_STATUS, 0, 0, "OK" },      { 2, REDIS_ERROR, 0, 0, "OOM no memory" },
        { 3, REDIS_INTEGER, -5, 0, "" },      { 4, REDIS_STRING, 0, 0, "text" },
        { 5, REDIS_NIL, 0, 0, "" },           { 6, REDIS_ARRAY, 0, 2, "" },
        { 7, REDIS_NIL, 0, 0, "" } /* *-1 */,
    };

    (void)state;
    come_up();
    for (unsigned i = 1; i <= 7; i++)
        ask_for(i, "key");
    turns(1);
    say_raw("+OK\r\n-OOM no memory\r\n:-5\r\n$4\r\ntext\r\n$-1\r\n*2\r\n:1\r\n*0\r\n*-1\r\n");
    turns(2);
    assert_int_equal(note_count, 7);
    for (unsigned i = 0; i < 7; i++) {
        assert_int_equal(notes[i].who, wanted[i].who);
        assert_int_equal(notes[i].type, wanted[i].type);
        assert_int_equal(notes[i].integer, wanted[i].integer);
        assert_int_equal(notes[i].count, wanted[i].count);
        assert_string_equal(notes[i].text, wanted[i].text);
    }
}

static void on_nested(void *arg, const struct redis_reply *reply)
{
    struct redis_reply inner = redis_reply_at(reply, 1);

    assert_int_equal(reply->count, 2);
    assert_int_equal(redis_reply_at(reply, 0).integer, 7);
    assert_slice(redis_reply_at(&inner, 0).text, "deep");
    assert_int_equal(redis_reply_at(reply, 2).type, REDIS_NIL); /* beyond its end */
    assert_int_equal(redis_reply_at(&inner, 9).type, REDIS_NIL);
    struct redis_reply deep = redis_reply_at(&inner, 0);
    assert_int_equal(redis_reply_at(&deep, 0).type, REDIS_NIL); /* of what is no array */
    ++*(unsigned *)arg;
}

static void elements_of_an_array_are_reached_and_nothing_beyond_them(void **state)
{
    unsigned called = 0;

    (void)state;
    come_up();
    assert_int_equal(redis_command(redis, &SLICE("X"), 1, on_nested, &called), OK);
    turns(1);
    say_raw("*2\r\n:7\r\n*1\r\n$4\r\ndeep\r\n");
    turns(2);
    assert_int_equal(called, 1);
}

static void an_answer_cut_at_any_byte_is_told_once_and_whole(void **state)
{
    static const char text[] = "*3\r\n$4\r\na\r\nb\r\n:-12\r\n*2\r\n-ERR x\r\n$-1\r\n+OK\r\n";
    size_t len = sizeof text - 1;

    (void)state;
    come_up();
    for (size_t cut = 0; cut <= len; cut++) {
        note_count = 0;
        ask_for(1, "key");
        ask_for(2, "key");
        turns(1);
        served_say(&server.served[0], text, cut);
        turns(2);
        assert_int_equal(note_count, (cut >= len - 5) + (cut == len));
        served_say(&server.served[0], text + cut, len - cut);
        turns(2);
        assert_int_equal(note_count, 2);
        assert_int_equal(notes[0].count, 3);
        assert_int_equal(notes[1].type, REDIS_STATUS);
    }
    assert_int_equal(downs, 0);
}

static void nobody_has_to_wait_for_an_answer(void **state)
{
    (void)state;
    come_up();
    assert_int_equal(redis_command(redis, &SLICE("X"), 1, NULL, NULL), OK);
    ask_for(2, "key");
    turns(1);
    say_raw(":1\r\n:2\r\n");
    turns(2);
    assert_int_equal(note_count, 1);
    assert_int_equal(notes[0].integer, 2);
}

/* ---- messages ---- */

static void a_message_is_nobodys_answer(void **state)
{
    (void)state;
    begin_subscriber();
    pass_until(is_up);
    server_publish("w:me", SLICE("one"));
    turns(2);
    server_publish("w:me", SLICE("two\r\n+PONG"));
    turns(2);
    assert_int_equal(heard_count, 2);
    assert_string_equal(heard[0], "one");
    assert_string_equal(heard[1], "two\r\n+PONG");
    assert_true(redis_is_up(redis));
}

static void a_connection_that_does_not_subscribe_takes_a_message_for_an_answer(void **state)
{
    (void)state;
    come_up();
    ask_for(1, "key");
    turns(1);
    say_raw("*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$1\r\ny\r\n");
    turns(2);
    assert_int_equal(note_count, 1);
    assert_int_equal(notes[0].count, 3);
}

/* ---- a connection ends ---- */

static void commands_in_flight_are_lost_once_each_before_down(void **state)
{
    (void)state;
    come_up();
    for (unsigned i = 1; i <= 5; i++)
        ask_for(i, "key");
    turns(1);
    say_raw("+OK\r\n+OK\r\n$9\r\nhalf");
    server_die();
    turns(2);
    assert_int_equal(note_count, 5);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(notes[i].who, i + 1);
        assert_int_equal(notes[i].type, i < 2 ? REDIS_STATUS : REDIS_LOST);
    }
    assert_int_equal(downs, 1);
    assert_int_equal(downs_after, 5);
    assert_int_equal(redis_backlog(redis), 0);
    turns(2);
    assert_int_equal(note_count, 5);
}

static void what_has_not_left_is_lost_too(void **state)
{
    (void)state;
    come_up();
    server_die();
    ask_for(1, "key");
    pass_until(is_down);
    assert_int_equal(note_count, 1);
    assert_int_equal(notes[0].type, REDIS_LOST);
}

static void it_comes_back_by_itself_and_subscribes_again(void **state)
{
    uint64_t reconnects, timeouts;

    (void)state;
    begin_subscriber();
    pass_until(is_up);
    server_die();
    pass_until(is_down);
    server_listen();
    pass_until(is_up);
    assert_int_equal(ups, 2);
    assert_int_equal(downs, 1);
    assert_true(server.served[0].subscribes);
    server_publish("w:me", SLICE("again"));
    turns(2);
    assert_string_equal(heard[0], "again");
    redis_take_counts(redis, &reconnects, &timeouts);
    assert_int_equal(reconnects, 1);
    assert_int_equal(timeouts, 0);
    redis_take_counts(redis, &reconnects, &timeouts);
    assert_int_equal(reconnects, 0);
}

static bool has_tried_five_times(void)
{
    return strstr(log_so_far(), "attempt=5") != NULL;
}

static void each_pause_is_half_as_long_again_up_to_the_longest(void **state)
{
    static const char *const pauses[] = { "attempt=1 retry_ms=4 ", "attempt=2 retry_ms=6 ",
                                          "attempt=3 retry_ms=9 ", "attempt=4 retry_ms=10 ",
                                          "attempt=5 retry_ms=10 " };

    (void)state;
    server_die();
    begin();
    pass_until(has_tried_five_times);
    for (size_t i = 0; i < sizeof pauses / sizeof pauses[0]; i++)
        assert_non_null(strstr(log_so_far(), pauses[i]));
    server_listen();
    pass_until(is_up);
    server_die();
    pass_until(is_down); /* the next pause is the shortest again */
    assert_non_null(strstr(log_so_far(), "event=redis_lost connection=test attempt=0 retry_ms=4 "));
}

static void a_long_outage_is_one_warning(void **state)
{
    const char *first;

    (void)state;
    server_die();
    begin();
    pass_until(has_tried_five_times);
    first = strstr(log_so_far(), " warn ");
    assert_non_null(first);
    assert_null(strstr(first + 1, " warn "));
}

static void an_answer_that_nobody_asked_for_ends_it(void **state)
{
    (void)state;
    come_up();
    say_raw("-ERR max number of clients reached\r\n");
    turns(2);
    assert_int_equal(downs, 1);
    assert_non_null(strstr(log_so_far(), "max number of clients reached"));
    pass_until(is_up);
    say_raw(":1\r\n");
    turns(2);
    assert_int_equal(downs, 2);
    assert_non_null(strstr(log_so_far(), "an answer that nobody asked for"));
}

static void what_is_no_answer_ends_it(void **state)
{
    (void)state;
    come_up();
    ask_for(1, "key");
    turns(1);
    say_raw("%nonsense\r\n");
    turns(2);
    assert_int_equal(downs, 1);
    assert_int_equal(notes[0].type, REDIS_LOST);
}

/* ---- time ---- */

static void a_command_without_an_answer_ends_it_after_the_time_out(void **state)
{
    uint64_t since, reconnects, timeouts;

    (void)state;
    come_up();
    ask_for(1, "key");
    ask_for(2, "key");
    since = clock_ms;
    pass_until(is_down);
    assert_true(clock_ms - since >= TIMEOUT_MS - 1);
    assert_int_equal(note_count, 2);
    assert_int_equal(notes[1].type, REDIS_LOST);
    redis_take_counts(redis, &reconnects, &timeouts);
    assert_int_equal(timeouts, 2);
    assert_non_null(strstr(log_so_far(), "no answer in time"));
}

static bool long_has_passed(void)
{
    static uint64_t until;

    if (!until)
        until = clock_ms + 4 * TIMEOUT_MS;
    say_raw("x"); /* of a long answer that trickles */
    return clock_ms >= until;
}

static void bytes_that_come_are_life(void **state)
{
    (void)state;
    come_up();
    ask_for(1, "key");
    turns(1);
    say_raw("$100000\r\n");
    pass_until(long_has_passed);
    assert_true(redis_is_up(redis));
    assert_int_equal(note_count, 0);
}

static bool has_pinged(void)
{
    return server.served[0].count > 0;
}

static void an_idle_connection_is_asked_whether_it_lives(void **state)
{
    (void)state;
    come_up();
    server.by_hand = true;
    pass_until(has_pinged);
    assert_string_equal(row_of(&server.served[0]), "[PING]");
    pass_until(is_down); /* and nothing is answered */
    assert_int_equal(downs, 1);
}

static void a_login_that_is_not_answered_is_given_up(void **state)
{
    (void)state;
    begin();
    connect_by_hand();
    pass_until(tried_and_down);
    assert_int_equal(ups + downs, 0);
}

/* ---- bounds ---- */

static void past_the_bound_of_bytes_nothing_more_is_taken(void **state)
{
    enum { BIG = 50 << 20 };
    static char big[BIG];
    struct slice args[2] = { SLICE("ECHO"), slice_make(big, BIG) };
    struct slice too_long[2] = { SLICE("ECHO"), slice_make(big, (size_t)129 << 20) };

    (void)state;
    come_up();
    assert_int_equal(redis_command(redis, too_long, 2, on_reply, NULL), ERR_FULL);
    ask(1, 2, args);
    ask(2, 2, args);
    assert_true(redis_backlog(redis) > 2 * BIG);
    assert_int_equal(redis_command(redis, args, 2, on_reply, NULL), ERR_FULL);
    ask_for(3, "small"); /* there is room for it */
    redis_free(redis);
    redis = NULL;
    assert_int_equal(note_count, 3);
    assert_int_equal(downs, 0);
}

static void on_counted(void *arg, const struct redis_reply *reply)
{
    assert_int_equal(reply->type, REDIS_LOST);
    ++*(unsigned *)arg;
}

static void past_the_bound_of_commands_nothing_more_is_taken(void **state)
{
    unsigned lost = 0, taken = 0;

    (void)state;
    come_up();
    while (redis_command(redis, &SLICE("X"), 1, on_counted, &lost) == OK)
        taken++;
    assert_int_equal(redis_command(redis, &SLICE("X"), 1, on_counted, &lost), ERR_FULL);
    assert_int_equal(taken, 1 << 20);
    redis_free(redis);
    redis = NULL;
    assert_int_equal(lost, taken);
}

static void what_redis_does_not_read_stays_queued_until_it_does(void **state)
{
    enum { LONG = 1 << 20 };
    static char text[LONG];

    (void)state;
    come_up();
    server.silent = true;
    ask(1, 2, (struct slice[]){ SLICE("ECHO"), slice_make(text, LONG) });
    turns(3);
    assert_true(redis_backlog(redis) > 0);
    ask_for(2, "key");
    server.silent = false;
    for (unsigned i = 0; i < 100 && redis_backlog(redis); i++)
        turns(1);
    turns(1);
    assert_int_equal(redis_backlog(redis), 0);
    assert_int_equal(server.served[0].count, 2);
    assert_int_equal(server.served[0].row[0]->args[1].len, LONG);
}

/* ---- freeing ---- */

static void on_reply_free(void *arg, const struct redis_reply *reply)
{
    on_reply(arg, reply);
    redis_free(redis);
    redis = NULL;
}

static void it_may_be_freed_in_its_own_callback(void **state)
{
    (void)state;
    come_up();
    assert_int_equal(redis_command(redis, &SLICE("X"), 1, on_reply_free, (void *)1), OK);
    ask_for(2, "key");
    ask_for(3, "key");
    turns(1);
    say_raw("+OK\r\n+OK\r\n+OK\r\n");
    turns(2);
    assert_int_equal(note_count, 3);
    assert_int_equal(notes[0].type, REDIS_STATUS);
    assert_int_equal(notes[1].type, REDIS_LOST);
    assert_int_equal(notes[2].type, REDIS_LOST);
    assert_int_equal(downs, 0);
}

static void one_that_never_connected_can_be_freed(void **state)
{
    (void)state;
    begin_subscriber();
    redis_free(redis);
    redis = NULL;
    redis_free(NULL);
    assert_int_equal(ups + downs, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(without_a_password_only_a_ping_is_asked),
        T(login_database_and_channel_leave_at_once_in_this_order),
        T(a_password_without_a_user_takes_the_old_form),
        T(up_is_said_once_and_by_the_last_answer),
        T(nothing_is_queued_before_it_is_up),
        T(every_refusal_ends_the_attempt_and_names_itself),
        T(a_refused_password_is_not_in_the_log),
        T(a_login_that_cannot_be_says_what_is_wrong),
        T(a_user_who_may_not_ping_is_logged_in_all_the_same),
        T(a_login_that_needs_a_master_writes_before_the_ping),
        T(a_replica_ends_the_attempt_of_a_login_that_needs_a_master),
        T(a_renewed_connection_is_answered_first_and_then_made_anew),
        T(a_held_connection_connects_when_it_is_released),
        T(a_demotion_is_told_while_the_connection_is_up),
        T(commands_of_a_turn_leave_together_and_are_answered_in_order),
        T(an_argument_may_hold_any_byte),
        T(each_kind_of_answer_is_told_as_it_is),
        T(elements_of_an_array_are_reached_and_nothing_beyond_them),
        T(an_answer_cut_at_any_byte_is_told_once_and_whole),
        T(nobody_has_to_wait_for_an_answer),
        T(a_message_is_nobodys_answer),
        T(a_connection_that_does_not_subscribe_takes_a_message_for_an_answer),
        T(commands_in_flight_are_lost_once_each_before_down),
        T(what_has_not_left_is_lost_too),
        T(it_comes_back_by_itself_and_subscribes_again),
        T(each_pause_is_half_as_long_again_up_to_the_longest),
        T(a_long_outage_is_one_warning),
        T(an_answer_that_nobody_asked_for_ends_it),
        T(what_is_no_answer_ends_it),
        T(a_command_without_an_answer_ends_it_after_the_time_out),
        T(bytes_that_come_are_life),
        T(an_idle_connection_is_asked_whether_it_lives),
        T(a_login_that_is_not_answered_is_given_up),
        T(past_the_bound_of_bytes_nothing_more_is_taken),
        T(past_the_bound_of_commands_nothing_more_is_taken),
        T(what_redis_does_not_read_stays_queued_until_it_does),
        T(it_may_be_freed_in_its_own_callback),
        T(one_that_never_connected_can_be_freed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
