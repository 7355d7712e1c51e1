#include "master/crew.h"

#include "common/clock.h"
#include "common/close_code.h"
#include "common/log.h"
#include "master/crew_parts.h"
#include "master/spawn.h"
#include "shm/slots.h"
#include "shm/stats.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    KILL_AFTER_MS = 1000, /* from a drain's deadline to SIGKILL */
    WATCH_MS = 1000,      /* the time between two checks of the heartbeats */
    EARLY_DEATHS_MAX = 5, /* so many deaths before any worker has served: the start has failed */
};

static bool leaving(const struct seat *seat)
{
    return seat->replaced_by >= 0;
}

/* Has the seat a process that has not been told to leave? */
static bool at_work(const struct seat *seat)
{
    return seat->state == SEAT_STARTING || seat->state == SEAT_SERVING;
}

static void vacate(struct seat *seat, enum seat_state state)
{
    uint32_t backoff_ms = state == SEAT_WAITING ? seat->backoff_ms : 0;
    bool is_clerk = state == SEAT_WAITING && seat->is_clerk;

    if (seat->control_fd >= 0)
        close(seat->control_fd);
    control_reader_fini(&seat->reader);
    control_queue_fini(&seat->queue);
    *seat = (struct seat){
        .state = state,
        .control_fd = -1,
        .replaced_by = -1,
        .backoff_ms = backoff_ms,
        .is_clerk = is_clerk,
    };
    control_reader_init(&seat->reader);
    control_queue_init(&seat->queue);
}

void crew_init(struct crew *crew, struct region *region, struct config *config, const char *node,
               const struct listeners *listeners, const struct admin_doors *admin,
               struct tickets *tickets)
{
    *crew = (struct crew){ .region = region,
                           .config = config,
                           .node = node,
                           .listeners = listeners,
                           .admin = admin,
                           .tickets = tickets,
                           .private_fds = { -1, -1, -1, -1, -1, -1, -1 } };
    for (int i = 0; i < WORKERS_MAX; i++) {
        crew->seats[i].control_fd = -1;
        control_reader_init(&crew->seats[i].reader);
        control_queue_init(&crew->seats[i].queue);
        vacate(&crew->seats[i], SEAT_EMPTY);
    }
    crew->watched_ms = crew->awake_ms = clock_monotonic_ms();
}

void crew_fini(struct crew *crew)
{
    for (int i = 0; i < WORKERS_MAX; i++)
        vacate(&crew->seats[i], SEAT_EMPTY);
}

uint32_t crew_processes(const struct crew *crew)
{
    uint32_t count = 0;

    for (int i = 0; i < WORKERS_MAX; i++)
        count += seat_is_alive(&crew->seats[i]);
    return count;
}

uint32_t crew_serving(const struct crew *crew)
{
    uint32_t count = 0;

    for (int i = 0; i < WORKERS_MAX; i++)
        count += crew->seats[i].state == SEAT_SERVING && !crew->seats[i].is_clerk;
    return count;
}

void crew_want(struct crew *crew, uint32_t wanted)
{
    crew->wanted = wanted < WORKERS_MAX ? wanted : WORKERS_MAX;
}

void crew_swap(struct crew *crew)
{
    for (int i = 0; i < WORKERS_MAX; i++)
        crew->seats[i].stale = at_work(&crew->seats[i]) && !leaving(&crew->seats[i]);
}

/* ---- draining ---- */

static void drain_worker(struct crew *crew, int slot, uint16_t close_code, uint32_t deadline_ms)
{
    struct seat *seat = &crew->seats[slot];
    struct control_drain order = { .close_code = close_code, .deadline_ms = deadline_ms };
    struct control_payload *payload;

    if (!seat_is_alive(seat)) {
        vacate(seat, SEAT_EMPTY);
        return;
    }
    log_info(seat_event(seat, "worker_draining", "clerk_draining"),
             "pid_of_worker=%d slot=%d close=%u deadline_ms=%u", (int)seat->pid, slot, close_code,
             deadline_ms);
    seat->state = SEAT_DRAINING;
    seat->kill_ms = clock_monotonic_ms() + deadline_ms + KILL_AFTER_MS;
    payload = control_payload_new(slice_make(&order, sizeof order));
    if (payload)
        crew_tell_seat(crew, slot, CONTROL_DRAIN, payload, -1);
    else
        crew_flush(crew, slot, ERR_NOMEM);
    control_payload_unref(payload);
}

static uint32_t patience_ms(const struct crew *crew)
{
    return (uint32_t)(crew->config->shutdown_s * 1000);
}

