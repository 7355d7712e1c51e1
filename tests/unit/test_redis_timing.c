/* Round trips to Redis: one command at a time is timed, from its write to the turn of its answer.
 */
#include "redis_fixture.h"

#include "common/log.h"
#include "worker/redis/redis.h"

enum { TIMES_MAX = 16, MANY = 300 }; /* MANY: the ring of commands without an answer grows */

static struct config config;
static struct redis *redis;
static uint64_t times_ms[TIMES_MAX];
static unsigned time_count, answer_count;

static void on_timed(void *arg, uint64_t ns)
{
    (void)arg;
    assert_true(time_count < TIMES_MAX);
    times_ms[time_count++] = ns / 1000000;
}

static void on_answer(void *arg, const struct redis_reply *reply)
{
    (void)arg;
    (void)reply;
    answer_count++;
}

static void flush(void *arg)
{
    (void)arg;
    redis_flush(redis);
}

static int setup(void **state)
{
    const struct redis_events events = { 0 };
    static char empty[] = "";

    (void)state;
    server_open();
    loop = loop_new();
    log_set_level(LOG_ERROR);
    config = (struct config){ 0 };
    config.redis.kind = CONFIG_REDIS_UNIX;
    config.redis.path = server.path;
    config.redis.host = config.redis.user = config.redis.password = empty;
    config.redis_options.command_timeout_ms = 60000;
    config.redis_options.reconnect_min_ms = config.redis_options.reconnect_max_ms = 4;
    redis = redis_new(loop, &config, "test", &events);
    assert_non_null(redis);
    redis_on_timed(redis, on_timed, NULL);
    loop_add_hook(loop, flush, NULL);
    loop_add_hook(loop, server_turn, NULL);
    loop_add_hook(loop, count_turn, NULL);
    for (unsigned i = 0; i < 3000 && !redis_is_up(redis); i++) {
        turns(1);
        usleep(1000);
    }
    assert_true(redis_is_up(redis));
    server.by_hand = true;
    time_count = answer_count = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    redis_free(redis);
    server_close();
    loop_free(loop);
    return 0;
}

static void ask(void)
{
    const struct slice args[2] = { SLICE("GET"), SLICE("key") };

    assert_int_equal(redis_command(redis, args, 2, on_answer, NULL), OK);
}

static void reply_to_some(unsigned count)
{
    static const char nil[] = "$-1\r\n";

    while (count--) {
        served_say(&server.served[0], nil, sizeof nil - 1);
        if (count % 64 == 0) /* or the socket would be full */
            turns(1);
    }
}

static void a_command_is_timed_from_its_write_to_its_answer(void **state)
{
    (void)state;
    ask();
    clock_ms += 500; /* of this turn, before the write */
    turns(1);
    clock_ms += 7;
    reply_to_some(1);
    assert_int_equal(answer_count, 1);
    assert_int_equal(time_count, 1);
    assert_int_equal(times_ms[0], 7);
}

static void of_commands_in_flight_one_is_timed_and_then_the_next_that_is_sent(void **state)
{
    (void)state;
    ask();
    turns(1);
    clock_ms += 3;
    ask();
    ask();
    turns(1);
    clock_ms += 2;
    reply_to_some(1); /* of the first: timed, 5 ms */
    ask();            /* the next that is timed */
    turns(1);
    clock_ms += 4;
    reply_to_some(2);
    assert_int_equal(time_count, 1);
    clock_ms += 6;
    reply_to_some(1);
    assert_int_equal(answer_count, 4);
    assert_int_equal(time_count, 2);
    assert_int_equal(times_ms[0], 5);
    assert_int_equal(times_ms[1], 10);
}

static void the_timed_one_is_found_again_when_many_are_sent_behind_it(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 50; i++) { /* the ring's first entry is no longer at its start */
        time_count = 0;
        ask();
        turns(1);
        reply_to_some(1);
    }
    time_count = 0;
    ask();
    turns(1);
    clock_ms += 9;
    for (unsigned i = 0; i < MANY; i++)
        ask();
    turns(1);
    reply_to_some(1);
    assert_int_equal(time_count, 1);
    assert_int_equal(times_ms[0], 9);
    reply_to_some(MANY);
    assert_int_equal(answer_count, 51 + MANY);
    assert_int_equal(time_count, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_command_is_timed_from_its_write_to_its_answer),
        T(of_commands_in_flight_one_is_timed_and_then_the_next_that_is_sent),
        T(the_timed_one_is_found_again_when_many_are_sent_behind_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
