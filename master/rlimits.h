/* The limits of the process: as many descriptors as allowed, and no core file, which would hold
 * secrets. */
#ifndef MASTER_RLIMITS_H
#define MASTER_RLIMITS_H

#include "config/config.h"

void rlimits_set(void);
/* Logs a warning when the limit of descriptors does not suffice for maxWebSocketConnections. */
void rlimits_check(const struct config *config);

#endif
