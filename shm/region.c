/*
 * Makes, maps and protects the shared region. Its contents: shm/layout.h, shm/README.md.
 *
 * The mapping is large but sparse: a slab for every possible worker, each with room for all
 * sessions; only pages that were touched cost memory. So no share of a worker has to be planned,
 * and no slab is ever resized.
 */
#include "shm/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const size_t MIB = UINT64_C(1) << 20;
static const char region_magic[16] = "PostOffice shm";

/* No process can shrink the file: a read behind the end of a shortened file is a SIGBUS. */
_Static_assert(sizeof(struct shared_header) % 4 == 0 && sizeof(struct master_area) % 4 == 0 &&
                   sizeof(struct master_histograms) % 4 == 0,
               "mended by words");

enum { REGION_SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };

static uint32_t bits_for(uint64_t count, uint32_t bits_min, uint32_t bits_max)
{
    uint32_t bits = bits_min;

    while (bits < bits_max && (UINT64_C(1) << bits) < count)
        bits++;
    return bits;
}

static size_t whole_pages(size_t len)
{
    return (len + LAYOUT_PAGE - 1) & ~(size_t)(LAYOUT_PAGE - 1);
}

struct layout region_layout(uint32_t sessions_max)
{
    struct layout l = { .sessions_max = sessions_max, .groups_max = sessions_max / 4 + GROUPS_MIN };
    size_t map_size;

    l.rows_max = l.sessions_max + l.groups_max;
    l.bucket_bits = bits_for(sessions_max, BUCKET_BITS_MIN, BUCKET_BITS_MAX);
    /* Bucket and map word are both upper bits of the hash, so all sessions of one map word lie in
     * one chain: the writer needs that chain alone to know whether its bit must stay. */
    l.map_bits = l.bucket_bits + 1;
    l.origin_bits = bits_for((uint64_t)sessions_max * 2, ORIGIN_BITS_MIN, ORIGIN_BITS_MAX);

    l.slab_sessions_at = sizeof(uint64_t) << l.bucket_bits;
    l.slab_size = whole_pages(l.slab_sessions_at + sizeof(struct shared_session) * l.rows_max);
    l.column_size = whole_pages(sizeof(struct shared_origin) << l.origin_bits);

    l.master_at = LAYOUT_PAGE;
    l.histograms_at = l.master_at + LAYOUT_PAGE;
    l.certs_at = l.histograms_at + LAYOUT_PAGE;
    l.storage_at = l.certs_at + whole_pages(sizeof(struct shared_certs));
    l.about_at = l.storage_at + whole_pages(sizeof(struct shared_storage));
    l.workers_at = l.about_at + whole_pages(sizeof(struct shared_about));
    l.map_at = l.workers_at + (size_t)WORKERS_MAX * LAYOUT_PAGE;
    map_size = sizeof(uint64_t) << l.map_bits;
    l.slabs_at = l.map_at + map_size;
    l.columns_at = l.slabs_at + WORKERS_MAX * l.slab_size;
    l.ring_heads_at = l.columns_at + WORKERS_MAX * l.column_size;
    l.ring_tails_at = l.ring_heads_at + (size_t)WORKERS_MAX * LAYOUT_PAGE;
    l.ring_bytes_at = l.ring_tails_at + (size_t)WORKERS_MAX * LAYOUT_PAGE;
    l.ring_size = ring_size(sessions_max);
    l.size = l.ring_bytes_at + (size_t)WORKERS_MAX * WORKERS_MAX * l.ring_size;
    l.dense = l.slabs_at + l.slab_size + l.column_size;
    return l;
}

/* Returns the bytes that the kernel can give without swapping; SIZE_MAX when unknown. */
static size_t memory_available(void)
{
    static const char name[] = "MemAvailable:";
    FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    size_t available = SIZE_MAX;

    if (!file)
        return SIZE_MAX;
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, name, sizeof name - 1) != 0)
            continue;
        available = (size_t)strtoull(line + sizeof name - 1, NULL, 10) * 1024;
        break;
    }
    fclose(file);
    return available;
}

