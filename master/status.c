#include "master/status.h"

#include "common/clock.h"
#include "master/find_server.h"
#include "master/server.h"
#include "shm/readiness.h"

#include <stdio.h>

enum { REPORT_BYTES_MAX = 1 << 20 };

/* The memory may be another user's: no text of it may steer the terminal of root. */
static void disarm(struct buf *out)
{
    for (size_t i = 0; i < out->len; i++)
        if (((unsigned char)out->data[i] < ' ' && out->data[i] != '\n') || out->data[i] == 0x7f)
            out->data[i] = '?';
}

static int print_report(const struct region *region, bool json)
{
    struct buf out;
    bool good;

    buf_init(&out, REPORT_BYTES_MAX);
    if (json)
        status_json(region, &out);
    else
        status_text(region, &out);
    disarm(&out);
    good = !out.failed && fwrite(out.data, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
    buf_fini(&out);
    return good ? 0 : EXIT_FAILED;
}

static bool print_reasons(const struct readiness *readiness)
{
    const char *reasons[READINESS_REASONS_MAX];
    size_t count = readiness_reasons(readiness, reasons);

    for (size_t i = 0; i < count; i++)
        puts(reasons[i]);
    if (count == 0)
        puts("ready");
    return count == 0;
}

static bool print_readiness_json(const struct readiness *readiness)
{
    bool is_ready;
    struct buf out;

    buf_init(&out, REPORT_BYTES_MAX);
    is_ready = readiness_json(readiness, &out) && !out.failed;
    fputs(buf_text(&out), stdout);
    buf_fini(&out);
    return is_ready;
}

/* --check: what GET /health/ready answers, as an exit status. */
static int check_readiness(const struct region *region, bool json)
{
    struct readiness readiness;
    bool is_ready;

    readiness_look(region, clock_monotonic_ms(), false, &readiness);
    is_ready = json ? print_readiness_json(&readiness) : print_reasons(&readiness);
    return fflush(stdout) == 0 && is_ready ? 0 : EXIT_FAILED;
}

int status(const struct options *options)
{
    struct region *region;
    pid_t pid;
    int rc = find_server(options, &pid);

    if (rc)
        return rc;
    region = find_region(pid, &rc);
    if (!region)
        return rc;
    rc = options->check ? check_readiness(region, options->json)
                        : print_report(region, options->json);
    region_close(region);
    return rc;
}
