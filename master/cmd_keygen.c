/*
 * `websocket-server keygen`: makes a key and writes its files where the server looks for them.
 *
 * keygen prints the names of files, never a key.
 */
#include "master/cmd_keygen.h"

#include "common/clock.h"
#include "common/log.h"
#include "master/cmd_source.h"
#include "master/keyfile.h"
#include "worker/token/token.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_GOOD, EXIT_FAILED, EXIT_USAGE };

static const char help[] =
    "Usage: websocket-server keygen [options]\n"
    "\n"
    "Makes a key for tokens. An Ed25519 key is written as KID.pub (what servers verify with, "
    "0644)\n"
    "and KID.key (what tokens are made with, 0600; no server reads it), an HMAC key as KID.secret\n"
    "(both at once, 0600). No file is ever written over. A running server takes it on with "
    "`reload`.\n"
    "\n"
    "  --kid KID          the key's name, 1 to 64 of A-Z a-z 0-9 _ - . (default: key-DATE-xxxx)\n"
    "  --kty KIND         ed25519 (default) or hmac\n"
    "  --dir DIR          where to (default: auth.keyDir of the configuration)\n" CMD_SOURCE_HELP
    "  --help\n"
    "\n"
    "Exit status: 0 made, 1 could not write, 2 wrong usage or configuration.\n";

struct options {
    const char *kid, *dir;
    enum config_kty kty;
    struct config_source source;
    bool help;
};

static bool take_kty(const char *text, enum config_kty *kty)
{
    if (strcmp(text, "ed25519") == 0)
        *kty = CONFIG_KTY_ED25519;
    else if (strcmp(text, "hmac") == 0)
        *kty = CONFIG_KTY_HMAC;
    else
        return false;
    return true;
}

static bool take_keygen_option(int option, struct options *options)
{
    struct log_text quoted;

    switch (option) {
    case 'k':
        options->kid = optarg;
        if (keyfile_kid_valid(optarg))
            return true;
        fprintf(stderr,
                "keygen: --kid: found %s, allowed are 1 to 64 of A-Z a-z 0-9 _ - . with no dot in "
                "front\n",
                log_quote(&quoted, slice_of(optarg)));
        return false;
    case 't':
        if (take_kty(optarg, &options->kty))
            return true;
        fprintf(stderr, "keygen: --kty: found %s, allowed are ed25519 and hmac\n",
                log_quote(&quoted, slice_of(optarg)));
        return false;
    case 'd':
        options->dir = optarg;
        return true;
    case 'h':
        options->help = true;
        return true;
    default:
        return cmd_source_take(option, optarg, &options->source);
    }
}

static bool take_options(int argc, char **argv, struct options *options)
{
    static const struct option table[] = { { "kid", required_argument, NULL, 'k' },
                                           { "kty", required_argument, NULL, 't' },
                                           { "dir", required_argument, NULL, 'd' },
                                           { "help", no_argument, NULL, 'h' },
                                           CMD_SOURCE_OPTIONS,
                                           { NULL, 0, NULL, 0 } };
    int option;

    optind = 0; /* cli.c may have used getopt before; 0 makes glibc begin anew */
    while ((option = getopt_long(argc, argv, "+h", table, NULL)) != -1)
        if (!take_keygen_option(option, options))
            return false;
    if (optind < argc) {
        fprintf(stderr, "keygen: unexpected argument \"%s\"\n", argv[optind]);
        return false;
    }
    return true;
}

static bool kid_configured(const struct config *config, const char *kid)
{
    for (size_t i = 0; config && i < config->auth.key_count; i++)
        if (strcmp(config->auth.keys[i].kid, kid) == 0)
            return true;
    return false;
}

/* Without --kid, tries new names until one is free. With --kid, tries that name only. */
static enum err create(int dir_fd, const struct config *config, const struct options *options,
                       char kid[KEYFILE_KID_SIZE])
{
    enum err err = ERR_EXISTS;

    if (options->kid)
        snprintf(kid, KEYFILE_KID_SIZE, "%s", options->kid);
    for (int tries = options->kid ? 1 : 16; err == ERR_EXISTS && tries > 0; tries--) {
        if (!options->kid)
            keyfile_kid_new(clock_unix_s(), kid);
        if (!kid_configured(config, kid))
            err = keyfile_create(dir_fd, kid, options->kty);
    }
    return err;
}

static void print_names(const char *dir, const char *kid, enum config_kty kty)
{
    if (kty == CONFIG_KTY_HMAC) {
        printf("wrote %s/%s.secret (secret: it verifies and it makes tokens)\n", dir, kid);
        return;
    }
    printf("wrote %s/%s.pub (public: servers verify tokens with it)\n", dir, kid);
    printf("wrote %s/%s.key (secret: tokens are made with it; keep it where they are made)\n", dir,
           kid);
}

static int make_in(const char *dir, const struct config *config, const struct options *options)
{
    char kid[KEYFILE_KID_SIZE] = "";
    int dir_fd = keyfile_dir_open(dir);
    enum err err;

    if (dir_fd < 0) {
        fprintf(stderr, "keygen: %s: %s\n", dir, strerror(errno));
        return EXIT_FAILED;
    }
    err = create(dir_fd, config, options, kid);
    if (err == ERR_EXISTS)
        fprintf(stderr, "keygen: there is a key \"%s\" already; it was left as it is\n", kid);
    else if (err)
        fprintf(stderr, "keygen: %s/%s: %s\n", dir, kid,
                err == ERR_SYSTEM ? strerror(errno) : err_name(err));
    else
        print_names(dir, kid, options->kty);
    close(dir_fd);
    return err || fflush(stdout) != 0 ? EXIT_FAILED : EXIT_GOOD;
}

static int make_configured(const struct options *options)
{
    struct config *config = cmd_source_load(&options->source);
    char *beside = NULL;
    const char *dir;
    int status;

    if (!config)
        return EXIT_USAGE;
    dir = config->auth.key_dir;
    if (!dir || !*dir)
        dir = asprintf(&beside, "%s/keys", config->dir) < 0 ? NULL : beside;
    if (dir) {
        status = make_in(dir, config, options);
    } else {
        fputs("keygen: out of memory\n", stderr);
        status = EXIT_FAILED;
        beside = NULL; /* what asprintf leaves when it fails is no memory */
    }
    free(beside);
    config_free(config);
    return status;
}

int cmd_keygen(int argc, char **argv)
{
    struct options options = { .kty = CONFIG_KTY_ED25519 };

    if (!take_options(argc, argv, &options)) {
        fputs("Try `websocket-server keygen --help`.\n", stderr);
        return EXIT_USAGE;
    }
    if (options.help) {
        fputs(help, stdout);
        return EXIT_GOOD;
    }
    if (token_init()) {
        fputs("keygen: libsodium does not start\n", stderr);
        return EXIT_FAILED;
    }
    return options.dir ? make_in(options.dir, NULL, &options) : make_configured(&options);
}
