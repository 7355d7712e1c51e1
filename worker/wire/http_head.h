/*
 * Parts of a parsed request head, for those who need them without the rules of an upgrade
 * (http_query.c has these). Pure; slices lie in the head.
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

#endif
