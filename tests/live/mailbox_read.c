/*
 * worker/mailbox: pages of a mailbox, by time and by thread.
 */
#include "mailbox_fixture.h"

static void test_history(void)
{
    char id[32];

    letters_reset();
    append_as(0, "talk", "root", "root");
    for (unsigned i = 1; i < 10000; i++) {
        snprintf(id, sizeof id, "t%u", i);
        append_as(0, "talk", id, i % 200 == 100 && i < 9900 ? "root" : id);
    }
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_STORED),
          "ten thousand, 50 of a thread");
    redis_do("CONFIG RESETSTAT");
    check(history("talk", "root", (struct seq){ 0, 0 }, 200) == 50 &&
              strcmp(seen_ids[49], "root") == 0 && strcmp(seen_ids[0], "t9700") == 0 && page.end,
          "the thread, newest first, its first message last");
    uint64_t reads = calls_of("xrange");
    check(reads == 50 && calls_of("xrevrange") == 0, "and no more than the thread was read");
    struct seq tenth;
    check(history("talk", "root", (struct seq){ 0, 0 }, 10) == 10 && !page.end, "by pages");
    tenth = seen[9];
    check(history("talk", "root", tenth, 40) == 40 && strcmp(seen_ids[39], "root") == 0,
          "the second page goes on");
    check(history("talk", "nothing", tenth, 40) == 0 && page.ok, "a thread that is not there");
    check(history("talk", NULL, sent[100].seq, 20) == 20 &&
              seq_compare(seen[0], sent[99].seq) == 0 && seq_compare(seen[19], sent[80].seq) == 0,
          "by time");
    check(read_all(0, "talk") == 10000 && stored_in_order("talk"), "pages, in order");
}

int main(void)
{
    static void (*const promises[])(void) = { test_history, NULL };

    return live_run(promises);
}
