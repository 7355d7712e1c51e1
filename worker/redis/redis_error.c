#include "worker/redis/redis_error.h"

#include <stdbool.h>

/* Keys have the address in braces ("po:{alice}:box"). "@user_script:1" is Redis's name of a script,
 * and no address. */
static bool is_private(struct slice word)
{
    return memchr(word.data, '{', word.len) || memchr(word.data, '}', word.len) ||
           (word.len && memchr(word.data + 1, '@', word.len - 1));
}

static size_t append_cut(char *clean, size_t used, size_t size, struct slice text)
{
    size_t room = size - 1 - used;
    size_t len = text.len < room ? text.len : room;

    memcpy(clean + used, text.data, len);
    return used + len;
}

static bool is_quote(char c)
{
    return c == '\'' || c == '"' || c == '`';
}

/* Returns the length of the text before the first quotation mark. */
static size_t len_unquoted(struct slice text)
{
    size_t len = 0;

    while (len < text.len && !is_quote(text.data[len]))
        len++;
    return len;
}

void redis_error_clean(char *clean, size_t size, struct slice error)
{
    size_t end = len_unquoted(error), used = 0;

    for (size_t at = 0; at < end;) {
        const char *space = memchr(error.data + at, ' ', end - at);
        size_t len = space ? (size_t)(space - error.data) - at : end - at;
        struct slice word = slice_make(error.data + at, len);

        used = append_cut(clean, used, size, is_private(word) ? SLICE("***") : word);
        if (space)
            used = append_cut(clean, used, size, SLICE(" "));
        at += len + (space != NULL);
    }
    if (end < error.len)
        used = append_cut(clean, used, size, SLICE("..."));
    clean[used] = 0;
}

const char *redis_error_quote(struct log_text *text, struct slice error)
{
    char clean[sizeof text->text];

    redis_error_clean(clean, sizeof clean, error);
    return log_quote(text, slice_of(clean));
}
