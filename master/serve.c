/*
 * The master does everything that needs privileges before the first fork; then the master waits for
 * signals and for its workers, and for nothing else. The master reads no byte of a client, talks to
 * no Redis and takes no lock in shared memory.
 */
#include "master/server.h"

#include "common/clock.h"
#include "common/close_code.h"
#include "common/log.h"
#include "master/certificates.h"
#include "master/cmd_source.h"
#include "master/daemon.h"
#include "master/notice.h"
#include "master/privileges.h"
#include "master/rlimits.h"
#include "master/signals.h"
#include "master/status_door.h"
#include "shm/slots.h"
#include "shm/stats.h"
#include "shm/tickets.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ANNOUNCE_AFTER_MS = 5000,
    SETTLE_MS = 1000,
    CLERK_ANSWER_MAX = 1 << 20,
    STOP_SLACK_MS = 15000, /* from the deadline of the workers to the end of the master, at most */
};

/* ---- starting ---- */

static struct config *load_first_config(const struct options *options)
{
    struct config_report report;
    struct config *config;
    char why[512];

    config_report_init(&report);
    config = config_load(&options->source, &report);
    if (config) /* from here on standard error never waits; a start that fails says why, and may */
        log_take_stderr();
    if (config)
        cmd_source_say(&options->source, config);
    fputs(buf_text(&report.notes), stderr);
    fputs(buf_text(&report.warnings), stderr);
    fputs(buf_text(&report.errors), stderr);
    config_report_fini(&report);
    if (config && !reload_may_serve(config, why, sizeof why)) {
        fprintf(stderr, "%s: %s\n", config->file, why);
        config_free(config);
        return NULL;
    }
    return config;
}

static int start_failed(const char *why)
{
    log_error("start_failed", "%s", why);
    return EXIT_FAILED;
}

static int start_failed_errno(const char *what)
{
    char why[256];

    snprintf(why, sizeof why, "%s: %s", what, strerror(errno));
    return start_failed(why);
}

static int take_pidfile(struct server *server)
{
    const char *named =
        server->options->pid_file ? server->options->pid_file : server->config->pid_file;
    char *usual = named[0] ? NULL : pidfile_default_path(config_main_port(server->config));
    const char *path = named[0] ? named : usual;
    char why[512];
    enum err err = path ? pidfile_take(&server->pidfile, path, why, sizeof why) : OK;

    free(usual);
    return err ? start_failed(why) : 0;
}

static int open_all(struct server *server)
{
    const struct config *config = server->config;
    char why[512];
    int status;

    log_set_level_named(config->log.level);
    if (config->log.file[0] && reload_log_file(server, config->log.file))
        return EXIT_FAILED;
    if (server->options->daemon && !config->log.file[0])
        log_warn("log_goes_nowhere", "cure=\"a daemon has no standard error: set log.file\"");
    rlimits_set();
    rlimits_check(config);
    /* First, as the pid file may lie beside the storage's folder, and that folder may be made here.
     */
    if (!embedded_open(&server->storage, config, why, sizeof why))
        return start_failed(why);
    status = take_pidfile(server);
    if (status)
        return status;
    server->signal_fd = signals_open();
    if (server->signal_fd < 0)
        return start_failed_errno("signalfd");
    if (listeners_open(&server->listeners, config, why, sizeof why))
        return start_failed(why);
    if (admin_doors_open(&server->admin, config, server->pidfile.path, why, sizeof why))
        return start_failed(why);
    server->tickets = tickets_new();
    if (!server->tickets)
        return start_failed_errno("memory for the keys of TLS tickets");
    server->region = region_create((uint32_t)config->connections_max, why, sizeof why);
    return server->region ? 0 : start_failed(why);
}

/* Makes the node's name of the host name, other bytes than those of a configured name replaced, and
 * a random part: two servers on one host, or two cloned hosts, are two nodes. */
