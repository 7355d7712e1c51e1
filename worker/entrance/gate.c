#include "worker/entrance/gate.h"

#include "common/clock.h"
#include "common/log.h"
#include "shm/origins.h"
#include "shm/slots.h"
#include "worker/entrance/visitor.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ACCEPT_BATCH = 16,       /* connections a turn */
    EMERGENCY_MS = 500,      /* a pause when the system has no descriptors or no memory */
    YIELD_MS = 5,            /* for which a connection is left to less loaded workers */
    YIELD_PATIENCE_MS = 250, /* in all, before the connection is taken anyway */
    /* In a rush a worker may be ahead of the least loaded worker by LEAD_MIN connections and a 32nd
     * (LEAD_SHIFT) of its own. */
    LEAD_MIN = 4,
    LEAD_SHIFT = 5,
    /* Unsent bytes of a connection in the kernel, beside those on their way. Without this bound the
     * kernel takes some 4 MB for a peer that does not read: memory for a backlog that shall cost a
     * page, and messages that no higher level can overtake any more. */
    KERNEL_UNSENT_BYTES = 128 * 1024,
    AWAIT_MS = 50,  /* for which a worker that does not serve leaves connections to those that do */
    CROWD_MAX = 16, /* connections of such a worker: the others wait to be shared out evenly */
    CALM_MS = 3,    /* without a connection: no rush, and even a lead of one gives way once */
};

/* A listening socket. */
struct door {
    struct gate *gate;
    struct loop_watch watch;
    int fd;
    bool secure; /* TLS */
};

struct gate {
    struct office *office;
    struct visitors visitors;
    struct loop_timer resume;
    uint64_t yielding_since_ms, resumed_at_ms, active_at_ms;
    bool serving, watching;
    bool gave_way; /* in calm times, for the connection that waits now; once is enough */
    uint32_t door_count;
    struct door doors[];
};

uint32_t gate_pending(const struct gate *gate)
{
    return gate->visitors.count - gate->visitors.late_count;
}

static enum err rewatch_doors(struct gate *gate, unsigned events)
{
    enum err err = OK;

    for (uint32_t i = 0; i < gate->door_count; i++)
        if (loop_rewatch(gate->office->loop, &gate->doors[i].watch, events))
            err = ERR_SYSTEM;
    return err;
}

static void pause_accepting(struct gate *gate, uint64_t ms)
{
    rewatch_doors(gate, 0);
    loop_timer_set(&gate->resume, ms);
}

static void on_resume(void *arg)
{
    struct gate *gate = arg;

    gate->resumed_at_ms = loop_now_ms(gate->office->loop);
    if (rewatch_doors(gate, LOOP_READ))
        loop_timer_set(&gate->resume, EMERGENCY_MS);
}

/* A clear lead gives way, but for YIELD_PATIENCE_MS at most while connections keep waiting: the
 * other workers may be unable to accept. */
static bool yield_clear_lead(struct gate *gate, uint64_t now_ms)
{
    /* Right after a pause the same connections are still waiting; at any other time new ones are.
     */
    if (gate->yielding_since_ms == 0 || now_ms > gate->resumed_at_ms + YIELD_MS)
        gate->yielding_since_ms = now_ms;
    return now_ms - gate->yielding_since_ms < YIELD_PATIENCE_MS;
}

/* Should the next connection be left to a worker with fewer connections? */
static bool should_yield(struct gate *gate)
{
    struct office *office = gate->office;
    uint32_t mine = office->host.open_count + gate->visitors.count;
    uint64_t now_ms = loop_now_ms(office->loop);
    uint32_t least = slots_least_loaded(office->region, now_ms);
    bool calm = now_ms >= gate->active_at_ms + CALM_MS + YIELD_MS && !gate->gave_way;

    gate->active_at_ms = now_ms;
    if (least < mine && mine - least > LEAD_MIN + (mine >> LEAD_SHIFT))
        return yield_clear_lead(gate, now_ms);
    gate->yielding_since_ms = 0;
    gate->gave_way = least < mine && calm;
    return gate->gave_way;
}