static size_t limit_of(__rlimit_resource_t resource)
{
    struct rlimit limit;

    if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return SIZE_MAX;
    return limit.rlim_cur;
}

/* MiB, rounded up. */
static size_t mib(size_t bytes)
{
    return bytes / MIB + (bytes % MIB != 0);
}

__attribute__((format(printf, 3, 4))) static bool say_why(char *why, size_t why_size,
                                                          const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(why, why_size, format, args);
    va_end(args);
    return false;
}

static bool fits(const struct layout *layout, char *why, size_t why_size)
{
    size_t available = memory_available();
    size_t address_space = limit_of(RLIMIT_AS);
    size_t file_size = limit_of(RLIMIT_FSIZE);
    uint32_t sessions = layout->sessions_max;

    if (sysconf(_SC_PAGESIZE) != LAYOUT_PAGE)
        return say_why(why, why_size,
                       "shared memory is laid out in pages of %d bytes, here they are %ld",
                       LAYOUT_PAGE, sysconf(_SC_PAGESIZE));
    if (layout->dense > available)
        return say_why(why, why_size,
                       "%u sessions need %zu MiB of shared memory when all are there, %zu MiB of "
                       "memory are available",
                       sessions, mib(layout->dense), available / MIB);
    if (layout->size > address_space)
        return say_why(
            why, why_size,
            "%u sessions need %zu MiB of address space, the limit (ulimit -v, RLIMIT_AS) is "
            "%zu MiB",
            sessions, mib(layout->size), address_space / MIB);
    if (layout->size > file_size) /* past the limit ftruncate raises SIGXFSZ */
        return say_why(why, why_size,
                       "%u sessions need a shared mapping of %zu MiB, the limit (ulimit -f, "
                       "RLIMIT_FSIZE) is %zu MiB",
                       sessions, mib(layout->size), file_size / MIB);
    return true;
}

static bool make_file(int *fd, const struct layout *layout, char *why, size_t why_size)
{
    *fd = memfd_create("postoffice", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0)
        return say_why(why, why_size, "memfd_create: %s", strerror(errno));
    if (ftruncate(*fd, (off_t)layout->size) != 0)
        return say_why(why, why_size, "%u sessions need a shared mapping of %zu MiB: ftruncate: %s",
                       layout->sessions_max, mib(layout->size), strerror(errno));
    if (fcntl(*fd, F_ADD_SEALS, REGION_SEALS) != 0)
        return say_why(why, why_size, "sealing the shared memory: %s", strerror(errno));
    return true;
}

static bool map_file(struct region *region, int protection, char *why, size_t why_size)
{
    void *base =
        mmap(NULL, region->layout.size, protection, MAP_SHARED | MAP_NORESERVE, region->fd, 0);

    if (base == MAP_FAILED)
        return say_why(why, why_size, "mapping %zu MiB of shared memory (%u sessions): %s",
                       mib(region->layout.size), region->layout.sessions_max, strerror(errno));
    region->base = base;
    /* A core of a crashed worker needs neither gigabytes of holes nor the hash key. */
    (void)madvise(base, region->layout.size, MADV_DONTDUMP);
    return true;
}

static bool write_header(struct region *region, char *why, size_t why_size)
{
    struct shared_header *header = region_at(region, 0);

    assert(header); /* map_file returned true */
    memcpy(header->magic, region_magic, sizeof header->magic);
    header->version = LAYOUT_VERSION;
    header->sessions_max = region->layout.sessions_max;
    header->size = region->layout.size;
    if (getrandom(header->hash_key, sizeof header->hash_key, 0) != sizeof header->hash_key)
        return say_why(why, why_size, "getrandom: %s", strerror(errno));
    region->truth->header = *header;
    return true;
}

static struct region *region_new(int fd, const struct layout *layout)
{
    struct region *region = malloc(sizeof *region);

    if (!region)
        return NULL;
    *region = (struct region){ .fd = fd, .layout = *layout };
    for (uint32_t slot = 0; slot < WORKERS_MAX; slot++)
        region->doorbells[slot] = -1;
    return region;
}

/* One for every slot that there can be: a worker that starts later could not give its eventfd to
 * workers that run already. */
