/*
 * `websocket-server size`: what a number of users and their mail need of a machine and of Redis.
 *
 * The command multiplies: each figure is a sum of products of what the operator says with the
 * coefficients of one table, and each coefficient is a measurement that a bench repeats. Nothing
 * is read, no configuration and no machine.
 */
#include "master/cmd_size.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_GOOD, EXIT_USAGE = 2 };
enum { DAY_S = 86400, SHARED_BODY_BYTES = 4096, WORKER_DESCRIPTORS = 128, WORKER_CONNECTIONS = 4 };

static const double KIB = 1024, MIB = 1024.0 * 1024, GIB = 1024.0 * 1024 * 1024;

static const char help[] =
    "Usage: websocket-server size --users N [OPTION...]\n"
    "\n"
    "Says what so many users and their mail need: memory, CPU and descriptors of the hosts, "
    "memory\n"
    "and disk of Redis. Nothing is read but the options.\n"
    "\n"
    "  --users N            addresses that are connected at the busiest time\n"
    "  --devices N          sessions of each (1)\n"
    "  --mails-per-day N    mail that each user sends in a day (50)\n"
    "  --recipients N       recipients of a mail (1)\n"
    "  --bytes N            bytes of a mail's content, before base64 (1000)\n"
    "  --keep-days N        for so long mail is kept: mailbox.maxAgeSeconds (30)\n"
    "  --peak N             the busiest second has N times the mail of an average one (10)\n"
    "  --tls                the server itself serves wss://\n"
    "  --fsync              mailbox.durability is fsync\n"
    "  --coefficients       print the table of measured coefficients, and nothing else\n"
    "  --help\n"
    "\n"
    "Exit status: 0 printed, 2 wrong usage.\n";

/* The options that take a number; `size_options` holds their values in this order. */
enum number { USERS, DEVICES, MAILS, RECIPIENTS, BYTES, KEEP_DAYS, PEAK, NUMBERS };

static const struct {
    const char *name;
    double initial, min, max;
} numbers[NUMBERS] = {
    [USERS] = { "users", 0, 1, 1e9 },          [DEVICES] = { "devices", 1, 0, 1000 },
    [MAILS] = { "mails-per-day", 50, 0, 1e7 }, [RECIPIENTS] = { "recipients", 1, 1, 100000 },
    [BYTES] = { "bytes", 1000, 0, 1e8 },       [KEEP_DAYS] = { "keep-days", 30, 0, 36500 },
    [PEAK] = { "peak", 10, 1, 100000 },
};

struct size_options {
    double value[NUMBERS];
    bool tls, fsync, coefficients, help;
};

/* The measured coefficients. */
enum coefficient {
    HOST_BASE,
    WORKER_BASE,
    SESSION,
    SESSION_TLS,
    SESSION_KERNEL,
    MAIL_WORKER,
    MAIL_WORKER_KIB,
    MAIL_WORKER_TLS,
    MAIL_REDIS,
    MAIL_REDIS_FSYNC,
    MAIL_REDIS_KIB,
    USER_REDIS,
    SENT_REDIS,
    ENTRY_REDIS,
    ENTRY_SHARED,
    BODY_REDIS,
    BODY_FRAME,
    BODY_RECIPIENT,
    DISK_REDIS,
    CONNECTS,
    COEFFICIENTS
};

static const struct {
    double value;
    const char *unit, *what, *bench;
} coefficients[COEFFICIENTS] = {
    [HOST_BASE] = { 420 * 1024, "bytes", "master process", "bench-idle" },
    [WORKER_BASE] = { 1280 * 1024, "bytes", "worker process, with compressor and inflater",
                      "bench-idle" },
    [SESSION] = { 1455, "bytes", "idle session, compression agreed on", "bench-idle" },
    [SESSION_TLS] = { 14725, "bytes", "TLS of an idle session, besides", "bench-idle" },
    [SESSION_KERNEL] = { 4028, "bytes", "idle TCP connection in the kernel", "socket_bytes.py" },
    [MAIL_WORKER] = { 12.6, "us", "CPU of a worker for a mail and recipient", "bench-mail" },
    [MAIL_WORKER_KIB] = { 2, "us", "more for each KiB of the mail", "bench-redis" },
    [MAIL_WORKER_TLS] = { 10, "us", "more over TLS", "bench-echo" },
    [MAIL_REDIS] = { 21.2, "us", "CPU of Redis for a mail and recipient", "bench-mail" },
    [MAIL_REDIS_FSYNC] = { 55, "us", "the same with durability fsync", "bench-redis" },
    [MAIL_REDIS_KIB] = { 11, "us", "more for each KiB that is stored", "bench-redis" },
    [USER_REDIS] = { 9400, "bytes", "user in Redis: connected, a first mail got and sent",
                     "bench-redis" },
    [SENT_REDIS] = { 55, "bytes", "mail in the log of its sender, besides recipients",
                     "bench-redis" },
    [ENTRY_REDIS] = { 200, "bytes", "entry of a mailbox, besides its body", "bench-redis" },
    [ENTRY_SHARED] = { 400, "bytes", "entry of a mailbox that names a shared body", "bench-redis" },
    [BODY_REDIS] = { 1.15, "bytes", "memory for a byte of a body", "bench-redis" },
    [BODY_FRAME] = { 350, "bytes", "body, besides base64 and recipients", "bench-redis" },
    [BODY_RECIPIENT] = { 20, "bytes", "name of a recipient, in the body and the log",
                         "bench-redis" },
    [DISK_REDIS] = { 3, "times", "append-only file and its successor, by memory",
                     "auto-aof-rewrite-percentage" },
    [CONNECTS] = { 6500, "/s", "connects, with the clients on the same cores", "bench-idle" },
};

