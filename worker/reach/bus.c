/*
 * The bus: a worker subscribes to its own channel and publishes to the channels of others.
 *
 * There are two connections, because a subscriber may send few other commands: `commands`
 * publishes, `inbox` subscribes. Durability "replica" has a third, `replicas`, which WAIT blocks
 * (mailbox_replica.c). All are connections to a master. When Redis says that it is a replica now, a
 * `scout` looks for the new master, with growing pauses; meanwhile the connections stay, so that
 * stored mail can be read. When the scout has found another master, all connections are made anew.
 *
 * The answer to PUBLISH is the number of subscribers that received the message, the only proof of
 * delivery that pub/sub gives. A connection lost before the answer counts as not heard, though the
 * other worker may have heard: a sender that repeats must bear a repetition. The bus knows no
 * sessions, never waits, and queues nothing while Redis is away.
 */
#include "worker/reach/bus.h"

#include "common/log.h"
#include "common/utf8.h"
#include "shm/histograms.h"
#include "shm/slots.h"
#include "worker/redis/redis.h"
#include "worker/redis/redis_error.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    FRAME_BYTES_MAX = 64 << 20, /* more than the largest message with 10,000 addresses */
    FRAME_KEEP_MAX = 1 << 20,   /* a frame buffer that grew larger is given back */
};

/* Why a connection is made anew; goes to the log. */
#define DEMOTED "Redis was made a replica, and there is another master"

struct bus {
    struct region *region;
    struct stats_row *stats;
    struct bus_events events;
    struct redis *commands, *inbox, *scout; /* NULL: no Redis is configured */
    struct redis *replicas;                 /* NULL: durability is not "replica" */
    const char *node;                       /* the caller's */
    char *channel_base;                     /* "PREFIXw:" */
    char *probe;                            /* "PREFIXprobe": no such key ever exists */
    bool elsewhere;            /* the connections reach two Redis servers: all must be made anew */
    struct buf frame, channel; /* of the current PUBLISH; kept for reuse */
    struct slice recipients[BUS_RECIPIENTS_MAX]; /* of the frame that is being dispatched */
    struct bus_position positions[BUS_RECIPIENTS_MAX];
};

/* A PUBLISH whose caller asked whether anybody heard. */
struct heard_wait {
    struct bus *bus;
    bool doorbell;
    bus_heard_cb heard;
    void *arg;
};

size_t bus_place(char place[PLACE_MAX], const char *node, uint32_t slot, uint64_t incarnation)
{
    int len = snprintf(place, PLACE_MAX, "%s:%u:%llu", node, slot, (unsigned long long)incarnation);

    return len < PLACE_MAX ? (size_t)len : PLACE_MAX - 1;
}

/* --- in --- */

static void deliver_frame(const struct bus_frame *frame, const struct bus_events *events)
{
    struct msg *msg = msg_new(frame->body, frame->msg_kind, frame->level);

    if (!msg) {
        log_rarely(LOG_ERROR, "", "bus_message_dropped", "reason=no-memory bytes=%zu",
                   frame->body.len);
        return;
    }
    msg->flags = frame->msg_flags;
    if (frame->kind == BUS_STORED)
        events->stored(events->arg, frame->recipients, frame->positions, frame->recipient_count,
                       frame->skip_device, msg);
    else
        events->deliver(events->arg, frame->recipients, frame->recipient_count, msg);
    msg_unref(msg);
}

static void dispatch_frame(const struct bus_frame *frame, const struct bus_events *events)
{
    switch (frame->kind) {
    case BUS_DELIVER:
    case BUS_STORED:
        deliver_frame(frame, events);
        break;
    case BUS_KICK:
        events->kick(events->arg, frame->session_number, frame->close_code);
        break;
    case BUS_COMPANY:
        if (events->company)
            events->company(events->arg, frame->session_number);
        break;
    case BUS_HELLO:
        if (events->hello)
            events->hello(events->arg, frame->place);
        break;
    case BUS_WORK:
        if (events->work)
            events->work(events->arg, frame->recipients[0]);
        break;
    case BUS_ASK:
        if (events->asked)
            events->asked(events->arg, frame->place, frame->session_number, frame->body);
        break;
    case BUS_TELL:
        if (events->told)
            events->told(events->arg, frame->session_number, frame->body);
        break;
    case BUS_REVOKED:
        if (events->revoked)
            events->revoked(events->arg, frame->body);
        break;
    }
}

static enum err frame_refused(struct slice bytes)
{
    log_rarely(LOG_WARN, "", "bus_bad", "bytes=%zu", bytes.len);
    return ERR_BAD;
}

