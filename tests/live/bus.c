/*
 * worker/reach/bus: publishes arrive once and in order, and every answer comes once, whatever
 * happens to Redis and to the connections.
 *
 * The shared memory that a worker has (living slots, counters) is faked below.
 */
#include "steps.h"

#include "shm/histograms.h"
#include "shm/slots.h"
#include "worker/reach/bus.h"

enum { BURST = 1000 };

/* --- the shared memory --- */

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

void histogram_add(struct stats_row *row, enum histogram_id id, uint64_t ns)
{
    (void)row, (void)id, (void)ns;
}

/* --- two workers on one bus --- */

static struct peer {
    struct bus *bus;
    unsigned ups, kicks, delivered;
    bool disorder;
} alice, bob;

enum { SENT_MAX = 2 * BURST };
static unsigned answers[SENT_MAX];
static unsigned sent, heard, unheard; /* bus_publish that returned OK, and its answers */

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

/* --- the steps --- */

static struct redis *admin;

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
    return both_down() && heard + unheard == 10 && counters[STAT_redis_reconnects] == 4 &&
           counters[STAT_redis_timeouts] == 0;
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
    return redis_is_up(admin) && redis_tried(admin) && connection_ups == 1;
}

static bool admin_is_back(void)
{
    /* lost with the killed server, and perhaps with the stopped one before */
    return redis_is_up(admin) && connection_downs >= 1 && connection_ups == connection_downs + 1;
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

static const struct step list[] = {
    { "with no server the first attempts are decided soon", start_peers, first_attempts_failed },
    { "both find the server when it comes", restart_server, up_once_each },
    { "a thousand publishes arrive in order, each heard once", publish_burst, burst_arrived },
    { "a kick arrives, one for an incarnation that is gone is not sent", kick, kicked },
    { "a publish that nobody hears says so", publish_to_nobody, one_unheard },
    { "a connection of its own comes up in database 3", connect_admin, admin_up },
    { "what is no frame is counted and hurts nobody", send_nonsense, nonsense_counted },
    { "SIGSTOP: what was sent is lost once, within the time-out", stop_server, ten_lost_and_down },
    { "SIGCONT: up again", continue_server, up_once_each },
    { "and works", publish_burst, burst_arrived },
    { "kill -9: what was queued is answered once, both are down at once", kill_server,
      ten_answered_and_down },
    { "started again: up again", restart_server, up_once_each },
    { "and works", publish_burst, burst_arrived },
    { "the admin is back too", nothing, admin_is_back },
    { "CLIENT KILL of the subscribers: subscribed again", cut_inboxes, two_reconnects },
    { "and works", publish_burst, burst_arrived },
    { "CLIENT KILL of the others: up again", cut_commands, two_reconnects },
    { "and works", publish_burst, burst_arrived },
    { "idle for four time-outs: nothing is lost", idle, idled_undisturbed },
};

static void flush_peers(void)
{
    bus_flush(alice.bus);
    bus_flush(bob.bus);
    if (admin)
        redis_flush(admin);
}

static void explain(void)
{
    printf(
        "       sent=%u heard=%u unheard=%u delivered=%u ups=%u,%u reconnects=%llu timeouts=%llu\n",
        sent, heard, unheard, bob.delivered, alice.ups, bob.ups,
        (unsigned long long)counters[STAT_redis_reconnects],
        (unsigned long long)counters[STAT_redis_timeouts]);
}

static void end(void)
{
    redis_free(admin);
    bus_free(alice.bus);
    bus_free(bob.bus);
}

int main(int argc, char **argv)
{
    static const struct steps steps = { list, sizeof list / sizeof list[0], flush_peers, explain,
                                        end };

    return steps_run(&steps, argc, argv);
}
