/*
 * Reads the file, and runs the stages that make a config of it in order (parts.h).
 */
#include "config/parts.h"

#include "common/workers.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool set_origin(struct draft *draft)
{
    char *cwd = getcwd(NULL, 0), *path = cwd ? file_join(cwd, draft->file) : NULL;
    bool good = false;

    if (path) {
        *(strrchr(path, '/') + (strrchr(path, '/') == path)) = 0;
        good = read_draft_text(draft, &draft->config->file, draft->file) &&
               read_draft_text(draft, &draft->config->dir, path);
    } else {
        report_error(draft->report, draft_spot(draft, ""), "the working directory cannot be named");
    }
    free(path);
    free(cwd);
    return good;
}

static void fill_draft(struct draft *draft, struct slice text, bool use_environment)
{
    struct tree *tree;

    if (!read_defaults(draft) || !set_origin(draft))
        return;
    tree = tree_read(text, draft->file, draft->report);
    if (!tree)
        return;
    draft->tree = tree;
    draft->use_environment = use_environment;
    read_tree(draft, tree_root(tree));
    if (use_environment)
        read_environment(draft);
    resolve_draft(draft);
    keyfiles_load(draft);
    certfiles_load(draft);
    jwks_load(draft);
    redis_tls_load(draft);
    revoked_load(draft);
    draft->tree = NULL;
    tree_free(tree, draft->report);
}

struct config *config_from_text(struct slice text, const char *file, bool use_environment,
                                struct config_report *report)
{
    struct draft draft = { .file = file,
                           .report = report,
                           .config = calloc(1, sizeof(struct config)) };
    size_t errors_before = report->error_count;

    if (!draft.config) {
        report_error(report, draft_spot(&draft, ""), "out of memory");
        return NULL;
    }
    fill_draft(&draft, text, use_environment);
    free(draft.use);
    if (report->error_count == errors_before)
        return draft.config;
    config_free(draft.config);
    return NULL;
}

static struct config *load_file(const char *file, const char *reason_before, struct buf *text,
                                struct config_report *report)
{
    struct config *config = NULL;

    if (reason_before)
        report_error(report, (struct spot){ file, "", { 0 } },
                     "found it unreadable (%s), allowed a readable file of at most %d bytes",
                     reason_before, TREE_BYTES_MAX);
    else
        config = config_from_text(buf_slice(text), file, true, report);
    if (!reason_before)
        file_wipe(text);
    return config;
}

struct config *config_load(const struct config_source *source, struct config_report *report)
{
    char *found = source->file ? NULL : find_file(source, report);
    const char *path = source->file ? source->file : found;
    struct config *config = NULL;
    struct buf text;

    if (path)
        config = load_file(path, file_read(path, TREE_BYTES_MAX, &text, NULL), &text, report);
    free(found);
    return config;
}

uint32_t config_worker_count(const struct config *config)
{
    cpu_set_t cores; /* the cores that this process may use; a container can have fewer than the
                        machine */
    int count = 1;

    if (config->workers > 0)
        return (uint32_t)config->workers;
    if (sched_getaffinity(0, sizeof cores, &cores) == 0)
        count = CPU_COUNT(&cores);
    return count < 1 ? 1 : count > WORKERS_WANTED_MAX ? WORKERS_WANTED_MAX : (uint32_t)count;
}
