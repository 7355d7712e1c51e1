/*
 * Life and state of a worker's access to all mailboxes: made, up, down, flushed each turn, ticked
 * each second, freed. All else is done by the other files of this room; this file alone calls all
 * of them (mailbox_parts.h has their order).
 */
#include "common/clock.h"
#include "common/log.h"
#include "worker/mailbox/ask.h"
#include "worker/mailbox/call.h"
#include "worker/mailbox/mailbox_pages.h"
#include "worker/mailbox/mailbox_replica.h"

#include <stdlib.h>

static const uint64_t TICK_MS = 1000; /* between two calls of mailbox_tick */
static const int64_t YEAR_S = 31536000;

/* --- turns --- */

void mailbox_flush(struct mailbox *mailbox)
{
    mailbox_pages_turn(mailbox);
    mailbox->row.put_late = false;
    if (mailbox->state == MAILBOX_UP && mailbox->row.turns.count > 0)
        row_take_turns(mailbox);
    if (mailbox->scripts_missing && mailbox->state == MAILBOX_STALE)
        mailbox_prepare(mailbox);
    mailbox->scripts_missing = false;
    if (mailbox->state == MAILBOX_UP && mailbox->row.queued_count > 0)
        mailbox_send_queued(mailbox);
    if (mailbox->unconfirmed && mailbox->confirm)
        mailbox_replica_ask(mailbox);
}

bool mailbox_flush_again(const struct mailbox *mailbox)
{
    return mailbox->state == MAILBOX_UP &&
           (mailbox->row.put_late ||
            (mailbox->row.queued_count > 0 && redis_backlog(mailbox->redis) < BACKLOG_BYTES_MAX));
}

uint64_t mailbox_wait_ms(const struct mailbox *mailbox)
{
    return mailbox_pages_wait_ms(mailbox);
}

bool mailbox_is_loaded(const struct mailbox *mailbox)
{
    return row_is_loaded(&mailbox->row);
}

uint16_t mailbox_lane(uint64_t address_key)
{
    return turns_lane(address_key);
}

bool mailbox_lane_is_long(const struct mailbox *mailbox, uint16_t lane)
{
    return turns_is_long(&mailbox->row.turns, lane);
}

bool mailbox_lanes_drained(struct mailbox *mailbox)
{
    return turns_take_drained(&mailbox->row.turns);
}

/* --- up and down --- */

void mailbox_redis_up(struct mailbox *mailbox)
{
    mailbox->state = MAILBOX_STALE;
    mailbox->fault[0] = 0;
    mailbox->preparing = mailbox->ticking = false;
    mailbox->unconfirmed = mailbox->scripts_missing = false;
    mailbox_prepare(mailbox);
}

void mailbox_redis_down(struct mailbox *mailbox)
{
    bool announced = mailbox->announced;

    mailbox->state = MAILBOX_DOWN;
    mailbox->announced = mailbox->preparing = mailbox->ticking = false;
    mailbox_replica_lost(mailbox);
    row_give_up_unsent(mailbox);
    if (announced && mailbox->events.down)
        mailbox->events.down(mailbox->events.arg);
}

bool mailbox_is_up(const struct mailbox *mailbox)
{
    return mailbox->announced;
}

const char *mailbox_fault(const struct mailbox *mailbox)
{
    return mailbox->fault;
}

/* A Redis that answers and cannot be used (a replica, LOADING, no right to the scripts) is as good
 * as away. The tick comes once a second, so the last tick before the time-out gives up. */
static void give_up_while_stale(struct mailbox *mailbox, uint64_t now_ms)
{
    uint64_t timeout_ms = (uint64_t)mailbox->command_timeout_ms;
    uint64_t keep_ms = timeout_ms > 2 * TICK_MS ? timeout_ms - TICK_MS : timeout_ms / 2;

    if (mailbox->state == MAILBOX_STALE && now_ms > keep_ms)
        row_give_up_unsent_older(mailbox, now_ms - keep_ms);
}

void mailbox_tick(struct mailbox *mailbox)
{
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t keep_ms = (uint64_t)mailbox->retention.dedupe_s * 500; /* half of it */

    if (now_ms > keep_ms)
        row_give_up_older(mailbox, now_ms - keep_ms);
    give_up_while_stale(mailbox, now_ms);
    if (mailbox->replica)
        mailbox_replica_tick(mailbox);
    if (mailbox->state == MAILBOX_STALE)
        mailbox_prepare(mailbox);
    else if (mailbox->state == MAILBOX_UP)
        mailbox_ask_tick(mailbox);
}

bool mailbox_has_counts(const struct mailbox *mailbox)
{
    const struct mailbox_counts *counts = &mailbox->counts;

    return (counts->trimmed | counts->repeated | counts->retried | counts->errors | counts->bad |
            counts->places_dropped | counts->devices_forgotten | counts->pages_waited |
            counts->bodies_shared | counts->bodies_gone | counts->turns_waited) != 0;
}
_Static_assert(sizeof(struct mailbox_counts) == 11 * sizeof(uint64_t), "each count is asked for");

