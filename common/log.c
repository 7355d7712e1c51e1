#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { LINE_SIZE = 1024 };

static const char *const level_names[] = { "debug", "info", "warn", "error" };

enum log_level log_threshold = LOG_INFO;

static int fd_current = STDERR_FILENO;
static int worker_slot = -1;
static uint64_t lines_lost; /* lines that a full disk or a closed pipe did not take */

static size_t line_add(char *line, size_t used, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static size_t line_vadd(char *line, size_t used, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

/* Appends to the line; text that does not fit is cut. Returns the new length. */
static size_t line_vadd(char *line, size_t used, const char *format, va_list args)
{
    int n = vsnprintf(line + used, LINE_SIZE - used, format, args);

    if (n < 0)
        return used;
    return used + (size_t)n < LINE_SIZE ? used + (size_t)n : LINE_SIZE - 1;
}

static size_t line_add(char *line, size_t used, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    used = line_vadd(line, used, format, args);
    va_end(args);
    return used;
}

static size_t add_prefix(char *line, enum log_level level, const char *event)
{
    struct timespec now;
    struct tm utc;
    size_t used;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    used = line_add(line, 0, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s pid=%d", utc.tm_year + 1900,
                    utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                    now.tv_nsec / 1000000, level_names[level], (int)getpid());
    if (worker_slot >= 0)
        used = line_add(line, used, " worker=%d", worker_slot);
    return line_add(line, used, " event=%s", event);
}

void log_write(enum log_level level, const char *event, const char *format, ...)
{
    char line[LINE_SIZE + 1];
    int errno_kept = errno; /* so that callers may log before they use errno */
    size_t used = add_prefix(line, level, event);
    va_list args;

    if (lines_lost)
        used = line_add(line, used, " lines_lost_before=%llu", (unsigned long long)lines_lost);
    if (*format)
        used = line_add(line, used, " ");
    va_start(args, format);
    used = line_vadd(line, used, format, args);
    va_end(args);
    line[used++] = '\n';
    if (write(fd_current, line, used) == (ssize_t)used)
        lines_lost = 0;
    else
        lines_lost++;
    errno = errno_kept;
}

bool log_level_parse(const char *name, enum log_level *level)
{
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++)
        if (strcmp(name, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    return false;
}

void log_set_level(enum log_level level)
{
    log_threshold = level;
}

void log_set_level_named(const char *name)
{
    enum log_level level;

    if (log_level_parse(name, &level))
        log_set_level(level);
}

int log_set_fd(int fd)
{
    int before = fd_current;

    fd_current = fd;
    return before;
}

int log_fd(void)
{
    return fd_current;
}

void log_set_worker(int slot)
{
    worker_slot = slot;
}

const char *log_quote(struct log_text *text, struct slice raw)
{
    static const char hex[] = "0123456789abcdef";
    char *out = text->text, *end = text->text + sizeof text->text - sizeof "...\"";

    *out++ = '"';
    for (size_t i = 0; i < raw.len; i++) {
        unsigned char c = (unsigned char)raw.data[i];
        if (out + 4 > end) {
            memcpy(out, "...", 3);
            out += 3;
            break;
        }
        if (c < 0x20 || c > 0x7e || c == '"' || c == '\\') {
            *out++ = '\\';
            *out++ = 'x';
            *out++ = hex[c >> 4];
            *out++ = hex[c & 15];
        } else {
            *out++ = (char)c;
        }
    }
    *out++ = '"';
    *out = 0;
    return text->text;
}
