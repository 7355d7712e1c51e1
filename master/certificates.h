/*
 * The certificates of the configuration, judged by the master before any worker has them: are they
 * pairs, whom do they name, when do they end.
 */
#ifndef MASTER_CERTIFICATES_H
#define MASTER_CERTIFICATES_H

#include "config/config.h"
#include "shm/region.h"

/* Is every pair one that can be presented? False, with a line in why that names both files. */
bool certificates_judge(const struct config *config, char *why, size_t why_size);
/* Appends a warning for each certificate that has ended, ends within 14 days, or has not begun.
 * Returns how many these are. */
size_t certificates_warn(const struct config *config, int64_t now_s, struct buf *out);
/* Call about once a second. From due_ms on (CLOCK_MONOTONIC; 0: at once) logs the same as events.
 * Returns when to look again: a day later. */
uint64_t certificates_look(const struct config *config, uint64_t due_ms, uint64_t now_ms,
                           int64_t now_s);
/* Writes names and ends for `status`. */
void certificates_publish(const struct config *config, struct region *region);

#endif
