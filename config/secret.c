/*
 * Memory for secrets: pages that are not swapped (mlock) and not in a core dump (MADV_DONTDUMP),
 * and bytes that are overwritten before they are given back.
 *
 * A page has slots of the size of the longest HMAC secret, so that a thousand secrets need few
 * pages: the usual limit on locked memory is small. A longer secret (a private key in PEM) has
 * pages of its own. mlock does not outlive a fork, so a worker locks again what it inherits.
 */
#include "config/parts.h"

#include "common/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>

enum {
    PAGE_BYTES = 4096,
    SLOT_BYTES = KEY_HMAC_BYTES_MAX,
    SLOTS = PAGE_BYTES / SLOT_BYTES,
    ALL_USED = (1u << SLOTS) - 1,
};
_Static_assert(SLOTS <= 8, "a bit each");

struct secret_page {
    SLIST_ENTRY(secret_page) link;
    uint8_t *bytes;
    size_t size;  /* PAGE_BYTES, or more pages for one long secret */
    uint8_t used; /* a bit for each slot; ALL_USED for a long secret */
    bool is_long; /* one secret has it all */
};

static SLIST_HEAD(secret_pages, secret_page) pages = SLIST_HEAD_INITIALIZER(pages);
static bool unlocked_logged; /* once: the operator decides whether the limit matters */

static void lock_page(const struct secret_page *page)
{
    if (mlock(page->bytes, page->size) == 0 || unlocked_logged)
        return;
    unlocked_logged = true;
    log_warn("secrets_not_locked",
             "error=\"%s\" cure=\"raise the limit of locked memory: ulimit -l, LimitMEMLOCK=\"",
             strerror(errno));
}

static struct secret_page *page_new(size_t size)
{
    struct secret_page *page = calloc(1, sizeof *page);
    void *bytes;

    if (!page)
        return NULL;
    bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED) {
        free(page);
        return NULL;
    }
    page->bytes = bytes;
    page->size = size;
    (void)madvise(bytes, size, MADV_DONTDUMP);
    lock_page(page);
    SLIST_INSERT_HEAD(&pages, page, link);
    return page;
}

static struct secret_page *page_with_room(void)
{
    struct secret_page *page;

    for (page = SLIST_FIRST(&pages); page; page = SLIST_NEXT(page, link))
        if (page->used != ALL_USED)
            return page;
    return page_new(PAGE_BYTES);
}

uint8_t *secret_new(const void *bytes, size_t len)
{
    bool is_long = len > SLOT_BYTES;
    size_t pages_size = (len + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    struct secret_page *page = is_long ? page_new(pages_size) : page_with_room();
    int slot;

    if (!page)
        return NULL;
    if (is_long) {
        page->is_long = true;
        page->used = ALL_USED;
        return memcpy(page->bytes, bytes, len);
    }
    slot = __builtin_ctz(~(unsigned)page->used);
    page->used |= (uint8_t)(1u << slot);
    return memcpy(page->bytes + (size_t)slot * SLOT_BYTES, bytes, len);
}

static struct secret_page *page_of(const uint8_t *secret)
{
    struct secret_page *page;

    for (page = SLIST_FIRST(&pages); page; page = SLIST_NEXT(page, link))
        if (secret >= page->bytes && secret < page->bytes + page->size)
            return page;
    return NULL;
}

void secret_free(uint8_t *secret)
{
    struct secret_page *page = page_of(secret);

    if (!page)
        return;
    if (page->is_long) {
        explicit_bzero(page->bytes, page->size);
        page->used = 0;
    } else {
        explicit_bzero(secret, SLOT_BYTES);
        page->used &= (uint8_t) ~(1u << ((size_t)(secret - page->bytes) / SLOT_BYTES));
    }
    if (page->used)
        return;
    SLIST_REMOVE(&pages, page, secret_page, link);
    munmap(page->bytes, page->size);
    free(page);
}

void config_lock_secrets(void)
{
    const struct secret_page *page;

    for (page = SLIST_FIRST(&pages); page; page = SLIST_NEXT(page, link))
        lock_page(page);
}

/* ---- a key, of which only HMAC has a secret ---- */

bool key_len_good(enum config_kty kty, size_t len)
{
    switch (kty) {
    case CONFIG_KTY_ED25519:
        return len == KEY_ED25519_BYTES;
    case CONFIG_KTY_HMAC:
        return len >= KEY_HMAC_BYTES_MIN && len <= KEY_HMAC_BYTES_MAX;
    case CONFIG_KTY_RS256:
    case CONFIG_KTY_PS256:
        return len >= CONFIG_RSA_E_BYTES + KEY_RSA_BITS_MIN / 8 &&
               len <= CONFIG_RSA_E_BYTES + KEY_RSA_BITS_MAX / 8;
    case CONFIG_KTY_ES256:
        return len == KEY_ES256_BYTES;
    }
    return false;
}

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
