/*
 * Rings: two positions that only grow, and the bytes between them.
 *
 * `head` says how much the writer has written, `tail` how much the reader has taken; a position
 * modulo the ring's size is an offset. A record is its length, the incarnation of its reader, and
 * its bytes, in one piece: a record that does not fit before the end begins at the start again, and
 * the rest of the end is passed over. The head moves last, so a record is there whole or not at
 * all.
 *
 * Writer and reader do not trust each other. A head or tail that cannot be, or a record that does
 * not lie between head and tail, is damage. The reader alone mends damage, by taking everything as
 * read: if both sides moved their word, the two could pass each other for ever. Until then the
 * writer finds the ring full.
 */
#include "shm/ring.h"

#include "shm/layout.h"
#include "shm/slots.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct record_head {
    uint32_t len;         /* or PASS_OVER */
    uint32_t incarnation; /* the low half of the reader's incarnation: keeps a predecessor's records
                             from its successor */
};

enum { HEAD_BYTES = sizeof(struct record_head) };
static const uint32_t PASS_OVER = UINT32_MAX; /* the next record is at the start */

_Static_assert((RING_BYTES & (RING_BYTES - 1)) == 0 && (RING_BYTES_MAX & (RING_BYTES_MAX - 1)) == 0,
               "positions may wrap around 64 bits");
_Static_assert(2 * sizeof(shared_u64) <= CACHE_LINE, "a head and the wish for room beside it");
_Static_assert(RING_BYTES % LAYOUT_PAGE == 0, "rings share no page");
/* The bytes passed over are fewer than those of the record that did not fit. */
_Static_assert(2 * (RING_RECORD_MAX + HEAD_BYTES) <= RING_BYTES, "an empty ring takes any record");

static shared_u64 *head_of(const struct region *region, uint32_t from, uint32_t to)
{
    assert(to < WORKERS_MAX);
    return region_at(region, ring_heads_at(&region->layout, from) + (size_t)to * CACHE_LINE);
}

static shared_u64 *tail_of(const struct region *region, uint32_t from, uint32_t to)
{
    assert(from < WORKERS_MAX);
    return region_at(region, ring_tails_at(&region->layout, to) + (size_t)from * CACHE_LINE);
}

/* Beside the head, and written by the writer too: 1 while the writer waits for room. */
static shared_u64 *wanted_of(const struct region *region, uint32_t from, uint32_t to)
{
    return head_of(region, from, to) + 1;
}

static char *bytes_of(const struct region *region, uint32_t from, uint32_t to)
{
    return region_at(region, ring_bytes_at(&region->layout, from, to));
}

