/*
 * The runner of a unit test's program whose allocations fail.
 *
 * The Makefile links a unit test with this file and with a copy of the archive in which malloc and
 * its like are called torture_malloc and so on (symbols). So the product's allocations come here;
 * those of the test's own code and of libraries do not, nor does what a test makes for itself
 * (spared.c). Each test of the program runs once without a failure; then in a child a run with the
 * n-th allocation failing, n = 1, 2, … to the last; then the same with the n-th and all behind it
 * failing. Counting begins with the test; for the first test of each setup function counting begins
 * with the setup.
 *
 * A loop that allocates the same way ten thousand times would take hours. So an n is left out when
 * the call path of its allocation (the newest PATH_FRAMES frames) has failed in this program
 * often enough: the first few times, and from then on whenever its number is a power of four.
 *
 * A test may pass, and it may fail: an assertion of the test about something that a failed
 * allocation left undone is legal, and what such a run leaks does not count. Faults are: a crash, a
 * report of a sanitizer, an assertion of the product, a hang, a leak in a test that passed, and a
 * test that fails without a failed allocation.
 */
#include "tests/torture/torture.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
/* cmocka.h needs those above */
#include <cmocka.h>

#include <event2/event.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>

enum {
    COUNT_MAX = 1 << 16, /* allocations of a test; those behind do not fail */
    PATHS_MAX = 1 << 16, /* a power of two; two paths that share a hash share their turns */
    PATH_FRAMES = 8,     /* two of this file and six of the product, so mostly none of the test */
    HANG_MS = 60 * 1000, /* the longest test takes 6 s on a machine with nothing else to do */
    HANG_PLANTED_MS = 5 * 1000,
    SETUPS_MAX = 64,
    FOLDERS_MAX = 4,
    FAULTS_MAX = 3, /* of one test, in one mode: further ones most likely are the same */
    EXIT_LEAKED = 98,
    EXIT_SANITIZER = 99 /* as in the options below */
};

/* True in planted.c: its faults are known, so nothing of them is shown, and patience is short. */
extern bool torture_planted;
bool torture_planted __attribute__((weak)) = false;

enum mode { ONE, ALL_FROM, MODES };

/* How often each call path fails before only powers of four do. */
static const uint32_t path_first[MODES] = { [ONE] = 4, [ALL_FROM] = 1 };

/* What a child leaves for its parent, in shared memory. */
struct outcome {
    uint64_t count;                /* allocations */
    bool failed;                   /* one was made to fail */
    uint32_t paths[COUNT_MAX + 1]; /* the call path of each, in a run without a failure */
    unsigned folder_count;
    char folders[FOLDERS_MAX][64]; /* made by mkdtemp; a test that fails leaves them */
};

/* The run of a child. */
static struct {
    const struct CMUnitTest *test;
    uint64_t n;
    enum mode mode;
    bool with_setup, shows; /* shows: prints the stack of the first allocation that fails */
    bool counts, finished;  /* finished: the test returned, so none of its assertions failed */
    pid_t pid;              /* the child itself, not a process that the test starts */
    const char *stack_top;
    struct outcome *outcome;
} run;

/* The sanitizer's handlers. cmocka puts its own in their place before a test, and would make a
 * failed test of a crash. */
static const int crashes[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };
static struct sigaction handlers[sizeof crashes / sizeof crashes[0]];

/* How often each call path had its turn, by the path's hash. */
static uint32_t turns[MODES][PATHS_MAX];

/* Of the program. */
static unsigned tests_run, injected, passed_with, faults;

/* The names are given by the sanitizers and by the linker's --wrap. */
/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);
bool torture_fails(void);
void *torture_malloc(size_t size);
void *torture_calloc(size_t count, size_t size);
void *torture_realloc(void *old, size_t size);
char *torture_strdup(const char *text);
char *torture_strndup(const char *text, size_t len);
int torture_asprintf(char **out, const char *format, ...);
int torture_vasprintf(char **out, const char *format, va_list args);
int torture_event_add(struct event *event, const struct timeval *timeout);
char *__real_mkdtemp(char *name);
char *__wrap_mkdtemp(char *name);
int __real__cmocka_run_group_tests(const char *group, const struct CMUnitTest *tests, size_t count,
                                   CMFixtureFunction setup, CMFixtureFunction teardown);
int __wrap__cmocka_run_group_tests(const char *group, const struct CMUnitTest *tests, size_t count,
                                   CMFixtureFunction setup, CMFixtureFunction teardown);
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

const char *__asan_default_options(void)
{
#define OPTIONS                                                                                    \
    "exitcode=99:leak_check_at_exit=0:handle_segv=1:handle_sigbus=1:"                              \
    "handle_sigfpe=1:handle_sigill=1"
    return torture_planted ? OPTIONS ":symbolize=0" : OPTIONS;
}

const char *__ubsan_default_options(void)
{
    return "exitcode=99:print_stacktrace=1";
}

bool torture_pause(void)
{
    bool before = run.counts;

    run.counts = false;
    return before;
}

