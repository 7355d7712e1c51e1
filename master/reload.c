/*
 * Reload: a new config is read and judged as a whole before the old config is touched, so that a
 * bad file, a missing key or a lack of descriptors can never loosen a rule that is in force.
 */
#include "master/server.h"

#include "common/clock.h"
#include "common/log.h"
#include "config/changes.h"
#include "master/certificates.h"
#include "master/keyguard.h"
#include "master/logfile.h"
#include "master/notice.h"
#include "master/privileges.h"
#include "master/redis_tls.h"
#include "master/reload_answer.h"
#include "shm/slots.h"
#include "worker/token/token.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CHANGES_MAX = 128, PACKED_BYTES_MAX = CONTROL_BYTES_MAX, LIST_BYTES_MAX = 4096 };

bool reload_has_key(const struct config *config)
{
    return !config->auth.required || config->auth.key_count + config->auth.jwks.count > 0;
}

bool reload_may_serve(const struct config *config, char *why, size_t why_size)
{
    struct privileges privileges;

    if (!reload_has_key(config)) {
        snprintf(why, why_size,
                 "auth.required is true and there is no key to check a token with: make one with "
                 "`websocket-server keygen` (it goes to %s)",
                 config->auth.key_dir);
        return false;
    }
    return token_keys_good(config, why, why_size) && redis_tls_judge(config, why, why_size) &&
           certificates_judge(config, why, why_size) && embedded_judge(config, why, why_size) &&
           privileges_resolve(config, &privileges, why, why_size) == OK &&
           keyguard_check(config, &privileges, why, why_size);
}

enum err reload_log_file(struct server *server, const char *path)
{
    char why[256];
    int fd = -1;

    if (path[0]) {
        fd = logfile_open(path, why, sizeof why);
        if (fd < 0) {
            log_error("log_not_opened", "file=\"%s\" error=\"%s\"", path, why);
            return ERR_SYSTEM;
        }
    }
    log_set_fd(fd >= 0 ? fd : STDERR_FILENO);
    crew_tell(&server->crew, CONTROL_LOG, SLICE(""), fd >= 0 ? fd : STDERR_FILENO);
    if (server->log_fd >= 0)
        close(server->log_fd);
    server->log_fd = fd;
    return OK;
}

static void log_lines(enum log_level level, const char *event, struct slice text)
{
    struct slice line;

    while (config_report_next(&text, &line))
        log_at(level, event, "%.*s", (int)line.len, line.data);
}

void reload_log_report(const struct config_report *report)
{
    log_lines(LOG_WARN, "config_note", buf_slice(&report->notes));
    log_lines(LOG_WARN, "config_warning", buf_slice(&report->warnings));
    log_lines(LOG_ERROR, "config_error", buf_slice(&report->errors));
}

/* Returns the new config, good in itself and fit to serve; NULL, with the reason in the report,
 * when anything is wrong. */
static struct config *load_new_config(const struct server *server, struct config_report *report)
{
    /* The file of the start: a search could find another by now. */
    struct config_source source = { .file = server->config->file };
    struct config *config = config_load(&source, report);
    char why[512];

    if (config && !reload_may_serve(config, why, sizeof why)) {
        buf_addf(&report->errors, "%s: %s\n", config->file, why);
        config_free(config);
        return NULL;
    }
    return config;
}

static void refuse_config(struct server *server, struct buf *answer, struct config_report *report)
{
    log_error("config_kept", "the configuration is invalid: everything stays as it was");
    notice_reload_refused(server, buf_text(&report->errors));
    if (answer)
        reload_answer_refused(answer, report);
}

struct lists {
    struct buf names[CONFIG_RESTART + 1];
};

static void sort_changes(struct lists *lists, const struct config_change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct buf *names = &lists->names[changes[i].apply];
        if (names->len)
            buf_add_char(names, ',');
        buf_add_text(names, changes[i].key);
    }
}

static const char *names_text(struct buf *names)
{
    return names->len ? buf_text(names) : "-";
}

/* Sends the live keys to the running workers. Later workers are forked with the new config. */
static void tell_workers(struct server *server)
{
    struct buf packed;

    buf_init(&packed, PACKED_BYTES_MAX);
    if (config_pack(server->config, &packed) == OK) {
        crew_tell(&server->crew, CONTROL_CONFIG, buf_slice(&packed), -1);
    } else {
        log_error("config_not_packed", "workers are replaced instead");
        crew_swap(&server->crew);
    }
    if (packed.data)
        explicit_bzero(packed.data, packed.size); /* the bytes held keys */
    buf_fini(&packed);
}

