#include "worker/session/directory.h"

#include <stdlib.h>

enum { BUCKETS_FIRST = 256 };

enum err directory_init(struct directory *directory)
{
    directory->buckets = calloc(BUCKETS_FIRST, sizeof(struct directory_entry *));
    directory->bucket_count = BUCKETS_FIRST;
    directory->entry_count = 0;
    return directory->buckets ? OK : ERR_NOMEM;
}

void directory_fini(struct directory *directory)
{
    for (uint32_t i = 0; directory->buckets && i < directory->bucket_count; i++) {
        struct directory_entry *entry;
        while ((entry = directory->buckets[i])) {
            directory->buckets[i] = entry->next;
            free(entry);
        }
    }
    free(directory->buckets);
    directory->buckets = NULL;
}

static struct directory_entry **bucket_of(const struct directory *directory, struct address_key key)
{
    return &directory->buckets[key.lo & (directory->bucket_count - 1)];
}

struct directory_entry *directory_find(const struct directory *directory, struct address_key key,
                                       struct slice address)
{
    struct directory_entry *entry = *bucket_of(directory, key);

    while (entry && (entry->key.lo != key.lo || !slice_equal(directory_address(entry), address)))
        entry = entry->next;
    return entry;
}

/* Doubles the buckets; without memory for them the chains get longer, and nothing else happens. */
static void buckets_grow(struct directory *directory)
{
    struct directory old = *directory;
    struct directory_entry **buckets = calloc((size_t)old.bucket_count * 2, sizeof *buckets);

    if (!buckets)
        return;
    directory->buckets = buckets;
    directory->bucket_count = old.bucket_count * 2;
    for (uint32_t i = 0; i < old.bucket_count; i++) {
        struct directory_entry *entry;
        while ((entry = old.buckets[i])) {
            struct directory_entry **bucket = bucket_of(directory, entry->key);
            old.buckets[i] = entry->next;
            entry->next = *bucket;
            *bucket = entry;
        }
    }
    free(old.buckets);
}

struct directory_entry *directory_need(struct directory *directory, struct address_key key,
                                       struct slice address)
{
    struct directory_entry *entry = directory_find(directory, key, address);
    struct directory_entry **bucket;

    if (entry)
        return entry;
    if (directory->entry_count >= directory->bucket_count)
        buckets_grow(directory);
    entry = malloc(sizeof *entry + address.len);
    if (!entry)
        return NULL;
    bucket = bucket_of(directory, key);
    *entry = (struct directory_entry){ .next = *bucket,
                                       .key = key,
                                       .address_len = (uint8_t)address.len };
    memcpy(entry->address, address.data, address.len);
    *bucket = entry;
    directory->entry_count++;
    return entry;
}

void directory_release(struct directory *directory, struct directory_entry *entry)
{
    struct directory_entry **at = bucket_of(directory, entry->key);

    if (entry->holders)
        return;
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    directory->entry_count--;
    free(entry);
}
