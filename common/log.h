/*
 * The structured log: one line, one event, written with one write(2) so that lines of several
 * processes never mix.
 *
 *   2026-11-23T06:55:30.123Z warn pid=812 worker=3 event=worker_exited signal=11
 *
 * The event name is stable and can be searched for; key=value pairs follow. Never log a payload or
 * a token. Text that came from a stranger goes through log_quote. A line is cut at 1,024 bytes. A
 * line that cannot be written (disk full) is counted, and the count is logged when there is room.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include "common/slice.h"

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

extern enum log_level log_threshold;

#define log_at(level, ...)                                                                         \
    do {                                                                                           \
        if ((level) >= log_threshold)                                                              \
            log_write((level), __VA_ARGS__);                                                       \
    } while (0)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)

/* Writes one line. format is printf's, for the key=value part; "" for none. Keeps errno. Call
 * through log_debug, log_info, log_warn, log_error, which check the level first. */
void log_write(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Reads the name of a level, as `log.level` and each line have it: "debug", "info", "warn",
 * "error". Returns false, and leaves *level alone, for any other text. */
bool log_level_parse(const char *name, enum log_level *level);
void log_set_level(enum log_level level);
/* The same by name; the level stays for a name that log_level_parse refuses. */
void log_set_level_named(const char *name);
/* Writes to fd from here on, standard error until the first call. Borrows fd; returns the
 * descriptor used before. */
int log_set_fd(int fd);
int log_fd(void);
/* Sets the worker's slot for the prefix of each line. -1, the default, is the master, whose lines
 * have no "worker=". */
void log_set_worker(int slot);

struct log_text {
    char text[160];
};
/* Makes a stranger's text harmless: in quotes, with quotes, backslashes, control characters and
 * non-ASCII bytes as \xNN, cut with "..." when long. Returns text->text. */
const char *log_quote(struct log_text *text, struct slice raw);

#endif
