/*
 * `check-config`: what is wrong with a configuration, and would the server start with it?
 * `explain-config`: the table of keys.
 *
 * check-config reads what serve reads, and opens nothing that a running server has open.
 */
#include "master/cmd_config.h"

#include "common/clock.h"
#include "config/explain.h"
#include "config/value.h"
#include "master/certificates.h"
#include "master/cmd_source.h"
#include "master/redis_tls.h"
#include "master/server.h"
#include "worker/token/token.h"

#include <stdio.h>
#include <string.h>

enum { TEXT_BYTES_MAX = 1 << 20, OPTION_PRINT = 0x2000, OPTION_MARKDOWN };

static const char help_check[] =
    "Usage: websocket-server check-config [OPTION...]\n"
    "\n"
    "Reads the configuration as serve would. Errors, warnings and notes go to standard error, the\n"
    "verdict to standard output.\n"
    "\n" CMD_SOURCE_HELP
    "  --strict           fail on every warning too, and when the server would not start\n"
    "  --strict=start     the same, for a start at any hour: what time alone has brought is told,\n"
    "                     and fails nothing (a certificate near or past its end, or before its\n"
    "                     beginning; a key past its notAfter)\n"
    "  --print KEY        print the value of KEY alone, as JSON, the environment included\n"
    "  --help\n"
    "\n"
    "Exit status: 0 valid, 2 wrong usage or configuration; with --strict 2 also for a warning, "
    "and\n"
    "when something is missing without which the server does not start. A note (of a key that is\n"
    "left out of a JWK Set) never fails.\n";

static const char help_explain[] =
    "Usage: websocket-server explain-config [KEY...] [OPTION...]\n"
    "\n"
    "Prints every key of the configuration, or those named: a whole key (limits.burst), a part of\n"
    "the tree (limits), or a variable (POSTOFFICE_LIMITS_BURST). A reload (SIGHUP) applies a "
    "`live`\n"
    "key in place, a `swap` key by replacing the workers; a `restart` key waits for the next "
    "start.\n"
    "\n"
    "  --json             an array of objects\n"
    "  --markdown         docs/configuration.md (all keys)\n"
    "  --help\n"
    "\n"
    "Exit status: 0 printed, 2 wrong usage or no such key.\n";

/* ---- check-config ---- */

enum strictness { STRICT_NOT, STRICT_START, STRICT_ALL };

struct check {
    struct config_source source;
    const char *print; /* NULL: not given */
    enum strictness strict;
    bool help;
};

/* Takes the value of --strict; NULL: none was given. */
static bool take_strict(const char *value, enum strictness *strict)
{
    *strict = value ? STRICT_START : STRICT_ALL;
    if (!value || strcmp(value, "start") == 0)
        return true;
    fprintf(stderr, "check-config: found --strict=%s, allowed --strict and --strict=start\n",
            value);
    return false;
}

static bool take_check_options(int argc, char **argv, struct check *check)
{
    static const struct option table[] = { CMD_SOURCE_OPTIONS,
                                           { "strict", optional_argument, NULL, OPTION_STRICT },
                                           { "print", required_argument, NULL, OPTION_PRINT },
                                           { "help", no_argument, NULL, 'h' },
                                           { 0 } };
    int option;

    *check = (struct check){ 0 };
    optind = 1;
    while ((option = getopt_long(argc, argv, "h", table, NULL)) != -1) {
        if (option == 'h')
            check->help = true;
        else if (option == OPTION_PRINT)
            check->print = optarg;
        else if (option == OPTION_STRICT && !take_strict(optarg, &check->strict))
            return false;
        else if (option != OPTION_STRICT && !cmd_source_take(option, optarg, &check->source))
            return false;
    }
    if (optind < argc && !check->help) {
        fprintf(stderr, "check-config: unknown argument \"%s\"\n", argv[optind]);
        return false;
    }
    return true;
}

/* Loads and judges the configuration. NULL: the errors are in the report. */
static struct config *load_judged(const struct config_source *source, struct config_report *report)
{
    struct config *config = config_load(source, report);
    char why[4096];

    if (!config)
        return NULL;
    cmd_source_say(source, config);
    if (certificates_judge(config, why, sizeof why) && token_keys_good(config, why, sizeof why) &&
        redis_tls_judge(config, why, sizeof why)) {
        size_t timed = certificates_warn(config, clock_unix_s(), &report->warnings);
        report->warning_count += timed;
        report->timed_count += timed;
        return config;
    }
    buf_addf(&report->errors, "%s: %s\n", config->file, why);
    config_free(config);
    return NULL;
}