static bool make_doorbells(struct region *region, char *why, size_t why_size)
{
    for (uint32_t slot = 0; slot < WORKERS_MAX; slot++) {
        region->doorbells[slot] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (region->doorbells[slot] < 0)
            return say_why(why, why_size, "eventfd: %s", strerror(errno));
    }
    return true;
}

struct region *region_create(uint32_t sessions_max, char *why, size_t why_size)
{
    struct region *region;
    struct layout layout;

    if (sessions_max == 0 || sessions_max > UINT32_C(1) << BUCKET_BITS_MAX) {
        say_why(why, why_size, "shared memory for %u sessions: 1 to %u are possible", sessions_max,
                UINT32_C(1) << BUCKET_BITS_MAX);
        return NULL;
    }
    layout = region_layout(sessions_max);
    region = region_new(-1, &layout);
    if (!region) {
        say_why(why, why_size, "out of memory");
        return NULL;
    }
    region->truth = calloc(1, sizeof *region->truth);
    if (!region->truth)
        say_why(why, why_size, "out of memory");
    if (region->truth && fits(&region->layout, why, why_size) &&
        make_file(&region->fd, &region->layout, why, why_size) &&
        map_file(region, PROT_READ | PROT_WRITE, why, why_size) &&
        make_doorbells(region, why, why_size) && write_header(region, why, why_size))
        return region;
    region_close(region);
    return NULL;
}

static bool check_file(int fd, struct layout *layout, char *why, size_t why_size)
{
    struct shared_header header;
    struct stat file;
    int seals = fcntl(fd, F_GET_SEALS);

    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(fd, &file) != 0 ||
        pread(fd, &header, sizeof header, 0) != (ssize_t)sizeof header ||
        memcmp(header.magic, region_magic, sizeof header.magic) != 0)
        return say_why(why, why_size, "this is not the shared memory of a PostOffice");
    if (header.version != LAYOUT_VERSION)
        return say_why(why, why_size,
                       "the shared memory has layout version %u, this program knows %d",
                       header.version, LAYOUT_VERSION);
    if (header.sessions_max == 0 || header.sessions_max > UINT32_C(1) << BUCKET_BITS_MAX)
        return say_why(why, why_size, "the header of the shared memory is damaged");
    *layout = region_layout(header.sessions_max);
    if (header.size != layout->size || (uint64_t)file.st_size != layout->size)
        return say_why(why, why_size, "the shared memory has %" PRIu64 " bytes, %zu were expected",
                       (uint64_t)file.st_size, layout->size);
    return true;
}

struct region *region_attach(int fd, char *why, size_t why_size)
{
    struct region *region;
    struct layout layout;

    if (!check_file(fd, &layout, why, why_size))
        return NULL;
    region = region_new(fd, &layout);
    if (!region) {
        say_why(why, why_size, "out of memory");
        return NULL;
    }
    if (!map_file(region, PROT_READ, why, why_size)) {
        free(region);
        return NULL;
    }
    return region;
}

void region_close(struct region *region)
{
    if (!region)
        return;
    if (region->base)
        munmap(region->base, region->layout.size);
    if (region->fd >= 0)
        close(region->fd);
    for (uint32_t slot = 0; slot < WORKERS_MAX; slot++)
        if (region->doorbells[slot] >= 0)
            close(region->doorbells[slot]);
    free(region->truth);
    free(region);
}

/* ---- the walls of a worker ---- */