static void name_node(struct server *server)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    const char *id = server->config->node_id;
    char host[58] = "";
    uint32_t random = 0;

    if (id[0]) {
        snprintf(server->node, sizeof server->node, "%s", id);
        return;
    }
    if (gethostname(host, sizeof host - 1) && errno != ENAMETOOLONG)
        host[0] = 0;
    for (char *at = host; *(at += strspn(at, allowed));)
        *at = '-';
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        random = (uint32_t)clock_monotonic_ns();
    snprintf(server->node, sizeof server->node, "%s-%06x", host[0] ? host : "localhost",
             random & 0xffffff);
}

static void log_started(struct server *server)
{
    const struct config_list *listen = &server->config->listen;
    struct buf items;

    buf_init(&items, 4096);
    for (size_t i = 0; i < listen->count; i++)
        buf_addf(&items, "%s%s", i ? "," : "", listen->items[i]);
    log_info("server_started",
             "version=%s config=\"%s\" node=%s listen=%s port=%lld ssl_port=%lld workers=%u",
             POSTOFFICE_VERSION, server->config->file, server->node, buf_text(&items),
             (long long)server->config->socket_port, (long long)server->config->ssl_port,
             config_worker_count(server->config));
    buf_fini(&items);
}

static void man(struct server *server)
{
    struct crew *crew = &server->crew;

    name_node(server);
    slots_master_set(server->region, (int32_t)getpid(), server->node);
    server->tickets_due_ms =
        tickets_turn(server->tickets, clock_monotonic_ms(), (uint32_t)server->config->tls.ticket_s);
    certificates_publish(server->config, server->region);
    notice_start(server);
    crew_init(crew, server->region, server->config, server->node, &server->listeners,
              &server->admin, server->tickets);
    crew->private_fds[0] = server->pidfile.fd;
    crew->private_fds[1] = server->signal_fd;
    crew->private_fds[2] = server->daemon_fd;
    server->door_fd = status_door_open();
    crew->private_fds[3] = server->door_fd;
    crew->private_fds[4] = server->storage.home.folder_fd;
    crew->private_fds[5] = server->storage.home.lock.fd;
    server->crew_held = true;
    embedded_begin(&server->storage, server->region, clock_monotonic_ms());
    server->since_ms = clock_monotonic_ms();
    log_started(server);
    reload_log_read(server->config);
}

/* ---- serving ---- */

static void stop_serving(struct server *server, unsigned times)
{
    if (server->stopping || times > 1)
        server->hurried = true;
    if (!server->stopping) {
        int64_t seconds = server->config->shutdown_s;
        log_info("server_stopping", "deadline_s=%lld", (long long)seconds);
        notify_stopping(&server->notify, (uint64_t)(seconds * 1000) + STOP_SLACK_MS);
        listeners_close(&server->listeners);
        crew_drain_all(&server->crew, WS_CLOSE_GOING_AWAY, (uint32_t)(seconds * 1000));
    }
    if (server->hurried) {
        log_warn("server_hurried", "the workers are killed");
        crew_kill_all(&server->crew);
    }
    server->stopping = true;
}

/* Writes one line for `systemctl status`: systemctl shows nothing that ExecReload prints. */
static void status_line(struct server *server, char line[NOTIFY_STATUS_SIZE])
{
    const struct about *about = &server->about;

    server->serving_told = crew_serving(&server->crew);
    snprintf(line, NOTIFY_STATUS_SIZE, "%sserving with %u of %u workers%s%s",
             about->outcome == RELOAD_REFUSED ? "the last reload was refused; " : "",
             server->serving_told, server->crew.wanted,
             about->waiting[0] ? "; waits for a restart: " : "", about->waiting);
}

/* Once: ends the start, with success or failure. */
static void announce(struct server *server, uint64_t now_ms)
{
    uint32_t serving = crew_serving(&server->crew);
    char line[NOTIFY_STATUS_SIZE];

    if (server->announced || server->stopping)
        return;
    if (server->crew.gave_up) {
        start_failed("no worker could start");
        server->failed = true;
        stop_serving(server, 1);
        return;
    }
    if (!serving || server->crew_held ||
        (serving < server->crew.wanted && now_ms - server->since_ms < ANNOUNCE_AFTER_MS))
        return;
    server->announced = true;
    log_info("server_ready", "port=%lld workers=%u", (long long)server->config->socket_port,
             serving);
    daemon_tell(&server->daemon_fd, 0);
    server->crew.private_fds[2] = -1;
    status_line(server, line);
    notify_ready(&server->notify, line);
}

