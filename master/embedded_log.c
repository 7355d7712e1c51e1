#include "master/embedded_log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BURST = 50, REFILL_MS = 100, READ_SIZE = 4096, READS_A_TURN = 8 };

/* A line of Redis is "PID:ROLE DAY MONTH YEAR TIME MARK TEXT", with MARK one of . - * #. Any other
 * text, as that of the loader or of a sanitizer, has no mark. Returns the text. */
static const char *line_text(const char *line, char *mark)
{
    *mark = 0;
    if (line[strspn(line, "0123456789")] != ':' || *line == ':')
        return line;
    for (const char *at = line; (at = strchr(at, ' ')); at++)
        if (at[1] && strchr(".-*#", at[1]) && at[2] == ' ') {
            *mark = at[1];
            return at + 3;
        }
    return line;
}

/* "Redis version=7.0.15, bits=64, ..." */
static void learn_version(struct embedded_log *log, const char *text)
{
    const char *version = strstr(text, " version=");

    if (version && !log->version[0]) {
        version += sizeof " version=" - 1;
        snprintf(log->version, sizeof log->version, "%.*s", (int)strcspn(version, ", "), version);
    }
}

static void refill(struct embedded_log *log, uint64_t now_ms)
{
    uint64_t more = (now_ms - log->filled_ms) / REFILL_MS;

    if (!more)
        return;
    log->filled_ms = now_ms;
    log->room = more < BURST - log->room ? log->room + (uint32_t)more : BURST;
}

static void write_line(struct embedded_log *log, enum log_level level, uint64_t now_ms)
{
    refill(log, now_ms);
    if (!log->room) {
        log->held_back++;
        return;
    }
    log->room--;
    log_at(level, "storage_says", "text=%s", log->last.text);
}

static void end_line(struct embedded_log *log, bool warn, uint64_t now_ms)
{
    const char *text;
    char mark;

    log->line[log->len] = 0;
    log->len = 0;
    text = line_text(log->line, &mark);
    if (!*text)
        return;
    learn_version(log, text);
    log->ready = log->ready || strcasestr(text, "ready to accept connections");
    log_quote(&log->last, slice_of(text));
    write_line(log, (mark == '#' || !mark) && warn ? LOG_WARN : LOG_INFO, now_ms);
}

void embedded_log_begin(struct embedded_log *log, uint64_t now_ms)
{
    *log = (struct embedded_log){ .room = BURST, .filled_ms = now_ms };
}

void embedded_log_take(struct embedded_log *log, const char *bytes, size_t len, bool warn,
                       uint64_t now_ms)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] == '\n')
            end_line(log, warn, now_ms);
        else if (bytes[i] && log->len + 1 < sizeof log->line)
            log->line[log->len++] = bytes[i];
}

bool embedded_log_read(struct embedded_log *log, int fd, bool warn, uint64_t now_ms)
{
    char bytes[READ_SIZE];
    ssize_t got = 1;

    for (int i = 0; i < READS_A_TURN && (got = read(fd, bytes, sizeof bytes)) > 0; i++)
        embedded_log_take(log, bytes, (size_t)got, warn, now_ms);
    return got != 0;
}

void embedded_log_settle(struct embedded_log *log, uint64_t now_ms)
{
    refill(log, now_ms);
    if (!log->held_back || !log->room)
        return;
    log->room--;
    log_info("storage_says", "held_back=%llu", (unsigned long long)log->held_back);
    log->held_back = 0;
}
