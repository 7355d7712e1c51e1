/*
 * Any bytes as a configuration file, as a Redis uri, and as a packed config. Each is refused with a
 * line of report, or gives a config that is the same after packing and unpacking.
 */
#include "config/config.h"
#include "config/parts.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good)
{
    if (!good)
        abort();
}

/* A config packs to bytes that unpack to the same config. */
static void repack(const struct config *config, struct slice expected)
{
    struct config *back;
    struct buf packed;

    buf_init(&packed, 1 << 24);
    must(config_pack(config, &packed) == OK);
    must(!expected.data || slice_equal(expected, buf_slice(&packed)));
    back = config_unpack(buf_slice(&packed));
    must(back && config_diff(config, back, NULL, 0) == 0);
    config_free(back);
    buf_fini(&packed);
}

static void try_uri(const uint8_t *data, size_t size)
{
    char *uri = malloc(size + 1);
    struct config_redis redis = { 0 };
    const char *reason;
    struct buf shown;

    must(uri != NULL);
    for (size_t i = 0; i < size; i++)
        uri[i] = (char)data[i];
    uri[size] = 0;
    buf_init(&shown, size + 16);
    redis_uri_parse(uri, &redis, &reason);
    redis_uri_redact(uri, &shown);
    must(!shown.failed);
    redis_uri_fini(&redis);
    buf_fini(&shown);
    free(uri);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_make(data, size);
    struct config_report report;
    struct config *config;

    config_report_init(&report);
    config = config_from_text(text, "/nonexistent/fuzz.json", false, &report);
    must((config != NULL) == (report.errors.len == 0));
    if (config)
        repack(config, (struct slice){ 0 });
    config_free(config);
    config_report_fini(&report);
    config = config_unpack(text);
    if (config)
        repack(config, text);
    config_free(config);
    try_uri(data, size < 300 ? size : 300);
    return 0;
}
