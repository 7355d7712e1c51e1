/*
 * A worker process: makes its parts, wires them, and runs their loop.
 *
 * All news that goes up is wired here: from a connection to its session, from other workers to the
 * router and the doorbell, from the mailboxes to the sessions. The end of each turn of the loop is
 * here too: gather, then act.
 */
#include "worker/worker.h"

#include "common/clock.h"
#include "common/log.h"
#include "config/listen.h"
#include "shm/histograms.h"
#include "shm/slots.h"
#include "worker/delivery/budget.h"
#include "worker/delivery/expiry.h"
#include "worker/delivery/sent.h"
#include "worker/router/doorbell.h"
#include "worker/entrance/catch_up.h"
#include "worker/entrance/inquiries.h"
#include "worker/entrance/life.h"
#include "worker/entrance/revoked.h"
#include "worker/entrance/rivals.h"
#include "worker/entrance/whereabouts.h"
#include "worker/groups/groups.h"
#include "worker/mailbox/mailbox.h"
#include "worker/reach/bus.h"
#include "worker/reach/inquiry.h"
#include "worker/reach/nodes.h"
#include "worker/reach/reach.h"
#include "worker/router/live.h"
#include "worker/router/router.h"
#include "worker/service/service.h"
#include "worker/session/allowance.h"
#include "worker/session/inflation.h"
#include "worker/session/session.h"
#include "worker/token/token.h"
#include "worker/token/token_memory.h"
#include "worker/worker_parts.h"
#include "worker/wire/echo.h"

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>

enum {
    BEAT_MS = 1000,
    ARENA_SIZE = 256 * 1024,
    WAIT_FOR_REDIS_MS = 1000, /* before serving without Redis */
    CATCH_UP_STEP = 256,      /* sessions a turn */
    CATCH_UP_BEATS = 5,       /* beats until failed mailboxes are opened again */
};

/* A SIGTERM that is sent to the worker itself: the worker drains, and the master replaces it. */
static volatile sig_atomic_t term_flag;

static void on_term(int number)
{
    (void)number;
    term_flag = 1;
}

/* ---- other workers ---- */

static void on_relay_deliver(void *arg, const struct slice *recipients, size_t recipient_count,
                             struct msg *msg)
{
    live_deliver(&((struct worker *)arg)->office, recipients, recipient_count, msg);
}

static void on_bus_stored(void *arg, const struct slice *recipients,
                          const struct bus_position *positions, size_t recipient_count,
                          struct slice skip_device, struct msg *msg)
{
    doorbell_heard(&((struct worker *)arg)->office, recipients, positions, recipient_count,
                   skip_device, msg);
}

static void on_bus_work(void *arg, struct slice address)
{
    struct office *office = &((struct worker *)arg)->office;

    if (office->mailbox)
        service_news(office, address);
}

static void on_commands_up(void *arg)
{
    mailbox_redis_up(((struct worker *)arg)->office.mailbox);
}

static void on_commands_down(void *arg)
{
    mailbox_redis_down(((struct worker *)arg)->office.mailbox);
}

static void on_mailbox_up(void *arg, struct slice epoch, bool changed)
{
    struct worker *worker = arg;

    /* First: which workers live is known before the sessions are entered again. */
    nodes_renew(worker->office.nodes);
    revoked_redis_up(worker->office.revoked, changed);
    whereabouts_up(&worker->office);
    catch_up_mailbox_up(&worker->office, epoch, changed);
    if (changed)
        log_warn("stored_data_lost", "epoch=%.*s", (int)epoch.len, epoch.data);
    worker_serve_when_ready(worker);
}

static void on_bus_deliver(void *arg, const struct slice *recipients, size_t recipient_count,
                           struct msg *msg)
{
    reach_catch_up(((struct worker *)arg)->office.reach);
    on_relay_deliver(arg, recipients, recipient_count, msg);
}

static void on_kick(void *arg, uint64_t session_number, uint16_t close_code)
{
    struct office *office = &((struct worker *)arg)->office;
    struct session *session = session_open_by_number(office, session_number);

    if (!session)
        return;
    stats_add(office->stats, STAT_replaced, 1);
    session_say_goodbye(session, close_code, "a newer session took its place", 0);
}