/* As ceil() and fmax() of libm, without another library for two calls. */
static double round_up(double value)
{
    double whole = value < 1e15 ? (double)(uint64_t)value : value;

    return whole < value ? whole + 1 : whole;
}

static double at_least(double least, double value)
{
    return value < least ? least : value;
}

static double value_of(enum coefficient coefficient)
{
    return coefficients[coefficient].value;
}

static void print_coefficients(void)
{
    puts("| coefficient | value | measured by |\n| --- | --- | --- |");
    for (size_t i = 0; i < COEFFICIENTS; i++)
        printf("| %s | %.15g %s | %s |\n", coefficients[i].what, coefficients[i].value,
               coefficients[i].unit, coefficients[i].bench);
}

/* --- the products --- */

struct needs {
    double sessions, mails_a_second, peak_letters; /* a letter is a mail for one recipient */
    double process_bytes, kernel_bytes, worker_us, redis_us;
    double workers;
    double stored_mails, letter_bytes, mail_bytes, redis_bytes, disk_bytes;
};

/* The bytes that Redis keeps for each recipient of a mail, and once for all recipients. */
static void size_stored_mail(const double *value, struct needs *needs)
{
    double body =
        value_of(BODY_FRAME) + value[BYTES] * 4 / 3 + value[RECIPIENTS] * value_of(BODY_RECIPIENT);
    double kept = body * value_of(BODY_REDIS);
    bool shared = value[RECIPIENTS] > 1 && body >= SHARED_BODY_BYTES;

    needs->letter_bytes = shared ? value_of(ENTRY_SHARED) : value_of(ENTRY_REDIS) + kept;
    needs->mail_bytes =
        value_of(SENT_REDIS) + value[RECIPIENTS] * value_of(BODY_RECIPIENT) + (shared ? kept : 0);
}

static void size_redis(const double *value, struct needs *needs)
{
    size_stored_mail(value, needs);
    needs->stored_mails = value[USERS] * value[MAILS] * value[KEEP_DAYS];
    needs->redis_bytes =
        value[USERS] * value_of(USER_REDIS) +
        needs->stored_mails * (needs->mail_bytes + value[RECIPIENTS] * needs->letter_bytes);
    needs->disk_bytes = needs->redis_bytes * value_of(DISK_REDIS);
}

static void size_cpu(const struct size_options *options, struct needs *needs)
{
    const double *value = options->value;
    double kib = value[BYTES] * 4 / 3 / KIB;
    double second = value[USERS] * value[MAILS] * value[PEAK] / DAY_S;

    needs->mails_a_second = second;
    needs->peak_letters = second * value[RECIPIENTS];
    needs->worker_us =
        needs->peak_letters * (value_of(MAIL_WORKER) + kib * value_of(MAIL_WORKER_KIB) +
                               (options->tls ? value_of(MAIL_WORKER_TLS) : 0));
    needs->redis_us =
        needs->peak_letters *
        (value_of(options->fsync ? MAIL_REDIS_FSYNC : MAIL_REDIS) + kib * value_of(MAIL_REDIS_KIB));
    /* At half of its core a worker answers at once; Redis wants a core of its own. */
    needs->workers = at_least(2, round_up(needs->worker_us / 1e6 * 2));
}

static void size_hosts(const double *value, bool tls, struct needs *needs)
{
    needs->sessions = value[USERS] * value[DEVICES];
    needs->process_bytes =
        value_of(HOST_BASE) + needs->workers * value_of(WORKER_BASE) +
        needs->sessions * (value_of(SESSION) + (tls ? value_of(SESSION_TLS) : 0));
    needs->kernel_bytes = needs->sessions * value_of(SESSION_KERNEL);
}

/* --- for people --- */

static void print_row(const char *name, const char *value, const char *why)
{
    printf("  %-28s %14s   %s\n", name, value, why);
}

static const char *bytes_text(double bytes, char text[32])
{
    if (bytes >= GIB)
        snprintf(text, 32, "%.1f GiB", bytes / GIB);
    else
        snprintf(text, 32, "%.0f MiB", at_least(1, round_up(bytes / MIB)));
    return text;
}

static const char *count_text(double count, char text[32])
{
    snprintf(text, 32, "%.0f", round_up(count));
    return text;
}

static const char *cores_text(double us, char text[32])
{
    snprintf(text, 32, "%.2f cores", us / 1e6);
    return text;
}

