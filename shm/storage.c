#include "shm/storage.h"

#include "shm/layout.h"

#include <sched.h>

enum { READ_TRIES = 1000 };

void storage_publish(struct region *region, const struct storage_view *view)
{
    struct shared_storage *shared = region_storage(region);

    atomic_fetch_add(&shared->version, 1); /* odd: readers read again */
    atomic_thread_fence(memory_order_seq_cst);
    shared->view = *view;
    atomic_thread_fence(memory_order_seq_cst);
    atomic_fetch_add(&shared->version, 1);
}

bool storage_read(const struct region *region, struct storage_view *view)
{
    const struct shared_storage *shared = region_storage(region);

    for (int i = 0; i < READ_TRIES; i++) {
        uint32_t before = atomic_load(&shared->version);
        if ((before & 1) == 0) {
            *view = shared->view;
            atomic_thread_fence(memory_order_seq_cst);
            if (atomic_load(&shared->version) == before)
                break;
        }
        sched_yield();
    }
    view->folder[STORAGE_PATH_SIZE - 1] = 0;
    view->program[STORAGE_PATH_SIZE - 1] = 0;
    view->version[STORAGE_VERSION_SIZE - 1] = 0;
    return view->folder[0];
}
