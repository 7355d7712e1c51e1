#include "master/status.h"

#include "master/find_server.h"
#include "master/server.h"

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
    rc = print_report(region, options->json);
    region_close(region);
    return rc;
}
