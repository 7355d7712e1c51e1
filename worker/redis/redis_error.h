/*
 * The text of an error of Redis, made fit for the log.
 *
 * Redis quotes what it complains about: the key with the address in it, the first arguments of an
 * unknown command, the password of a renamed AUTH. The log names no address, so the text is cut at
 * the first quotation mark, and a word that looks like a key or an address becomes "***".
 */
#ifndef REDIS_ERROR_H
#define REDIS_ERROR_H

#include "common/log.h"

/* Fills text with the error, quoted for a line of the log; an error that is cut ends with "...".
 * Returns text->text. */
const char *redis_error_quote(struct log_text *text, struct slice error);
/* The same without the quoting, at most size - 1 bytes and a NUL. */
void redis_error_clean(char *clean, size_t size, struct slice error);

#endif
