/* Opens log.file: never waits for a reader, and never writes into a file of somebody else. */
#ifndef MASTER_LOGFILE_H
#define MASTER_LOGFILE_H

#include <stddef.h>

/* Returns a descriptor for log_set_fd, owned by the caller; -1 with the reason in why. */
int logfile_open(const char *path, char *why, size_t why_size);

#endif
