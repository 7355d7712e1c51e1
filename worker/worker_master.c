/*
 * The worker's conversation with the master, over the socketpair: a new configuration, the order to
 * drain, a new log descriptor come in; "ready" and "applied" go out. When the master is gone, the
 * worker drains by itself.
 */
#include "worker/worker_parts.h"

#include "common/log.h"
#include "shm/slots.h"
#include "worker/entrance/revoked.h"
#include "worker/mailbox/mailbox.h"
#include "worker/reach/bus.h"
#include "worker/reach/nodes.h"
#include "worker/reach/reach.h"
#include "worker/session/session.h"
#include "worker/token/token_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ANSWER_BYTES_MAX = 256 * 1024, /* of answers that a session does not read; past it the session
                                    * is not read either */
    CLOSE_MS = 5000,               /* for the peer's half of a close handshake */
    DRAIN_STEP = 256,              /* goodbyes a turn */
    ORPHAN_DRAIN_MS = 10000,       /* the master is gone */
};

/* ---- configuration ---- */

static void apply_limits(struct office *office)
{
    const struct config *config = office->config;
    struct conn_host *host = &office->host;

    host->message_bytes_max = (uint64_t)config->limits.message_bytes;
    host->queue_bytes_max = (uint64_t)config->limits.queue_bytes;
    host->answer_bytes_max = ANSWER_BYTES_MAX;
    host->ping_ms = (uint32_t)config->limits.ping_s * 1000;
    host->pong_ms = (uint32_t)config->limits.pong_s * 1000;
    host->slow_ms = (uint32_t)config->limits.slow_consumer_s * 1000;
    host->close_ms = CLOSE_MS;
    deflate_host_set(&host->deflate,
                     &(struct deflate_settings){
                         .enabled = config->compression.enabled,
                         .takeover = config->compression.takeover,
                         .level = (uint8_t)config->compression.level,
                         .mem_level = (uint8_t)config->compression.mem_level,
                         .window_bits = (uint8_t)config->compression.window_bits,
                         .min_bytes = (uint64_t)config->compression.min_bytes,
                         .takeover_max = (uint32_t)config->compression.takeover_sessions,
                         .large_per_s = config->compression.large_bytes_per_s,
                     });
    if (office->reach) /* made after the first call */
        reach_set_wait_bytes(office->reach, (uint64_t)config->limits.ring_queue_bytes);
}

static bool same_certificates(const struct config *a, const struct config *b)
{
    if (a->tls.pair_count != b->tls.pair_count)
        return false;
    /* A certificate names its public key: where the chains are the same, so are the private keys.
     */
    for (size_t i = 0; i < a->tls.pair_count; i++)
        if (!slice_equal(slice_make(a->tls.pairs[i].chain, a->tls.pairs[i].chain_len),
                         slice_make(b->tls.pairs[i].chain, b->tls.pairs[i].chain_len)))
            return false;
    return true;
}

enum err worker_take_certificates(struct office *office, const struct config *before)
{
    struct config *config = office->config;
    size_t count = config->tls.pair_count;
    struct tls_pair *pairs = count ? calloc(count, sizeof *pairs) : NULL;
    struct tls_server *made = NULL;
    /* Each live session keeps its contexts, so contexts are made only when they must be. */
    bool needed = count && !(before && office->tls && same_certificates(before, config));

    for (size_t i = 0; pairs && i < count; i++)
        pairs[i] = (struct tls_pair){
            .chain = slice_make(config->tls.pairs[i].chain, config->tls.pairs[i].chain_len),
            .key = slice_make((char *)config->tls.pairs[i].key, config->tls.pairs[i].key_len),
        };
    if (needed && pairs)
        made = tls_server_new(pairs, count, office->tickets);
    free(pairs);
    config_forget_pair_keys(config);
    if (needed && !made)
        return ERR_NOMEM;
    if (made) {
        tls_server_free(office->tls);
        office->tls = made;
    }
    return OK;
}

void worker_apply_config(struct office *office)
{
    apply_limits(office);
    token_memory_configure(office->tokens, office->config);
    log_set_level_named(office->config->log.level);
}

static void on_config_frame(struct worker *worker, struct slice packed)
{
    struct office *office = &worker->office;
    struct config *config = config_unpack(packed), *before = office->config;

    if (config) {
        office->config = config;
        if (worker_take_certificates(office, before)) {
            office->config = before;
            config_free(config);
            config = NULL;
        }
    }
    if (!config) {
        /* No memory. Old keys and revoked tokens must not stay in force: the worker leaves, and its
         * successor starts with the new configuration. */
        log_error("config_not_applied", "reason=\"out of memory\"");
        worker_drain(worker, WS_CLOSE_DRAINING, (uint32_t)office->config->shutdown_s * 1000);
        return;
    }
    config_free(before);
    worker_apply_config(office);
    if (office->mailbox)
        mailbox_configure(office->mailbox, config);
    if (worker->clerk)
        clerk_configure(worker->clerk);
    session_check_revoked(office);
}

