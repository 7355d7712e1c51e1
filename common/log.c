/*
 * How a line leaves without waiting, by the kind of descriptor:
 *
 * - A regular file takes a line, or refuses the line at once.
 * - A socket (systemd's journal) takes MSG_DONTWAIT with each line.
 * - A pipe or a terminal is shared with the parent and with other programs, and O_NONBLOCK on the
 *   shared open file description would change their writes too. So log_take_stderr opens the pipe
 *   again through /proc/self/fd: the new description is this server's own, and can be non-blocking.
 * - Where that fails (no /proc, a pipe of another user), poll(2) without a wait comes before each
 *   line. A pipe with room for PIPE_BUF bytes takes a whole line; only another writer that fills
 * the pipe between the two calls can still hold the process.
 */
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    LINE_SIZE = 1024,
    RARE_MS = 1000, /* between two lines of one event and kind */
    RARE_MAX = 64,  /* pairs of event and kind in the program; further pairs are not held back */
};
_Static_assert(LINE_SIZE + 2 <= PIPE_BUF, "a pipe takes a line whole, or not at all");

enum sink {
    SINK_SHARED, /* may block: poll comes first */
    SINK_PROMPT, /* never blocks */
    SINK_SOCKET,
};

static const char *const level_names[] = { "debug", "info", "warn", "error" };

enum log_level log_threshold = LOG_INFO;

static int fd_current = STDERR_FILENO;
static int worker_slot = -1;
static enum sink sink_current = SINK_SHARED;
static bool line_torn;         /* the last line left in part */
static uint64_t lines_lost;    /* lines that did not leave, and that no line has reported yet */
static uint64_t lines_dropped; /* all such lines of this process */

/* An event whose lines are written once a second at most. */
struct rare {
    const char *event, *kind;
    uint64_t logged_ms, held_count;
};
static struct rare rares[RARE_MAX];
static size_t rare_count;

static uint64_t monotonic_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

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

static bool would_wait(void)
{
    struct pollfd room = { .fd = fd_current, .events = POLLOUT };

    return sink_current == SINK_SHARED && fd_current >= 0 && poll(&room, 1, 0) == 0;
}

/* Writes the line, and a newline first when the line before was torn. line has one byte of room in
 * front. Returns false when the line did not leave whole. */
static bool line_leaves(char *line, size_t len)
{
    ssize_t sent;

    *line = '\n';
    if (!line_torn) {
        line++;
        len--;
    }
    if (would_wait())
        return false;
    if (sink_current == SINK_SOCKET)
        sent = send(fd_current, line, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    else
        sent = write(fd_current, line, len);
    if (sent > 0)
        line_torn = (size_t)sent < len;
    return sent == (ssize_t)len;
}

/* Makes a line and writes the line. held_count: lines of this event that were held back. Returns
 * false when the line did not leave; then nothing is counted yet. */
static bool log_line(enum log_level level, const char *event, uint64_t held_count,
                     const char *format, va_list args) __attribute__((format(printf, 4, 0)));

static bool log_line(enum log_level level, const char *event, uint64_t held_count,
                     const char *format, va_list args)
{
    char room[1 + LINE_SIZE + 1], *line = room + 1;
    size_t used = add_prefix(line, level, event);
    bool left;

    if (lines_lost)
        used = line_add(line, used, " lines_lost_before=%llu", (unsigned long long)lines_lost);
    if (held_count)
        used = line_add(line, used, " held_back=%llu", (unsigned long long)held_count);
    if (*format)
        used = line_add(line, used, " ");
    used = line_vadd(line, used, format, args);
    line[used++] = '\n';
    left = line_leaves(room, 1 + used);
    if (left)
        lines_lost = 0;
    return left;
}

static void count_loss(void)
{
    lines_lost++;
    lines_dropped++;
}

void log_write(enum log_level level, const char *event, const char *format, ...)
{
    int errno_kept = errno; /* so that callers may log before they use errno */
    va_list args;

    va_start(args, format);
    if (!log_line(level, event, 0, format, args))
        count_loss();
    va_end(args);
    errno = errno_kept;
}

/* Returns the record of the pair; NULL when there are too many pairs. */
static struct rare *rare_of(const char *event, const char *kind)
{
    for (size_t i = 0; i < rare_count; i++)
        if (strcmp(rares[i].event, event) == 0 && strcmp(rares[i].kind, kind) == 0)
            return &rares[i];
    if (rare_count == RARE_MAX)
        return NULL;
    rares[rare_count] = (struct rare){ .event = event, .kind = kind };
    return &rares[rare_count++];
}

static bool is_too_soon(const struct rare *rare, uint64_t now_ms)
{
    return rare->logged_ms && now_ms < rare->logged_ms + RARE_MS;
}

void log_write_rarely(enum log_level level, const char *kind, const char *event, const char *format,
                      ...)
{
    struct rare *rare = rare_of(event, kind);
    uint64_t now_ms = monotonic_ms();
    int errno_kept = errno;
    va_list args;

    if (rare && is_too_soon(rare, now_ms)) {
        rare->held_count++;
        return;
    }
    va_start(args, format);
    if (!log_line(level, event, rare ? rare->held_count : 0, format, args))
        count_loss();
    else if (rare)
        rare->held_count = 0;
    va_end(args);
    if (rare)
        rare->logged_ms = now_ms;
    errno = errno_kept;
}

/* Writes a line of the log's own, without counting a failure: the next log_settle tries again. */
static bool report(const char *event, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool report(const char *event, const char *format, ...)
{
    va_list args;
    bool left;

    va_start(args, format);
    left = log_line(LOG_WARN, event, 0, format, args);
    va_end(args);
    return left;
}

void log_settle(void)
{
    uint64_t now_ms = monotonic_ms();

    if (lines_lost && !report("log_lines_lost", "%s", ""))
        return;
    for (size_t i = 0; i < rare_count; i++) {
        struct rare *rare = &rares[i];
        if (rare->held_count && !is_too_soon(rare, now_ms) &&
            report("log_lines_held_back", "of=%s%s%s lines=%llu", rare->event,
                   *rare->kind ? " kind=" : "", rare->kind, (unsigned long long)rare->held_count))
            rare->held_count = 0;
    }
}

uint64_t log_lines_dropped(void)
{
    return lines_dropped;
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

static enum sink sink_of(int fd)
{
    struct stat status;
    int flags = fcntl(fd, F_GETFL);

    if (fd < 0 || flags < 0 || fstat(fd, &status))
        return SINK_PROMPT; /* every write fails at once */
    if (S_ISSOCK(status.st_mode))
        return SINK_SOCKET;
    return S_ISREG(status.st_mode) || (flags & O_NONBLOCK) ? SINK_PROMPT : SINK_SHARED;
}

int log_set_fd(int fd)
{
    int before = fd_current;

    fd_current = fd;
    sink_current = sink_of(fd);
    line_torn = false;
    return before;
}

void log_take_stderr(void)
{
    struct stat status;
    int fd = -1;

    if (fstat(STDERR_FILENO, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode)))
        fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0) {
        dup2(fd, STDERR_FILENO);
        close(fd);
    }
    log_set_fd(STDERR_FILENO);
}

void log_set_worker(int slot)
{
    worker_slot = slot;
    lines_lost = lines_dropped = 0;
    rare_count = 0;
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