void reload_put_in_force(struct server *server, struct config *config, bool swap)
{
    struct config *before = server->config;

    server->config = config;
    server->crew.config = config;
    log_set_level_named(config->log.level);
    tell_workers(server);
    if (strcmp(before->log.file, config->log.file) != 0)
        reload_log_file(server, config->log.file);
    server->swap_held |= embedded_configure(&server->storage, config, clock_monotonic_ms()) && swap;
    if (swap && !server->swap_held)
        crew_swap(&server->crew);
    if (!server->crew_held)
        crew_want(&server->crew, config_worker_count(config));
    server->tickets_due_ms = 0; /* tls.ticketSeconds may be another */
    server->certs_due_ms = 0;
    certificates_publish(config, server->region);
    slots_config_applied(server->region);
    config_free(before);
}

void reload_log_read(const struct config *config)
{
    if (*config->auth.revoked_file)
        log_info("revoked_read", "tokens=%zu addresses=%zu", config->auth.revoked.count,
                 config->auth.revoked_subs.count);
    if (*config->auth.jwks_file)
        log_info("jwks_read", "keys=%zu", config->auth.jwks.count);
}

/* Says how the reload went, in the log and to whoever looks at `status`. */
static void tell_changes(struct server *server, struct lists *lists)
{
    log_info("config_reloaded", "applied=%s swapped=%s needs_restart=%s",
             names_text(&lists->names[CONFIG_LIVE]), names_text(&lists->names[CONFIG_SWAP]),
             names_text(&lists->names[CONFIG_RESTART]));
    notice_reload_applied(server, buf_text(&lists->names[CONFIG_LIVE]),
                          buf_text(&lists->names[CONFIG_SWAP]),
                          buf_text(&lists->names[CONFIG_RESTART]));
    reload_log_read(server->config);
}

/* Puts what is loaded into force. False: no memory, and nothing has changed. */
static bool apply_config(struct server *server, const struct config *loaded, struct buf *answer,
                         const struct config_report *report)
{
    struct config_change changes[CHANGES_MAX];
    struct config *config = config_reloaded(server->config, loaded);
    struct lists lists;
    size_t count;

    if (!config)
        return false;
    count = config_diff(server->config, loaded, changes, CHANGES_MAX);
    count = count < CHANGES_MAX ? count : CHANGES_MAX;
    for (int i = 0; i <= CONFIG_RESTART; i++)
        buf_init(&lists.names[i], LIST_BYTES_MAX);
    sort_changes(&lists, changes, count);
    reload_put_in_force(server, config, lists.names[CONFIG_SWAP].len > 0);
    tell_changes(server, &lists);
    if (answer)
        reload_answer_changes(answer, true, changes, count, report);
    for (int i = 0; i <= CONFIG_RESTART; i++)
        buf_fini(&lists.names[i]);
    return true;
}

bool reload(struct server *server, struct buf *answer)
{
    struct config_report report;
    struct config *loaded;
    bool is_applied;

    config_report_init(&report);
    notice_reload_begins(server);
    loaded = load_new_config(server, &report);
    reload_log_report(&report);
    is_applied = loaded && apply_config(server, loaded, answer, &report);
    if (loaded && !is_applied) {
        buf_add_text(&report.errors, "out of memory\n");
        log_error("config_error", "out of memory");
    }
    if (!is_applied)
        refuse_config(server, answer, &report);
    config_free(loaded);
    config_report_fini(&report);
    return is_applied;
}

bool reload_plan(struct server *server, struct buf *answer)
{
    struct config_change changes[CHANGES_MAX];
    struct config_report report;
    struct config *loaded;
    size_t count;
    bool is_good;

    config_report_init(&report);
    loaded = load_new_config(server, &report);
    is_good = loaded != NULL;
    if (loaded) {
        count = config_diff(server->config, loaded, changes, CHANGES_MAX);
        reload_answer_changes(answer, false, changes, count < CHANGES_MAX ? count : CHANGES_MAX,
                              &report);
    } else {
        reload_answer_refused(answer, &report);
    }
    config_free(loaded);
    config_report_fini(&report);
    return is_good;
}
