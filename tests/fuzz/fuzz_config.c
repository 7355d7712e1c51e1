/*
 * Any bytes as a configuration file, as a Redis uri, and as a packed config. Each is refused with a
 * line of report, or gives a config that is the same after packing and unpacking. What is left of a
 * file without its comments and last commas is JSON to another reader, common/json.c.
 */
#include "config/changes.h"
#include "config/config.h"
#include "config/parts.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good)
{
    if (!good)
        abort();
}

static char *copy_of(struct slice text)
{
    char *copy = malloc(text.len + 1);

    must(copy != NULL);
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    return copy;
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
    char *uri = copy_of(slice_make(data, size));
    struct config_redis redis = { 0 };
    const char *reason;
    struct buf shown;

    buf_init(&shown, size + 16);
    redis_uri_parse(uri, &redis, &reason);
    redis_uri_redact(uri, &shown);
    must(!shown.failed);
    redis_uri_fini(&redis);
    buf_fini(&shown);
    free(uri);
}

/* Each value has its place, and no line of the report steers a terminal. */
static void must_be_whole(struct slice text, const struct strict_result *result,
                          const struct config_report *report, bool good)
{
    for (size_t i = 0; i < result->count; i++) {
        const struct mark *mark = &result->marks[i];
        must(mark->len > 0 && mark->at + (size_t)mark->len <= text.len);
        must(mark->from <= mark->at && !(good && strchr(" \t\r\n", text.data[mark->at])));
    }
    must(good || report->error_count > 0);
    for (size_t i = 0; i < report->errors.len; i++)
        must((unsigned char)report->errors.data[i] >= 0x20 || report->errors.data[i] == '\n');
}

static void try_text(struct slice text)
{
    struct strict_result result = { .shown = copy_of(text), .clean = copy_of(text) };
    struct json_fault fault = { "", 0 };
    struct config_report report;
    struct json_value value;
    bool good;

    config_report_init(&report);
    report.text = text;
    report.shown = slice_make(result.shown, text.len);
    good = strict_check(text, "fuzz.json", &report, &result);
    must_be_whole(text, &result, &report, good);
    if (good && json_check(slice_make(result.clean, text.len), 64, &value, &fault) != OK)
        must(strstr(fault.reason, "twice") != NULL); /* tree.c says so of them */
    config_report_fini(&report);
    free(result.shown);
    free(result.clean);
    free(result.marks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_make(data, size);
    struct config_report report;
    struct config *config;

    if (size <= TREE_BYTES_MAX)
        try_text(text);
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