void crew_drain_all(struct crew *crew, uint16_t close_code, uint32_t deadline_ms)
{
    crew->wanted = 0;
    crew->ending = true;
    for (int i = 0; i < WORKERS_MAX; i++)
        if (crew->seats[i].state != SEAT_EMPTY && crew->seats[i].state != SEAT_DRAINING)
            drain_worker(crew, i, close_code, deadline_ms);
}

void crew_kill_all(struct crew *crew)
{
    crew->wanted = 0;
    crew->unclean = crew->unclean || crew_processes(crew) > 0;
    for (int i = 0; i < WORKERS_MAX; i++)
        if (seat_is_alive(&crew->seats[i]))
            seat_kill(&crew->seats[i]);
        else
            vacate(&crew->seats[i], SEAT_EMPTY);
}

/* ---- starting ---- */

enum {
    OF_PROCESSES = WORKERS_MAX * (CONTROL_QUEUE_KINDS + 2),
    PRIVATE_FDS = sizeof((struct crew *)NULL)->private_fds / sizeof(int) + LISTENERS_MAX +
                  LISTEN_MAX + (size_t)OF_PROCESSES
};

/* Collects the descriptors that the next process must not hold: the master's own, those of other
 * processes, and of a worker the clerk's sockets, of the clerk the workers'. */
static size_t private_fds(const struct crew *crew, bool is_clerk, int *fds)
{
    size_t count = 0;

    for (size_t i = 0; is_clerk && i < crew->listeners->count; i++)
        fds[count++] = crew->listeners->fds[i];
    for (size_t i = 0; !is_clerk && i < crew->admin->count; i++)
        fds[count++] = crew->admin->doors[i].fd;

    for (size_t i = 0; i < sizeof crew->private_fds / sizeof crew->private_fds[0]; i++)
        fds[count++] = crew->private_fds[i];
    for (int i = 0; i < WORKERS_MAX; i++) {
        fds[count++] = crew->seats[i].control_fd;
        control_queue_fds(&crew->seats[i].queue, fds + count);
        count += CONTROL_QUEUE_KINDS + 1;
    }
    return count;
}

static void start_worker(struct crew *crew, int slot, uint64_t now_ms)
{
    struct seat *seat = &crew->seats[slot];
    struct worker_start worker = { .region = crew->region,
                                   .slot = (uint32_t)slot,
                                   .listen_fds = crew->listeners->fds,
                                   .listen_count = seat->is_clerk ? 0 : crew->listeners->count,
                                   .plain_count = seat->is_clerk ? 0 : crew->listeners->plain_count,
                                   .admin_doors = crew->admin->doors,
                                   .admin_count = seat->is_clerk ? crew->admin->count : 0,
                                   .tickets = crew->tickets,
                                   .config = crew->config,
                                   .node = crew->node };
    int fds[PRIVATE_FDS];
    size_t fd_count = private_fds(crew, seat->is_clerk, fds);
    struct spawned spawned;

    if (spawn_worker(&worker, fds, fd_count, &spawned)) {
        struct exit_report report = { .backoff_ms = seat->backoff_ms };
        struct exit_decision decision = supervisor_decide(&report);
        log_error(seat_event(seat, "worker_not_started", "clerk_not_started"),
                  "slot=%d error=\"%s\" again_in_ms=%u", slot, strerror(errno), decision.delay_ms);
        seat->backoff_ms = decision.backoff_ms;
        seat->due_ms = now_ms + decision.delay_ms;
        return;
    }
    seat->state = SEAT_STARTING;
    seat->pid = spawned.pid;
    seat->control_fd = spawned.control_fd;
    seat->started_ms = now_ms;
    log_info(seat_event(seat, "worker_started", "clerk_started"), "pid_of_worker=%d slot=%d",
             (int)seat->pid, slot);
}

static void start_due(struct crew *crew, uint64_t now_ms)
{
    for (int i = 0; i < WORKERS_MAX; i++)
        if (crew->seats[i].state == SEAT_WAITING && crew->seats[i].due_ms <= now_ms)
            start_worker(crew, i, now_ms);
}

static void open_seat(struct crew *crew, int slot, uint64_t now_ms)
{
    crew->seats[slot].state = SEAT_WAITING;
    crew->seats[slot].due_ms = now_ms;
}

/* ---- the dead ---- */

static void log_exit(const struct seat *seat, int slot, int status, bool asked, uint32_t delay_ms)
{
    log_at(asked ? LOG_INFO : LOG_WARN, seat_event(seat, "worker_exited", "clerk_exited"),
           "pid_of_worker=%d slot=%d %s=%d asked=%s again_in_ms=%d", (int)seat->pid, slot,
           WIFSIGNALED(status) ? "signal" : "status",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), asked ? "yes" : "no",
           asked ? -1 : (int)delay_ms);
}

