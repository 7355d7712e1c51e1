#include "worker/clerk/redis_view.h"

#include "worker/reach/bus.h"
#include "worker/redis/redis.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    POLL_BEATS = 10,
    PASS_STEPS = 300, /* a pass takes five minutes, or as long as STEP_MAX makes of it */
    STEP_MIN = 100,   /* keys that one SCAN looks at */
    STEP_MAX = 1000,  /* some 0.3 ms of Redis */
    PATTERN_MAX = 600,
};

void redis_view_init(struct redis_view *view, struct office *office)
{
    *view = (struct redis_view){ .office = office };
}

/* ---- memory ---- */

/* The number in a line "name:NUMBER" of an answer of INFO; 0 when there is none. */
static uint64_t info_number(struct slice info, const char *name)
{
    size_t name_len = strlen(name);
    const char *at = info.data, *end = info.data + info.len;
    uint64_t number = 0;

    while (at && (at = memmem(at, (size_t)(end - at), name, name_len))) {
        bool begins = at == info.data || at[-1] == '\n';
        at += name_len;
        if (begins)
            break;
    }
    for (; at && at < end && *at >= '0' && *at <= '9' && number < UINT64_MAX / 20; at++)
        number = number * 10 + (uint64_t)(*at - '0');
    return number;
}

static void on_memory(void *arg, const struct redis_reply *reply)
{
    struct redis_view *view = arg;

    view->asks_memory = false;
    view->no_memory = reply->type == REDIS_ERROR;
    if (reply->type != REDIS_STRING)
        return;
    view->used_bytes = info_number(reply->text, "used_memory:");
    view->limit_bytes = info_number(reply->text, "maxmemory:");
    view->memory_ms = loop_now_ms(view->office->loop);
}

static void on_size(void *arg, const struct redis_reply *reply)
{
    struct redis_view *view = arg;

    view->asks_size = false;
    view->no_size = reply->type == REDIS_ERROR;
    view->has_database_keys = reply->type == REDIS_INTEGER;
    if (view->has_database_keys)
        view->database_keys = (uint64_t)reply->integer;
}

static void ask_memory_and_size(struct redis_view *view, struct redis *redis)
{
    const struct slice info[2] = { SLICE("INFO"), SLICE("memory") };

    if (!view->asks_memory && !view->no_memory)
        view->asks_memory = redis_command(redis, info, 2, on_memory, view) == OK;
    if (!view->asks_size && !view->no_size)
        view->asks_size = redis_command(redis, &SLICE("DBSIZE"), 1, on_size, view) == OK;
}

/* ---- keys ---- */

static void on_keys(void *arg, const struct redis_reply *reply)
{
    struct redis_view *view = arg;
    struct redis_reply cursor = redis_reply_at(reply, 0), keys = redis_reply_at(reply, 1);

    view->asks_keys = false;
    view->no_keys = reply->type == REDIS_ERROR;
    if (cursor.type != REDIS_STRING || cursor.text.len >= sizeof view->cursor ||
        keys.type != REDIS_ARRAY) {
        view->is_scanning = false; /* the next poll begins a new pass */
        return;
    }
    view->found += keys.count;
    memcpy(view->cursor, cursor.text.data, cursor.text.len);
    view->cursor[cursor.text.len] = 0;
    if (strcmp(view->cursor, "0") != 0)
        return;
    view->is_scanning = false;
    view->keys = view->found;
    view->keys_ms = loop_now_ms(view->office->loop);
}

/* The prefix with a backslash before each byte that a pattern would understand, and "*". False: too
 * long. */
static bool write_pattern(const char *prefix, char pattern[PATTERN_MAX])
{
    size_t len = 0;

    for (; *prefix; prefix++) {
        if (len + 4 > PATTERN_MAX)
            return false;
        if (strchr("*?[]\\^", *prefix))
            pattern[len++] = '\\';
        pattern[len++] = *prefix;
    }
    pattern[len++] = '*';
    pattern[len] = 0;
    return true;
}

static void scan_step(struct redis_view *view, struct redis *redis)
{
    uint64_t step = view->database_keys / PASS_STEPS;
    char pattern[PATTERN_MAX], count[24];

    if (!write_pattern(view->office->config->redis_options.prefix, pattern))
        return;
    snprintf(count, sizeof count, "%llu",
             (unsigned long long)(step < STEP_MIN   ? STEP_MIN
                                  : step > STEP_MAX ? STEP_MAX
                                                    : step));
    const struct slice args[6] = { SLICE("SCAN"),     slice_of(view->cursor), SLICE("MATCH"),
                                   slice_of(pattern), SLICE("COUNT"),         slice_of(count) };
    view->asks_keys = redis_command(redis, args, 6, on_keys, view) == OK;
}

static void begin_pass(struct redis_view *view)
{
    view->is_scanning = true;
    view->found = 0;
    memcpy(view->cursor, "0", sizeof "0");
}

void redis_view_beat(struct redis_view *view)
{
    struct redis *redis = bus_commands(view->office->bus);
    bool polls;

    if (!redis || !redis_is_up(redis))
        return;
    polls = view->beats++ % POLL_BEATS == 0;
    if (polls)
        ask_memory_and_size(view, redis);
    if (polls && !view->is_scanning && !view->no_keys)
        begin_pass(view);
    if (view->is_scanning && !view->asks_keys)
        scan_step(view, redis);
}
