#include "worker/entrance/visitor_stay.h"

#include "shm/origins.h"
#include "worker/entrance/visitor_parts.h"
#include "worker/wire/stream.h"

void visitor_wait(struct visitor *visitor)
{
    struct visitors *visitors = visitor->visitors;

    visitor->waiting = true;
    visitor->older = visitors->newest;
    if (visitor->older)
        visitor->older->newer = visitor;
    else
        visitors->oldest = visitor;
    visitors->newest = visitor;
    visitors->waiting_count++;
}

void visitor_wait_end(struct visitor *visitor)
{
    struct visitors *visitors = visitor->visitors;

    if (!visitor->waiting)
        return;
    visitor->waiting = false;
    if (visitor->older)
        visitor->older->newer = visitor->newer;
    else
        visitors->oldest = visitor->newer;
    if (visitor->newer)
        visitor->newer->older = visitor->older;
    else
        visitors->newest = visitor->older;
    visitors->waiting_count--;
}

void visitor_leave(struct visitor *visitor)
{
    struct visitors *visitors = visitor->visitors;

    visitor_wait_end(visitor);
    turnstile_leave(&visitors->turnstile, &visitor->place);
    loop_unwatch(&visitor->watch);
    wheel_cancel(&visitor->timer);
    *visitor->at = visitor->next;
    if (visitor->next)
        visitor->next->at = visitor->at;
    visitor->next = visitors->dead;
    visitors->dead = visitor;
    visitors->count--;
    visitors->late_count -= visitor->late;
}

void visitor_count_origin(struct visitor *visitor)
{
    struct office *office = visitor->visitors->office;
    int64_t limit = office->config->limits.connections_per_ip;
    uint64_t key;

    if (limit == 0)
        return;
    key = origins_key(office->region, &visitor->peer);
    if (key == 0)
        return;
    if (origins_add(office->region, office->slot, key)) {
        visitor->uncounted = true;
        return;
    }
    visitor->origin_key = key;
    visitor->uncounted = origins_count(office->region, key) > (uint64_t)limit;
}

void visitor_give_back_origin(struct visitor *visitor)
{
    struct office *office = visitor->visitors->office;

    if (visitor->origin_key)
        origins_remove(office->region, office->slot, visitor->origin_key);
    visitor->origin_key = 0;
}

void visitor_part(struct visitor *visitor)
{
    stream_close(visitor->fd, visitor->tls);
    visitor->tls = NULL;
    visitor_give_back_origin(visitor);
    visitor_leave(visitor);
}