enum err bus_dispatch(struct slice bytes, struct slice *recipients, struct bus_position *positions,
                      const struct bus_events *events)
{
    struct bus_frame frame;

    if (bus_decode(bytes, recipients, positions, BUS_RECIPIENTS_MAX, &frame))
        return frame_refused(bytes);
    dispatch_frame(&frame, events);
    return OK;
}

/* A frame that came through Redis: whoever can write to Redis can have published the frame. A body
 * becomes the payload of a text frame. */
static enum err dispatch_published(struct bus *bus, struct slice bytes)
{
    struct bus_frame frame;

    if (bus_decode(bytes, bus->recipients, bus->positions, BUS_RECIPIENTS_MAX, &frame) ||
        ((frame.kind == BUS_DELIVER || frame.kind == BUS_STORED) && !utf8_valid(frame.body)))
        return frame_refused(bytes);
    dispatch_frame(&frame, &bus->events);
    return OK;
}

static void on_bus_message(void *arg, struct slice payload)
{
    struct bus *bus = arg;
    enum err err = dispatch_published(bus, payload);

    stats_add(bus->stats, err ? STAT_bus_bad : STAT_bus_in, 1);
}

/* --- out --- */

static bool was_heard(const struct redis_reply *reply)
{
    return reply->type == REDIS_INTEGER && reply->integer >= 1;
}

static void count_answer(struct bus *bus, const struct redis_reply *reply)
{
    struct log_text text;

    if (was_heard(reply))
        return;
    stats_add(bus->stats, STAT_publishes_unheard, 1);
    if (reply->type == REDIS_ERROR) /* NOPERM, READONLY, LOADING, …: a person must mend Redis */
        log_rarely(LOG_WARN, "", "publish_refused", "error=%s",
                   redis_error_quote(&text, reply->text));
}

/* The other worker's connection may be up all the while, so the other worker notices nothing: the
 * loss is counted, and the count makes others read on (neighbours.c, nodes.c). */
static void count_doorbell(struct bus *bus, const struct redis_reply *reply)
{
    if (reply->type == REDIS_LOST || reply->type == REDIS_ERROR)
        stats_add(bus->stats, STAT_doorbells_lost, 1);
}

static void on_doorbell_answer(void *arg, const struct redis_reply *reply)
{
    count_answer(arg, reply);
    count_doorbell(arg, reply);
}

static void on_answer_counted(void *arg, const struct redis_reply *reply)
{
    count_answer(arg, reply);
}

static void on_awaited_answer(void *arg, const struct redis_reply *reply)
{
    struct heard_wait wait = *(struct heard_wait *)arg;

    free(arg);
    count_answer(wait.bus, reply);
    if (wait.doorbell)
        count_doorbell(wait.bus, reply);
    wait.heard(wait.arg, was_heard(reply));
}

static enum err set_channel(struct bus *bus, struct slice place)
{
    buf_reset(&bus->channel);
    buf_add_text(&bus->channel, bus->channel_base);
    return buf_add(&bus->channel, place.data, place.len);
}

static enum err send_publish(struct bus *bus, bool doorbell, bus_heard_cb heard, void *arg)
{
    struct slice args[3] = { SLICE("PUBLISH"), buf_slice(&bus->channel), buf_slice(&bus->frame) };
    struct heard_wait *wait;
    enum err err;

    if (!heard)
        return redis_command(bus->commands, args, 3,
                             doorbell ? on_doorbell_answer : on_answer_counted, bus);
    wait = malloc(sizeof *wait);
    if (!wait)
        return ERR_NOMEM;
    *wait = (struct heard_wait){ .bus = bus, .doorbell = doorbell, .heard = heard, .arg = arg };
    err = redis_command(bus->commands, args, 3, on_awaited_answer, wait);
    if (err)
        free(wait);
    return err;
}

static void count_sent(struct bus *bus, enum bus_kind kind)
{
    if (kind == BUS_DELIVER || kind == BUS_STORED)
        stats_add(bus->stats, STAT_publishes, 1);
    else if (kind == BUS_KICK)
        stats_add(bus->stats, STAT_kicks_sent, 1);
}

enum err bus_publish_to(struct bus *bus, struct slice place, const struct bus_frame *frame,
                        bus_heard_cb heard, void *arg)
{
    enum err err;

    if (!bus->commands || !redis_is_up(bus->commands))
        return ERR_DOWN;
    buf_reset(&bus->frame);
    err = bus_encode(&bus->frame, frame);
    if (!err)
        err = set_channel(bus, place);
    if (!err)
        err = send_publish(bus, frame->kind == BUS_STORED, heard, arg);
    if (!err)
        count_sent(bus, frame->kind);
    if (bus->frame.size > FRAME_KEEP_MAX)
        buf_fini(&bus->frame);
    return err == ERR_FULL ? ERR_DOWN
                           : err; /* a Redis that takes nothing more is as good as away */
}