/* The manager waits for the end of a reload, also of one that was refused. Returns and appends what
 * reload() does. */
static bool reload_and_notify(struct server *server, struct buf *answer)
{
    bool is_applied;
    char line[NOTIFY_STATUS_SIZE];

    if (server->announced)
        notify_reloading(&server->notify);
    is_applied = reload(server, answer);
    status_line(server, line);
    if (server->announced)
        notify_ready(&server->notify, line);
    return is_applied;
}

static enum control_outcome do_order(struct server *server, const struct control_reload *order,
                                     struct buf *answer)
{
    bool is_good;

    if (server->stopping)
        return CONTROL_STOPPING;
    is_good = order->is_plan ? reload_plan(server, answer) : reload_and_notify(server, answer);
    return is_good ? CONTROL_DONE : CONTROL_REFUSED;
}

/* Does what the clerk asks for, and answers. */
static void serve_clerk(struct server *server)
{
    struct control_reload order;
    struct control_reloaded head;
    struct buf answer;
    int slot;

    while ((slot = crew_take_reload(&server->crew, &order)) >= 0) {
        head.number = order.number;
        buf_init(&answer, CLERK_ANSWER_MAX);
        buf_add(&answer, &head, sizeof head);
        head.outcome = do_order(server, &order, &answer);
        if (!answer.failed) {
            memcpy(answer.data, &head, sizeof head);
            crew_answer_clerk(&server->crew, slot, buf_slice(&answer));
        }
        buf_fini(&answer);
    }
}

static void settle_notify(struct server *server, uint64_t now_ms)
{
    char line[NOTIFY_STATUS_SIZE];

    notify_tick(&server->notify, now_ms);
    if (!server->announced || server->stopping ||
        server->serving_told == crew_serving(&server->crew))
        return;
    status_line(server, line);
    notify_status(&server->notify, line);
}

/* Workers are started, and after a reload replaced, when the storage is there. */
static void settle_storage(struct server *server, uint64_t now_ms)
{
    struct embedded *storage = &server->storage;

    embedded_tick(storage, now_ms);
    server->crew.private_fds[6] = storage->said_fd;
    if (storage->gave_up && !server->announced && !server->stopping) {
        start_failed("the Redis of the embedded storage could not start: storage_exited above says "
                     "why");
        server->failed = true;
        stop_serving(server, 1);
    }
    if (server->stopping || embedded_awaited(storage, now_ms))
        return;
    if (server->swap_held)
        crew_swap(&server->crew);
    if (server->crew_held)
        crew_want(&server->crew, config_worker_count(server->config));
    server->swap_held = server->crew_held = false;
}

static void reap_children(struct server *server)
{
    uint64_t now_ms = clock_monotonic_ms();
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (!embedded_bury(&server->storage, pid, status, now_ms))
            crew_bury(&server->crew, pid, status, now_ms);
}

static void answer_signals(struct server *server)
{
    struct signals_seen seen = signals_read(server->signal_fd);

    if (seen.child)
        reap_children(server);
    if (seen.stop)
        stop_serving(server, seen.stop);
    if (seen.reopen_log && reload_log_file(server, server->config->log.file) == OK)
        log_info("log_reopened", "%s", "");
    if (seen.reload && !server->stopping)
        reload_and_notify(server, NULL);
}