static void count_early_death(struct crew *crew, bool fatal)
{
    if (crew->served)
        return;
    crew->early_deaths++;
    crew->gave_up = crew->gave_up || fatal || crew->early_deaths >= EARLY_DEATHS_MAX;
}

static void bury_worker(struct crew *crew, int slot, int status, uint64_t now_ms)
{
    struct seat *seat = &crew->seats[slot];
    bool told = seat->state == SEAT_DRAINING || crew->wanted == 0;
    bool fatal = WIFEXITED(status) && WEXITSTATUS(status) == WORKER_EXIT_FATAL;
    struct exit_report report = { .asked = told || leaving(seat),
                                  .fatal = fatal,
                                  .life_ms = now_ms - seat->started_ms,
                                  .backoff_ms = seat->backoff_ms };
    struct exit_decision decision = supervisor_decide(&report);

    slot_end(crew->region,
             (uint32_t)slot); /* first, so that the sessions are absent from here on */
    log_exit(seat, slot, status, told, decision.delay_ms);
    if (told) {
        crew->unclean = crew->unclean || (crew->ending && WIFSIGNALED(status));
    } else {
        slots_count_restart(crew->region);
        if (!seat->is_clerk)
            count_early_death(crew, fatal);
    }
    vacate(seat, decision.restart ? SEAT_WAITING : SEAT_EMPTY);
    seat->backoff_ms = decision.backoff_ms;
    seat->due_ms = now_ms + decision.delay_ms;
}

void crew_bury(struct crew *crew, pid_t pid, int status, uint64_t now_ms)
{
    for (int i = 0; i < WORKERS_MAX; i++)
        if (crew->seats[i].pid == pid) {
            bury_worker(crew, i, status, now_ms);
            return;
        }
}

/* ---- replacing ---- */

static int free_seat(const struct crew *crew)
{
    for (int i = 0; i < WORKERS_MAX; i++)
        if (crew->seats[i].state == SEAT_EMPTY)
            return i;
    return -1;
}

static bool any_draining(const struct crew *crew)
{
    for (int i = 0; i < WORKERS_MAX; i++)
        if (crew->seats[i].state == SEAT_DRAINING)
            return true;
    return false;
}

/* Must run before replace_stale, which may reuse the seat of a replacement that has left. */
static void retire_replaced(struct crew *crew, uint64_t now_ms)
{
    for (int i = 0; i < WORKERS_MAX; i++) {
        struct seat *seat = &crew->seats[i];
        if (at_work(seat) && leaving(seat) &&
            supervisor_may_leave(crew->seats[seat->replaced_by].state, now_ms - seat->replaced_ms))
            drain_worker(crew, i, WS_CLOSE_RESTARTING, patience_ms(crew));
    }
}

static void replace_stale(struct crew *crew, uint64_t now_ms)
{
    for (int i = 0; i < WORKERS_MAX; i++) {
        struct seat *seat = &crew->seats[i];
        int to;
        if (!seat->stale || !at_work(seat) || leaving(seat))
            continue;
        if (seat->is_clerk) { /* open_clerk starts the next one */
            drain_worker(crew, i, WS_CLOSE_RESTARTING, patience_ms(crew));
            continue;
        }
        to = free_seat(crew);
        if (to >= 0) {
            open_seat(crew, to, now_ms);
            seat->replaced_by = to;
            seat->replaced_ms = now_ms;
            seat->stale = false;
        } else if (!any_draining(crew)) {
            /* Every seat is taken: the old worker leaves first, and its successor gets the empty
             * seat. */
            drain_worker(crew, i, WS_CLOSE_RESTARTING, patience_ms(crew));
        }
    }
}

static void balance(struct crew *crew, uint64_t now_ms)
{
    struct seat_view views[WORKERS_MAX];
    enum seat_action actions[WORKERS_MAX];

    for (int i = 0; i < WORKERS_MAX; i++) {
        const struct seat *seat = &crew->seats[i];
        /* The clerk's seat is taken, and counts as no worker's. */
        views[i] = seat->is_clerk ? (struct seat_view){ SEAT_DRAINING, true }
                                  : (struct seat_view){ seat->state, leaving(seat) };
    }
    supervisor_balance(views, WORKERS_MAX, crew->wanted, actions);
    for (int i = 0; i < WORKERS_MAX; i++) {
        if (actions[i] == SEAT_OPEN)
            open_seat(crew, i, now_ms);
        else if (actions[i] == SEAT_LEAVE)
            drain_worker(crew, i, WS_CLOSE_DRAINING, patience_ms(crew));
    }
}

/* After `balance`, so that workers have the lowest seats: readers of shared memory visit no more
 * slots than have lived. */
