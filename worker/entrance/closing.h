/*
 * A refusal that a web page can read: browsers hide the status of a refused upgrade, but not the
 * code of a close frame. With ?refusals=close the answer is the 101, `goodbye` and a close frame
 * (docs/protocol.md, section 1.4).
 */
#ifndef WORKER_CLOSING_H
#define WORKER_CLOSING_H

#include "worker/wire/http.h"

/* The close code for a refusal with this status; 0: it is always told by the status. */
uint16_t closing_code(int status);
/* Appends the 101, `goodbye` and the close frame. */
void closing_answer(struct buf *out, const struct http_upgrade *upgrade,
                    const struct http_refusal *refusal);

#endif