struct mailbox_counts mailbox_take_counts(struct mailbox *mailbox)
{
    struct mailbox_counts counts = mailbox->counts;

    mailbox->counts = (struct mailbox_counts){ 0 };
    return counts;
}

/* --- making it --- */

/* The scripts bear the place without its incarnation: a worker that replaces another has the same
 * scripts, and Redis does not gather old ones. */
static bool make_scripts(struct mailbox *mailbox)
{
    const char *colon = strrchr(mailbox->place, ':');
    size_t len = colon ? (size_t)(colon - mailbox->place) : strlen(mailbox->place);

    for (enum script i = 0; i < SCRIPT_COUNT; i++) {
        char *text = mailbox_script(i, slice_make(mailbox->place, len), &mailbox->retention);
        if (!text)
            return false;
        free(mailbox->scripts[i]);
        mailbox->scripts[i] = text;
        mailbox_script_sha(mailbox->scripts[i], mailbox->shas[i]);
    }
    return true;
}

/* An address stays known for a year after its last session, or as long as its mail may lie. */
static int64_t known_s(const struct config *config)
{
    int64_t kept_s = 2 * config->mailbox.age_s + 10000;

    if (strcmp(config->mailbox.addresses, "known") != 0)
        return 0;
    return kept_s > YEAR_S ? kept_s : YEAR_S;
}

static void take_retention(struct mailbox *mailbox, const struct config *config)
{
    mailbox->retention = (struct retention){
        .messages_max = config->mailbox.messages_max,
        .age_s = config->mailbox.age_s,
        .dedupe_s = config->mailbox.dedupe_s,
        .devices_max = config->sessions.devices_per_address,
        .reject_full = strcmp(config->mailbox.full, "reject") == 0,
        .bytes_max = config->mailbox.bytes_max,
        .known_s = known_s(config),
    };
    /* Smaller bodies are at most half of the bytes, as many as there may be: plain mail is not
     * counted, and does not pay for counting. */
    mailbox->counted_min = (size_t)(config->mailbox.bytes_max / 2 / config->mailbox.messages_max);
}

void mailbox_configure(struct mailbox *mailbox, const struct config *config)
{
    take_retention(mailbox, config);
    if (!make_scripts(mailbox)) {
        log_error("mailbox_limits_kept", "reason=no-memory");
        return;
    }
    if (mailbox->state == MAILBOX_UP)
        mailbox->state = MAILBOX_STALE;
    if (mailbox->state == MAILBOX_STALE) {
        mailbox->preparing = false; /* the old scripts are being loaded */
        mailbox_prepare(mailbox);
    }
}

void mailbox_confirm_by(struct mailbox *mailbox, struct redis *redis)
{
    mailbox->confirm = mailbox->replica ? redis : NULL;
}

struct mailbox *mailbox_new(struct redis *redis, const struct config *config, struct slice place,
                            const struct mailbox_events *events)
{
    struct mailbox *mailbox = calloc(1, sizeof *mailbox);

    if (!mailbox)
        return NULL;
    mailbox->redis = redis;
    mailbox->events = *events;
    row_init(&mailbox->row);
    mailbox_pages_init(&mailbox->pages);
    TAILQ_INIT(&mailbox->asks);
    buf_init(&mailbox->text, CALL_TEXT_BYTES_MAX);
    mailbox->fsync = strcmp(config->mailbox.durability, "fsync") == 0;
    mailbox->replica = strcmp(config->mailbox.durability, "replica") == 0;
    mailbox->replicas = config->mailbox.replicas;
    mailbox->replica_timeout_ms = config->mailbox.replica_timeout_ms;
    mailbox->command_timeout_ms = config->redis_options.command_timeout_ms;
    take_retention(mailbox, config);
    mailbox->prefix = strdup(config->redis_options.prefix);
    mailbox->place = strndup(place.data, place.len);
    if (!mailbox->prefix || !mailbox->place || !make_scripts(mailbox)) {
        mailbox_free(mailbox);
        return NULL;
    }
    return mailbox;
}

void mailbox_free(struct mailbox *mailbox)
{
    if (!mailbox)
        return;
    mailbox->state = MAILBOX_DOWN;
    row_fini(mailbox);
    mailbox_pages_fini(mailbox);
    ask_drop_all(mailbox);
    for (enum script i = 0; i < SCRIPT_COUNT; i++)
        free(mailbox->scripts[i]);
    buf_fini(&mailbox->text);
    free(mailbox->prefix);
    free(mailbox->place);
    free(mailbox->places);
    free(mailbox->at);
    free(mailbox->entries);
    free(mailbox);
}
