/*
 * The session table. Rules and their reasons: shm/README.md.
 *
 * A slab is a hash table with chains that only its worker writes. A bucket head is one word,
 * version and first entry together; taking an entry out of a chain moves the version in the same
 * store, BEFORE that entry can be used again. So a reader that an entry used anew has led into
 * another chain finds the version moved at the end of its walk, and walks again. (A version in each
 * entry would not do: the reader would not notice that its own chain has changed.)
 */
#include "shm/sessions.h"
#include "shm/layout.h"

#include "common/hash.h"

#include <stdlib.h>
#include <string.h>

enum {
    WALK_STEPS_MAX = 4096, /* a chain has a few entries; a longer one, or a circle, is damage */
    WALK_TRIES_MAX = 64,
};

struct sessions_writer {
    struct region *region;
    shared_u64 *buckets;
    struct shared_session *sessions;
    uint64_t incarnation;
    uint32_t slot;
    uint32_t session_count, group_count;
    uint32_t fresh;        /* entries at and above this one were never used */
    uint32_t vacant_count; /* entries used before and free now, the last one freed on top */
    uint32_t vacant[];
};

/* ---- words ---- */

static uint64_t get_word(const shared_u64 *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static void put_word(shared_u64 *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

static uint32_t get_link(const shared_u32 *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static void put_link(shared_u32 *word, uint32_t link)
{
    atomic_store_explicit(word, link, memory_order_release);
}

static uint32_t head_version(uint64_t head)
{
    return (uint32_t)(head >> 32);
}

static uint32_t head_link(uint64_t head)
{
    return (uint32_t)head;
}

static uint64_t head_make(uint32_t version, uint32_t link)
{
    return (uint64_t)version << 32 | link;
}

static size_t bucket_index(const struct region *region, uint64_t key_lo)
{
    return key_lo >> (64 - region->layout.bucket_bits);
}

static size_t map_index(const struct region *region, uint64_t key_lo)
{
    return key_lo >> (64 - region->layout.map_bits);
}

struct address_key sessions_key(const struct region *region, struct slice address)
{
    uint64_t hash[2];

    hash128(region_hash_key(region), address.data, address.len, hash);
    return (struct address_key){ .lo = hash[0], .hi = hash[1] };
}

/* ---- the writer: a slab's own worker ---- */

struct sessions_writer *sessions_writer_new(struct region *region, uint32_t slot)
{
    size_t vacant_size = sizeof(uint32_t) * region->layout.rows_max;
    struct sessions_writer *writer = malloc(sizeof *writer + vacant_size);

    if (!writer)
        return NULL;
    *writer = (struct sessions_writer){
        .region = region,
        .buckets = region_buckets(region, slot),
        .sessions = region_sessions(region, slot),
        .incarnation = slot_incarnation(region, slot),
        .slot = slot,
    };
    assert(writer->incarnation != 0);
    return writer;
}

void sessions_writer_free(struct sessions_writer *writer)
{
    free(writer);
}

static uint32_t take_entry(struct sessions_writer *writer)
{
    struct worker_page *page = region_worker(writer->region, writer->slot);

    if (writer->vacant_count > 0)
        return writer->vacant[--writer->vacant_count];
    assert(writer->fresh < writer->region->layout.rows_max); /* the callers count */
    /* The mark moves before the entry can be reached, so that a purge covers the entry whenever
     * this worker dies. */
    atomic_store_explicit(&page->sessions_high_water, ++writer->fresh, memory_order_release);
    return writer->fresh - 1;
}

static void put_device(struct shared_session *session, struct slice device)
{
    uint64_t words[DEVICE_BYTES_MAX / 8] = { 0 };

    assert(device.len <= DEVICE_BYTES_MAX);
    if (device.len > 0)
        memcpy(words, device.data, device.len);
    for (size_t i = 0; i < DEVICE_BYTES_MAX / 8; i++)
        put_word(&session->device[i], words[i]);
    put_link(&session->device_len, (uint32_t)device.len);
}

static void set_map_bit(struct sessions_writer *writer, uint64_t key_lo)
{
    shared_u64 *word = &region_map(writer->region)[map_index(writer->region, key_lo)];
    uint64_t bit = UINT64_C(1) << writer->slot;

    /* No other process changes this bit while this worker lives: no locked instruction when the bit
     * is set already. */
    if ((atomic_load_explicit(word, memory_order_relaxed) & bit) == 0)
        atomic_fetch_or(word, bit);
}

static void clear_map_bit(const struct region *region, uint32_t slot, uint64_t key_lo)
{
    shared_u64 *word = &region_map(region)[map_index(region, key_lo)];
    uint64_t bit = UINT64_C(1) << slot;

    if ((atomic_load_explicit(word, memory_order_relaxed) & bit) != 0)
        atomic_fetch_and(word, ~bit);
}

static uint32_t publish_row(struct sessions_writer *writer, struct address_key key, uint64_t number,
                            struct slice device, uint64_t since_ns)
{
    shared_u64 *bucket = &writer->buckets[bucket_index(writer->region, key.lo)];
    uint64_t head = get_word(bucket);
    uint32_t index = take_entry(writer);
    struct shared_session *session = &writer->sessions[index];

    put_word(&session->key_lo, key.lo);
    put_word(&session->key_hi, key.hi);
    put_word(&session->number, number);
    put_word(&session->since_ns, since_ns);
    put_word(&session->incarnation, writer->incarnation);
    put_device(session, device);
    put_link(&session->next, head_link(head));
    /* Publishes the entry. The version stays, because the rest of the chain is as it was for
     * readers inside. */
    put_word(bucket, head_make(head_version(head), index + 1));
    set_map_bit(writer, key.lo);
    return index;
}

uint32_t sessions_add(struct sessions_writer *writer, struct address_key key, uint64_t number,
                      struct slice device, uint64_t since_ns)
{
    if (writer->session_count == writer->region->layout.sessions_max)
        return UINT32_MAX;
    writer->session_count++;
    return publish_row(writer, key, number, device, since_ns);
}

uint32_t sessions_add_group(struct sessions_writer *writer, struct address_key key)
{
    if (writer->group_count == writer->region->layout.groups_max)
        return UINT32_MAX;
    writer->group_count++;
    return publish_row(writer, key, 0, slice_make("", 0), 0);
}

void sessions_set_since(struct sessions_writer *writer, uint32_t index, uint64_t since_ns)
{
    assert(index < writer->fresh);
    put_word(&writer->sessions[index].since_ns, since_ns);
}

/* The result of the writer's walk along its own chain. */
struct unlinking {
    struct shared_session *before; /* NULL: the entry is the first */
    bool found;
    bool word_still_used; /* another entry of the chain has the same map word */
};

static struct unlinking look_along(const struct sessions_writer *writer, uint32_t first,
                                   uint32_t wanted, size_t word)
{
    struct unlinking result = { 0 };
    struct shared_session *previous = NULL;
    uint32_t link = first;

    for (uint32_t steps = 0; link != 0; steps++) {
        struct shared_session *session;

        assert(link <= writer->fresh && steps < writer->fresh); /* else our slab was damaged */
        session = &writer->sessions[link - 1];
        if (link == wanted) {
            result.found = true;
            result.before = previous;
        } else if (map_index(writer->region, get_word(&session->key_lo)) == word) {
            result.word_still_used = true;
        }
        previous = session;
        link = get_link(&session->next);
    }
    return result;
}

static void withdraw_row(struct sessions_writer *writer, uint32_t index)
{
    struct shared_session *session = &writer->sessions[index];
    uint64_t key_lo = get_word(&session->key_lo);
    shared_u64 *bucket = &writer->buckets[bucket_index(writer->region, key_lo)];
    uint64_t head = get_word(bucket);
    uint32_t first = head_link(head), next = get_link(&session->next);
    struct unlinking where =
        look_along(writer, first, index + 1, map_index(writer->region, key_lo));

    assert(where.found);
    if (where.before)
        put_link(&where.before->next, next);
    else
        first = next;
    put_word(bucket,
             head_make(head_version(head) + 1, first)); /* before the entry can be used again */
    if (!where.word_still_used)
        clear_map_bit(writer->region, writer->slot, key_lo);
    writer->vacant[writer->vacant_count++] = index;
}

void sessions_remove(struct sessions_writer *writer, uint32_t index)
{
    withdraw_row(writer, index);
    writer->session_count--;
}

void sessions_remove_group(struct sessions_writer *writer, uint32_t index)
{
    withdraw_row(writer, index);
    writer->group_count--;
}

uint32_t sessions_group_count(const struct sessions_writer *writer)
{
    return writer->group_count;
}

uint32_t sessions_groups_max(const struct region *region)
{
    return region->layout.groups_max;
}

/* ---- readers: anyone ---- */

/* One walk: the key that is searched, and the rows found in one worker's chain. */
struct walk {
    const struct region *region;
    struct address_key key;
    uint32_t slot;
    uint64_t incarnation;
    bool first_only; /* stop at the first row */
    struct session_row *rows;
    size_t rows_size;
    size_t found;
};

static void copy_row(const struct walk *walk, const struct shared_session *session,
                     struct session_row *row)
{
    uint64_t words[DEVICE_BYTES_MAX / 8];
    uint32_t len = get_link(&session->device_len);

    for (size_t i = 0; i < DEVICE_BYTES_MAX / 8; i++)
        words[i] = get_word(&session->device[i]);
    *row = (struct session_row){
        .slot = walk->slot,
        .incarnation = walk->incarnation,
        .number = get_word(&session->number),
        .since_ns = get_word(&session->since_ns),
        .device_len = (uint8_t)(len <= DEVICE_BYTES_MAX ? len : DEVICE_BYTES_MAX),
    };
    memcpy(row->device, words, sizeof row->device);
}

/* Walks once along the chain. No word of the chain is trusted: every link is checked, and the steps
 * are counted. */
static void walk_chain(struct walk *walk, uint32_t first)
{
    const struct shared_session *sessions = region_sessions(walk->region, walk->slot);
    uint32_t link = first;

    for (int steps = 0; link != 0 && steps < WALK_STEPS_MAX; steps++) {
        const struct shared_session *session;

        if (link > walk->region->layout.rows_max)
            return;
        session = &sessions[link - 1];
        if (get_word(&session->key_lo) == walk->key.lo &&
            get_word(&session->key_hi) == walk->key.hi &&
            get_word(&session->incarnation) == walk->incarnation) {
            if (walk->found < walk->rows_size)
                copy_row(walk, session, &walk->rows[walk->found]);
            walk->found++;
            if (walk->first_only)
                return;
        }
        link = get_link(&session->next);
    }
}

/* Walks again until the chain did not change during the walk. False after WALK_TRIES_MAX walks. */
static bool walk_stable(struct walk *walk)
{
    const shared_u64 *bucket =
        &region_buckets(walk->region, walk->slot)[bucket_index(walk->region, walk->key.lo)];

    for (int tries = 0; tries < WALK_TRIES_MAX; tries++) {
        uint64_t head = get_word(bucket);

        walk->found = 0;
        walk_chain(walk, head_link(head));
        if (head_version(get_word(bucket)) == head_version(head))
            return true;
    }
    return false;
}

/* Returns how many sessions of the address the worker has; 0 when the worker died or was replaced
 * during the walk. */
static size_t walk_worker(struct walk *walk)
{
    walk->found = 0;
    walk->incarnation = slot_incarnation(walk->region, walk->slot);
    if (walk->incarnation == 0)
        return 0;
    /* The chain changed during every walk: answer yes rather than lose a message. The owner checks
     * again. */
    if (!walk_stable(walk) && walk->first_only)
        walk->found = 1;
    return slot_incarnation(walk->region, walk->slot) == walk->incarnation ? walk->found : 0;
}

static uint64_t candidates(const struct region *region, struct address_key key)
{
    return get_word(&region_map(region)[map_index(region, key.lo)]);
}

uint64_t sessions_workers(const struct region *region, struct address_key key)
{
    struct walk walk = { .region = region, .key = key, .first_only = true };
    uint64_t workers = 0;

    for (uint64_t left = candidates(region, key); left != 0; left &= left - 1) {
        walk.slot = (uint32_t)__builtin_ctzll(left);
        if (walk_worker(&walk) > 0)
            workers |= left & -left;
    }
    return workers;
}

size_t sessions_find(const struct region *region, struct address_key key, struct session_row *rows,
                     size_t max)
{
    struct walk walk = { .region = region, .key = key };
    size_t found = 0;

    for (uint64_t left = candidates(region, key); left != 0; left &= left - 1) {
        size_t kept = found < max ? found : max;

        walk.slot = (uint32_t)__builtin_ctzll(left);
        walk.rows = rows ? rows + kept : NULL;
        walk.rows_size = max - kept;
        found += walk_worker(&walk);
    }
    return found;
}

/* ---- the master, of a dead worker ---- */

/*
 * First the map bits, found by the keys of all entries that were ever used: wherever the worker
 * died, a bit that is set belongs to a key that is still in some entry (an entry is used again only
 * after its bit was cleared). Then the slab becomes zeros, so that no bytes that a dying worker may
 * have scribbled there reach its successor.
 */
void sessions_purge(struct region *region, uint32_t slot)
{
    const struct layout *layout = &region->layout;
    struct worker_page *page = region_worker(region, slot);
    const struct shared_session *sessions = region_sessions(region, slot);
    uint32_t high_water = get_link(&page->sessions_high_water);

    if (high_water > layout->rows_max)
        high_water = layout->rows_max;
    for (uint32_t i = 0; i < high_water; i++)
        clear_map_bit(region, slot, get_word(&sessions[i].key_lo));
    /* The whole slab: the high-water mark is a word of the dead worker, and may be wrong. */
    region_clear(region, slab_at(layout, slot), layout->slab_size);
    put_link(&page->sessions_high_water, 0);
}