static void print_hosts(const struct needs *needs)
{
    char text[32];

    puts("The server, all hosts together:");
    print_row("sessions", count_text(needs->sessions, text),
              "maxWebSocketConnections: a quarter more");
    print_row("workers", count_text(needs->workers, text),
              "each at half of its core in the busiest second");
    print_row("CPU in the busiest second", cores_text(needs->worker_us, text),
              "of the workers, kernel included");
    print_row("memory of the processes", bytes_text(needs->process_bytes, text),
              "idle sessions; see below");
    print_row("memory of the kernel", bytes_text(needs->kernel_bytes, text),
              "TCP connections without bytes under way");
    print_row("descriptors of a worker",
              count_text(needs->sessions / needs->workers + WORKER_DESCRIPTORS, text),
              "LimitNOFILE: twice that, so that one can stand in for another");
    print_row("connections to Redis", count_text(needs->workers * WORKER_CONNECTIONS, text),
              "maxclients, at most");
    print_row("all sessions come back in", count_text(needs->sessions / value_of(CONNECTS), text),
              "seconds, when a host has lost them");
}

static void print_redis(const struct needs *needs)
{
    char text[32];

    puts("Redis:");
    print_row("mail in the busiest second", count_text(needs->mails_a_second, text), "mails");
    print_row("letters of these", count_text(needs->peak_letters, text),
              "a mail is stored once a recipient");
    print_row("CPU in the busiest second", cores_text(needs->redis_us, text), "Redis has one");
    print_row("mail that is kept", count_text(needs->stored_mails, text), "mails");
    print_row("memory", bytes_text(needs->redis_bytes, text), "maxmemory: a quarter more");
    print_row("memory of its machine", bytes_text(needs->redis_bytes * 2, text),
              "while the file is rewritten");
    print_row("disk", bytes_text(needs->disk_bytes, text), "append-only file, and its successor");
}

static void print_warnings(const double *value, const struct needs *needs)
{
    if (needs->redis_us > 0.6e6)
        puts("One Redis does not take that: above 0.6 cores answers come late. Spread the users "
             "over\n"
             "several post offices, each with a Redis.");
    if (value[MAILS] * value[RECIPIENTS] * value[KEEP_DAYS] > 10000)
        printf("A mailbox holds up to %.0f mails: mailbox.maxMessages (10,000 by default) has to\n"
               "allow that, or the oldest go earlier and less is kept than is said here.\n",
               value[MAILS] * value[RECIPIENTS] * value[KEEP_DAYS]);
}

static void print_all(const struct size_options *options)
{
    const double *value = options->value;
    struct needs needs = { 0 };

    size_redis(value, &needs);
    size_cpu(options, &needs);
    size_hosts(value, options->tls, &needs);
    print_hosts(&needs);
    print_redis(&needs);
    print_warnings(value, &needs);
    puts("A reader that does not read holds up to limits.queueBytes more (1 MiB) of its worker. "
         "The\n"
         "figures are of one machine (docs/performance.md): `size --coefficients` has each of "
         "them.");
}

/* --- the command line --- */

static bool take_number(size_t which, const char *text, struct size_options *options)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end || !(value >= numbers[which].min && value <= numbers[which].max)) {
        fprintf(stderr, "size: --%s: found \"%s\", allowed is a number from %.15g to %.15g\n",
                numbers[which].name, text, numbers[which].min, numbers[which].max);
        return false;
    }
    options->value[which] = value;
    return true;
}

static bool take_option(int option, struct size_options *options)
{
    if (option < NUMBERS)
        return take_number((size_t)option, optarg, options);
    options->tls |= option == 't';
    options->fsync |= option == 'f';
    options->coefficients |= option == 'c';
    options->help |= option == 'h';
    return option != '?';
}

static bool take_options(int argc, char **argv, struct size_options *options)
{
    struct option table[NUMBERS + 5] = { { "tls", no_argument, NULL, 't' },
                                         { "fsync", no_argument, NULL, 'f' },
                                         { "coefficients", no_argument, NULL, 'c' },
                                         { "help", no_argument, NULL, 'h' } };
    int option;

    for (int i = 0; i < NUMBERS; i++) {
        table[4 + i] = (struct option){ numbers[i].name, required_argument, NULL, i };
        options->value[i] = numbers[i].initial;
    }
    optind = 0; /* cli.c may have used getopt before; 0 makes glibc begin anew */
    while ((option = getopt_long(argc, argv, "+h", table, NULL)) != -1)
        if (!take_option(option, options))
            return false;
    if (optind < argc) {
        fprintf(stderr, "size: unexpected argument \"%s\"\n", argv[optind]);
        return false;
    }
    if (options->value[USERS] == 0 && !options->help && !options->coefficients) {
        fputs("size: --users N is needed\n", stderr);
        return false;
    }
    return true;
}

int cmd_size(int argc, char **argv)
{
    struct size_options options = { 0 };

    if (!take_options(argc, argv, &options)) {
        fputs("Try: websocket-server size --help\n", stderr);
        return EXIT_USAGE;
    }
    if (options.help)
        fputs(help, stdout);
    else if (options.coefficients)
        print_coefficients();
    else
        print_all(&options);
    return EXIT_GOOD;
}
