#include "worker/io/loop.h"

#include "common/clock.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>

enum { HOOKS_MAX = 8 };

struct loop {
    struct event_base *base;
    uint64_t now_ms, now_ns;
    int64_t unix_s;
    struct {
        void (*run)(void *arg);
        void *arg;
    } hooks[HOOKS_MAX];
    unsigned hook_count;
    bool stopping, again;
};

static void read_clocks(struct loop *loop)
{
    loop->now_ns = clock_monotonic_ns();
    loop->now_ms = loop->now_ns / 1000000u;
    loop->unix_s = clock_unix_s();
}

struct loop *loop_new(void)
{
    struct loop *loop = calloc(1, sizeof *loop);
    struct event_config *options;

    if (!loop)
        return NULL;
    options = event_config_new();
    if (options) {
        /* A worker has one thread: no locks. loop.c keeps the turn's clock, so libevent need
         * not. */
        event_config_set_flag(options, EVENT_BASE_FLAG_NOLOCK);
        event_config_set_flag(options, EVENT_BASE_FLAG_NO_CACHE_TIME);
        loop->base = event_base_new_with_config(options);
        event_config_free(options);
    }
    if (!loop->base) {
        free(loop);
        return NULL;
    }
    read_clocks(loop);
    return loop;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    event_base_free(loop->base);
    free(loop);
}

void loop_run(struct loop *loop)
{
    while (!loop->stopping) {
        int flags = EVLOOP_ONCE | (loop->again ? EVLOOP_NONBLOCK : 0);
        loop->again = false;
        loop->now_ms = 0; /* 0: read again by the first caller of loop_now_ms */
        if (event_base_loop(loop->base, flags) < 0)
            abort(); /* epoll itself failed; the master starts another worker */
        for (unsigned i = 0; i < loop->hook_count; i++)
            loop->hooks[i].run(loop->hooks[i].arg);
    }
    loop->stopping = false; /* so that loop_run may be called again */
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true;
    event_base_loopbreak(loop->base);
}

uint64_t loop_now_ms(struct loop *loop)
{
    if (!loop->now_ms)
        read_clocks(loop);
    return loop->now_ms;
}

uint64_t loop_now_ns(struct loop *loop)
{
    if (!loop->now_ms)
        read_clocks(loop);
    return loop->now_ns;
}

int64_t loop_unix_s(struct loop *loop)
{
    if (!loop->now_ms)
        read_clocks(loop);
    return loop->unix_s;
}

static void on_fd_event(evutil_socket_t fd, short what, void *arg)
{
    struct loop_watch *watch = arg;
    unsigned events = (what & EV_READ ? LOOP_READ : 0u) | (what & EV_WRITE ? LOOP_WRITE : 0u);

    watch->callback(watch->arg, fd, events);
}

static short event_flags(unsigned events)
{
    return (short)(EV_PERSIST | (events & LOOP_READ ? EV_READ : 0) |
                   (events & LOOP_WRITE ? EV_WRITE : 0));
}

enum err loop_watch(struct loop *loop, struct loop_watch *watch, int fd, unsigned events,
                    loop_fd_cb callback, void *arg)
{
    watch->callback = callback;
    watch->arg = arg;
    watch->events = 0;
    if (event_assign(&watch->event, loop->base, fd, event_flags(events), on_fd_event, watch) != 0)
        return ERR_SYSTEM;
    if (events && event_add(&watch->event, NULL) != 0)
        return ERR_SYSTEM;
    watch->events = events;
    return OK;
}

enum err loop_rewatch(struct loop *loop, struct loop_watch *watch, unsigned events)
{
    evutil_socket_t fd = event_get_fd(&watch->event);

    if (watch->events == events) /* called after every flush, so this case must cost nothing */
        return OK;
    if (watch->events)
        event_del(&watch->event);
    watch->events = 0;
    if (event_assign(&watch->event, loop->base, fd, event_flags(events), on_fd_event, watch) != 0)
        return ERR_SYSTEM;
    if (events && event_add(&watch->event, NULL) != 0)
        return ERR_SYSTEM;
    watch->events = events;
    return OK;
}

void loop_unwatch(struct loop_watch *watch)
{
    event_del(&watch->event);
    watch->events = 0;
}

void loop_read_again(struct loop_watch *watch)
{
    event_active(&watch->event, EV_READ, 0);
}

static void on_timer_event(evutil_socket_t fd, short what, void *arg)
{
    struct loop_timer *timer = arg;

    (void)fd;
    (void)what;
    timer->callback(timer->arg);
}

void loop_timer_init(struct loop *loop, struct loop_timer *timer, loop_timer_cb callback, void *arg)
{
    timer->callback = callback;
    timer->arg = arg;
    event_assign(&timer->event, loop->base, -1, 0, on_timer_event, timer);
}

void loop_timer_set(struct loop_timer *timer, uint64_t delay_ms)
{
    struct timeval delay = { .tv_sec = (time_t)(delay_ms / 1000),
                             .tv_usec = (suseconds_t)(delay_ms % 1000 * 1000) };

    /* libevent's row of timers can grow. Without its clock a worker serves nobody: the master
     * starts another. */
    if (event_add(&timer->event, &delay) != 0)
        abort();
}

void loop_timer_cancel(struct loop_timer *timer)
{
    event_del(&timer->event);
}

void loop_add_hook(struct loop *loop, void (*hook)(void *arg), void *arg)
{
    assert(loop->hook_count < HOOKS_MAX);
    loop->hooks[loop->hook_count].run = hook;
    loop->hooks[loop->hook_count].arg = arg;
    loop->hook_count++;
}

void loop_again(struct loop *loop)
{
    loop->again = true;
}