void torture_resume(bool before)
{
    run.counts = before;
}

/* A hash of the return addresses; the walk ends where a library keeps no frame pointers. */
__attribute__((no_sanitize("address"))) static uint32_t call_path(void)
{
    const char *frame = __builtin_frame_address(0);
    uint64_t hash = 0;

    for (unsigned i = 0; i < PATH_FRAMES; i++) {
        const uintptr_t *words = (const uintptr_t *)(const void *)frame;
        const char *next = (const char *)words[0];
        hash = (hash ^ words[1]) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 32;
        if (next <= frame || next >= run.stack_top || (uintptr_t)next % sizeof *words)
            break;
        frame = next;
    }
    return (uint32_t)hash & (PATHS_MAX - 1);
}

bool torture_fails(void)
{
    if (!run.counts || getpid() != run.pid)
        return false;
    run.outcome->count++;
    if (run.n == 0 && run.outcome->count <= COUNT_MAX)
        run.outcome->paths[run.outcome->count] = call_path();
    if (run.n == 0)
        return false;
    if (run.outcome->count < run.n || (run.mode == ONE && run.outcome->count > run.n))
        return false;
    if (run.shows && run.outcome->count == run.n) {
        fputs("the allocation that fails:\n", stderr);
        __sanitizer_print_stack_trace();
    }
    run.outcome->failed = true;
    errno = ENOMEM;
    return true;
}

void *torture_malloc(size_t size)
{
    return torture_fails() ? NULL : malloc(size);
}

void *torture_calloc(size_t count, size_t size)
{
    return torture_fails() ? NULL : calloc(count, size);
}

void *torture_realloc(void *old, size_t size)
{
    return torture_fails() ? NULL : realloc(old, size);
}

char *torture_strdup(const char *text)
{
    return torture_fails() ? NULL : strdup(text);
}

char *torture_strndup(const char *text, size_t len)
{
    return torture_fails() ? NULL : strndup(text, len);
}

int torture_vasprintf(char **out, const char *format, va_list args)
{
    if (!torture_fails())
        return vasprintf(out, format, args);
    *out = (char *)(uintptr_t)0xbad; /* its value is undefined: nobody may use or free it */
    return -1;
}

int torture_asprintf(char **out, const char *format, ...)
{
    va_list args;
    int len;

    va_start(args, format);
    len = torture_vasprintf(out, format, args);
    va_end(args);
    return len;
}

/* libevent allocates for a descriptor, and for a timer whose failure ends the worker (loop.c). */
int torture_event_add(struct event *event, const struct timeval *timeout)
{
    return !timeout && torture_fails() ? -1 : event_add(event, timeout);
}

char *__wrap_mkdtemp(char *name)
{
    char *made = __real_mkdtemp(name);
    struct outcome *outcome = run.outcome;

    if (made && outcome && outcome->folder_count < FOLDERS_MAX)
        snprintf(outcome->folders[outcome->folder_count++], sizeof outcome->folders[0], "%s", made);
    return made;
}

static void restore_handlers(void)
{
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
        sigaction(crashes[i], &handlers[i], NULL);
}

static int counted_setup(void **state)
{
    restore_handlers();
    run.counts = run.with_setup;
    return run.test->setup_func(state);
}

static void counted_test(void **state)
{
    restore_handlers();
    run.counts = true;
    run.test->test_func(state);
    run.counts = false;
    run.finished = true;
}

/* Takes down only what a finished test left: the state after a failed assertion is anything. */
static int guarded_teardown(void **state)
{
    run.counts = false;
    return run.finished ? run.test->teardown_func(state) : 0;
}

/* In the child. */
static _Noreturn void child_run(const char *group, CMFixtureFunction setup,
                                CMFixtureFunction teardown)
{
    struct CMUnitTest test = *run.test;
    int failures;

    run.pid = getpid();
    run.stack_top = __builtin_frame_address(0);
    test.test_func = counted_test;
    if (test.setup_func)
        test.setup_func = counted_setup;
    if (test.teardown_func)
        test.teardown_func = guarded_teardown;
    failures = __real__cmocka_run_group_tests(group, &test, 1, setup, teardown);
    run.counts = false;
    fflush(NULL);
    if (failures || !run.finished)
        _exit(EXIT_FAILURE);
    _exit(__lsan_do_recoverable_leak_check() ? EXIT_LEAKED : EXIT_SUCCESS);
}

static int remove_entry(const char *path, const struct stat *stat, int kind, struct FTW *ftw)
{
    (void)stat;
    (void)kind;
    (void)ftw;
    return remove(path);
}

/* Waits for the child and ends whatever it started. False: it hung. */
static bool child_wait(pid_t pid, int *status)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd wait = { .fd = fd, .events = POLLIN };
    bool ended = fd >= 0 && poll(&wait, 1, torture_planted ? HANG_PLANTED_MS : HANG_MS) == 1;

    if (fd >= 0)
        close(fd);
    kill(-pid, SIGKILL);
    while (waitpid(pid, status, 0) < 0 && errno == EINTR)
        ;
    return ended;
}