static void on_company(void *arg, uint64_t session_number)
{
    struct session *session = session_by_number(&((struct worker *)arg)->office, session_number);

    if (session)
        session->other_devices = true;
}

static void on_hello(void *arg, struct slice place)
{
    nodes_hello(((struct worker *)arg)->office.nodes, place);
}

/* A clerk asks: worker/entrance/inquiries.h. */
static void on_asked(void *arg, struct slice place, uint64_t number, struct slice question)
{
    struct office *office = &((struct worker *)arg)->office;
    struct buf answer;

    buf_init(&answer, BUS_INQUIRY_BYTES_MAX);
    inquiries_answer(office, question, &answer);
    if (!answer.failed)
        inquiry_tell(office, place, number,
                     buf_slice(&answer)); /* lost: the clerk goes on without */
    buf_fini(&answer);
}

static void on_told(void *arg, uint64_t number, struct slice answer)
{
    struct worker *worker = arg;

    if (number & REVOKED_NUMBER)
        revoked_told(worker->office.revoked, number, answer);
    else if (worker->clerk)
        clerk_told(worker->clerk, number, answer);
}

static void on_revoked(void *arg, struct slice text)
{
    revoked_heard(((struct worker *)arg)->office.revoked, text);
}

static void on_nodes_known(void *arg)
{
    worker_serve_when_ready(arg);
}

static void on_doorbells_lost(void *arg)
{
    catch_up_lightly(&((struct worker *)arg)->office);
}

static void on_bus_up(void *arg)
{
    struct worker *worker = arg;

    if (mailbox_is_up(worker->office.mailbox))
        nodes_renew(worker->office.nodes); /* the hello of another worker may have been missed */
    revoked_refresh(worker->office.revoked);
    rivals_check_replaced(&worker->office);
    catch_up_all(&worker->office); /* doorbells may have been missed */
    worker_serve_when_ready(worker);
}

/* ---- the clock ---- */

/* A tick that comes late has waited for the events of its turn, and of the turn before: so long did
 * the events themselves wait at most. */
static void measure_lag(struct worker *worker)
{
    uint64_t now_ns = clock_monotonic_ns();

    if (worker->tick_due_ns)
        histogram_add(worker->office.stats, HISTOGRAM_LOOP_LAG,
                      now_ns > worker->tick_due_ns ? now_ns - worker->tick_due_ns : 0);
}

static void set_tick(struct worker *worker)
{
    loop_timer_set(&worker->tick, WHEEL_TICK_MS);
    worker->tick_due_ns = clock_monotonic_ns() + (uint64_t)WHEEL_TICK_MS * 1000000;
}

/* Redis is away: sessions begin without it, once it is known what is revoked. */
static void serve_without_redis(struct worker *worker)
{
    const struct office *office = &worker->office;
    bool is_away = worker->is_late || (bus_decided(office->bus) && !bus_is_up(office->bus));

    if (!worker->serving && is_away &&
        (revoked_is_known(office->revoked) || revoked_ask_around(office->revoked)))
        worker_serve(worker);
}

static void on_revocations_known(void *arg)
{
    worker_serve_when_ready(arg);
    serve_without_redis(arg);
}

static void on_tick(void *arg)
{
    struct worker *worker = arg;
    struct office *office = &worker->office;
    uint64_t now_ms = loop_now_ms(office->loop);

    measure_lag(worker);
    slot_beat(office->region, office->slot, now_ms);
    wheel_run(&office->host.wheel, now_ms);
    gate_tick(worker->gate, now_ms);
    if (term_flag)
        worker_drain(worker, WS_CLOSE_DRAINING, (uint32_t)office->config->shutdown_s * 1000);
    serve_without_redis(worker);
    if (worker->clerk)
        revoked_ask_around(office->revoked); /* the clerk before may not have told Redis all */
    if (!worker->serving && office->mailbox && *mailbox_fault(office->mailbox)) {
        log_error("mailbox_unfit", "reason=\"%s\"", mailbox_fault(office->mailbox));
        worker->failed = true;
        loop_stop(office->loop);
    }
    set_tick(worker);
}

/* The end of the turn does the work. */
static void on_pause_ended(void *arg)
{
    (void)arg;
}

