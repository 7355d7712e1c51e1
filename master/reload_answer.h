/*
 * The end of a reload, or of a plan for one, as members of a JSON object without the braces: for
 * `POST /api/v1/reload` (docs/admin.md). The clerk puts the members into an answer.
 */
#ifndef MASTER_RELOAD_ANSWER_H
#define MASTER_RELOAD_ANSWER_H

#include "common/buf.h"
#include "config/changes.h"

/* "applied", "live", "swapped", "restart", "warnings". */
void reload_answer_changes(struct buf *out, bool is_applied, const struct config_change *changes,
                           size_t count, const struct config_report *report);
/* "errors", "warnings". */
void reload_answer_refused(struct buf *out, const struct config_report *report);

#endif
