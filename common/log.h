/*
 * The structured log: one line, one event, written with one write(2) so that lines of several
 * processes never mix.
 *
 *   2026-11-23T06:55:30.123Z warn pid=812 worker=3 event=worker_exited signal=11
 *
 * The event name is stable and can be searched for; key=value pairs follow. Never log a payload or
 * a token. Text that came from a stranger goes through log_quote. A line is cut at 1,024 bytes.
 *
 * Logging never waits. A line that cannot leave at once (a pipe that nobody drains, a full disk) is
 * dropped and counted, and the count is logged when there is room. A line that a client or a
 * failing Redis can cause at any rate goes through log_rarely, which writes one line a second.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

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

/* The same, at most once a second for each pair of event and kind; the lines in between are
 * counted, and the next line has the count ("held_back="). event and kind are string literals; kind
 * is "" for an event of one kind. */
#define log_rarely(level, kind, ...)                                                               \
    do {                                                                                           \
        if ((level) >= log_threshold)                                                              \
            log_write_rarely((level), (kind), __VA_ARGS__);                                        \
    } while (0)

/* Writes one line. format is printf's, for the key=value part; "" for none. Keeps errno. Call
 * through log_debug, log_info, log_warn, log_error, which check the level first. */
void log_write(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void log_write_rarely(enum log_level level, const char *kind, const char *event, const char *format,
                      ...) __attribute__((format(printf, 4, 5)));
/* Once a second: writes the counts that no later line has carried: lines that were dropped, and
 * lines that log_rarely held back. */
void log_settle(void);
/* Lines that this process has dropped so far. */
uint64_t log_lines_dropped(void);
/* Reads the name of a level, as `log.level` and each line have it: "debug", "info", "warn",
 * "error". Returns false, and leaves *level alone, for any other text. */
bool log_level_parse(const char *name, enum log_level *level);
void log_set_level(enum log_level level);
/* The same by name; the level stays for a name that log_level_parse refuses. */
void log_set_level_named(const char *name);
/* Writes to fd from here on, standard error until the first call. Borrows fd; returns the
 * descriptor used before. */
int log_set_fd(int fd);
/* Makes standard error non-blocking for this process and its children alone, when standard error is
 * a pipe or a terminal, and logs there. */
void log_take_stderr(void);
/* Sets the worker's slot for the prefix of each line, and forgets the counts of the process that
 * forked. -1, the default, is the master, whose lines have no "worker=". */
void log_set_worker(int slot);

struct log_text {
    char text[160];
};
/* Makes a stranger's text harmless: in quotes, with quotes, backslashes, control characters and
 * non-ASCII bytes as \xNN, cut with "..." when long. Returns text->text. */
const char *log_quote(struct log_text *text, struct slice raw);

#endif
