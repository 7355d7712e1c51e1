/*
 * Judges values together: makes paths absolute, chooses one Redis of several, refuses combinations
 * that cannot work.
 */
#include "config/checks.h"
#include "config/listen.h"
#include "config/parts.h"

#include "common/log.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void resolve_paths(struct draft *draft)
{
    char *cwd = getcwd(NULL, 0);

    if (!cwd) {
        report_error(draft->report, draft_spot(draft, ""), "the working directory cannot be named");
        return;
    }
    for (size_t i = 0; i < config_key_rows; i++) {
        const struct key *key = &config_keys[i];
        char **field, *joined;
        if (key->type != KEY_TEXT || key->base == BASE_NONE)
            continue;
        field = key_field(key, draft->config);
        if (!**field)
            continue;
        joined = file_join(key->base == BASE_CWD ? cwd : draft->config->dir, *field);
        if (joined)
            read_draft_text(draft, field, joined);
        else
            report_error(draft->report, draft_spot(draft, key->name), "out of memory");
        free(joined);
    }
    free(cwd);
}

/* ---- dataSource ---- */

static void parse_uri(struct draft *draft, struct spot spot, const char *uri,
                      struct config_redis *redis)
{
    const struct key *key = keys_find("dataSource.redis");
    const char *reason;
    struct buf shown;

    if (redis_uri_parse(uri, redis, &reason) == OK &&
        !(reason = embedded_place(draft->config, redis)))
        return;
    buf_init(&shown, 512);
    redis_uri_redact(uri, &shown);
    report_error(draft->report, spot, "found \"%.200s\" (%s), allowed %s", buf_text(&shown), reason,
                 key->allowed);
    buf_fini(&shown);
}

/* Returns the "uri" of one source, or NULL when the fault has been reported. */
static const struct cJSON *source_uri(struct draft *draft, const struct cJSON *source)
{
    const struct cJSON *found = NULL;
    char path[512];

    snprintf(path, sizeof path, "dataSource.redis.%s", tree_name(source));
    if (tree_kind(source) != NODE_OBJECT) {
        report_error(draft->report, draft_spot_value(draft, path, source),
                     "found no object, allowed {\"uri\": \"...\"}");
        return NULL;
    }
    for (const struct cJSON *node = tree_first(source); node; node = tree_next(node)) {
        snprintf(path, sizeof path, "dataSource.redis.%s.%s", tree_name(source), tree_name(node));
        if (strcmp(tree_name(node), "uri") != 0)
            report_error(draft->report, draft_spot_name(draft, path, node),
                         "found an unknown key, allowed uri");
        else if (tree_kind(node) != NODE_TEXT)
            report_error(draft->report, draft_spot_value(draft, path, node),
                         "found no string, allowed a string");
        else
            found = node;
    }
    snprintf(path, sizeof path, "dataSource.redis.%s.uri", tree_name(source));
    if (!tree_first(source))
        report_error(draft->report, draft_spot_value(draft, path, source),
                     "found nothing, allowed a string");
    return found;
}

/* Checks all sources, so that a switch to another source is no surprise, and keeps the chosen
 * one. */
static void choose_source(struct draft *draft)
{
    const char *chosen = draft->use;
    bool found = false;
    char path[512];

    for (const struct cJSON *s = draft->sources ? tree_first(draft->sources) : NULL; s;
         s = tree_next(s)) {
        struct config_redis other = { 0 };
        const struct cJSON *uri = source_uri(draft, s);
        bool this_one = !found && (!chosen || strcmp(tree_name(s), chosen) == 0);
        found = found || this_one;
        if (!uri)
            continue;
        snprintf(path, sizeof path, "dataSource.redis.%s.uri", tree_name(s));
        parse_uri(draft, draft_spot_value(draft, path, uri), tree_text(uri),
                  this_one ? &draft->config->redis : &other);
        redis_uri_fini(&other);
    }
    if (chosen && !found) {
        struct log_text quoted;
        report_error(draft->report, draft->use_spot,
                     "found %s, allowed a name under dataSource.redis",
                     log_quote(&quoted, slice_of(chosen)));
    }
    if (draft->uri)
        parse_uri(draft, draft_spot(draft, "dataSource.redis"), draft->uri, &draft->config->redis);
    else if (!found && !draft->sources && report_clean(draft->report))
        report_warning(draft->report, draft_spot(draft, "dataSource.redis"),
                       "found none: without Redis nothing is stored; write {} when that is meant");
}

/* ---- combinations ---- */

/* An item of `listen` without a port has socketPort. sslPort is opened on the same addresses. */
static void check_ports(struct draft *draft)
{
    const struct config *config = draft->config;
    bool has_socket = config->socket_port != 0, has_ssl = config->ssl_port != 0, taken = false;
    struct listen_item item;

    for (size_t i = 0; i < config->listen.count; i++) {
        if (!listen_parse(config->listen.items[i], &item))
            return; /* read.c has reported the item */
        has_socket |= item.is_unix || item.port != 0;
        taken |= has_ssl && !item.is_unix &&
                 (item.port ? item.port : config->socket_port) == config->ssl_port;
    }
    if (!has_socket && !has_ssl)
        report_error(draft->report, draft_spot_or(draft, "socketPort", "sslPort"),
                     "found 0, and sslPort is 0 too, allowed a port for one of them");
    else if (taken)
        report_error(draft->report, draft_spot_or(draft, "sslPort", "socketPort"),
                     "found %d, which socketPort or listen has, allowed another port",
                     (int)config->ssl_port);
}