static void on_beat(void *arg)
{
    struct worker *worker = arg;
    struct office *office = &worker->office;
    uint64_t in = stats_get(office->stats, STAT_messages_in);
    uint64_t out = stats_get(office->stats, STAT_messages_out);

    allowances_tick(office);
    deflate_host_beat(&office->host.deflate);
    if (office->mailbox) {
        mailbox_tick(office->mailbox);
        service_beat(office);
        budget_beat(office);
        if (neighbours_failed(&worker->neighbours, office->region))
            catch_up_lightly(office);
        if (mailbox_is_up(office->mailbox))
            nodes_beat(office->nodes);
        expiry_tick(office);
        if (office->catch_up_again && ++worker->beats % CATCH_UP_BEATS == 0) {
            office->catch_up_again = false;
            catch_up_all(office);
        }
    }
    revoked_beat(office->revoked);
    if (worker->clerk)
        clerk_beat(worker->clerk);
    log_settle();
    stats_set(office->stats, STAT_log_lines_lost, log_lines_dropped());
    stats_set(office->stats, STAT_group_rows, sessions_group_count(office->table));
    stats_set(office->stats, STAT_redis_connections, bus_connections_up(office->bus));
    stats_set(office->stats, STAT_queued_bytes, office->host.waiting_bytes);
    stats_set(office->stats, STAT_rate_in, in - worker->last_in);
    stats_set(office->stats, STAT_rate_out, out - worker->last_out);
    worker->last_in = in;
    worker->last_out = out;
    loop_timer_set(&worker->beat, BEAT_MS);
}

/* Where the mailboxes count what the worker's counters show. */
static const struct {
    size_t offset; /* in struct mailbox_counts */
    enum stat_id stat;
} mailbox_stats[] = {
#define COUNT(member, stat)                                                                        \
    {                                                                                              \
        offsetof(struct mailbox_counts, member), STAT_##stat                                       \
    }
    COUNT(trimmed, mailbox_trimmed),
    COUNT(repeated, mailbox_repeated),
    COUNT(retried, mailbox_retried),
    COUNT(errors, mailbox_errors),
    COUNT(bad, mailbox_bad),
    COUNT(places_dropped, places_dropped),
    COUNT(devices_forgotten, devices_forgotten),
    COUNT(pages_waited, pages_waited),
    COUNT(turns_waited, turns_waited),
    COUNT(bodies_shared, bodies_shared),
    COUNT(bodies_gone, bodies_gone),
#undef COUNT
};
_Static_assert(sizeof mailbox_stats / sizeof mailbox_stats[0] * sizeof(uint64_t) ==
                   sizeof(struct mailbox_counts),
               "each count of the mailboxes has a counter");

/* Not inlined: a turn without counts must stay cheap. */
static __attribute__((noinline)) void count_mailbox(struct office *office)
{
    struct mailbox_counts counts = mailbox_take_counts(office->mailbox);

    for (size_t i = 0; i < sizeof mailbox_stats / sizeof mailbox_stats[0]; i++) {
        uint64_t count = *(const uint64_t *)((const char *)&counts + mailbox_stats[i].offset);
        if (count)
            stats_add(office->stats, mailbox_stats[i].stat, count);
    }
}

/* The end of each turn: records of the rings are delivered, then everything for Redis leaves in one
 * write, and everything for each socket in one write. */
static void on_turn_end(void *arg)
{
    struct worker *worker = arg;
    struct office *office = &worker->office;

    if (office->draining)
        worker_drain_step(worker);
    revoked_turn(office->revoked);
    if (worker->clerk)
        clerk_turn(worker->clerk);
    inflation_turn(office);
    groups_turn(office);
    if (office->mailbox) {
        if (catch_up_some(office, CATCH_UP_STEP))
            loop_again(office->loop);
        session_resume_stalled(office);
        sent_flush(office);
        service_flush(office);
        mailbox_flush(office->mailbox);
        if (mailbox_has_counts(office->mailbox))
            count_mailbox(office);
    }
    reach_flush(office->reach);
    conn_host_flush(&office->host);
    if (office->mailbox && service_waits(office)) /* a socket has just broken */
        loop_again(office->loop);
    gate_flush(worker->gate);
    if (office->mailbox && mailbox_flush_again(office->mailbox))
        loop_again(office->loop);
    if (office->mailbox && mailbox_wait_ms(office->mailbox))
        loop_timer_set(&worker->pause, mailbox_wait_ms(office->mailbox));
    if (office->draining && office->host.open_count == 0 && gate_pending(worker->gate) == 0 &&
        service_settled(office) && (!worker->clerk || clerk_leave(worker->clerk)))
        loop_stop(office->loop);
}

