/*
 * Parts of a parsed request head, for those who need them without the rules of an upgrade
 * (http_upgrade.c has these). Pure; slices lie in the head.
 */
#ifndef WORKER_HTTP_HEAD_H
#define WORKER_HTTP_HEAD_H

#include "worker/wire/http.h"

struct slice http_head_method(const struct http_parser *parser, const char *head);
/* The path of a target in origin form, without the query; data NULL for another form. */
struct slice http_head_path(const struct http_parser *parser, const char *head);
/* The next line of this header from line *at on (0 at first), *at moved behind it. False at the
 * end. */
bool http_head_next(const struct http_parser *parser, const char *head, struct slice name,
                    uint32_t *at, struct slice *value);
/* Removes the part before the next separator from text, and returns it trimmed in *element (RFC
 * 9110 5.6.1). False at the end. */
bool http_take_element(struct slice *text, char separator, struct slice *element);

#endif
