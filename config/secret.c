/*
 * Memory for secrets: pages that are not swapped (mlock) and not in a core dump (MADV_DONTDUMP),
 * and bytes that are overwritten before they are given back.
 *
 * A page has slots of the longest secret's size, so that a thousand secrets need few pages: the
 * usual limit on locked memory is small. mlock does not outlive a fork, so a worker locks again
 * what it inherits.
 */
#include "config/parts.h"

#include "common/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>

enum { PAGE_BYTES = 4096, SLOT_BYTES = KEY_HMAC_BYTES_MAX, SLOTS = PAGE_BYTES / SLOT_BYTES };
_Static_assert(SLOTS <= 8, "a bit each");

struct secret_page {
    SLIST_ENTRY(secret_page) link;
    uint8_t *bytes;
    uint8_t used; /* a bit for each slot */
};

static SLIST_HEAD(secret_pages, secret_page) pages = SLIST_HEAD_INITIALIZER(pages);
static bool unlocked_logged; /* once: the operator decides whether the limit matters */

static void lock_page(const struct secret_page *page)
{
    if (mlock(page->bytes, PAGE_BYTES) == 0 || unlocked_logged)
        return;
    unlocked_logged = true;
    log_warn("secrets_not_locked",
             "error=\"%s\" cure=\"raise the limit of locked memory: ulimit -l, LimitMEMLOCK=\"",
             strerror(errno));
}

static struct secret_page *page_new(void)
{
    struct secret_page *page = calloc(1, sizeof *page);
    void *bytes;

    if (!page)
        return NULL;
    bytes = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED) {
        free(page);
        return NULL;
    }
    page->bytes = bytes;
    (void)madvise(bytes, PAGE_BYTES, MADV_DONTDUMP);
    lock_page(page);
    SLIST_INSERT_HEAD(&pages, page, link);
    return page;
}

static struct secret_page *page_with_room(void)
{
    struct secret_page *page;

    for (page = SLIST_FIRST(&pages); page; page = SLIST_NEXT(page, link))
        if (page->used != (1u << SLOTS) - 1)
            return page;
    return page_new();
}

uint8_t *secret_new(const void *bytes, size_t len)
{
    struct secret_page *page = len <= SLOT_BYTES ? page_with_room() : NULL;
    int slot;

    if (!page)
        return NULL;
    slot = __builtin_ctz(~(unsigned)page->used);
    page->used |= (uint8_t)(1u << slot);
    return memcpy(page->bytes + (size_t)slot * SLOT_BYTES, bytes, len);
}

static struct secret_page *page_of(const uint8_t *secret)
{
    struct secret_page *page;

    for (page = SLIST_FIRST(&pages); page; page = SLIST_NEXT(page, link))
        if (secret >= page->bytes && secret < page->bytes + PAGE_BYTES)
            return page;
    return NULL;
}

void secret_free(uint8_t *secret)
{
    struct secret_page *page = page_of(secret);

    if (!page)
        return;
    explicit_bzero(secret, SLOT_BYTES);
    page->used &= (uint8_t) ~(1u << ((size_t)(secret - page->bytes) / SLOT_BYTES));
    if (page->used)
        return;
    SLIST_REMOVE(&pages, page, secret_page, link);
    munmap(page->bytes, PAGE_BYTES);
    free(page);
}

void config_lock_secrets(void)
{
    const struct secret_page *page;

    for (page = SLIST_FIRST(&pages); page; page = SLIST_NEXT(page, link))
        lock_page(page);
}

/* ---- a key, of which only HMAC has a secret ---- */

bool key_bytes_set(struct config_key *key, const void *bytes, size_t len)
{
    key->bytes = key->kty == CONFIG_KTY_HMAC ? secret_new(bytes, len) : malloc(len);
    if (!key->bytes)
        return false;
    if (key->kty != CONFIG_KTY_HMAC)
        memcpy(key->bytes, bytes, len);
    key->len = len;
    return true;
}

void key_bytes_free(struct config_key *key)
{
    if (key->kty == CONFIG_KTY_HMAC)
        secret_free(key->bytes);
    else
        free(key->bytes);
    key->bytes = NULL;
}