/* ---- life ---- */

static const struct conn_calls session_calls = {
    .message = router_message,
    .inflated = inflation_note,
    .deadline = session_on_deadline,
    .stored_left = life_on_stored_left,
    .has_room = life_on_room,
    .owes_answers = session_owes_answers,
    .last_word = session_last_word,
    .closing = life_on_closing,
    .gone = life_on_gone,
};

static enum err open_office(struct worker *worker, const struct worker_start *start)
{
    struct office *office = &worker->office;

    office->region = start->region;
    office->slot = start->slot;
    office->incarnation = start->incarnation;
    office->node = start->node;
    office->stats = stats_row(start->region, start->slot);
    arena_init(&office->arena, ARENA_SIZE);
    office->config = start->config;
    config_lock_secrets();
    office->tickets = start->tickets;
    if (office->tickets) /* first of all: nothing of this process writes there */
        tickets_protect(office->tickets);
    if (worker_take_certificates(office, NULL))
        return ERR_NOMEM;
    office->loop = loop_new();
    office->table = sessions_writer_new(start->region, start->slot);
    office->groups = groups_new(office);
    office->tokens = token_memory_new();
    if (!office->loop || !office->table || !office->groups || !office->tokens ||
        directory_init(&office->directory))
        return ERR_NOMEM;
    conn_host_init(&office->host, office->loop, office->stats, &session_calls, office);
    worker_apply_config(office);
    return OK;
}

static enum err open_mailbox(struct worker *worker)
{
    struct office *office = &worker->office;
    struct mailbox_events events = { .up = on_mailbox_up, .arg = worker };
    char place[PLACE_MAX];
    size_t len = bus_place(place, office->node, office->slot, office->incarnation);

    office->mailbox =
        mailbox_new(bus_commands(office->bus), office->config, slice_make(place, len), &events);
    if (office->mailbox && bus_replicas(office->bus))
        mailbox_confirm_by(office->mailbox, bus_replicas(office->bus));
    office->nodes =
        nodes_new(office, &(struct nodes_events){
                              .known = on_nodes_known, .lost = on_doorbells_lost, .arg = worker });
    office->clock_ahead_ns = clock_unix_ms() * 1000000 - (int64_t)clock_monotonic_ns();
    return office->mailbox && office->nodes ? OK : ERR_NOMEM;
}

static enum err open_clerk(struct worker *worker, const struct worker_start *start)
{
    struct clerk_door doors[LISTEN_MAX];

    if (start->admin_count == 0)
        return OK;
    for (size_t i = 0; i < start->admin_count && i < LISTEN_MAX; i++)
        doors[i] = (struct clerk_door){ start->admin_doors[i].fd, start->admin_doors[i].is_local,
                                        start->admin_doors[i].is_secure };
    worker->clerk = clerk_new(&worker->office, doors, start->admin_count, worker->control_fd);
    return worker->clerk ? OK : ERR_SYSTEM;
}

static enum err open_rest(struct worker *worker, const struct worker_start *start)
{
    struct office *office = &worker->office;
    struct bus_events bus_events = {
        .deliver = on_bus_deliver,
        .stored = on_bus_stored,
        .kick = on_kick,
        .up = on_bus_up,
        .commands_up = on_commands_up,
        .commands_down = on_commands_down,
        .company = on_company,
        .hello = on_hello,
        .work = on_bus_work,
        .asked = on_asked,
        .told = on_told,
        .revoked = on_revoked,
        .arg = worker,
    };
    struct bus_events relay_events = {
        .deliver = on_relay_deliver,
        .stored = on_bus_stored,
        .kick = on_kick,
        .asked = on_asked,
        .told = on_told,
        .revoked = on_revoked,
        .arg = worker,
    };

