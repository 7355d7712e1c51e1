/*
 * The words of the embedded Redis on its standard output, as lines of our log: `storage_says`.
 *
 * The pipe is read without waiting, a bounded amount a turn, and lines beyond 50 at once or ten a
 * second are counted instead of written, so that a Redis that complains at any rate costs a line's
 * parsing and no more.
 */
#ifndef MASTER_EMBEDDED_LOG_H
#define MASTER_EMBEDDED_LOG_H

#include "common/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EMBEDDED_LINE_SIZE = 512, EMBEDDED_VERSION_SIZE = 32 };

struct embedded_log {
    char line[EMBEDDED_LINE_SIZE]; /* a line whose end has not come yet; a longer one is cut */
    size_t len;
    uint32_t room; /* lines that may be written now */
    uint64_t filled_ms;
    uint64_t held_back;
    struct log_text last; /* the newest line, quoted */
    /* Learned from the lines. */
    bool ready;
    char version[EMBEDDED_VERSION_SIZE];
};

/* A new process: forgets all that the one before has said. */
void embedded_log_begin(struct embedded_log *log, uint64_t now_ms);
/* Takes bytes of the pipe. Lines that Redis marks as warnings are logged as warnings when `warn`,
 * else, as Redis marks ordinary news of its start and end so, at level info. */
void embedded_log_take(struct embedded_log *log, const char *bytes, size_t len, bool warn,
                       uint64_t now_ms);
/* Reads what waits in the pipe. False: the pipe has ended. */
bool embedded_log_read(struct embedded_log *log, int fd, bool warn, uint64_t now_ms);
/* Writes the number of lines held back, when there is room. Call about once a second. */
void embedded_log_settle(struct embedded_log *log, uint64_t now_ms);

#endif
