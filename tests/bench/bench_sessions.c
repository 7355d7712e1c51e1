/* Nanoseconds a look-up and a change of the session table cost with 200,000 sessions on 4 workers.
 */
#include "common/clock.h"
#include "shm/sessions.h"
#include "shm/slots.h"

#include <stdio.h>
#include <stdlib.h>

enum { SESSIONS = 200000, WORKERS = 4, CHANGES = 100000 };

static struct address_key key_number(const struct region *region, uint32_t n)
{
    return sessions_key(region, slice_make(&n, sizeof n));
}

static void report(const char *what, uint64_t began_ns, uint32_t count)
{
    printf("%-8s %6.1f ns\n", what, (double)(clock_monotonic_ns() - began_ns) / count);
}

/* The keys include the cost of their hash, as in the server. */
static uint32_t look_up(const struct region *region, uint32_t first)
{
    uint32_t found = 0;

    for (uint32_t n = 0; n < SESSIONS; n++)
        found += sessions_workers(region, key_number(region, first + n * 7919u % SESSIONS)) != 0;
    return found;
}

int main(void)
{
    char why[256];
    struct region *region = region_create(SESSIONS, why, sizeof why);
    struct sessions_writer *writers[WORKERS];
    static uint32_t index[SESSIONS];
    uint64_t began_ns;
    uint32_t found;

    if (!region) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    for (uint32_t slot = 0; slot < WORKERS; slot++) {
        slot_begin(region, slot);
        writers[slot] = sessions_writer_new(region, slot);
        if (!writers[slot])
            return 1;
    }
    for (uint32_t n = 0; n < SESSIONS; n++)
        index[n] = sessions_add(writers[n % WORKERS], key_number(region, n), n, SLICE("web"), 0);
    look_up(region, SESSIONS); /* touches the pages */
    began_ns = clock_monotonic_ns();
    found = look_up(region, 0);
    report("hit", began_ns, SESSIONS);
    began_ns = clock_monotonic_ns();
    found += look_up(region, SESSIONS);
    report("miss", began_ns, SESSIONS);
    began_ns = clock_monotonic_ns();
    for (uint32_t n = 0; n < CHANGES; n++)
        sessions_remove(writers[n % WORKERS], index[n]);
    report("remove", began_ns, CHANGES);
    began_ns = clock_monotonic_ns();
    for (uint32_t n = 0; n < CHANGES; n++)
        sessions_add(writers[n % WORKERS], key_number(region, n), n, SLICE("web"), 0);
    report("add", began_ns, CHANGES);
    began_ns = clock_monotonic_ns();
    slot_end(region, 0);
    printf("purge    %6.1f us (%d sessions)\n", (double)(clock_monotonic_ns() - began_ns) / 1000,
           SESSIONS / WORKERS);
    for (uint32_t slot = 0; slot < WORKERS; slot++)
        sessions_writer_free(writers[slot]);
    region_close(region);
    return found == SESSIONS ? 0 : 1;
}