    office->revoked = revoked_new(office, start->admin_count > 0, on_revocations_known, worker);
    if (!office->revoked)
        return ERR_NOMEM;
    office->bus = bus_new(office->loop, office->config, office->region, office->stats, office->node,
                          office->slot, office->incarnation, &bus_events);
    if (!office->bus || (bus_is_configured(office->bus) && open_mailbox(worker)))
        return ERR_NOMEM;
    office->service = service_new(office);
    if (!office->service)
        return ERR_NOMEM;
    office->ring = doorbell_ring;
    office->work = service_news;
    office->catch_up_at = UINT32_MAX;
    office->reach = reach_new(office->loop, office->region, office->stats, office->slot,
                              office->bus, &relay_events);
    worker->gate = gate_new(office, start->listen_fds, start->listen_count, start->plain_count);
    if (!office->reach || !worker->gate)
        return ERR_NOMEM;
    reach_set_wait_bytes(office->reach, (uint64_t)office->config->limits.ring_queue_bytes);
    control_reader_init(&worker->control);
    worker->control_fd = start->control_fd;
    if (loop_watch(office->loop, &worker->control_watch, start->control_fd, LOOP_READ,
                   worker_on_control, worker))
        return ERR_SYSTEM;
    loop_add_hook(office->loop, on_turn_end, worker);
    loop_timer_init(office->loop, &worker->tick, on_tick, worker);
    loop_timer_init(office->loop, &worker->beat, on_beat, worker);
    loop_timer_init(office->loop, &worker->pause, on_pause_ended, worker);
    loop_timer_init(office->loop, &worker->start_late, worker_on_start_late, worker);
    loop_timer_init(office->loop, &worker->deadline, worker_on_drain_deadline, worker);
    if (gate_open_early(worker->gate) || open_clerk(worker, start))
        return ERR_SYSTEM;
    on_tick(worker);
    on_beat(worker);
    loop_timer_set(&worker->start_late, WAIT_FOR_REDIS_MS);
    return OK;
}

/* Sessions that are left at the deadline: their sockets are closed, and their unsent mail is
 * counted. */
static void close_office(struct worker *worker)
{
    struct office *office = &worker->office;

    for (uint32_t i = 0; i < office->session_used; i++)
        if (office->sessions[i])
            conn_abort(&office->sessions[i]->conn);
    if (office->mailbox && mailbox_is_up(office->mailbox))
        nodes_leave(office->nodes);
    if (office->mailbox)
        mailbox_flush(office->mailbox);
    bus_flush(office->bus);
    office->closed = true;
    mailbox_free(office->mailbox);
    office->mailbox = NULL;
    whereabouts_fini(office);
    nodes_free(office->nodes);
    sent_free(office);
    budget_free(office);
    reach_free(office->reach);
    bus_free(office->bus);
    service_free(office->service);
    conn_host_flush(&office->host);
    gate_free(worker->gate);
    clerk_free(worker->clerk);
    groups_free(office->groups);
    allowances_free(office);
    revoked_free(office->revoked);
    token_memory_free(office->tokens);
    sessions_writer_free(office->table);
    directory_fini(&office->directory);
    arena_fini(&office->arena);
    control_reader_fini(&worker->control);
    loop_unwatch(&worker->control_watch);
    free(office->sessions);
    free(office->free_indexes);
    tls_server_free(office->tls);
    config_free(office->config);
    loop_free(office->loop);
}

int worker_run(const struct worker_start *start)
{
    static struct worker worker;
    struct sigaction action = { .sa_handler = on_term };

    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    log_set_worker((int)start->slot);
    if (token_init() || region_protect(start->region, start->slot) || open_office(&worker, start) ||
        open_rest(&worker, start)) {
        log_error("worker_not_started", "reason=\"no memory or no descriptors\"");
        return WORKER_EXIT_FATAL;
    }
    loop_run(worker.office.loop);
    log_info("worker_leaves", "sessions=%u", worker.office.host.open_count);
    close_office(&worker);
    return worker.failed ? WORKER_EXIT_FATAL : 0;
}

int worker_echo_test(uint16_t port, bool deflate, bool takeover, struct slice chain,
                     struct slice key)
{
    struct tls_pair pair = { chain, key };

    return echo_run(port,
                    takeover  ? ECHO_TAKEOVER
                    : deflate ? ECHO_DEFLATE
                              : ECHO_PLAIN,
                    chain.len ? &pair : NULL);
}
