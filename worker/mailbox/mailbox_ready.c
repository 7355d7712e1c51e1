/*
 * From a connected Redis to usable mailboxes: the scripts, the settings that durability needs, and
 * whether the data is what it was.
 *
 * Data was lost when the name of the data (epoch) is not there or another, when the count of ticks
 * went back, or when the newest append that this worker had an answer for is not there: persistence
 * keeps a prefix of what was written, so if any answered append is gone, the newest one is. Who
 * notices renames the data, once among all workers; the others see it at their next tick.
 */
#include "common/log.h"
#include "worker/mailbox/mailbox_parts.h"

#include <stdio.h>
#include <sys/random.h>

static void give_up_for_now(struct mailbox *mailbox, const struct redis_reply *reply)
{
    mailbox->preparing = false;
    if (reply->type == REDIS_ERROR)
        mailbox_trouble(mailbox, reply->text);
}

/* --- the epoch --- */

static void ready(struct mailbox *mailbox, bool changed)
{
    bool news = changed || !mailbox->announced;

    mailbox->preparing = false;
    mailbox->state = MAILBOX_UP;
    mailbox->announced = true;
    mailbox_send_queued(mailbox);
    if (news && mailbox->events.up)
        mailbox->events.up(mailbox->events.arg, slice_of(mailbox->epoch), changed);
}

/* Takes over what Redis says of epoch and tick; was it another? */
static bool learn(struct mailbox *mailbox, struct slice epoch, int64_t tick)
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

static void on_tick(struct op *ask, const struct redis_reply *reply)
{
    struct mailbox *mailbox = ask->mailbox;
    struct redis_reply epoch = redis_reply_at(reply, 0), tick = redis_reply_at(reply, 1);

    mailbox->ticking = false;
    if (mailbox->state != MAILBOX_UP && !mailbox->preparing && reply->type != REDIS_LOST) {
        mailbox_prepare(mailbox); /* the scripts went while a tick was on its way */
        return;
    }
    if (epoch.type != REDIS_STRING || epoch.text.len == 0 ||
        epoch.text.len >= sizeof mailbox->epoch || tick.type != REDIS_INTEGER) {
        bool again = mailbox->state == MAILBOX_UP && reply_retryable(reply);
        give_up_for_now(mailbox, reply);
        if (again) {
            mailbox->state = MAILBOX_STALE;
            mailbox_prepare(mailbox);
        }
        return;
    }
    bool changed = learn(mailbox, epoch.text, tick.integer);
    if (changed || mailbox->state != MAILBOX_UP)
        ready(mailbox, changed);
}

/* A name for the data, should it need one. */
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
    struct command command;
    struct buf epoch_key, tick_key;
    char fresh[17];

    if (mailbox->ticking || !fresh_epoch(fresh))
        return;
    buf_init(&epoch_key, 256);
    buf_init(&tick_key, 256);
    buf_addf(&epoch_key, "%sepoch", mailbox->prefix);
    buf_addf(&tick_key, "%stick", mailbox->prefix);
    command_script(&command, mailbox, SCRIPT_TICK, 2);
    command_add(&command, buf_slice(&epoch_key));
    command_add(&command, buf_slice(&tick_key));
    command_add(&command, slice_of(mailbox->epoch));
    command_add_int(&command, mailbox->tick);
    command_add(&command, slice_of(fresh));
    command_add(&command, mailbox->lost ? SLICE("1") : SLICE("0"));
    mailbox->ticking = !epoch_key.failed && !tick_key.failed &&
                       mailbox_ask(mailbox, command.args, command.count, on_tick, 0) == OK;
    if (!mailbox->ticking)
        mailbox->preparing = false;
    buf_fini(&epoch_key);
    buf_fini(&tick_key);
}

/* --- the newest append --- */

static void on_newest(struct op *ask, const struct redis_reply *reply)
{
    struct mailbox *mailbox = ask->mailbox;
    struct seq there = { 0, 0 };

    if (reply->type != REDIS_STRING) {
        give_up_for_now(mailbox, reply);
        return;
    }
    if (reply->text.len)
        seq_parse(reply->text, &there);
    mailbox->lost = seq_compare(there, mailbox->newest) < 0;
    mailbox_ask_tick(mailbox);
}

static enum err ask_newest(struct mailbox *mailbox)
{
    struct command command;

    command_script(&command, mailbox, SCRIPT_NEWEST, 1);
    command_add(&command, slice_of(mailbox->newest_key));
    return mailbox_ask(mailbox, command.args, command.count, on_newest, 0);
}

/* --- the scripts and the settings --- */

static void on_loaded(struct op *ask, const struct redis_reply *reply)
{
    struct mailbox *mailbox = ask->mailbox;

    if (reply->type != REDIS_LOST &&
        !slice_equal(reply->text, slice_make(mailbox->shas[ask->count], SHA_HEX)))
        give_up_for_now(mailbox, reply);
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

static void on_setting(struct op *ask, const struct redis_reply *reply)
{
    struct mailbox *mailbox = ask->mailbox;
    const struct setting *setting = &settings[ask->count];
    struct slice found = redis_reply_at(reply, 1).text;

    if (reply->type == REDIS_LOST)
        return;
    if (reply->type != REDIS_ARRAY || !found.data)
        found = SLICE("(which it does not tell: CONFIG GET is refused)");
    if (!slice_equal(found, slice_of(setting->wanted)))
        set_fault(mailbox, setting, found);
    else if (ask->count == 0)
        mailbox->fault[0] = 0; /* the next one decides */
}

/* The last question of all but the epoch: by its answer the others have come. */
static void on_settled(struct op *ask, const struct redis_reply *reply)
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
        err = mailbox_ask(mailbox, args, 3, on_setting, i);
    }
    return err;
}

void mailbox_prepare(struct mailbox *mailbox)
{
    enum err err = OK;

    if (mailbox->preparing || mailbox->ticking)
        return; /* a tick in flight: the next one of the clock comes back here */
    mailbox->preparing = true;
    for (enum script i = 0; i < SCRIPT_COUNT && !err; i++) {
        struct slice args[3] = { SLICE("SCRIPT"), SLICE("LOAD"), slice_of(mailbox->scripts[i]) };
        err = mailbox_ask(mailbox, args, 3, on_loaded, i);
    }
    if (!err && mailbox->fsync)
        err = ask_settings(mailbox);
    if (!err)
        err = mailbox_ask(mailbox, &SLICE("PING"), 1, on_settled, 0);
    if (err)
        mailbox->preparing = false;
}
