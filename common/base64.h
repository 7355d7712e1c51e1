/* Base64: RFC 4648 section 4 with padding (content, WebSocket keys), strict: no white space, zero
 * pad bits. */
#ifndef COMMON_BASE64_H
#define COMMON_BASE64_H

#include "common/slice.h"

#include <stdint.h>

/* Is text standard base64 with padding? The empty text is. Sixteen characters a step. */
bool base64_valid(struct slice text);
/* Writes 4 * ((len + 2) / 3) characters to out, without a NUL. Returns how many. */
size_t base64_encode(char *out, const void *data, size_t len);
/* Returns false when text is not valid or out_size is too small. *out_len is the number of bytes
 * written. */
bool base64_decode(struct slice text, void *out, size_t out_size, size_t *out_len);

#endif