/* Says in a line how good the config is. Returns whether a server with it would start. */
static bool add_verdict(const struct config *config, size_t warnings, struct buf *out)
{
    char why[4096];

    buf_addf(out, "%s: ", config->file);
    if (!reload_has_key(config))
        buf_addf(out,
                 "valid, but the server will not start until there is a key to check tokens with: "
                 "websocket-server keygen --config %s makes one\n",
                 config->file);
    else if (!reload_may_serve(config, why, sizeof why))
        buf_addf(out, "valid, but the server will not start until this is mended: %s\n", why);
    else if (warnings)
        buf_addf(out, "valid, with %zu warning%s\n", warnings, warnings == 1 ? "" : "s");
    else
        buf_add_text(out, "good\n");
    return reload_may_serve(config, why, sizeof why);
}

/* How many warnings fail the check. */
static size_t failing_count(enum strictness strict, const struct config_report *report)
{
    return strict == STRICT_ALL     ? report->warning_count
           : strict == STRICT_START ? report->warning_count - report->timed_count
                                    : 0;
}

static int print_verdict(const struct check *check, const struct config *config,
                         const struct config_report *report)
{
    struct buf verdict;
    bool starts, good;

    buf_init(&verdict, TEXT_BYTES_MAX);
    starts = add_verdict(config, report->warning_count, &verdict);
    good = !check->strict || (starts && !failing_count(check->strict, report));
    /* A caller of --strict keeps standard output out of the way and needs to know why. */
    fputs(buf_text(&verdict), good ? stdout : stderr);
    buf_fini(&verdict);
    return good ? 0 : EXIT_USAGE;
}

static int print_value(const struct config *config, const char *key)
{
    struct buf text;
    bool known;

    buf_init(&text, TEXT_BYTES_MAX);
    known = config_value(config, key, &text);
    if (known)
        puts(buf_text(&text));
    else
        fprintf(stderr, "check-config: --print: \"%s\" is no key with a value\n", key);
    buf_fini(&text);
    return known ? 0 : EXIT_USAGE;
}

int cmd_check_config(int argc, char **argv)
{
    struct config_report report;
    struct check check;
    struct config *config;
    int status = EXIT_USAGE;

    if (!take_check_options(argc, argv, &check)) {
        fputs("Try: websocket-server check-config --help\n", stderr);
        return EXIT_USAGE;
    }
    if (check.help) {
        fputs(help_check, stdout);
        return 0;
    }
    config_report_init(&report);
    config = load_judged(&check.source, &report);
    if (!check.print) {
        fputs(buf_text(&report.notes), stderr);
        fputs(buf_text(&report.warnings), stderr);
    }
    fputs(buf_text(&report.errors), stderr);
    if (config)
        status =
            check.print ? print_value(config, check.print) : print_verdict(&check, config, &report);
    config_report_fini(&report);
    config_free(config);
    return status;
}

/* ---- explain-config ---- */

struct explain {
    enum config_form form;
    bool help;
};

static bool take_explain_options(int argc, char **argv, struct explain *explain)
{
    static const struct option table[] = { { "json", no_argument, NULL, 'j' },
                                           { "markdown", no_argument, NULL, OPTION_MARKDOWN },
                                           { "help", no_argument, NULL, 'h' },
                                           { 0 } };
    int option;

    *explain = (struct explain){ .form = CONFIG_FORM_TEXT };
    optind = 1;
    while ((option = getopt_long(argc, argv, "h", table, NULL)) != -1) {
        if (option == '?')
            return false;
        if (option == 'h')
            explain->help = true;
        else
            explain->form = option == 'j' ? CONFIG_FORM_JSON : CONFIG_FORM_MARKDOWN;
    }
    if (explain->form == CONFIG_FORM_MARKDOWN && optind < argc) {
        fputs("explain-config: --markdown prints all keys: name none\n", stderr);
        return false;
    }
    return true;
}

/* Are all names keys, or parts of the tree? Says which are not, and what may have been meant. */
static bool names_known(char **names, int count)
{
    struct buf near;
    bool good = true;

    for (int i = 0; i < count; i++) {
        if (config_explains(names[i]))
            continue;
        buf_init(&near, TEXT_BYTES_MAX);
        config_explain_near(&near, names[i]);
        fprintf(stderr, "explain-config: \"%s\" is no key%s%s%s\n", names[i],
                near.len ? "; did you mean " : "", buf_text(&near), near.len ? "?" : "");
        buf_fini(&near);
        good = false;
    }
    return good;
}

int cmd_explain_config(int argc, char **argv)
{
    struct explain explain;
    struct buf out;

    if (!take_explain_options(argc, argv, &explain)) {
        fputs("Try: websocket-server explain-config --help\n", stderr);
        return EXIT_USAGE;
    }
    if (explain.help) {
        fputs(help_explain, stdout);
        return 0;
    }
    if (!names_known(argv + optind, argc - optind))
        return EXIT_USAGE;
    buf_init(&out, TEXT_BYTES_MAX);
    config_explain(&out, explain.form, argv + optind, (size_t)(argc - optind));
    fputs(buf_text(&out), stdout);
    buf_fini(&out);
    return 0;
}
