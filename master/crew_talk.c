/* Frames of common/control.h between the master and its workers, told and heard. The master waits
 * for no worker. */
#include "common/log.h"
#include "master/crew_parts.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

/* ---- telling ---- */

void seat_kill(struct seat *seat)
{
    if (!seat_is_alive(seat) || seat->killed)
        return;
    kill(seat->pid, SIGKILL);
    seat->killed = true;
}

void crew_flush(struct crew *crew, int slot, enum err err)
{
    struct seat *seat = &crew->seats[slot];

    if (!err)
        err = seat->control_fd < 0 ? ERR_DOWN : control_queue_flush(&seat->queue, seat->control_fd);
    if (!err)
        return;
    log_warn(seat_event(seat, "worker_deaf", "clerk_deaf"), "pid_of_worker=%d slot=%d error=%s",
             (int)seat->pid, slot, err_name(err));
    seat_kill(seat);
}

void crew_tell_seat(struct crew *crew, int slot, enum control_type type,
                    struct control_payload *payload, int fd_pass)
{
    crew_flush(crew, slot, control_queue_put(&crew->seats[slot].queue, type, payload, fd_pass));
}

void crew_tell(struct crew *crew, enum control_type type, struct slice payload, int fd_pass)
{
    struct control_payload *shared = payload.len ? control_payload_new(payload) : NULL;

    for (int i = 0; i < WORKERS_MAX; i++) {
        if (!seat_is_alive(&crew->seats[i]))
            continue;
        if (payload.len && !shared)
            crew_flush(crew, i, ERR_NOMEM);
        else
            crew_tell_seat(crew, i, type, shared, fd_pass);
    }
    control_payload_unref(shared);
}

/* ---- hearing ---- */

void crew_poll_prepare(const struct crew *crew, struct pollfd *fds)
{
    for (int i = 0; i < WORKERS_MAX; i++) {
        const struct seat *seat = &crew->seats[i];
        fds[i] = (struct pollfd){ .fd = seat->control_fd,
                                  .events = (short)(POLLIN | (seat->queue.blocked ? POLLOUT : 0)) };
    }
}

static void worker_ready(struct crew *crew, int slot)
{
    struct seat *seat = &crew->seats[slot];

    crew->served = crew->served || !seat->is_clerk;
    if (seat->state == SEAT_STARTING)
        seat->state = SEAT_SERVING;
    log_info(seat_event(seat, "worker_ready", "clerk_ready"), "pid_of_worker=%d slot=%d",
             (int)seat->pid, slot);
}

static void worker_applied(struct crew *crew, int slot)
{
    log_debug("worker_applied", "slot=%d", slot);
    control_queue_applied(&crew->seats[slot].queue);
    crew_flush(crew, slot, OK);
}

/* A clerk alone may ask. */
static enum err reload_asked(struct seat *seat, struct slice payload)
{
    if (!seat->is_clerk || payload.len != sizeof seat->reload)
        return ERR_BAD;
    memcpy(&seat->reload, payload.data, sizeof seat->reload);
    seat->asks = true;
    return OK;
}

int crew_take_reload(struct crew *crew, struct control_reload *order)
{
    for (int i = 0; i < WORKERS_MAX; i++) {
        struct seat *seat = &crew->seats[i];
        if (!seat->asks)
            continue;
        seat->asks = false;
        *order = seat->reload;
        return i;
    }
    return -1;
}

void crew_answer_clerk(struct crew *crew, int slot, struct slice payload)
{
    struct control_payload *answer = control_payload_new(payload);

    if (seat_is_alive(&crew->seats[slot]) && answer)
        crew_tell_seat(crew, slot, CONTROL_RELOADED, answer, -1);
    control_payload_unref(answer); /* no memory: the clerk stops waiting by itself */
}

static void hear_worker(struct crew *crew, int slot)
{
    struct seat *seat = &crew->seats[slot];
    enum control_type type;
    struct slice payload;
    enum err err = control_fill(&seat->reader, seat->control_fd);

    while (control_next(&seat->reader, &type, &payload) == OK) {
        if (type == CONTROL_READY)
            worker_ready(crew, slot);
        else if (type == CONTROL_APPLIED)
            worker_applied(crew, slot);
        else if (type == CONTROL_RELOAD && reload_asked(seat, payload))
            err = ERR_BAD;
    }
    if (!err)
        return;
    /* The worker exits (SIGCHLD follows), or sent nonsense: the socket is of no more use. */
    close(seat->control_fd);
    seat->control_fd = -1;
    if (err != ERR_DOWN) {
        log_error(seat_event(seat, "worker_nonsense", "clerk_nonsense"),
                  "pid_of_worker=%d slot=%d error=%s", (int)seat->pid, slot, err_name(err));
        seat_kill(seat);
    }
}

void crew_poll_done(struct crew *crew, const struct pollfd *fds)
{
    for (int i = 0; i < WORKERS_MAX; i++) {
        if (!fds[i].revents || fds[i].fd < 0 || fds[i].fd != crew->seats[i].control_fd)
            continue;
        if (fds[i].revents & POLLOUT)
            crew_flush(crew, i, OK);
        if (fds[i].revents & ~POLLOUT)
            hear_worker(crew, i);
    }
}