/* Returns false when no more connections can be accepted now. */
static bool accept_one(struct door *door)
{
    struct gate *gate = door->gate;
    struct office *office = gate->office;
    struct sockaddr_storage peer;
    socklen_t peer_len = sizeof peer;
    int on = 1, unsent_bytes = KERNEL_UNSENT_BYTES;
    int fd = accept4(door->fd, (struct sockaddr *)&peer, &peer_len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return false;
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            stats_add(office->stats, STAT_accept_paused, 1);
            log_rarely(LOG_WARN, "", "accept_paused", "errno=%d ms=%d", errno, EMERGENCY_MS);
            pause_accepting(gate, EMERGENCY_MS);
            return false;
        }
        return true; /* the connection was gone already (ECONNABORTED and the like) */
    }
    stats_add(office->stats, STAT_connections_accepted, 1);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_bytes, sizeof unsent_bytes);
    visitor_start(&gate->visitors, fd, (struct sockaddr *)&peer, door->secure);
    slot_set_pending(office->region, office->slot, gate->visitors.count);
    return true;
}

static bool somebody_serves(const struct gate *gate)
{
    return slots_least_loaded(gate->office->region, loop_now_ms(gate->office->loop)) != UINT32_MAX;
}

static void on_acceptable(void *arg, int fd, unsigned events)
{
    struct door *door = arg;
    struct gate *gate = door->gate;
    struct turnstile *turnstile = &gate->visitors.turnstile;

    (void)fd;
    (void)events;
    for (int i = 0; i < ACCEPT_BATCH && turnstile_admits(turnstile); i++) {
        uint64_t began_ns = clock_monotonic_ns();
        if (!gate->serving && (somebody_serves(gate) || gate->visitors.count >= CROWD_MAX)) {
            pause_accepting(gate, AWAIT_MS);
            return;
        }
        if (gate->serving && should_yield(gate)) {
            pause_accepting(gate, YIELD_MS);
            return;
        }
        if (!accept_one(door))
            return;
        turnstile_spend(turnstile, clock_monotonic_ns() - began_ns);
    }
}

struct gate *gate_new(struct office *office, const int *listen_fds, uint32_t listen_count,
                      uint32_t plain_count)
{
    struct gate *gate = calloc(1, sizeof *gate + listen_count * sizeof gate->doors[0]);

    if (!gate)
        return NULL;
    gate->office = office;
    gate->door_count = listen_count;
    for (uint32_t i = 0; i < listen_count; i++) {
        gate->doors[i].gate = gate;
        gate->doors[i].fd = listen_fds[i];
        gate->doors[i].secure = i >= plain_count;
    }
    visitors_init(&gate->visitors, office);
    loop_timer_init(office->loop, &gate->resume, on_resume, gate);
    return gate;
}

static void unwatch_doors(struct gate *gate, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        loop_unwatch(&gate->doors[i].watch);
}

void gate_free(struct gate *gate)
{
    if (!gate)
        return;
    unwatch_doors(gate, gate->watching ? gate->door_count : 0);
    loop_timer_cancel(&gate->resume);
    visitors_fini(&gate->visitors);
    free(gate);
}

static enum err watch_doors(struct gate *gate)
{
    for (uint32_t i = 0; i < gate->door_count; i++) {
        struct door *door = &gate->doors[i];
        if (loop_watch(gate->office->loop, &door->watch, door->fd, LOOP_READ, on_acceptable,
                       door)) {
            unwatch_doors(gate, i);
            return ERR_SYSTEM;
        }
    }
    gate->watching = true;
    return OK;
}

enum err gate_open_early(struct gate *gate)
{
    gate->visitors.starting = true;
    return watch_doors(gate);
}

enum err gate_open(struct gate *gate)
{
    enum err err = gate->watching ? rewatch_doors(gate, LOOP_READ) : watch_doors(gate);

    if (err)
        return err;
    gate->serving = true;
    loop_timer_cancel(&gate->resume); /* of a pause before the worker served */
    visitors_begin(&gate->visitors);
    return OK;
}

void gate_close(struct gate *gate, bool whole_server)
{
    gate->serving = false;
    if (!whole_server) {
        unwatch_doors(gate, gate->watching ? gate->door_count : 0);
        loop_timer_cancel(&gate->resume);
        gate->watching = false;
    }
    visitors_turn_away(&gate->visitors);
}

void gate_flush(struct gate *gate)
{
    if (!turnstile_rests(&gate->visitors.turnstile))
        visitors_go_on(&gate->visitors);
    if (visitors_flush(&gate->visitors))
        slot_set_pending(gate->office->region, gate->office->slot, gate->visitors.count);
}

void gate_tick(struct gate *gate, uint64_t now_ms)
{
    wheel_run(&gate->visitors.wheel, now_ms);
}
