/*
 * The worker's own directory: address -> the address's sessions on this worker. A private hash
 * table; other workers read the shared table (shm/sessions.h).
 */
#ifndef WORKER_DIRECTORY_H
#define WORKER_DIRECTORY_H

#include "common/slice.h"
#include "shm/sessions.h"

struct group;
struct session;

/* An address with at least one session here, or a group with a subscriber here. */
struct directory_entry {
    struct directory_entry *next; /* of the same bucket */
    struct address_key key;
    struct session *sessions; /* that can be sent to, linked by next_same, newest first */
    struct group *group;      /* of a group address: its subscribers here (groups/); else NULL */
    uint32_t holders;         /* sessions that point here, closing ones included; or the group */
    uint8_t address_len;
    char address[];
};

struct directory {
    struct directory_entry **buckets;
    uint32_t bucket_count, entry_count;
};

/* ERR_NOMEM. */
enum err directory_init(struct directory *directory);
void directory_fini(struct directory *directory);
/* NULL when no session of the address is here. */
struct directory_entry *directory_find(const struct directory *directory, struct address_key key,
                                       struct slice address);
/* Finds the entry or makes one; NULL when out of memory. An entry without holders must get one, or
 * be released. */
struct directory_entry *directory_need(struct directory *directory, struct address_key key,
                                       struct slice address);
/* Frees the entry when it has no holders any more. */
void directory_release(struct directory *directory, struct directory_entry *entry);
static inline struct slice directory_address(const struct directory_entry *entry)
{
    return (struct slice){ entry->address, entry->address_len };
}

#endif
