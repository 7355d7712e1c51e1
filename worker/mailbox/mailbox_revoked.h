/*
 * Revocations in Redis: a hash of all, a log of their versions, and their ends (lua/revoke.lua).
 * What a value holds is the caller's (worker/token/revocations.h).
 */
#ifndef WORKER_MAILBOX_REVOKED_H
#define WORKER_MAILBOX_REVOKED_H

#include "common/err.h"
#include "worker/mailbox/mailbox.h"

enum { MAILBOX_REVOKED_PAGE = 500 }; /* of a page */

struct mailbox_revoke {
    struct slice what, value; /* borrowed for the call; value empty: taken back */
    int64_t ends_at;          /* Unix seconds; 0: never */
    int64_t max;              /* how many there may be */
    uint64_t known;           /* the version that the caller knows */
};
/* ok false: Redis is away or refused; perhaps done, perhaps not. version 0: there is no room, or
 * there is none to take back. */
typedef void (*mailbox_revoke_cb)(void *arg, bool ok, uint64_t version);
/* An error is as of mailbox_append: done is not called. */
enum err mailbox_revoke(struct mailbox *mailbox, const struct mailbox_revoke *revoke,
                        mailbox_revoke_cb done, void *arg);

struct mailbox_revoked_entry {
    uint64_t version;
    struct slice what, value; /* value empty: taken back */
};
struct mailbox_revoked_page {
    bool ok;          /* false: Redis is away, or refused */
    bool must_reload; /* too much was swept: all must be read, from the version 0 on */
    uint64_t version; /* of Redis */
    bool has_more;
    size_t count;
    const struct mailbox_revoked_entry *entries; /* by version; borrowed for the call */
};
typedef void (*mailbox_revoked_cb)(void *arg, const struct mailbox_revoked_page *page);
/* Asks what has changed since a version. is_reload: goes on with all of them from there. */
enum err mailbox_revoked(struct mailbox *mailbox, uint64_t since, bool is_reload,
                         mailbox_revoked_cb done, void *arg);

#endif
