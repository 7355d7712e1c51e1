#include "master/rlimits.h"

#include "common/log.h"

#include <sys/resource.h>

enum {
    DESCRIPTORS_RESERVED = 128
}; /* descriptors that a worker needs itself: log, Redis, epoll, 64 doorbells, refused handshakes */

void rlimits_set(void)
{
    struct rlimit no_core = { 0, 0 }, files;

    setrlimit(RLIMIT_CORE, &no_core);
    if (getrlimit(RLIMIT_NOFILE, &files))
        return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

void rlimits_check(const struct config *config)
{
    struct rlimit files;
    uint64_t workers = config_worker_count(config), each, room;

    if (getrlimit(RLIMIT_NOFILE, &files) || files.rlim_cur == RLIM_INFINITY)
        return;
    each = files.rlim_cur > DESCRIPTORS_RESERVED ? files.rlim_cur - DESCRIPTORS_RESERVED : 0;
    room = workers * each;
    if (room < (uint64_t)config->connections_max)
        log_warn("descriptors_short",
                 "max_connections=%lld workers=%llu descriptors_each=%llu cure=\"raise the hard "
                 "limit (ulimit -Hn, LimitNOFILE=), or `workers`\"",
                 (long long)config->connections_max, (unsigned long long)workers,
                 (unsigned long long)files.rlim_cur);
}
