/*
 * A byte buffer that grows up to a bound, given when the buffer is made, so that no stranger can
 * grow the buffer further.
 *
 * A failed append leaves the buffer as it was and is remembered in `failed`, so that a row of
 * appends can be checked once at its end.
 */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include "common/err.h"
#include "common/slice.h"

#include <stdint.h>

struct buf {
    /* NULL until something is appended; not NUL-terminated unless buf_text was called. */
    char *data;
    size_t len, size, size_max;
    bool failed;
};

void buf_init(struct buf *buf, size_t size_max);
void buf_fini(struct buf *buf);
/* Empties the buffer and forgets a failure; the memory stays for the next use. */
void buf_reset(struct buf *buf);
/* Makes room for len more bytes behind buf->len. OK, ERR_FULL past the bound, or ERR_NOMEM; the
 * same three come from every append below. */
enum err buf_reserve(struct buf *buf, size_t len);
enum err buf_add(struct buf *buf, const void *data, size_t len);
enum err buf_add_slice(struct buf *buf, struct slice slice);
enum err buf_add_text(struct buf *buf, const char *text);
enum err buf_add_char(struct buf *buf, char c);
enum err buf_addf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
enum err buf_add_int(struct buf *buf, int64_t value);
/* Removes the first len bytes; all of them when there are fewer. */
void buf_drop(struct buf *buf, size_t len);
/* The contents with a NUL behind them, owned by the buffer; "" when empty or out of memory. */
const char *buf_text(struct buf *buf);
static inline struct slice buf_slice(const struct buf *buf)
{
    return (struct slice){ buf->data ? buf->data : "", buf->len };
}

#endif
