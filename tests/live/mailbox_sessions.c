/*
 * worker/mailbox: cursors of devices, the places of an address, the leases of workers.
 */
#include "mailbox_fixture.h"

static bool acked;

static void on_acked(void *arg, bool ok)
{
    (void)arg;
    acked = ok;
}

static bool ack_came(void)
{
    return acked;
}

static bool ack(const char *address, const char *device, struct seq seq)
{
    acked = false;
    return mailbox_ack(workers[0].mailbox, slice_of(address), slice_of(device), seq, on_acked,
                       NULL) == OK &&
           wait_for(ack_came, WAIT_MS);
}

static void test_open_and_ack(void)
{
    check(open_now(0, "carl", "phone") && !opened.known_device && opened.last.ms == 0 &&
              opened.device_count == 1 && opened.cursor_epoch_ok,
          "a new device of an empty mailbox");
    check(open_now(1, "carl", "") && opened.device_count == 2, "a device without a name");
    letters_reset();
    append_many(0, "carl", 10);
    check(wait_for(all_answered, WAIT_MS) && all_are(MAILBOX_STORED) && sent[3].elsewhere == 1,
          "an append names the other worker's place");
    check(ack("carl", "phone", sent[5].seq) && ack("carl", "phone", sent[2].seq) &&
              open_now(0, "carl", "phone") && opened.known_device &&
              seq_compare(opened.cursor, sent[5].seq) == 0 && opened.cursor_epoch_ok,
          "a cursor never goes back");
    check(seq_compare(opened.last, sent[9].seq) == 0, "the newest");
    mailbox_leave(workers[1].mailbox, SLICE("carl"));
    check(open_now(1, "dora", "x") && append_one("carl", "z", MAILBOX_STORED) &&
              sent[0].elsewhere == 0,
          "who left is not named");
    redis_do("HSET po:{carl}:at host:9:9 1");
    check(append_one("carl", "z2", MAILBOX_STORED) && sent[0].elsewhere == 1, "a stale place …");
    mailbox_forget_place(workers[0].mailbox, SLICE("carl"), SLICE("host:9:9"));
    check(append_one("carl", "z3", MAILBOX_STORED) && sent[0].elsewhere == 0, "… is forgotten");
}

/* --- places and leases --- */

static struct at_session first_other;
static char first_live[64];
static size_t live_count;
static uint64_t losses;
static bool leased_came, left_came;

static void on_entered(void *arg, const struct mailbox_opened *got)
{
    on_opened(arg, got);
    first_other = got->other_count ? got->others[0] : (struct at_session){ .number = 0 };
}

static bool enter(unsigned worker, struct mailbox_entrant entrant)
{
    opened_came = false;
    return mailbox_enter(workers[worker].mailbox, SLICE("emil"), &entrant, on_entered, NULL) ==
               OK &&
           wait_for(open_came, WAIT_MS) && opened.ok;
}

static bool left(void)
{
    return left_came;
}

static void on_left(void *arg, bool ok)
{
    (void)arg;
    left_came = ok;
}

static void on_leased(void *arg, const struct mailbox_lease_answer *answer)
{
    (void)arg;
    live_count = answer->ok ? answer->count : 99;
    losses = answer->losses;
    if (answer->count)
        snprintf(first_live, sizeof first_live, "%.*s", (int)answer->places[0].len,
                 answer->places[0].data);
    leased_came = true;
}

static bool lease_came(void)
{
    return leased_came;
}

static size_t lease(unsigned worker, bool lost)
{
    leased_came = false;
    if (mailbox_lease(workers[worker].mailbox, 300, SLICE("hello"), lost, on_leased, NULL) ||
        !wait_for(lease_came, WAIT_MS))
        return 98;
    return live_count;
}

static void test_order_of_sessions(void)
{
    uint64_t first;

    check(enter(0, (struct mailbox_entrant){ .device = SLICE("a"), .number = 1 }) &&
              opened.other_count == 0,
          "the first session of an address");
    first = opened.opened_us;
    check(enter(1, (struct mailbox_entrant){ .device = SLICE("b"), .number = 2 }) &&
              opened.other_count == 1 && first_other.number == 1 && first_other.opened_us == first,
          "the next one sees it …");
    check(opened.opened_us > first, "… and is newer");
    check(
        enter(0,
              (struct mailbox_entrant){ .device = SLICE("a"), .number = 1, .opened_us = first }) &&
            opened.opened_us == first && opened.other_count == 1 && first_other.number == 2,
        "entered again, it is as old as before");
    check(enter(0,
                (struct mailbox_entrant){
                    .device = SLICE("c"), .number = 3, .late = true, .age_us = 3600000000 }) &&
              opened.opened_us < first && opened.other_count == 2,
          "one that began without Redis an hour ago is older");
    check(append_one("emil", "m1", MAILBOX_STORED) && sent[0].elsewhere == 3,
          "an append names them");
    check(mailbox_leave_session(workers[0].mailbox, SLICE("emil"), 3, on_left, NULL) == OK &&
              wait_for(left, WAIT_MS) && redis_do("HLEN po:{emil}:at") == 2,
          "who leaves is named no more, the others are");
}

static void test_forget(void)
{
    struct redis_events none = { NULL, NULL, NULL };
    struct redis *listener = redis_new(loop, &config, "listener", &none);

    redis_subscribe(listener, SLICE("po:w:host:1:101"), NULL, NULL);
    while (!redis_is_up(listener)) { /* until `listener` is subscribed */
        redis_flush(listener);
        redis_do("PING");
    }
    mailbox_forget_place(workers[0].mailbox, SLICE("emil"), SLICE("host:1:101"));
    check(append_one("emil", "m2", MAILBOX_STORED) && sent[0].elsewhere == 2,
          "a place where somebody listens is not forgotten");
    redis_free(listener);
    while (redis_do("PUBLISH po:w:host:1:101 x") != 0)
        ; /* until Redis has noticed the closed connection */
    mailbox_forget_place(workers[0].mailbox, SLICE("emil"), SLICE("host:1:101"));
    check(append_one("emil", "m3", MAILBOX_STORED) && sent[0].elsewhere == 1 &&
              redis_do("HEXISTS po:{emil}:at host:0:100/1") == 1,
          "a silent one is, with all its sessions, and no other");
}

static void test_leases(void)
{
    check(lease(0, false) == 1 && lease(1, false) == 2 && lease(0, false) == 2,
          "workers that live know of each other");
    check(losses == 0 && lease(0, true) == 2 && losses == 1 && lease(1, false) == 2 && losses == 1,
          "that doorbells were lost is counted for all");
    check(redis_do("ZADD po:places 1 host:7:7") == 1 && lease(0, false) == 2 && losses == 2,
          "a lease that has ended is gone, and counts too");
    mailbox_end_lease(workers[0].mailbox, SLICE("host:1:101"));
    check(lease(0, false) == 1 && strcmp(first_live, "host:0:100") == 0 && losses == 2,
          "one that was given back is gone without that");
}

int main(void)
{
    static void (*const promises[])(void) = { test_open_and_ack, test_order_of_sessions,
                                              test_forget, test_leases, NULL };

    return live_run(promises);
}
