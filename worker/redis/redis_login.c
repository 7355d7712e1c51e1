/*
 * The login: from a connected socket to a usable connection, by AUTH, SELECT, a write, PING,
 * SUBSCRIBE. The write (EXPIRE of a key that does not exist) tells a master from a replica, without
 * a command that an ACL user may lack. Other refusals of the write are left to later commands.
 *
 * The last answer makes the connection UP; the first refusal ends the attempt. The text of an error
 * is dropped where the text may quote a password.
 */
#include "worker/redis/redis_parts.h"

#include "common/log.h"

#include <stdio.h>

/* Returns what a person must mend, for errors of AUTH that are not refusals of a password; NULL for
 * others. The texts are those of Redis 5 to 7.2. */
static const char *auth_cure(struct slice error)
{
    static const struct {
        const char *part, *cure;
    } cures[] = {
        { "without any password configured",
          "Redis has no password: take it out of dataSource, or set one in Redis" },
        { "no password is set",
          "Redis has no password: take it out of dataSource, or set one in Redis" },
        { "ERR wrong number of arguments",
          "this Redis is older than 6 and has no users: name a password alone" },
        { "ERR invalid password", "the password is wrong" },
    };

    for (size_t i = 0; i < sizeof cures / sizeof cures[0]; i++)
        if (error.len && memmem(error.data, error.len, cures[i].part, strlen(cures[i].part)))
            return cures[i].cure;
    return NULL;
}

/* Keeps only the code of the error (WRONGPASS, NOAUTH, …). The rest may quote the command with its
 * password: a server whose AUTH was renamed answers "unknown command 'AUTH', with args beginning
 * with: …". */
static void fail_auth(struct redis *redis, struct slice text)
{
    const char *cure = auth_cure(text);
    char code[32] = "";
    size_t len = 0;

    if (cure) {
        redis_fail(redis, "login refused", cure);
        return;
    }
    while (len < text.len && len < sizeof code - 1 && text.data[len] >= 'A' &&
           text.data[len] <= 'Z')
        len++;
    memcpy(code, text.data, len);
    code[len] = 0;
    redis_fail(redis, "login refused", code);
}

static void on_auth_answer(void *arg, const struct redis_reply *reply)
{
    if (reply->type == REDIS_ERROR)
        fail_auth(arg, reply->text);
}

static void on_select_answer(void *arg, const struct redis_reply *reply)
{
    if (reply->type == REDIS_ERROR)
        redis_fail_text(arg, "SELECT refused", reply->text);
}

static void on_probe_answer(void *arg, const struct redis_reply *reply)
{
    if (reply->type == REDIS_ERROR && slice_starts(reply->text, SLICE("READONLY")))
        redis_fail_text(arg, "a replica, not a master", reply->text);
}

static void become_up(struct redis *redis)
{
    redis->state = UP;
    redis->tried = true;
    redis->attempts = 0;
    redis->delay_ms = redis->reconnect_min_ms;
    redis->logged[0] = 0;
    log_info("redis_up", "connection=%s after_ms=%llu", redis->name,
             (unsigned long long)(loop_now_ms(redis->loop) - redis->started_ms));
    if (redis->events.up)
        redis->events.up(redis->events.arg);
}

/* The last answer of a login without SUBSCRIBE. LOADING, NOAUTH and MASTERDOWN show here. A user
 * whose ACL withholds PING (NOPERM) is logged in all the same. */
static void on_login_ping(void *arg, const struct redis_reply *reply)
{
    struct redis *redis = arg;

    if (reply->type == REDIS_LOST || redis->fault[0])
        return;
    if (reply->type == REDIS_ERROR && !slice_starts(reply->text, SLICE("NOPERM")))
        redis_fail_text(redis, "not ready", reply->text);
    else if (reply->type != REDIS_ERROR && reply->type != REDIS_STATUS)
        redis_fail(redis, "PING answered with something else", "");
    else if (!redis->channel)
        become_up(redis);
}

/* The last answer of a subscriber's login. */
static void on_subscribed(void *arg, const struct redis_reply *reply)
{
    struct redis *redis = arg;

    if (reply->type == REDIS_LOST || redis->fault[0])
        return;
    if (reply->type == REDIS_ERROR)
        redis_fail_text(redis, "SUBSCRIBE refused", reply->text);
    else if (reply->type != REDIS_ARRAY ||
             !slice_equal(redis_reply_at(reply, 0).text, SLICE("subscribe")))
        redis_fail(redis, "SUBSCRIBE answered with something else", "");
    else
        become_up(redis);
}

static enum err queue_auth(struct redis *redis)
{
    struct slice args[3] = { SLICE("AUTH") };
    size_t count = 1;

    if (!redis->user[0] && !redis->password[0])
        return OK;
    if (redis->user[0]) /* the form of Redis 6 and its ACLs */
        args[count++] = slice_of(redis->user);
    args[count++] = slice_of(redis->password);
    return redis_queue(redis, args, count, on_auth_answer, redis);
}

static enum err queue_select(struct redis *redis)
{
    char digits[24];
    struct slice args[2] = { SLICE("SELECT") };

    if (redis->db == 0)
        return OK;
    snprintf(digits, sizeof digits, "%lld", (long long)redis->db);
    args[1] = slice_of(digits);
    return redis_queue(redis, args, 2, on_select_answer, redis);
}

static enum err queue_probe(struct redis *redis)
{
    struct slice args[3] = { SLICE("EXPIRE"), slice_make(redis->probe, redis->probe_len),
                             SLICE("1") };

    return redis->probe ? redis_queue(redis, args, 3, on_probe_answer, redis) : OK;
}

static enum err queue_subscribe(struct redis *redis)
{
    struct slice args[2] = { SLICE("SUBSCRIBE") };

    if (!redis->channel)
        return OK;
    args[1] = slice_make(redis->channel, redis->channel_len);
    return redis_queue(redis, args, 2, on_subscribed, redis);
}

/* All commands leave in one write. The buffer has room for all of them first: a buffer that grew
 * would leave a password in the smaller block that was freed. */
void redis_log_in(struct redis *redis)
{
    enum err err = buf_reserve(&redis->output, 4096);

    redis->state = SETUP;
    if (!err)
        err = queue_auth(redis);
    if (!err)
        err = queue_select(redis);
    if (!err)
        err = queue_probe(redis);
    if (!err)
        err = redis_queue_ping(redis, on_login_ping);
    if (!err)
        err = queue_subscribe(redis);
    if (!err)
        err = loop_rewatch(redis->loop, &redis->watch, LOOP_READ);
    if (err)
        redis_fail(redis, "cannot log in", err_name(err));
}
