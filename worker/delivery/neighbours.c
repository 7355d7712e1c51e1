#include "worker/delivery/neighbours.h"

#include "shm/slots.h"
#include "shm/stats.h"

bool neighbours_failed(struct neighbours *neighbours, const struct region *region)
{
    uint64_t lost = stats_sum(region, STAT_doorbells_lost);
    struct server_view server;
    bool failed;

    slots_server(region, &server);
    failed = lost != neighbours->doorbells_lost || server.restarts != neighbours->restarts;
    neighbours->doorbells_lost = lost;
    neighbours->restarts = server.restarts;
    for (uint32_t slot = 0; slot < WORKERS_MAX; slot++) {
        uint64_t incarnation = slot_incarnation(region, slot);
        uint64_t seen = neighbours->incarnations[slot];
        failed |= seen && seen != incarnation;
        neighbours->incarnations[slot] = incarnation;
    }
    return failed;
}
