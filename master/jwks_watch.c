/*
 * Watches the file of auth.jwks, which a program replaces whenever the identity provider has new
 * keys. The server itself fetches nothing.
 */
#include "master/server.h"

#include "common/log.h"
#include "shm/stats.h"

/* Keeps the keys in force, and says why; once for each state of the file. */
static void refuse_file(struct server *server, int64_t stamp)
{
    server->jwks_refused = stamp;
    stats_add_master(server->region, STAT_jwks_refused, 1);
    log_error("jwks_kept", "file=\"%s\" keys=%zu cure=\"mend the file: the keys read before stay\"",
              server->config->auth.jwks_file, server->config->auth.jwks.count);
}

/* Returns the config in force with the file's keys; NULL, with the reason logged, when the server
 * could not serve with these. */
static struct config *read_file(const struct server *server)
{
    struct config_report report;
    struct config *config;
    char why[512];

    config_report_init(&report);
    config = config_with_jwks(server->config, &report);
    reload_log_report(&report);
    config_report_fini(&report);
    if (config && !reload_may_serve(config, why, sizeof why)) {
        log_error("config_error", "%s", why);
        config_free(config);
        return NULL;
    }
    return config;
}

static bool is_due(struct server *server, uint64_t now_ms)
{
    const struct config *config = server->config;

    if (server->stopping || !*config->auth.jwks_file || config->auth.jwks_refresh_s == 0 ||
        now_ms - server->jwks_looked_ms < (uint64_t)config->auth.jwks_refresh_s * 1000)
        return false;
    server->jwks_looked_ms = now_ms;
    return true;
}

void jwks_watch(struct server *server, uint64_t now_ms)
{
    struct config *config;
    int64_t stamp;

    if (!is_due(server, now_ms))
        return;
    stamp = config_jwks_stamp(server->config);
    if (stamp == server->config->auth.jwks_stamp)
        server->jwks_refused = -1;
    if (stamp == server->config->auth.jwks_stamp || stamp == server->jwks_refused)
        return;
    config = read_file(server);
    if (!config) {
        refuse_file(server, stamp);
        return;
    }
    server->jwks_refused = -1;
    stats_add_master(server->region, STAT_jwks_read, 1);
    reload_put_in_force(server, config, false);
    log_info("jwks_read", "keys=%zu", server->config->auth.jwks.count);
}