/* ---- draining ---- */

void worker_drain_step(struct worker *worker)
{
    struct office *office = &worker->office;

    if (session_drain_some(office, &worker->drain_cursor, DRAIN_STEP, office->drain_code,
                           worker->drain_until_ms))
        loop_again(office->loop);
}

void worker_drain(struct worker *worker, uint16_t code, uint32_t deadline_ms)
{
    struct office *office = &worker->office;

    if (office->draining)
        return;
    log_info("draining", "sessions=%u code=%u", office->host.open_count, code);
    office->draining = true;
    office->drain_code = code;
    worker->drain_until_ms = loop_now_ms(office->loop) + deadline_ms;
    slot_set_state(office->region, office->slot, WORKER_DRAINING);
    gate_close(worker->gate, code != WS_CLOSE_DRAINING);
    loop_timer_set(&worker->deadline, deadline_ms);
}

void worker_on_drain_deadline(void *arg)
{
    struct worker *worker = arg;

    log_warn("drain_deadline", "sessions=%u", worker->office.host.open_count);
    loop_stop(worker->office.loop);
}

/* ---- the master ---- */

static void on_log_frame(struct worker *worker)
{
    int fd = control_take_fd(&worker->control);

    if (fd < 0)
        return;
    fd = log_set_fd(fd);
    if (fd > STDERR_FILENO)
        close(fd);
}

/* The master sends the next configuration or log only after this answer, so two answers never wait
 * together, and the socket has room. */
static void answer_applied(struct worker *worker)
{
    control_send(worker->control_fd, CONTROL_APPLIED, SLICE(""));
}

static void on_control_frame(struct worker *worker, enum control_type type, struct slice payload)
{
    struct control_drain order;

    switch (type) {
    case CONTROL_CONFIG:
        on_config_frame(worker, payload);
        control_wipe(&worker->control);
        answer_applied(worker);
        break;
    case CONTROL_DRAIN:
        if (payload.len != sizeof order)
            break;
        memcpy(&order, payload.data, sizeof order);
        worker_drain(worker, order.close_code, order.deadline_ms);
        break;
    case CONTROL_LOG:
        on_log_frame(worker);
        answer_applied(worker);
        break;
    case CONTROL_RELOADED:
        if (worker->clerk)
            clerk_reloaded(worker->clerk, payload);
        break;
    case CONTROL_READY:
    case CONTROL_APPLIED:
    case CONTROL_RELOAD:
        break;
    }
}

void worker_on_control(void *arg, int fd, unsigned events)
{
    struct worker *worker = arg;
    enum control_type type;
    struct slice payload;
    enum err err = control_fill(&worker->control, fd);

    (void)events;
    while (control_next(&worker->control, &type, &payload) == OK)
        on_control_frame(worker, type, payload);
    if (err != ERR_DOWN && err != ERR_BAD)
        return;
    loop_unwatch(&worker->control_watch);
    if (!worker->office.draining)
        log_error("master_gone", "sessions=%u", worker->office.host.open_count);
    worker_drain(worker, WS_CLOSE_RESTARTING, ORPHAN_DRAIN_MS);
}

/* ---- serving ---- */

void worker_serve(struct worker *worker)
{
    struct office *office = &worker->office;

    if (worker->serving || office->draining)
        return;
    if (gate_open(worker->gate)) {
        log_error("gate_not_opened", "errno=%d", errno);
        worker->failed = true;
        loop_stop(office->loop);
        return;
    }
    worker->serving = true;
    if (worker->clerk)
        clerk_open(worker->clerk);
    loop_timer_cancel(&worker->start_late);
    slot_set_state(office->region, office->slot, WORKER_SERVING);
    control_send(worker->control_fd, CONTROL_READY, SLICE(""));
    log_info("worker_serving", "redis=%s", reach_redis_text(reach_redis(office->reach)));
}

void worker_serve_when_ready(struct worker *worker)
{
    const struct office *office = &worker->office;

    if (bus_is_up(office->bus) && mailbox_is_up(office->mailbox) && nodes_known(office->nodes) &&
        revoked_is_known(office->revoked))
        worker_serve(worker);
}

void worker_on_start_late(void *arg)
{
    ((struct worker *)arg)->is_late = true;
}
