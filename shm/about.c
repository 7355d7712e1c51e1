#include "shm/about.h"

#include "shm/layout.h"

#include <sched.h>
#include <string.h>

enum { READ_TRIES = 1000 };

void about_publish(struct region *region, const struct about *about)
{
    struct shared_about *shared = region_about(region);

    atomic_fetch_add(&shared->version, 1); /* odd: readers read again */
    atomic_thread_fence(memory_order_seq_cst);
    memcpy(&shared->about, about, sizeof *about);
    atomic_thread_fence(memory_order_seq_cst);
    atomic_fetch_add(&shared->version, 1);
}

void about_read(const struct region *region, struct about *about)
{
    const struct shared_about *shared = region_about(region);

    for (int i = 0; i < READ_TRIES; i++) {
        uint32_t before = atomic_load(&shared->version);
        memcpy(about, &shared->about, sizeof *about);
        atomic_thread_fence(memory_order_seq_cst);
        if ((before & 1) == 0 && atomic_load(&shared->version) == before)
            break;
        sched_yield();
    }
    about->version[sizeof about->version - 1] = 0;
    about->config_file[sizeof about->config_file - 1] = 0;
    about->listen[sizeof about->listen - 1] = 0;
    about->applied[sizeof about->applied - 1] = 0;
    about->swapped[sizeof about->swapped - 1] = 0;
    about->waiting[sizeof about->waiting - 1] = 0;
    about->why[sizeof about->why - 1] = 0;
}
