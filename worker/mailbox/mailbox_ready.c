/*
 * From a connected Redis to usable mailboxes: the scripts are loaded, the settings that durability
 * needs are checked, and the data is compared with the data this worker knew.
 *
 * Data was lost when the name of the data (epoch) is missing or another, when the count of ticks
 * went back, or when the newest append that was answered is missing: persistence keeps a prefix of
 * what was written, so if any answered append is gone, the newest one is gone. The worker that
 * notices renames the data, once among all workers; the others see the new epoch at their next
 * tick.
 */
#include "common/utf8.h"
#include "common/log.h"
#include "worker/mailbox/call.h"

#include <stdio.h>
#include <sys/random.h>

/* The next tick prepares again. */
static void prepare_failed(struct mailbox *mailbox, const struct redis_reply *reply)
{
    mailbox->preparing = false;
    if (reply->type == REDIS_ERROR)
        mailbox_trouble(mailbox, reply->text);
}

/* --- the epoch --- */

static void become_ready(struct mailbox *mailbox, bool changed)
{
    bool news = changed || !mailbox->announced;

    mailbox->preparing = false;
    mailbox->state = MAILBOX_UP;
    mailbox->announced = true;
    mailbox_send_queued(mailbox);
    if (news && mailbox->events.up)
        mailbox->events.up(mailbox->events.arg, slice_of(mailbox->epoch), changed);
}

/* Takes over epoch and tick. True: the epoch is not the one that was known. */
static bool take_epoch(struct mailbox *mailbox, struct slice epoch, int64_t tick)
{
    bool known = mailbox->epoch[0] != 0;
    bool changed = known && !slice_equal(epoch, slice_of(mailbox->epoch));

    if (changed || !known) {
        snprintf(mailbox->epoch, sizeof mailbox->epoch, "%.*s", (int)epoch.len, epoch.data);
        mailbox->newest = (struct seq){ 0, 0 };
    }
    if (changed)
        log_warn("mailbox_epoch_changed", "epoch=%s", mailbox->epoch);
    mailbox->tick = tick;
    mailbox->lost = false;
    return changed;
}

static void on_ticked(struct ask *ask, const struct redis_reply *reply)
{
    struct mailbox *mailbox = ask->mailbox;
    struct redis_reply epoch = redis_reply_at(reply, 0), tick = redis_reply_at(reply, 1);
    struct redis_reply refused = redis_reply_at(reply, 2);

    mailbox->ticking = false;
    if (mailbox->state != MAILBOX_UP && !mailbox->preparing && reply->type != REDIS_LOST) {
        mailbox_prepare(mailbox); /* the scripts vanished while the tick was on its way */
        return;
    }
    if (epoch.type != REDIS_STRING || epoch.text.len == 0 ||
        epoch.text.len >= sizeof mailbox->epoch || !utf8_valid(epoch.text) ||
        tick.type != REDIS_INTEGER) {
        bool again = mailbox->state == MAILBOX_UP && row_can_retry(reply);
        prepare_failed(mailbox, reply);
        if (again) {
            mailbox->state = MAILBOX_STALE;
            mailbox_prepare(mailbox);
        }
        return;
    }
    if (refused.type == REDIS_STRING)
        mailbox_trouble(mailbox, refused.text);
    bool changed = take_epoch(mailbox, epoch.text, tick.integer);
    if (changed || mailbox->state != MAILBOX_UP)
        become_ready(mailbox, changed);
}

/* A name for the data, if the script finds that the data needs a new one. */
static bool fresh_epoch(char text[17])
{
    uint64_t random;

    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return false;
    snprintf(text, 17, "%016llx", (unsigned long long)random);
    return true;
}

void mailbox_ask_tick(struct mailbox *mailbox)
{
    struct call call;
    char fresh[17];

    if (mailbox->ticking || !fresh_epoch(fresh))
        return;
    call_script(&call, mailbox, SCRIPT_TICK);
    call_global_key(&call, "epoch");
    call_global_key(&call, "tick");
    call_add(&call, slice_of(mailbox->epoch));
    call_add_int(&call, mailbox->tick);
    call_add(&call, slice_of(fresh));
    call_add(&call, mailbox->lost ? SLICE("1") : SLICE("0"));
    mailbox->ticking = call_ask(&call, on_ticked, 0) == OK;
    if (!mailbox->ticking)
        mailbox->preparing = false;
}

