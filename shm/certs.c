#include "shm/certs.h"

#include "shm/layout.h"

#include <sched.h>
#include <string.h>

enum { READ_TRIES = 1000 };

void certs_publish(struct region *region, const struct cert_view *certs, uint32_t count)
{
    struct shared_certs *shared = region_certs(region);

    assert(count <= CERTS_MAX);
    atomic_fetch_add(&shared->version, 1); /* odd: readers read again */
    atomic_thread_fence(memory_order_seq_cst);
    shared->count = count;
    memcpy(shared->certs, certs, count * sizeof *certs);
    atomic_thread_fence(memory_order_seq_cst);
    atomic_fetch_add(&shared->version, 1);
}

uint32_t certs_read(const struct region *region, struct cert_view certs[CERTS_MAX])
{
    const struct shared_certs *shared = region_certs(region);
    uint32_t count = 0;

    for (int i = 0; i < READ_TRIES; i++) {
        uint32_t before = atomic_load(&shared->version);
        if ((before & 1) == 0) {
            count = shared->count <= CERTS_MAX ? shared->count : CERTS_MAX;
            memcpy(certs, shared->certs, count * sizeof *certs);
            atomic_thread_fence(memory_order_seq_cst);
            if (atomic_load(&shared->version) == before)
                break;
        }
        sched_yield();
    }
    for (uint32_t i = 0; i < count; i++)
        certs[i].names[CERT_NAMES_SIZE - 1] = 0;
    return count;
}
