/* The shared part of the tests of config/: a folder for each test, and a config read from text. */
#ifndef TESTS_CONFIG_FIXTURE_H
#define TESTS_CONFIG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "config/config.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* 32 and 31 bytes in base64. */
#define B32       "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define B32_OTHER "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA="
#define B31       "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg=="

static char folder[64];
static char conf_file[128]; /* conf.json in the folder; the file may be absent */
static struct config_report report;

static inline void write_file(const char *name, const char *text, size_t len, mode_t mode)
{
    char path[256];
    int fd;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static inline void write_text(const char *name, const char *text)
{
    write_file(name, text, strlen(text), 0600);
}

static inline void make_folder(const char *name)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static inline struct config *load_bytes(const char *text, size_t len, bool use_environment)
{
    config_report_fini(&report);
    config_report_init(&report);
    return config_from_text(slice_make(text, len), conf_file, use_environment, &report);
}

static inline struct config *load_text(const char *text)
{
    return load_bytes(text, strlen(text), false);
}

static inline struct config *load_good(const char *text)
{
    struct config *config = load_text(text);

    if (!config)
        print_error("%s\n%s", text, buf_text(&report.errors));
    assert_non_null(config);
    assert_int_equal(report.errors.len, 0);
    return config;
}

static inline const char *errors(void)
{
    return buf_text(&report.errors);
}

static inline const char *warnings(void)
{
    return buf_text(&report.warnings);
}

static inline void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        print_error("\"%s\" is not in:\n%s\n", part, text);
    assert_non_null(strstr(text, part));
}

static inline void assert_lacks(const char *text, const char *part)
{
    if (strstr(text, part))
        print_error("\"%s\" is in:\n%s\n", part, text);
    assert_null(strstr(text, part));
}

static inline const char *notes(void)
{
    return buf_text(&report.notes);
}

/* Each line of the report names the file, the value found, and the allowed values. */
static inline void assert_lines_whole(void)
{
    struct slice text = buf_slice(&report.errors), line;

    assert_true(text.len != 0);
    while (config_report_next(&text, &line)) {
        char one[8192];
        snprintf(one, sizeof one, "%.*s", (int)line.len, line.data);
        if (strncmp(one, "environment: ", 13) != 0)
            assert_has(one, conf_file);
        assert_has(one, ": found ");
        assert_has(one, "allowed ");
    }
}

static inline void refused(const char *text, const char *key)
{
    struct config *config = load_text(text);

    if (config)
        print_error("taken: %s\n", text);
    assert_null(config);
    assert_has(errors(), key);
    assert_lines_whole();
}

static inline int folder_make(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/po-config-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(conf_file, sizeof conf_file, "%s/conf.json", folder);
    config_report_init(&report);
    return 0;
}

static inline int remove_entry(const char *path, const struct stat *status, int flag,
                               struct FTW *walk)
{
    (void)status;
    (void)flag;
    (void)walk;
    return remove(path);
}

static inline int folder_remove(void **state)
{
    (void)state;
    config_report_fini(&report);
    return nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

#endif