/* Runs run.test once in a child; its output goes to a file. The fault, or NULL. */
static const char *run_once(const char *group, CMFixtureFunction setup, CMFixtureFunction teardown,
                            int output)
{
    struct outcome *outcome = run.outcome;
    int status = 0;
    bool ended;
    pid_t pid;

    outcome->count = outcome->folder_count = 0;
    outcome->failed = false;
    if (ftruncate(output, 0) || lseek(output, 0, SEEK_SET))
        abort();
    fflush(NULL);
    pid = fork();
    if (pid < 0)
        abort();
    if (pid == 0) {
        setpgid(0, 0);
        if (dup2(output, 1) < 0 || dup2(output, 2) < 0)
            _exit(EXIT_SANITIZER);
        child_run(group, setup, teardown);
    }
    setpgid(pid, pid);
    ended = child_wait(pid, &status);
    for (unsigned i = 0; i < outcome->folder_count; i++)
        nftw(outcome->folders[i], remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    if (!ended)
        return "hang";
    if (WIFSIGNALED(status))
        return "killed by a signal";
    if (WEXITSTATUS(status) == EXIT_LEAKED)
        return "leak";
    if (WEXITSTATUS(status) == EXIT_FAILURE)
        return outcome->failed ? NULL : "fails without a failed allocation";
    if (WEXITSTATUS(status) != EXIT_SUCCESS)
        return "report of a sanitizer";
    passed_with += outcome->failed;
    return NULL;
}

static void print_output(int output)
{
    char text[8192];
    off_t size = lseek(output, 0, SEEK_END);
    ssize_t len;

    for (off_t at = 0; at < size && at < 4 * (off_t)sizeof text; at += len) {
        len = pread(output, text, sizeof text, at);
        if (len <= 0)
            break;
        fwrite(text, 1, (size_t)len, stdout);
    }
    fflush(stdout);
}

/* Prints a fault; runs once more to show the allocation and the report. */
static void show_fault(const char *group, CMFixtureFunction setup, CMFixtureFunction teardown,
                       int output, const char *fault)
{
    printf("FAULT %s: %s, %s %llu\n", run.test->name, fault,
           run.mode == ONE ? "allocation" : "all allocations from", (unsigned long long)run.n);
    faults++;
    if (torture_planted)
        return;
    run.shows = true;
    run_once(group, setup, teardown, output);
    run.shows = false;
    print_output(output);
}

static bool path_is_due(uint32_t path)
{
    uint32_t turn = ++turns[run.mode][path];

    return turn <= path_first[run.mode] || ((turn & (turn - 1)) == 0 && (turn & 0x55555555));
}

static void torture_test(const char *group, CMFixtureFunction setup, CMFixtureFunction teardown,
                         int output)
{
    const char *fault;
    uint64_t count;

    run.n = 0;
    fault = run_once(group, setup, teardown, output);
    if (fault) {
        show_fault(group, setup, teardown, output, fault);
        return;
    }
    count = run.outcome->count < COUNT_MAX ? run.outcome->count : COUNT_MAX;
    for (run.mode = ONE; run.mode < MODES; run.mode++) {
        unsigned faults_here = 0;
        for (run.n = 1; run.n <= count && faults_here < FAULTS_MAX; run.n++) {
            if (!path_is_due(run.outcome->paths[run.n]))
                continue;
            fault = run_once(group, setup, teardown, output);
            injected += run.outcome->failed;
            if (fault) {
                show_fault(group, setup, teardown, output, fault);
                faults_here++;
            }
        }
    }
}

/* Each setup function is tortured once: the first caller gets true. */
static bool setup_is_new(CMFixtureFunction setup)
{
    static CMFixtureFunction known[SETUPS_MAX];
    static unsigned count;

    for (unsigned i = 0; i < count; i++)
        if (known[i] == setup)
            return false;
    if (count == SETUPS_MAX)
        return false;
    known[count++] = setup;
    return true;
}

int __wrap__cmocka_run_group_tests(const char *group, const struct CMUnitTest *tests, size_t count,
                                   CMFixtureFunction setup, CMFixtureFunction teardown)
{
    int output = memfd_create("output", MFD_CLOEXEC);

    run.outcome =
        mmap(NULL, sizeof *run.outcome, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (output < 0 || run.outcome == MAP_FAILED)
        abort();
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
        sigaction(crashes[i], NULL, &handlers[i]);
    for (size_t i = 0; i < count; i++) {
        run.test = &tests[i];
        run.with_setup = run.test->setup_func && setup_is_new(run.test->setup_func);
        torture_test(group, setup, teardown, output);
        tests_run++;
    }
    printf("%s: %u tests, %u runs with failed allocations, of which %u passed; %u faults\n", group,
           tests_run, injected, passed_with, faults);
    fflush(stdout);
    munmap(run.outcome, sizeof *run.outcome);
    close(output);
    return faults ? EXIT_FAILURE : EXIT_SUCCESS;
}
