/* Limits of the process: as many descriptors as allowed, and no core file that would hold secrets.
 */
#ifndef MASTER_RLIMITS_H
#define MASTER_RLIMITS_H

#include "config/config.h"

void rlimits_set(void);
/* Warns when maxWebSocketConnections cannot be reached with the descriptors there are. */
void rlimits_check(const struct config *config);

#endif
