#include "worker/io/wheel.h"

#include <stddef.h>
#include <string.h>

static void link_node(struct wheel_node **list, struct wheel_node *node)
{
    node->next = *list;
    node->at = list;
    if (node->next)
        node->next->at = &node->next;
    *list = node;
}

void wheel_init(struct wheel *wheel, uint64_t now_ms, wheel_cb due)
{
    memset(wheel, 0, sizeof *wheel);
    wheel->tick = now_ms / WHEEL_TICK_MS;
    wheel->due = due;
}

void wheel_cancel(struct wheel_node *node)
{
    if (!node->at)
        return;
    *node->at = node->next;
    if (node->next)
        node->next->at = node->at;
    node->at = NULL;
}

void wheel_set(struct wheel *wheel, struct wheel_node *node, uint64_t due_ms)
{
    uint64_t tick = due_ms / WHEEL_TICK_MS + 1; /* the first tick that is not early */

    wheel_cancel(node);
    if (tick <= wheel->tick)
        tick = wheel->tick + 1;
    node->due_ms = due_ms;
    link_node(&wheel->buckets[tick % WHEEL_BUCKETS], node);
}

/* Moves the bucket to a list of its own first, so that a callback may set and cancel freely. */
static void run_bucket(struct wheel *wheel, struct wheel_node **bucket, uint64_t now_ms)
{
    struct wheel_node *todo = *bucket;

    *bucket = NULL;
    if (todo)
        todo->at = &todo;
    while (todo) {
        struct wheel_node *node = todo;
        wheel_cancel(node);
        if (node->due_ms <= now_ms)
            wheel->due(node, now_ms);
        else
            link_node(bucket, node); /* due in a later revolution */
    }
}

void wheel_run(struct wheel *wheel, uint64_t now_ms)
{
    uint64_t end = now_ms / WHEEL_TICK_MS;

    /* After a long stop (SIGSTOP) one revolution visits every node. */
    if (end > wheel->tick + WHEEL_BUCKETS)
        wheel->tick = end - WHEEL_BUCKETS;
    while (wheel->tick < end) {
        wheel->tick++;
        run_bucket(wheel, &wheel->buckets[wheel->tick % WHEEL_BUCKETS], now_ms);
    }
}