static void open_clerk(struct crew *crew, uint64_t now_ms)
{
    int to = free_seat(crew);

    for (int i = 0; i < WORKERS_MAX; i++)
        if (crew->seats[i].is_clerk)
            return;
    if (crew->wanted == 0 || crew->ending || crew->admin->count == 0 || to < 0)
        return;
    open_seat(crew, to, now_ms);
    crew->seats[to].is_clerk = true;
}

/* ---- watching ---- */

static void kill_overdue(struct crew *crew, uint64_t now_ms)
{
    for (int i = 0; i < WORKERS_MAX; i++) {
        struct seat *seat = &crew->seats[i];
        if (seat->state != SEAT_DRAINING || seat->kill_ms > now_ms || seat->killed)
            continue;
        log_warn(seat_event(seat, "worker_overdue", "clerk_overdue"), "pid_of_worker=%d slot=%d",
                 (int)seat->pid, i);
        seat_kill(seat);
    }
}

static void watch_worker(struct crew *crew, int slot, uint64_t now_ms)
{
    struct seat *seat = &crew->seats[slot];
    struct worker_view view;
    struct pulse pulse = { .now_ms = now_ms,
                           .aborted_ms = seat->aborted_ms,
                           .limit_ms = (uint64_t)crew->config->watchdog_s * 1000 };

    slot_view(crew->region, (uint32_t)slot, &view);
    pulse.beat_ms = view.heartbeat_ms;
    pulse.since_ms = seat->started_ms > crew->awake_ms ? seat->started_ms : crew->awake_ms;
    switch (supervisor_watch(&pulse)) {
    case WATCHDOG_FINE:
        break;
    case WATCHDOG_ABORT:
        log_error(seat_event(seat, "worker_stuck", "clerk_stuck"),
                  "pid_of_worker=%d slot=%d silent_ms=%llu", (int)seat->pid, slot,
                  (unsigned long long)(now_ms - view.heartbeat_ms));
        seat->aborted_ms = now_ms;
        kill(seat->pid, SIGABRT);
        break;
    case WATCHDOG_KILL:
        seat_kill(seat);
        break;
    }
}

/* Another process has written where only the master may. */
static void mend_region(struct crew *crew)
{
    uint64_t words = region_take_mended(crew->region);

    if (!words)
        return;
    log_error("shared_memory_mended", "words=%llu", (unsigned long long)words);
    stats_add_master(crew->region, STAT_shared_mended, words);
}

/* The kernel had no memory for a frame: no event says when there is some. */
static void retry_flush(struct crew *crew, int slot)
{
    const struct control_queue *queue = &crew->seats[slot].queue;

    if (queue->leaving.type && !queue->blocked)
        crew_flush(crew, slot, OK);
}

/* When the master itself has not run for a while (a stopped container, a machine asleep), nor have
 * the workers: their silence counts from now on. */
static void watch_all(struct crew *crew, uint64_t now_ms)
{
    if (now_ms - crew->watched_ms > UINT64_C(3) * WATCH_MS)
        crew->awake_ms = now_ms;
    crew->watched_ms = now_ms;
    mend_region(crew);
    for (int i = 0; i < WORKERS_MAX; i++)
        if (seat_is_alive(&crew->seats[i]) && !crew->seats[i].killed) {
            watch_worker(crew, i, now_ms);
            retry_flush(crew, i);
        }
}

void crew_tick(struct crew *crew, uint64_t now_ms)
{
    retire_replaced(crew, now_ms);
    replace_stale(crew, now_ms);
    balance(crew, now_ms);
    open_clerk(crew, now_ms);
    start_due(crew, now_ms);
    kill_overdue(crew, now_ms);
    if (now_ms - crew->watched_ms >= WATCH_MS)
        watch_all(crew, now_ms);
}

static void sooner(uint64_t *at_ms, uint64_t candidate_ms)
{
    if (candidate_ms < *at_ms)
        *at_ms = candidate_ms;
}

int crew_wait_ms(const struct crew *crew, uint64_t now_ms)
{
    uint64_t at_ms = UINT64_MAX;

    for (int i = 0; i < WORKERS_MAX; i++) {
        const struct seat *seat = &crew->seats[i];
        if (seat->state == SEAT_WAITING)
            sooner(&at_ms, seat->due_ms);
        if (seat->state == SEAT_DRAINING && !seat->killed)
            sooner(&at_ms, seat->kill_ms);
        if (at_work(seat) && leaving(seat) && crew->seats[seat->replaced_by].state == SEAT_STARTING)
            sooner(&at_ms, seat->replaced_ms + REPLACE_WAIT_MS);
        if (seat_is_alive(seat)) /* watch_all also notices by its rhythm that the machine slept */
            sooner(&at_ms, crew->watched_ms + WATCH_MS);
    }
    if (at_ms == UINT64_MAX)
        return -1;
    return at_ms <= now_ms ? 0 : (int)(at_ms - now_ms);
}