static uint64_t position(const shared_u64 *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static void move_position(shared_u64 *word, uint64_t to)
{
    atomic_store_explicit(word, to, memory_order_release);
}

/* ---- the writer ---- */

static void write_record_head(char *bytes, size_t offset, uint32_t len, uint64_t incarnation)
{
    struct record_head head = { .len = len, .incarnation = (uint32_t)incarnation };

    memcpy(bytes + offset, &head, sizeof head);
}

enum err ring_put(struct region *region, uint32_t from, uint32_t to, uint64_t incarnation,
                  struct slice record)
{
    shared_u64 *head_word = head_of(region, from, to);
    uint64_t head = position(head_word), used = head - position(tail_of(region, from, to));
    size_t size = region->layout.ring_size;
    size_t offset = head & (size - 1), before_end = size - offset;
    size_t need = HEAD_BYTES + record.len, pass = before_end < need ? before_end : 0;
    char *bytes = bytes_of(region, from, to);

    if (record.len > RING_RECORD_MAX)
        return ERR_BAD;
    if (incarnation == 0 || slot_incarnation(region, to) != incarnation)
        return ERR_DOWN;
    if (used > size || pass + need > size - used)
        return ERR_FULL;
    if (pass >= HEAD_BYTES) /* a shorter end can hold no record and needs no mark */
        write_record_head(bytes, offset, PASS_OVER, 0);
    if (pass)
        offset = 0;
    write_record_head(bytes, offset, (uint32_t)record.len, incarnation);
    if (record.len)
        memcpy(bytes + offset + HEAD_BYTES, record.data, record.len);
    move_position(head_word, head + pass + need);
    return OK;
}

void ring_want_room(struct region *region, uint32_t from, uint32_t to, bool wanted)
{
    /* In one order with the tail for all: either the reader sees the word after it has moved its
     * tail, or the writer's next ring_put sees the tail. */
    atomic_store(wanted_of(region, from, to), wanted);
    atomic_thread_fence(memory_order_seq_cst);
}

void ring_ring(struct region *region, uint32_t to)
{
    const uint64_t one = 1;

    assert(to < WORKERS_MAX);
    /* write fails only when the counter is full, and then the reader wakes up all the same. */
    while (write(region->doorbells[to], &one, sizeof one) < 0 && errno == EINTR)
        ;
}

/* ---- the reader ---- */

struct found {
    const char *data;
    uint32_t len, incarnation;
    uint64_t end; /* the position behind the record */
};

/* Finds the record at `at`; false unless the record lies wholly before `head`. Each shared word is
 * read once. */
static bool find_record(const char *bytes, size_t size, uint64_t at, uint64_t head,
                        struct found *found)
{
    size_t offset = at & (size - 1), before_end = size - offset;
    struct record_head record = { .len = PASS_OVER };

    if (head - at > size)
        return false;
    if (before_end >= HEAD_BYTES)
        memcpy(&record, bytes + offset, sizeof record);
    if (record.len == PASS_OVER) {
        if (head - at < before_end + HEAD_BYTES)
            return false;
        at += before_end;
        before_end = size;
        offset = 0;
        memcpy(&record, bytes, sizeof record);
    }
    if (record.len > RING_RECORD_MAX || HEAD_BYTES + record.len > before_end ||
        HEAD_BYTES + record.len > head - at)
        return false;
    *found = (struct found){ .data = bytes + offset + HEAD_BYTES,
                             .len = record.len,
                             .incarnation = record.incarnation,
                             .end = at + HEAD_BYTES + record.len };
    return true;
}

bool ring_peek(struct region *region, uint32_t from, uint32_t to, struct slice *record)
{
    shared_u64 *tail_word = tail_of(region, from, to);
    const char *bytes = bytes_of(region, from, to);
    uint32_t incarnation = (uint32_t)slot_incarnation(region, to);
    size_t size = region->layout.ring_size;

    /* At most as many steps as a ring can hold records: a writer gone wild cannot keep the reader
     * here. */
    for (size_t steps = 0; steps < size / HEAD_BYTES; steps++) {
        uint64_t tail = position(tail_word), head = position(head_of(region, from, to));
        struct found found;

        if (tail == head)
            return false;
        if (!find_record(bytes, size, tail, head, &found)) {
            move_position(tail_word, head);
            return false;
        }
        if (found.incarnation == incarnation) {
            *record = slice_make(found.data, found.len);
            return true;
        }
        move_position(tail_word, found.end); /* a record for the former worker of this slot */
    }
    return false;
}

void ring_drop(struct region *region, uint32_t from, uint32_t to)
{
    shared_u64 *tail_word = tail_of(region, from, to);
    uint64_t tail = position(tail_word), head = position(head_of(region, from, to));
    struct found found;

    if (tail == head)
        return;
    if (!find_record(bytes_of(region, from, to), region->layout.ring_size, tail, head, &found))
        found.end = head;
    move_position(tail_word, found.end);
}

bool ring_room_wanted(const struct region *region, uint32_t from, uint32_t to)
{
    atomic_thread_fence(memory_order_seq_cst); /* the counterpart of ring_want_room's */
    return position(wanted_of(region, from, to)) != 0;
}

static bool is_empty(const struct region *region, uint32_t from, uint32_t to)
{
    return position(head_of(region, from, to)) == position(tail_of(region, from, to));
}

uint64_t rings_waiting(const struct region *region, uint32_t to)
{
    uint32_t used = region_slots_used(region);
    uint64_t waiting = 0;

    for (uint32_t from = 0; from < used; from++)
        if (!is_empty(region, from, to))
            waiting |= (uint64_t)1 << from;
    return waiting;
}

size_t ring_fill(const struct region *region, uint32_t from)
{
    uint32_t used = region_slots_used(region);
    size_t size = region->layout.ring_size, most = 0;

    for (uint32_t to = 0; to < used; to++) {
        /* The tail first: the head is then not behind the tail, except in a damaged ring. */
        uint64_t tail = position(tail_of(region, from, to));
        uint64_t fill = position(head_of(region, from, to)) - tail;
        if (fill > most)
            most = fill < size ? (size_t)fill : size;
    }
    return most;
}

int ring_doorbell(const struct region *region, uint32_t slot)
{
    assert(slot < WORKERS_MAX);
    return region->doorbells[slot];
}

/* ---- the master ---- */

/*
 * The master now moves the tails of the dead reader. Bytes of the dead writer are given back only
 * where its ring is empty, because then the reader does not read them; the successor's records
 * follow behind the head as it stands.
 */
void rings_purge(struct region *region, uint32_t slot)
{
    uint32_t used = region_slots_used(region);

    for (uint32_t other = 0; other < used; other++) {
        move_position(tail_of(region, other, slot), position(head_of(region, other, slot)));
        if (ring_room_wanted(region, other, slot))
            ring_ring(region, other); /* what waits there is for nobody now */
        move_position(wanted_of(region, slot, other), 0);
        if (position(head_of(region, slot, other)) == 0)
            continue; /* never used */
        if (is_empty(region, slot, other))
            region_clear(region, ring_bytes_at(&region->layout, slot, other),
                         region->layout.ring_size);
        else
            ring_ring(region, other);
    }
}