/* The smaller of two times to wait; -1 is for ever. */
static int sooner_ms(int a, int b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

static void wait_for_news(struct server *server)
{
    struct pollfd fds[3 + WORKERS_MAX] = { { .fd = server->signal_fd, .events = POLLIN },
                                           { .fd = server->door_fd, .events = POLLIN },
                                           { .fd = server->storage.said_fd, .events = POLLIN } };
    uint64_t now_ms = clock_monotonic_ms();
    int wait_ms =
        sooner_ms(crew_wait_ms(&server->crew, now_ms), embedded_wait_ms(&server->storage, now_ms));

    wait_ms = notify_wait_ms(&server->notify, now_ms, wait_ms);
    crew_poll_prepare(&server->crew, fds + 3);
    if (poll(fds, 3 + WORKERS_MAX, wait_ms) < 0)
        return; /* EINTR cannot be, signals are blocked; ENOMEM passes */
    crew_poll_done(&server->crew, fds + 3);
    if (fds[1].revents)
        status_door_serve(server->door_fd, server->region);
    if (fds[2].revents)
        embedded_hear(&server->storage, clock_monotonic_ms());
    serve_clerk(server);
    answer_signals(server);
}

/* New keys for tickets, and once a day a look at the ends of the certificates. */
static void settle_tls(struct server *server, uint64_t now_ms)
{
    const struct config *config = server->config;

    if (now_ms >= server->tickets_due_ms)
        server->tickets_due_ms =
            tickets_turn(server->tickets, now_ms, (uint32_t)config->tls.ticket_s);
    server->certs_due_ms = certificates_look(config, server->certs_due_ms, now_ms, clock_unix_s());
}

/* Once a second: what the log owes the operator. */
static void settle_log(struct server *server, uint64_t now_ms)
{
    uint64_t dropped = log_lines_dropped();

    if (now_ms - server->settled_ms < SETTLE_MS)
        return;
    server->settled_ms = now_ms;
    log_settle();
    stats_add_master(server->region, STAT_log_lines_lost, dropped - server->lines_counted);
    server->lines_counted = dropped;
}

static int run_master(struct server *server)
{
    bool clean;

    do {
        settle_storage(server, clock_monotonic_ms());
        crew_tick(&server->crew, clock_monotonic_ms());
        if (server->stopping && crew_processes(&server->crew) == 0 &&
            embedded_stopped(&server->storage, server->hurried, clock_monotonic_ms()))
            break;
        wait_for_news(server);
        announce(server, clock_monotonic_ms());
        settle_notify(server, clock_monotonic_ms());
        settle_log(server, clock_monotonic_ms());
        settle_tls(server, clock_monotonic_ms());
        jwks_watch(server, clock_monotonic_ms());
    } while (true);
    clean = !server->failed && !server->crew.unclean;
    log_info("server_stopped", "clean=%s", clean ? "yes" : "no");
    return clean ? 0 : EXIT_FAILED;
}

/* ---- ending ---- */

static void close_all(struct server *server)
{
    region_close(server->region);
    listeners_close(&server->listeners);
    admin_doors_close(&server->admin);
    tickets_free(server->tickets);
    listeners_remove(&server->listeners);
    if (server->signal_fd >= 0)
        close(server->signal_fd);
    if (server->door_fd >= 0)
        close(server->door_fd);
    pidfile_leave(&server->pidfile);
    embedded_close(&server->storage);
    if (server->log_fd >= 0) {
        log_set_fd(STDERR_FILENO);
        close(server->log_fd);
    }
}

static int start_and_run(struct server *server)
{
    int status = open_all(server);

    if (status == 0) {
        if (server->options->daemon)
            daemon_detach();
        man(server);
        status = run_master(server);
        crew_fini(&server->crew);
    }
    close_all(server);
    return status;
}

int serve(const struct options *options)
{
    struct server server = { .options = options,
                             .pidfile = { .fd = -1 },
                             .signal_fd = -1,
                             .daemon_fd = -1,
                             .door_fd = -1,
                             .log_fd = -1,
                             .storage = { .said_fd = -1,
                                          .home = { .folder_fd = -1, .lock = { .fd = -1 } } },
                             .jwks_refused = -1 };
    int status = EXIT_FAILED;

    /* Descriptors that the caller left open are closed: no worker shall hold them all its life. */
    close_range(3, ~0U, 0);
    notify_init(&server.notify);
    signals_block();
    if (geteuid() !=
        0) /* root's memory is safe from the workers' user; status needs the open way */
        privileges_hide();
    server.config = load_first_config(options);
    if (!server.config)
        return EXIT_USAGE;
    if (options->daemon)
        server.daemon_fd = daemon_start();
    if (options->daemon && server.daemon_fd < 0)
        start_failed_errno("daemon");
    else
        status = start_and_run(&server);
    daemon_tell(&server.daemon_fd, status);
    config_free(server.config);
    return status;
}
