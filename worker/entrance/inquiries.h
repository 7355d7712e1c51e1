/*
 * What a worker answers to a clerk (worker/reach/inquiry.h): who is connected here; and carrying
 * out the clerk's orders on sessions.
 *
 * A question is a text of lines: what is asked, then its arguments. An answer is a JSON object, of
 * bounded length: a long list ends with "next", the argument that goes on behind it.
 */
#ifndef WORKER_INQUIRIES_H
#define WORKER_INQUIRIES_H

#include "common/buf.h"
#include "worker/session/office.h"

/*
 *   sessions LF FROM LF LIMIT LF ADDRESS   {"sessions":[...],"next":N}: sessions from index FROM
 * on, at most LIMIT, of the address ("": of all) end LF NUMBER LF WHO {"ended":true}: the session
 * with this number (hex) gets close code 4502
 *   group LF GROUP   {"subscribers":N}: sessions here that are subscribed to the group
 *
 *   revocations LF CURSOR   of another process of the host: worker/entrance/revoked.c
 *
 * Anything else is answered with {"error":"unknown"}, as by a worker of another version.
 */
void inquiries_answer(struct office *office, struct slice question, struct buf *out);

#endif