/* To a worker of this host. */
static enum err publish_here(struct bus *bus, uint32_t slot, uint64_t incarnation,
                             const struct bus_frame *frame, bus_heard_cb heard, void *arg)
{
    char place[PLACE_MAX];
    size_t len;

    if (incarnation == 0)
        return ERR_DOWN;
    len = bus_place(place, bus->node, slot, incarnation);
    return bus_publish_to(bus, slice_make(place, len), frame, heard, arg);
}

enum err bus_publish(struct bus *bus, uint32_t slot, const struct slice *recipients,
                     size_t recipient_count, const struct msg *msg, bus_heard_cb heard, void *arg)
{
    struct bus_frame frame = {
        .kind = BUS_DELIVER,
        .level = msg->level,
        .msg_kind = msg->kind,
        .recipients = recipients,
        .recipient_count = recipient_count,
        .body = msg_slice(msg),
    };

    if (slot >= WORKERS_MAX)
        return ERR_DOWN;
    return publish_here(bus, slot, slot_incarnation(bus->region, slot), &frame, heard, arg);
}

enum err bus_publish_stored(struct bus *bus, uint32_t slot, const struct slice *recipients,
                            const struct bus_position *positions, size_t recipient_count,
                            struct slice skip_device, const struct msg *msg)
{
    struct bus_frame frame = {
        .kind = BUS_STORED,
        .level = msg->level,
        .msg_kind = msg->kind,
        .msg_flags = msg->flags,
        .recipients = recipients,
        .positions = positions,
        .recipient_count = recipient_count,
        .body = msg_slice(msg),
        .skip_device = skip_device,
    };

    if (slot >= WORKERS_MAX)
        return ERR_DOWN;
    return publish_here(bus, slot, slot_incarnation(bus->region, slot), &frame, NULL, NULL);
}

enum err bus_kick(struct bus *bus, uint32_t slot, uint64_t incarnation, uint64_t session_number,
                  uint16_t close_code)
{
    struct bus_frame frame = { .kind = BUS_KICK,
                               .session_number = session_number,
                               .close_code = close_code };

    if (slot >= WORKERS_MAX || slot_incarnation(bus->region, slot) != incarnation)
        return ERR_DOWN; /* the session ended with its worker */
    return publish_here(bus, slot, incarnation, &frame, NULL, NULL);
}

/* --- up and down --- */

struct redis *bus_commands(struct bus *bus)
{
    return bus->commands;
}

struct redis *bus_replicas(struct bus *bus)
{
    return bus->replicas;
}

bool bus_is_configured(const struct bus *bus)
{
    return bus->commands != NULL;
}

bool bus_is_up(const struct bus *bus)
{
    return bus->commands && redis_is_up(bus->commands) && redis_is_up(bus->inbox);
}

bool bus_decided(const struct bus *bus)
{
    return !bus->commands || bus_is_up(bus) ||
           (redis_tried(bus->commands) && redis_tried(bus->inbox));
}

static void on_one_up(void *arg)
{
    struct bus *bus = arg;

    if (bus_is_up(bus) && bus->events.up)
        bus->events.up(bus->events.arg);
}

static void on_round_trip(void *arg, uint64_t ns)
{
    histogram_add(((struct bus *)arg)->stats, HISTOGRAM_REDIS_ROUND_TRIP, ns);
}

static void on_bus_commands_up(void *arg)
{
    struct bus *bus = arg;

    if (bus->events.commands_up)
        bus->events.commands_up(bus->events.arg);
    on_one_up(bus);
}

static void on_bus_commands_down(void *arg)
{
    struct bus *bus = arg;

    if (bus->events.commands_down)
        bus->events.commands_down(bus->events.arg);
}

/* --- a fail-over --- */

static void on_bus_demoted(void *arg, bool elsewhere)
{
    struct bus *bus = arg;

    bus->elsewhere |= elsewhere;
    redis_release(bus->scout);
}

static void renew_all(struct bus *bus)
{
    bus->elsewhere = false;
    redis_renew(bus->commands, DEMOTED);
    redis_renew(bus->inbox, DEMOTED);
    if (bus->replicas)
        redis_renew(bus->replicas, DEMOTED);
}

/* A Redis that has been promoted again takes the write, and the connections stay. */
static void on_commands_probed(void *arg, const struct redis_reply *reply)
{
    if (reply->type == REDIS_ERROR && slice_starts(reply->text, SLICE("READONLY")))
        renew_all(arg);
}

