/*
 * How many letters a second mailbox_append stores in a Redis that runs already, and what each costs
 * Redis.
 *
 *     make build/gcc/tests/bench/bench_append && build/gcc/tests/bench/bench_append SOCKET
 */
#include "tests/live/mailbox_fixture.h"

static unsigned bench_left, bench_inflight, bench_done;

static void on_benched(void *arg, const struct mailbox_appended *appended)
{
    (void)arg;
    assert(appended->outcome == MAILBOX_STORED);
    bench_inflight--;
    bench_done++;
}

static bool bench_step(void)
{
    static char body[300] = "{";
    static unsigned number;
    char id[40], address[32];

    for (; bench_left > 0 && bench_inflight < 2000; bench_left--, bench_inflight++, number++) {
        snprintf(id, sizeof id, "0191e1a2-7b1c-7def-8000-%012u", number);
        snprintf(address, sizeof address, "user%u", number % 1000);
        struct mailbox_letter letter = { .address = slice_of(address),
                                         .from = SLICE("ann"),
                                         .id = slice_make(id, 36),
                                         .body = slice_make(body, sizeof body),
                                         .thread = slice_make(id, 36) };
        assert(mailbox_append(workers[0].mailbox, &letter, on_benched, NULL) == OK);
    }
    return bench_left == 0 && bench_inflight == 0;
}

static void on_bench_turn(void *arg)
{
    (void)arg;
    if (bench_left)
        bench_step();
}

static int bench(void)
{
    enum { COUNT = 300000 };
    uint64_t start_ns;

    wait_for(all_up, 5000);
    redis_do("CONFIG RESETSTAT");
    redis_do("INFO cpu");
    double cpu = strtod(strstr(reply_text, "used_cpu_user:") + 14, NULL) +
                 strtod(strstr(reply_text, "used_cpu_sys:") + 13, NULL);
    bench_left = COUNT;
    start_ns = clock_monotonic_ns();
    wait_for(bench_step, 60000);
    double seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    redis_do("INFO cpu");
    double used = strtod(strstr(reply_text, "used_cpu_user:") + 14, NULL) +
                  strtod(strstr(reply_text, "used_cpu_sys:") + 13, NULL) - cpu;
    printf("mailbox_append: %.0f a second, Redis CPU %.2f us each (%.0f a second of one core)\n",
           bench_done / seconds, used / bench_done * 1e6, bench_done / used);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: bench_append SOCKET\n", stderr);
        return 2;
    }
    log_set_level(LOG_ERROR);
    snprintf(socket_path, sizeof socket_path, "%s", argv[1]);
    office_start(1);
    loop_add_hook(loop, on_bench_turn, NULL);
    bench();
    office_end();
    return 0;
}