/* There must be a /proc. */
int region_open_read_only(const struct region *region)
{
    char path[32];

    snprintf(path, sizeof path, "/proc/self/fd/%d", region->fd);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static bool map_again(const struct region *region, size_t at, size_t len, int protection, int fd)
{
    uint8_t *base = region->base + at;

    return mmap(base, len, protection, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, (off_t)at) !=
           MAP_FAILED;
}

static bool make_writable(struct region *region, size_t at, size_t len, bool sealed)
{
    if (sealed)
        return map_again(region, at, len, PROT_READ | PROT_WRITE, region->fd);
    return mprotect(region->base + at, len, PROT_READ | PROT_WRITE) == 0;
}

static bool make_read_only(struct region *region, bool *sealed)
{
    int fd = region_open_read_only(region);

    *sealed = fd >= 0 && map_again(region, 0, region->layout.size, PROT_READ, fd);
    if (fd >= 0)
        close(fd);
    return *sealed || mprotect(region->base, region->layout.size, PROT_READ) == 0;
}

enum err region_protect(struct region *region, uint32_t slot)
{
    const struct layout *l = &region->layout;
    bool sealed;

    if (!make_read_only(region, &sealed) ||
        !make_writable(region, worker_page_at(l, slot), LAYOUT_PAGE, sealed) ||
        !make_writable(region, l->map_at, l->slabs_at - l->map_at, sealed) ||
        !make_writable(region, slab_at(l, slot), l->slab_size, sealed) ||
        !make_writable(region, column_at(l, slot), l->column_size, sealed) ||
        !make_writable(region, ring_heads_at(l, slot), LAYOUT_PAGE, sealed) ||
        !make_writable(region, ring_tails_at(l, slot), LAYOUT_PAGE, sealed) ||
        !make_writable(region, ring_bytes_at(l, slot, 0), (size_t)WORKERS_MAX * l->ring_size,
                       sealed))
        return ERR_SYSTEM;
    (void)madvise(region->base, l->size, MADV_DONTDUMP);
    close(region->fd);
    region->fd = -1;
    return OK;
}

/* ---- the master's part ---- */

/* The private twin of a word of the master's. */
static void *truth_about(const struct region *region, const void *word)
{
    size_t at = (size_t)((uintptr_t)word - (uintptr_t)region_master(region));
    size_t at_histograms = region->layout.histograms_at - region->layout.master_at;

    assert(region->truth); /* only the master asks */
    if (at < at_histograms)
        return (uint8_t *)&region->truth->area + at;
    assert(at - at_histograms < sizeof region->truth->histograms);
    return (uint8_t *)&region->truth->histograms + (at - at_histograms);
}

void region_keep_u32(struct region *region, shared_u32 *word, uint32_t value)
{
    atomic_store((shared_u32 *)truth_about(region, word), value);
    atomic_store(word, value);
}

void region_keep_u64(struct region *region, shared_u64 *word, uint64_t value)
{
    atomic_store((shared_u64 *)truth_about(region, word), value);
    atomic_store(word, value);
}

static uint64_t mend_words(void *shared, const void *truth, size_t len)
{
    shared_u32 *words = shared;
    uint64_t mended = 0;

    for (size_t i = 0; i < len / sizeof *words; i++) {
        uint32_t right;
        memcpy(&right, (const uint8_t *)truth + i * sizeof right, sizeof right);
        if (atomic_load(&words[i]) == right)
            continue;
        atomic_store(&words[i], right);
        mended++;
    }
    return mended;
}

void region_mend(struct region *region)
{
    region->mended +=
        mend_words(region_at(region, 0), &region->truth->header, sizeof region->truth->header) +
        mend_words(region_master(region), &region->truth->area, sizeof region->truth->area) +
        mend_words(region_histograms(region), &region->truth->histograms,
                   sizeof region->truth->histograms);
}

uint64_t region_take_mended(struct region *region)
{
    uint64_t mended;

    region_mend(region);
    mended = region->mended;
    region->mended = 0;
    return mended;
}

void region_clear(struct region *region, size_t at, size_t len)
{
    if (len == 0)
        return;
    /* A hole reads as zeros, and making one takes time only for pages that exist. fallocate may
     * fail for want of memory or on an old kernel; zeros written by hand are the same, only
     * slower. */
    if (fallocate(region->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)len) !=
        0)
        memset(region->base + at, 0, len);
}

int region_fd(const struct region *region)
{
    return region->fd;
}

size_t region_size(const struct region *region)
{
    return region->layout.size;
}

uint32_t region_sessions_max(const struct region *region)
{
    return region->layout.sessions_max;
}

const uint8_t *region_hash_key(const struct region *region)
{
    return region_header(region)->hash_key;
}