/* There is a master: is it the Redis that the connections reach? */
static void on_scout_up(void *arg)
{
    struct bus *bus = arg;
    struct slice args[3] = { SLICE("EXPIRE"), slice_of(bus->probe), SLICE("1") };

    redis_hold(bus->scout);
    if (bus->elsewhere || redis_command(bus->commands, args, 3, on_commands_probed, bus))
        renew_all(bus);
}

/* --- counts and turns --- */

static void take_counts(struct bus *bus, struct redis *redis)
{
    uint64_t reconnects, timeouts;

    redis_take_counts(redis, &reconnects, &timeouts);
    if (reconnects)
        stats_add(bus->stats, STAT_redis_reconnects, reconnects);
    if (timeouts)
        stats_add(bus->stats, STAT_redis_timeouts, timeouts);
}

void bus_flush(struct bus *bus)
{
    if (!bus->commands)
        return;
    redis_flush(bus->commands);
    redis_flush(bus->inbox);
    redis_flush(bus->scout);
    take_counts(bus, bus->commands);
    take_counts(bus, bus->inbox);
    if (!bus->replicas)
        return;
    redis_flush(bus->replicas);
    take_counts(bus, bus->replicas);
}

unsigned bus_connections_up(const struct bus *bus)
{
    return bus->commands
               ? (unsigned)redis_is_up(bus->commands) + redis_is_up(bus->inbox) +
                     redis_is_up(bus->scout) + (bus->replicas && redis_is_up(bus->replicas))
               : 0;
}

/* --- making it --- */

/* NULL: out of memory. */
static struct redis *connect_master(struct bus *bus, struct loop *loop, const struct config *config,
                                    const char *name, const struct redis_events *events)
{
    struct redis *redis = redis_new(loop, config, name, events);

    if (!redis)
        return NULL;
    if (redis_need_master(redis, slice_of(bus->probe))) {
        redis_free(redis);
        return NULL;
    }
    redis_on_demoted(redis, on_bus_demoted, bus);
    return redis;
}

static enum err connect_all(struct bus *bus, struct loop *loop, const struct config *config,
                            uint32_t slot, uint64_t incarnation)
{
    const struct redis_events commands_events = { .up = on_bus_commands_up,
                                                  .down = on_bus_commands_down,
                                                  .arg = bus };
    const struct redis_events inbox_events = { .up = on_one_up, .arg = bus };
    const struct redis_events scout_events = { .up = on_scout_up, .arg = bus };
    const struct redis_events no_events = { .arg = bus };
    bool replica = strcmp(config->mailbox.durability, "replica") == 0;
    char place[PLACE_MAX];
    size_t len = bus_place(place, bus->node, slot, incarnation);

    bus->commands = connect_master(bus, loop, config, "commands", &commands_events);
    bus->inbox = connect_master(bus, loop, config, "inbox", &inbox_events);
    bus->scout = connect_master(bus, loop, config, "scout", &scout_events);
    if (replica)
        bus->replicas = connect_master(bus, loop, config, "replicas", &no_events);
    if (!bus->commands || !bus->inbox || !bus->scout || (replica && !bus->replicas))
        return ERR_NOMEM;
    redis_on_timed(bus->commands, on_round_trip, bus);
    redis_hold(bus->scout);
    if (set_channel(bus, slice_make(place, len)))
        return ERR_NOMEM;
    return redis_subscribe(bus->inbox, buf_slice(&bus->channel), on_bus_message, bus);
}

struct bus *bus_new(struct loop *loop, const struct config *config, struct region *region,
                    struct stats_row *stats, const char *node, uint32_t slot, uint64_t incarnation,
                    const struct bus_events *events)
{
    struct bus *bus = calloc(1, sizeof *bus);

    if (!bus)
        return NULL;
    bus->region = region;
    bus->stats = stats;
    bus->events = *events;
    buf_init(&bus->frame, FRAME_BYTES_MAX);
    buf_init(&bus->channel, 4096);
    if (config->redis.kind == CONFIG_REDIS_NONE)
        return bus;
    bus->node = node;
    if (asprintf(&bus->channel_base, "%sw:", config->redis_options.prefix) < 0)
        bus->channel_base = NULL;
    if (asprintf(&bus->probe, "%sprobe", config->redis_options.prefix) < 0)
        bus->probe = NULL;
    if (!bus->channel_base || !bus->probe || connect_all(bus, loop, config, slot, incarnation)) {
        bus_free(bus);
        return NULL;
    }
    return bus;
}

void bus_free(struct bus *bus)
{
    if (!bus)
        return;
    redis_free(bus->commands);
    redis_free(bus->inbox);
    redis_free(bus->scout);
    redis_free(bus->replicas);
    buf_fini(&bus->frame);
    buf_fini(&bus->channel);
    free(bus->channel_base);
    free(bus->probe);
    free(bus);
}
