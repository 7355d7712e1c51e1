/*
 * The worker's own directory: address -> its sessions on this worker. A private hash table; what
 * other workers may know of it is in shm/sessions.
 */
#ifndef WORKER_DIRECTORY_H
#define WORKER_DIRECTORY_H

#include "common/slice.h"
#include "shm/sessions.h"

struct group;
struct session;

/* One address with at least one session here. */
struct directory_entry {
    struct directory_entry *next; /* of the same bucket */
    struct address_key key;
    struct session *sessions; /* those that can be sent to, by session->next_same, newest first */
    struct group *group;      /* of a group address: its subscribers here (groups.c); else NULL */
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
/* Finds or makes; NULL when out of memory. */
struct directory_entry *directory_need(struct directory *directory, struct address_key key,
                                       struct slice address);
/* Takes the entry out and frees it when nobody holds it any more. */
void directory_release(struct directory *directory, struct directory_entry *entry);
static inline struct slice directory_address(const struct directory_entry *entry)
{
    return (struct slice){ entry->address, entry->address_len };
}

#endif