static void check_user_and_group(struct draft *draft)
{
    const struct config *config = draft->config;
    struct log_text quoted;

    if (*config->user && !getpwnam(config->user))
        report_error(draft->report, draft_spot(draft, "user"),
                     "found %s, allowed a user of this system",
                     log_quote(&quoted, slice_of(config->user)));
    if (*config->group && !getgrnam(config->group))
        report_error(draft->report, draft_spot(draft, "group"),
                     "found %s, allowed a group of this system",
                     log_quote(&quoted, slice_of(config->group)));
}

/* The default does not matter while nothing uses it: redis.commandTimeoutMs may be short. A value
 * that somebody wrote is judged all the same, as nobody wants a later change of durability to
 * fail. */
static bool replica_timeout_matters(const struct config *config)
{
    return strcmp(config->mailbox.durability, "replica") == 0 ||
           config->mailbox.replica_timeout_ms != keys_find("mailbox.replicaTimeoutMs")->initial;
}

/* An embedded Redis has no replicas, and listens on a unix socket alone. */
static void check_embedded(struct draft *draft)
{
    const struct config *config = draft->config;

    if (config->redis.folder && *config->redis.folder &&
        strcmp(config->mailbox.durability, "replica") == 0)
        report_error(
            draft->report, draft_spot(draft, "mailbox.durability"),
            "found replica with embedded storage, which has no replicas, allowed memory or "
            "fsync");
}

/* Reports a socket that is listed twice, and a group that this system does not have. */
static void check_listen_items(struct draft *draft)
{
    const struct config *config = draft->config;
    struct listen_item items[LISTEN_MAX];
    struct log_text quoted;

    for (size_t i = 0; i < config->listen.count; i++) {
        const char *text = log_quote(&quoted, slice_of(config->listen.items[i]));
        if (!listen_parse(config->listen.items[i], &items[i]))
            return; /* read.c has reported the item */
        if (*items[i].group && !getgrnam(items[i].group))
            report_error(draft->report, draft_spot_item(draft, "listen", i, config->listen.count),
                         "found %s, allowed a group of this system", text);
        for (size_t before = 0; before < i; before++)
            if (listen_same(&items[before], &items[i], (uint16_t)config->socket_port))
                report_error(draft->report,
                             draft_spot_item(draft, "listen", i, config->listen.count),
                             "found %s, which is listed already, allowed each address once", text);
    }
}

/* A proxy that nobody trusts, and a health check that a served path would hide. */
static void check_proxy(struct draft *draft)
{
    const struct config *config = draft->config;

    if (strcmp(config->proxy_protocol, "required") == 0 && config->trusted_proxies.count == 0)
        report_error(draft->report, draft_spot(draft, "proxyProtocol"),
                     "found required without trustedProxies, allowed off, or name the proxies in "
                     "trustedProxies");
    for (size_t i = 0; i < config->paths.count; i++)
        if (*config->health_path && strcmp(config->paths.items[i], config->health_path) == 0)
            report_error(draft->report, draft_spot_or(draft, "healthPath", "path"),
                         "found \"%s\", which path serves, allowed another path, or empty",
                         config->health_path);
}

static void check_combinations(struct draft *draft)
{
    const struct config *config = draft->config;

    if (!config->auth.required && !listen_is_local(&config->listen))
        report_error(draft->report, draft_spot_or(draft, "auth.required", "listen"),
                     "found false with a listen that other machines reach, allowed true, or listen "
                     "loopback addresses and unix sockets alone");
    if (strcmp(config->auth.claim_address, config->auth.claim_rights) == 0)
        report_error(draft->report,
                     draft_spot_or(draft, "auth.claims.rights", "auth.claims.address"),
                     "found \"%s\", the claim of auth.claims.address, allowed another claim",
                     config->auth.claim_rights);
    if (config->redis_options.reconnect_min_ms > config->redis_options.reconnect_max_ms)
        report_error(draft->report,
                     draft_spot_or(draft, "redis.reconnectMinMs", "redis.reconnectMaxMs"),
                     "found %lld, more than redis.reconnectMaxMs, allowed at most its %lld",
                     (long long)config->redis_options.reconnect_min_ms,
                     (long long)config->redis_options.reconnect_max_ms);
    if (replica_timeout_matters(config) &&
        config->mailbox.replica_timeout_ms >= config->redis_options.command_timeout_ms)
        report_error(draft->report,
                     draft_spot_or(draft, "mailbox.replicaTimeoutMs", "redis.commandTimeoutMs"),
                     "found %lld, allowed less than redis.commandTimeoutMs, which is %lld",
                     (long long)config->mailbox.replica_timeout_ms,
                     (long long)config->redis_options.command_timeout_ms);
    if (config->limits.queue_bytes < config->limits.message_bytes)
        report_warning(
            draft->report, draft_spot_or(draft, "limits.queueBytes", "limits.messageBytes"),
            "found %lld, less than limits.messageBytes: the largest messages cannot wait for a "
            "session that is busy",
            (long long)config->limits.queue_bytes);
}

void resolve_draft(struct draft *draft)
{
    resolve_paths(draft);
    choose_source(draft);
    check_ports(draft);
    check_user_and_group(draft);
    check_listen_items(draft);
    check_proxy(draft);
    check_embedded(draft);
    check_combinations(draft);
}
