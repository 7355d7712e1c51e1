#include "common/buf.h"

#include "common/grow.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void buf_init(struct buf *buf, size_t size_max)
{
    *buf = (struct buf){ .size_max = size_max };
}

void buf_fini(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){ .size_max = buf->size_max };
}

void buf_reset(struct buf *buf)
{
    buf->len = 0;
    buf->failed = false;
}

static enum err note_failure(struct buf *buf, enum err err)
{
    buf->failed = true;
    return err;
}

enum err buf_reserve(struct buf *buf, size_t len)
{
    if (len <= buf->size - buf->len)
        return OK;
    if (len > buf->size_max - buf->len)
        return note_failure(buf, ERR_FULL);
    if (grow_reserve(&buf->data, &buf->size, buf->len + len, 64, buf->size_max))
        return note_failure(buf, ERR_NOMEM);
    return OK;
}

enum err buf_add(struct buf *buf, const void *data, size_t len)
{
    enum err err = buf_reserve(buf, len);

    if (err)
        return err;
    if (len)
        memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    return OK;
}

enum err buf_add_slice(struct buf *buf, struct slice slice)
{
    return buf_add(buf, slice.data, slice.len);
}

enum err buf_add_text(struct buf *buf, const char *text)
{
    return buf_add(buf, text, strlen(text));
}

enum err buf_add_char(struct buf *buf, char c)
{
    return buf_add(buf, &c, 1);
}

enum err buf_addf(struct buf *buf, const char *format, ...)
{
    va_list args;
    enum err err;
    int len;

    va_start(args, format);
    len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0)
        return note_failure(buf, ERR_BAD);
    err = buf_reserve(buf, (size_t)len + 1); /* vsnprintf writes a NUL */
    if (err)
        return err;
    va_start(args, format);
    vsnprintf(buf->data + buf->len, (size_t)len + 1, format, args);
    va_end(args);
    buf->len += (size_t)len;
    return OK;
}

enum err buf_add_int(struct buf *buf, int64_t value)
{
    char digits[20], *p = digits + sizeof digits;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    do
        *--p = (char)('0' + rest % 10);
    while (rest /= 10);
    if (value < 0)
        *--p = '-';
    return buf_add(buf, p, (size_t)(digits + sizeof digits - p));
}

void buf_drop(struct buf *buf, size_t len)
{
    if (len >= buf->len) {
        buf->len = 0;
        return;
    }
    memmove(buf->data, buf->data + len, buf->len - len);
    buf->len -= len;
}

const char *buf_text(struct buf *buf)
{
    if (buf_reserve(buf, 1))
        return "";
    buf->data[buf->len] = 0;
    return buf->data;
}