/* --- the newest append --- */

static void on_newest_answered(struct ask *ask, const struct redis_reply *reply)
{
    struct mailbox *mailbox = ask->mailbox;
    struct seq there = { 0, 0 };

    if (reply->type != REDIS_STRING) {
        prepare_failed(mailbox, reply);
        return;
    }
    if (reply->text.len)
        seq_parse(reply->text, &there);
    mailbox->lost = seq_compare(there, mailbox->newest) < 0;
    mailbox_ask_tick(mailbox);
}

static enum err ask_newest(struct mailbox *mailbox)
{
    struct call call;

    call_script(&call, mailbox, SCRIPT_NEWEST);
    call_key(&call, slice_of(mailbox->newest_key));
    return call_ask(&call, on_newest_answered, 0);
}

/* --- the scripts and the settings --- */

static void on_script_loaded(struct ask *ask, const struct redis_reply *reply)
{
    struct mailbox *mailbox = ask->mailbox;

    if (reply->type != REDIS_LOST &&
        !slice_equal(reply->text, slice_make(mailbox->shas[ask->number], SHA_HEX)))
        prepare_failed(mailbox, reply);
}

static const struct setting {
    const char *name, *wanted;
} settings[] = { { "appendonly", "yes" }, { "appendfsync", "always" } };

static void set_fault(struct mailbox *mailbox, const struct setting *setting, struct slice found)
{
    char fault[sizeof mailbox->fault];

    snprintf(fault, sizeof fault,
             "mailbox.durability is \"fsync\", but Redis has %s %.*s: set appendonly yes and "
             "appendfsync always in redis.conf, or choose another durability",
             setting->name, (int)(found.len < 100 ? found.len : 100), found.data);
    if (strcmp(fault, mailbox->fault) == 0)
        return;
    memcpy(mailbox->fault, fault, sizeof fault);
    log_error("mailbox_durability", "fault=\"%s\"", fault);
}

static void on_setting_answered(struct ask *ask, const struct redis_reply *reply)
{
    struct mailbox *mailbox = ask->mailbox;
    const struct setting *setting = &settings[ask->number];
    struct slice found = redis_reply_at(reply, 1).text;

    if (reply->type == REDIS_LOST)
        return;
    if (reply->type != REDIS_ARRAY || !found.data)
        found = SLICE("(which it does not tell: CONFIG GET is refused)");
    if (!slice_equal(found, slice_of(setting->wanted)))
        set_fault(mailbox, setting, found);
    else if (ask->number == 0)
        mailbox->fault[0] = 0; /* the second setting decides */
}

/* PING is asked last: its answer comes behind the answers about scripts and settings. */
static void on_pinged(struct ask *ask, const struct redis_reply *reply)
{
    struct mailbox *mailbox = ask->mailbox;

    (void)reply;
    if (!mailbox->preparing)
        return;
    if (mailbox->fault[0]) {
        mailbox->preparing = false;
        return;
    }
    if (mailbox->newest.ms == 0)
        mailbox_ask_tick(mailbox);
    else if (ask_newest(mailbox))
        mailbox->preparing = false;
}

static enum err ask_settings(struct mailbox *mailbox)
{
    enum err err = OK;

    for (unsigned i = 0; i < 2 && !err; i++) {
        struct slice args[3] = { SLICE("CONFIG"), SLICE("GET"), slice_of(settings[i].name) };
        err = ask_send(mailbox, args, 3, on_setting_answered, i);
    }
    return err;
}

void mailbox_prepare(struct mailbox *mailbox)
{
    enum err err = OK;

    if (mailbox->preparing || mailbox->ticking)
        return; /* the answer to the tick, or the next tick, comes back here */
    mailbox->preparing = true;
    for (enum script i = 0; i < SCRIPT_COUNT && !err; i++) {
        struct slice args[3] = { SLICE("SCRIPT"), SLICE("LOAD"), slice_of(mailbox->scripts[i]) };
        err = ask_send(mailbox, args, 3, on_script_loaded, i);
    }
    if (!err)
        err = mailbox_ask_redis(mailbox);
    if (!err && mailbox->fsync)
        err = ask_settings(mailbox);
    if (!err)
        err = ask_send(mailbox, &SLICE("PING"), 1, on_pinged, 0);
    if (err)
        mailbox->preparing = false;
}
