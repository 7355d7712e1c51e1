/*
 * worker/mailbox: all workers notice a loss of data, and agree on one new epoch.
 */
#include "mailbox_fixture.h"

static bool both_changed(void)
{
    return workers[0].changes && workers[1].changes;
}

static void test_flushall(void)
{
    redis_do("FLUSHALL");
    check(wait_for(both_changed, WAIT_MS), "FLUSHALL: everybody is told");
    check(strcmp(workers[0].epoch, workers[1].epoch) == 0, "the same new epoch");
    letters_reset();
    check(wait_for(all_up, WAIT_MS) && workers[0].changes == 1 && workers[1].changes == 1, "once");
}

static void test_came_back_empty(void)
{
    char path[160];

    workers[0].changes = workers[1].changes = 0;
    append_one("gone", "x", MAILBOX_STORED);
    server_kill();
    wait_for(all_down, WAIT_MS);
    snprintf(path, sizeof path, "%s/appendonlydir", folder);
    remove_tree(path);
    server_start();
    check(wait_for(both_changed, WAIT_MS) && wait_for(all_up, WAIT_MS), "it came back empty: told");
    check(strcmp(workers[0].epoch, workers[1].epoch) == 0, "the same new epoch");
}

static void test_tail_lost(void)
{
    workers[0].changes = workers[1].changes = 0;
    append_one("tail", "x1", MAILBOX_STORED);
    append_one("tail", "x2", MAILBOX_STORED);
    redis_do("DEL po:{tail}:box");
    redis_do("CLIENT KILL TYPE normal SKIPME yes");
    check(wait_for(both_changed, WAIT_MS) && wait_for(all_up, WAIT_MS),
          "only the newest append is gone: told after a reconnect");
}

int main(void)
{
    static void (*const promises[])(void) = { test_flushall, test_tail_lost, test_came_back_empty,
                                              NULL };

    return live_run(promises);
}
