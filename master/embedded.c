#include "master/embedded.h"

#include "common/log.h"
#include "master/signals.h"
#include "master/supervisor.h"
#include "shm/stats.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    GENTLE_MS = 10000,    /* from SIGTERM to SIGKILL: Redis writes and syncs its file meanwhile */
    HURRIED_MS = 2000,    /* the same, when the server was told twice to stop */
    AWAITED_MS = 5000,    /* so long workers wait for a Redis that loads its data */
    SETTLE_MS = 1000,     /* between two counts of lines held back */
    EARLY_DEATHS_MAX = 5, /* as of workers */
    ARGUMENTS_MAX = 40,
    EXIT_NOT_STARTED = 127,
};

static const char usual_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/* ---- the program ---- */

static bool is_program(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

static bool find_in(const char *folder, int folder_len, const char *name, char *path)
{
    int len = snprintf(path, STORAGE_PATH_SIZE, "%.*s/%s", folder_len, folder, name);

    return *folder == '/' && len < STORAGE_PATH_SIZE && is_program(path);
}

/* The folder of our own program: a tarball has a Redis there. Without /proc (a bare chroot) the
 * name by which the program was started leads there. */
static bool find_beside(const char *name, char *path)
{
    char own[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", own, sizeof own - 1);

    /* NOLINTNEXTLINE(performance-no-int-to-ptr): getauxval(3) has no other form */
    if (len <= 0 && !realpath((const char *)getauxval(AT_EXECFN), own))
        return false;
    if (len > 0)
        own[len] = 0;
    return find_in(own, (int)(strrchr(own, '/') - own), name, path);
}

/* A relative folder of the list is left out: whoever chose the working directory would choose the
 * program. */
static bool find_along(const char *folders, const char *name, char *path)
{
    while (folders && *folders) {
        size_t len = strcspn(folders, ":");
        if (find_in(folders, (int)len, name, path))
            return true;
        folders += len + (folders[len] == ':');
    }
    return false;
}

static bool find_named(const char *name, char *path)
{
    return find_beside(name, path) || find_along(getenv("PATH"), name, path) ||
           find_along(usual_path, name, path);
}

static bool find_usual(char *path)
{
    return find_beside("redis-server", path) || find_beside("valkey-server", path) ||
           find_named("redis-server", path) || find_named("valkey-server", path);
}

static bool find_program(const struct config *config, char *path, char *why, size_t why_size)
{
    const char *named = config->redis_options.program;

    if (!*named ? find_usual(path)
        : *named == '/'
            ? snprintf(path, STORAGE_PATH_SIZE, "%s", named) < STORAGE_PATH_SIZE && is_program(path)
            : find_named(named, path))
        return true;
    snprintf(
        why, why_size,
        "redis.program: embedded storage needs %s%s%s, and there is none: install one (Debian: "
        "apt install redis-server), name another program, or name a Redis that runs in "
        "dataSource.redis",
        *named ? "the program \"" : "redis-server or valkey-server", named, *named ? "\"" : "");
    return false;
}

bool embedded_judge(const struct config *config, char *why, size_t why_size)
{
    char path[STORAGE_PATH_SIZE];

    return !*config->redis.folder || find_program(config, path, why, why_size);
}

/* ---- settings ---- */

static bool settings_of(const struct config *config, struct embedded_settings *settings, char *why,
                        size_t why_size)
{
    size_t len = strlen(config->redis.folder);
    const char *socket = config->redis.path;

    *settings =
        (struct embedded_settings){ .memory_max = config->redis_options.memory_bytes,
                                    .fsync = strcmp(config->mailbox.durability, "fsync") == 0 };
    /* The Redis works in the folder, and may be unable to walk there from the root. */
    if (strncmp(socket, config->redis.folder, len) == 0 && socket[len] == '/')
        socket += len + 1;
    snprintf(settings->socket, sizeof settings->socket, "%s", socket);
    return find_program(config, settings->program, why, why_size);
}

static bool same_settings(const struct embedded_settings *a, const struct embedded_settings *b)
{
    return a->fsync == b->fsync && a->memory_max == b->memory_max &&
           strcmp(a->program, b->program) == 0 && strcmp(a->socket, b->socket) == 0;
}

static void publish(struct embedded *embedded)
{
    struct storage_view *view = &embedded->view;

    view->ready = view->pid && embedded->log.ready;
    memcpy(view->version, embedded->log.version, sizeof view->version);
    view->version[sizeof view->version - 1] = 0;
    storage_publish(embedded->region, view);
}

static void take_settings(struct embedded *embedded, const struct embedded_settings *settings)
{
    embedded->settings = *settings;
    embedded->view.memory_max = settings->memory_max;
    snprintf(embedded->view.program, sizeof embedded->view.program, "%s", settings->program);
}

/* ---- the child ---- */

static _Noreturn void child_failed(const char *step)
{
    dprintf(STDOUT_FILENO, "cannot be started: %s: %s\n", step, strerror(errno));
    _exit(EXIT_NOT_STARTED);
}

static void arguments_of(const struct embedded_settings *settings, const char **arguments,
                         char *memory, size_t memory_size)
{
    const char *const all[] = {
        settings->program,
        "--port",
        "0",
        "--unixsocket",
        settings->socket,
        "--unixsocketperm",
        "700",
        "--maxclients",
        "1024",
        "--databases",
        "1",
        "--daemonize",
        "no",
        "--logfile",
        "",
        "--loglevel",
        "notice",
        "--crash-log-enabled",
        "no", /* its dumps of clients would hold mail */
        "--save",
        "",
        "--appendonly",
        "yes",
        "--appendfsync",
        settings->fsync ? "always" : "everysec",
        "--maxmemory",
        memory,
        "--maxmemory-policy",
        "noeviction",
        NULL,
    };

    _Static_assert(sizeof all / sizeof all[0] <= ARGUMENTS_MAX, "room for all");
    snprintf(memory, memory_size, "%" PRId64, settings->memory_max);
    memcpy(arguments, all, sizeof all);
}

/* A core dump of the Redis would hold mail. */
static bool limit_core(void)
{
    const struct rlimit none = { 0, 0 };

    return setrlimit(RLIMIT_CORE, &none) == 0;
}

static bool redirect(int said)
{
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);

    /* A bare chroot has no /dev/null; nothing can be read from the pipe's end for writing either.
     */
    return dup2(nothing >= 0 ? nothing : said, STDIN_FILENO) >= 0 &&
           dup2(said, STDOUT_FILENO) >= 0 && dup2(said, STDERR_FILENO) >= 0;
}

/* The kernel forgets the death signal when the user changes, so the order of the steps counts. */
static void be_unprivileged_child_of(pid_t master, const struct embedded *embedded)
{
    const char *step = "user";

    if (privileges_drop(&embedded->privileges, &step))
        child_failed(step);
    if (prctl(PR_SET_PDEATHSIG, SIGTERM))
        child_failed("death signal");
    if (getppid() != master) /* the master died before the kernel knew of the wish */
        _exit(0);
}

static _Noreturn void become_redis(const struct embedded *embedded, int said, pid_t master)
{
    const char *arguments[ARGUMENTS_MAX];
    const char *zone = getenv("TZ");
    char memory[24], path[sizeof usual_path + 8], time_zone[80];
    const char *environment[] = { path, zone ? time_zone : NULL, NULL };
    union { /* execve takes strings that are not const, and changes none */
        const char **ours;
        char *const *theirs;
    } list = { arguments }, env = { environment };

    if (!redirect(said))
        _exit(EXIT_NOT_STARTED);
    signals_reset_in_worker();
    umask(077);
    if (setsid() < 0) /* Ctrl-C in a terminal goes to the whole group, and Redis must end last */
        child_failed("session");
    if (fchdir(embedded->home.folder_fd))
        child_failed("folder");
    be_unprivileged_child_of(master, embedded);
    if (embedded_home_lock_redis(&embedded->home) < 0)
        child_failed("redis.lock");
    if (!limit_core())
        child_failed("core limit");
    arguments_of(&embedded->settings, arguments, memory, sizeof memory);
    snprintf(path, sizeof path, "PATH=%s", usual_path);
    snprintf(time_zone, sizeof time_zone, "TZ=%s", zone ? zone : "");
    execve(embedded->settings.program, list.theirs, env.theirs);
    child_failed(embedded->settings.program);
}

/* ---- life ---- */

static void close_said(struct embedded *embedded)
{
    if (embedded->said_fd >= 0)
        close(embedded->said_fd);
    embedded->said_fd = -1;
}

/* Returns the pid, and the pipe's end for reading in said_fd; -1 with errno. Neither end waits: a
 * master that is stopped must not stop the Redis, nor the other way round. */
static pid_t fork_redis(struct embedded *embedded)
{
    pid_t master = getpid(), pid;
    int ends[2], errno_kept;

    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
        return -1;
    pid = fork();
    if (pid == 0)
        become_redis(embedded, ends[1], master);
    errno_kept = errno;
    close(ends[1]);
    if (pid < 0)
        close(ends[0]);
    else
        embedded->said_fd = ends[0];
    errno = errno_kept;
    return pid;
}

static void plan_start(struct embedded *embedded, uint64_t life_ms, uint64_t now_ms)
{
    struct exit_report report = { .life_ms = life_ms, .backoff_ms = embedded->backoff_ms };
    struct exit_decision decision = supervisor_decide(&report);

    embedded->backoff_ms = decision.backoff_ms;
    embedded->due_ms = now_ms + decision.delay_ms;
}

static void start_redis(struct embedded *embedded, uint64_t now_ms)
{
    pid_t pid;

    embedded_log_begin(&embedded->log, now_ms);
    pid = fork_redis(embedded);
    if (pid < 0) {
        log_error("storage_not_started", "error=\"%s\"", strerror(errno));
        plan_start(embedded, 0, now_ms);
        return;
    }
    embedded->asked = false;
    embedded->kill_ms = 0;
    embedded->view.pid = pid;
    embedded->view.started_ms = now_ms;
    log_info("storage_started", "pid_of_redis=%d program=%s folder=%s", (int)pid,
             embedded->settings.program, embedded->view.folder);
    publish(embedded);
}

/* A stopped process would answer no SIGTERM. */
static void end_gently(struct embedded *embedded, uint64_t now_ms)
{
    if (!embedded->view.pid || embedded->asked)
        return;
    embedded->asked = true;
    embedded->kill_ms = now_ms + GENTLE_MS;
    kill(embedded->view.pid, SIGTERM);
    kill(embedded->view.pid, SIGCONT);
}

static void kill_overdue(struct embedded *embedded, uint64_t now_ms)
{
    if (!embedded->view.pid || !embedded->kill_ms || now_ms < embedded->kill_ms)
        return;
    log_warn("storage_overdue", "pid_of_redis=%d", (int)embedded->view.pid);
    kill(embedded->view.pid, SIGKILL);
    embedded->kill_ms = 0;
}

void embedded_hear(struct embedded *embedded, uint64_t now_ms)
{
    bool was_ready = embedded->log.ready, knew = embedded->log.version[0];

    if (!embedded_log_read(&embedded->log, embedded->said_fd, was_ready && !embedded->asked,
                           now_ms))
        close_said(embedded);
    if (embedded->log.ready && !was_ready) {
        embedded->in_start = false;
        log_info("storage_ready", "pid_of_redis=%d version=%s", (int)embedded->view.pid,
                 embedded->log.version);
    }
    if (embedded->log.ready != was_ready || (bool)embedded->log.version[0] != knew)
        publish(embedded);
}

/* A Redis that ends by itself before any has served will do so again: a fault of its file, or a
 * program that knows an option no more. A signal may have another cause. */
static void count_early_death(struct embedded *embedded, int status, uint64_t now_ms)
{
    if (!embedded->in_start || now_ms - embedded->begun_ms >= AWAITED_MS)
        return;
    embedded->early_deaths++;
    embedded->gave_up = !WIFSIGNALED(status) || embedded->early_deaths >= EARLY_DEATHS_MAX;
}

static void log_end(const struct embedded *embedded, int status, int again_in_ms)
{
    log_at(embedded->asked ? LOG_INFO : LOG_ERROR, "storage_exited",
           "pid_of_redis=%d %s=%d asked=%s again_in_ms=%d said=%s", (int)embedded->view.pid,
           WIFSIGNALED(status) ? "signal" : "status",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
           embedded->asked ? "yes" : "no", again_in_ms,
           embedded->log.last.text[0] ? embedded->log.last.text : "\"\"");
}

bool embedded_bury(struct embedded *embedded, pid_t pid, int status, uint64_t now_ms)
{
    if (!embedded->used || pid != embedded->view.pid)
        return false;
    embedded_hear(embedded, now_ms); /* its last words */
    close_said(embedded);
    embedded->due_ms = now_ms;
    if (!embedded->asked) {
        plan_start(embedded, now_ms - embedded->view.started_ms, now_ms);
        count_early_death(embedded, status, now_ms);
        embedded->view.restarts++;
        stats_add_master(embedded->region, STAT_storage_restarts, 1);
    }
    log_end(embedded, status, embedded->ending ? -1 : (int)(embedded->due_ms - now_ms));
    embedded->view.pid = 0;
    publish(embedded);
    return true;
}

/* ---- for the server ---- */

static void warn_of_nobody(const struct embedded *embedded)
{
    if (embedded->privileges.drop && strcmp(embedded->privileges.user, "nobody") == 0)
        log_warn("storage_shared_user",
                 "user=nobody cure=\"other programs that run as nobody can read the mail in %s: "
                 "name a user of the server's own\"",
                 embedded->view.folder);
}

bool embedded_open(struct embedded *embedded, const struct config *config, char *why,
                   size_t why_size)
{
    struct embedded_settings settings;

    *embedded = (struct embedded){ .used = *config->redis.folder,
                                   .said_fd = -1,
                                   .home = { .folder_fd = -1, .lock = { .fd = -1 } } };
    if (!embedded->used)
        return true;
    snprintf(embedded->view.folder, sizeof embedded->view.folder, "%s", config->redis.folder);
    if (privileges_resolve(config, &embedded->privileges, why, why_size) ||
        !settings_of(config, &settings, why, why_size) ||
        !embedded_home_open(&embedded->home, config, &embedded->privileges, why, why_size))
        return false;
    take_settings(embedded, &settings);
    warn_of_nobody(embedded);
    return true;
}

void embedded_close(struct embedded *embedded)
{
    close_said(embedded);
    embedded_home_close(&embedded->home);
}

void embedded_begin(struct embedded *embedded, struct region *region, uint64_t now_ms)
{
    if (!embedded->used)
        return;
    embedded->region = region;
    embedded->begun_ms = embedded->due_ms = now_ms;
    embedded->in_start = true;
    start_redis(embedded, now_ms);
}

bool embedded_configure(struct embedded *embedded, const struct config *config, uint64_t now_ms)
{
    struct embedded_settings settings;
    char why[512];

    if (!embedded->used || embedded->ending)
        return false;
    if (!settings_of(config, &settings, why, sizeof why)) { /* it has gone since embedded_judge */
        log_error("storage_kept", "%s", why);
        return false;
    }
    if (same_settings(&settings, &embedded->settings))
        return false;
    take_settings(embedded, &settings);
    embedded->in_start = false;
    embedded->begun_ms = now_ms;
    embedded->due_ms = now_ms;
    end_gently(embedded, now_ms);
    return true;
}

void embedded_tick(struct embedded *embedded, uint64_t now_ms)
{
    if (!embedded->used || !embedded->region)
        return;
    kill_overdue(embedded, now_ms);
    if (!embedded->view.pid && !embedded->ending && !embedded->gave_up &&
        now_ms >= embedded->due_ms)
        start_redis(embedded, now_ms);
    if (now_ms - embedded->settled_ms < SETTLE_MS)
        return;
    embedded->settled_ms = now_ms;
    embedded_log_settle(&embedded->log, now_ms);
}

int embedded_wait_ms(const struct embedded *embedded, uint64_t now_ms)
{
    uint64_t at_ms = UINT64_MAX;

    if (!embedded->used || !embedded->region)
        return -1;
    if (!embedded->view.pid && !embedded->ending && !embedded->gave_up)
        at_ms = embedded->due_ms;
    else if (embedded->view.pid && embedded->kill_ms)
        at_ms = embedded->kill_ms;
    if (embedded->log.held_back && embedded->settled_ms + SETTLE_MS < at_ms)
        at_ms = embedded->settled_ms + SETTLE_MS;
    if (embedded_awaited(embedded, now_ms) && embedded->begun_ms + AWAITED_MS < at_ms)
        at_ms = embedded->begun_ms + AWAITED_MS;
    if (at_ms == UINT64_MAX)
        return -1;
    return at_ms <= now_ms ? 0 : (int)(at_ms - now_ms);
}

bool embedded_awaited(const struct embedded *embedded, uint64_t now_ms)
{
    return embedded->used && !embedded->gave_up && (!embedded->view.ready || embedded->asked) &&
           now_ms - embedded->begun_ms < AWAITED_MS;
}

bool embedded_stopped(struct embedded *embedded, bool hurried, uint64_t now_ms)
{
    if (!embedded->used)
        return true;
    embedded->ending = true;
    end_gently(embedded, now_ms);
    if (hurried && embedded->kill_ms > now_ms + HURRIED_MS)
        embedded->kill_ms = now_ms + HURRIED_MS;
    return embedded->view.pid == 0;
}
