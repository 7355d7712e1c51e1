/*
 * What Redis says about itself (INFO) when a worker connects: a setting that loses mail is warned
 * of, and a Redis Cluster is refused by name.
 *
 * INFO and not CONFIG GET: many hosted Redis forbid CONFIG. A Redis that forbids INFO too is used
 * without a word; the errors of a cluster (CROSSSLOT, MOVED) are then all that the log has.
 */
#include "common/log.h"
#include "worker/mailbox/ask.h"

#include <stdio.h>

/* Returns the value of "name:value\r\n" in an answer of INFO; empty when there is none. */
static struct slice info_value(struct slice info, const char *name)
{
    size_t name_len = strlen(name);

    for (size_t at = 0; at < info.len;) {
        const char *end = memchr(info.data + at, '\n', info.len - at);
        size_t len = end ? (size_t)(end - info.data) - at : info.len - at;
        const char *line = info.data + at;

        at += len + 1;
        while (len && line[len - 1] == '\r')
            len--;
        if (len > name_len && line[name_len] == ':' && memcmp(line, name, name_len) == 0)
            return slice_make(line + name_len + 1, len - name_len - 1);
    }
    return SLICE("");
}

static void judge_memory(struct mailbox *mailbox, struct slice info)
{
    struct slice policy = info_value(info, "maxmemory_policy");
    char found[sizeof mailbox->policy_logged];

    snprintf(found, sizeof found, "%.*s", (int)policy.len, policy.data);
    if (!*found || strcmp(found, "noeviction") == 0) {
        mailbox->policy_logged[0] = 0;
        return;
    }
    if (strcmp(found, mailbox->policy_logged) == 0)
        return;
    memcpy(mailbox->policy_logged, found, sizeof found);
    log_warn(
        "redis_may_lose_mail",
        "setting=maxmemory-policy found=%s reason=\"Redis removes mailboxes when its memory is "
        "full\" cure=\"CONFIG SET maxmemory-policy noeviction, and the same in redis.conf\"",
        found);
}

static void judge_persistence(struct mailbox *mailbox, struct slice info)
{
    bool keeps = !slice_equal(info_value(info, "aof_enabled"), SLICE("0"));

    /* Durability "fsync" refuses such a Redis, and says why. */
    if (!keeps && !mailbox->volatile_logged && !mailbox->fsync)
        log_warn("redis_may_lose_mail",
                 "setting=appendonly found=no reason=\"a restart of Redis loses the mail accepted "
                 "since its last snapshot\" cure=\"CONFIG SET appendonly yes, and the same in "
                 "redis.conf\"");
    mailbox->volatile_logged = !keeps;
}

static void judge_cluster(struct mailbox *mailbox, struct slice info)
{
    static const char fault[] =
        "Redis is a Redis Cluster, which cannot be used: the scripts write keys of several slots "
        "at "
        "once. Name a Redis with cluster-enabled no (it may have replicas) in dataSource";

    _Static_assert(sizeof fault <= sizeof mailbox->fault, "copied whole");
    if (!slice_equal(info_value(info, "cluster_enabled"), SLICE("1")))
        return;
    memcpy(mailbox->fault, fault, sizeof fault);
    log_error("redis_is_a_cluster", "reason=\"%s\"", fault);
}

static const struct section {
    const char *name;
    void (*judge)(struct mailbox *mailbox, struct slice info);
} sections[] = {
    { "memory", judge_memory },
    { "persistence", judge_persistence },
    { "cluster", judge_cluster },
};

static void on_info(struct ask *ask, const struct redis_reply *reply)
{
    if (reply->type == REDIS_STRING)
        sections[ask->number].judge(ask->mailbox, reply->text);
}

enum err mailbox_ask_redis(struct mailbox *mailbox)
{
    enum err err = OK;

    for (unsigned i = 0; i < sizeof sections / sizeof sections[0] && !err; i++) {
        struct slice args[2] = { SLICE("INFO"), slice_of(sections[i].name) };
        err = ask_send(mailbox, args, 2, on_info, i);
    }
    return err;
}
