/*
 * Compressed forms of messages: a message that goes to many is compressed once for all connections
 * that have agreed on the same window, and the form is kept with the message.
 *
 * Forms are made without context takeover: a form refers to nothing outside of itself, so what
 * stands before it in the same frame may be different for each recipient.
 */
#ifndef WORKER_DEFLATE_FORM_H
#define WORKER_DEFLATE_FORM_H

#include "common/msg.h"
#include "worker/wire/deflate.h"

/* Bytes of the head of a stored block (RFC 1951 3.2.4): what leaves before a form that lacks its
 * first byte is put into such a block. */
enum { DEFLATE_STORED_HEAD = 5 };

/* What became of a message, for the counters. */
enum deflate_made {
    DEFLATE_NOT_TRIED, /* too short, or no message of a peer */
    DEFLATE_USED,      /* the form was there */
    DEFLATE_PACKED,    /* the form was made now */
    DEFLATE_NO_GAIN,   /* not smaller: leaves as it is */
    DEFLATE_NO_SHARE,  /* too many large messages in this second: leaves as it is */
    DEFLATE_NO_MEMORY, /* leaves as it is */
};

/* Returns the message to be queued: the compressed form, or msg where none is worth it. Borrowed:
 * the form lives as long as msg, or as the references that the caller takes. without_first: the
 * form of the text behind the first byte, in place of which something else leaves. */
struct msg *deflate_form(struct deflate *deflate, struct msg *msg, bool without_first,
                         enum deflate_made *made);

/* Is a message of this length compressed by the connection's own context, when it leaves? */
bool deflate_leaves_in_order(const struct deflate *deflate, uint64_t len);
/* With server_takeover, when msg leaves: returns msg compressed by the context of the connection,
 * behind `head`, which takes the place of the first byte when there is one. The caller owns the
 * reference. NULL: msg leaves as it is. */
struct msg *deflate_form_in_order(struct deflate *deflate, struct msg *msg, struct slice head,
                                  enum deflate_made *made);

#endif
