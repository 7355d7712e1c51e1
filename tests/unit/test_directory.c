#include "worker/session/directory.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <setjmp.h>
#include <cmocka.h>

enum { MANY = 5000 };

static struct directory directory;

static int setup(void **state)
{
    (void)state;
    return directory_init(&directory) ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    directory_fini(&directory);
    assert_null(directory.buckets);
    return 0;
}

/* Spread, but not well: what a keyed hash gives is better. */
static struct address_key key_of(unsigned i)
{
    return (struct address_key){ .lo = i * UINT64_C(0x9e3779b97f4a7c15) >> 7, .hi = i };
}

static struct slice address_of(unsigned i)
{
    static char text[16];

    snprintf(text, sizeof text, "user-%u", i);
    return slice_of(text);
}

static void thousands_are_found_while_it_grows(void **state)
{
    static struct directory_entry *entries[MANY];

    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        assert_null(directory_find(&directory, key_of(i), address_of(i)));
        entries[i] = directory_need(&directory, key_of(i), address_of(i));
        assert_non_null(entries[i]);
        entries[i]->holders = 1;
    }
    assert_int_equal(directory.entry_count, MANY);
    assert_true(directory.bucket_count >= MANY / 2);
    for (unsigned i = 0; i < MANY; i++) {
        assert_ptr_equal(directory_find(&directory, key_of(i), address_of(i)), entries[i]);
        assert_ptr_equal(directory_need(&directory, key_of(i), address_of(i)), entries[i]);
        assert_true(slice_equal(directory_address(entries[i]), address_of(i)));
    }
    assert_int_equal(directory.entry_count, MANY);
}

static void who_is_released_is_gone_and_nobody_else(void **state)
{
    (void)state;
    for (unsigned i = 0; i < MANY; i++)
        assert_non_null(directory_need(&directory, key_of(i), address_of(i)));
    for (unsigned i = 0; i < MANY; i += 2)
        directory_release(&directory, directory_find(&directory, key_of(i), address_of(i)));
    assert_int_equal(directory.entry_count, MANY / 2);
    for (unsigned i = 0; i < MANY; i++) {
        struct directory_entry *entry = directory_find(&directory, key_of(i), address_of(i));
        if (i % 2)
            assert_non_null(entry);
        else
            assert_null(entry);
    }
}

static void an_entry_stays_while_somebody_holds_it(void **state)
{
    struct directory_entry *entry = directory_need(&directory, key_of(1), address_of(1));

    (void)state;
    assert_non_null(entry);
    entry->holders = 2;
    directory_release(&directory, entry);
    assert_ptr_equal(directory_find(&directory, key_of(1), address_of(1)), entry);
    entry->holders--;
    directory_release(&directory, entry);
    assert_non_null(directory_find(&directory, key_of(1), address_of(1)));
    entry->holders--;
    directory_release(&directory, entry);
    assert_null(directory_find(&directory, key_of(1), address_of(1)));
    assert_int_equal(directory.entry_count, 0);
}

/* Half a hash is not the address: two that meet in it are still two. */
static void addresses_with_the_same_hash_are_told_apart(void **state)
{
    struct address_key key = { .lo = 42, .hi = 42 };
    struct directory_entry *a, *b;

    (void)state;
    a = directory_need(&directory, key, SLICE("alice"));
    b = directory_need(&directory, key, SLICE("alice2"));
    assert_non_null(a);
    assert_non_null(b);
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(directory_find(&directory, key, SLICE("alice")), a);
    assert_ptr_equal(directory_find(&directory, key, SLICE("alice2")), b);
    assert_null(directory_find(&directory, key, SLICE("alic")));
    directory_release(&directory, a);
    assert_null(directory_find(&directory, key, SLICE("alice")));
    assert_ptr_equal(directory_find(&directory, key, SLICE("alice2")), b);
}

static void the_longest_address_fits(void **state)
{
    char text[255];
    struct slice address = slice_make(text, sizeof text);

    (void)state;
    memset(text, 'x', sizeof text);
    assert_non_null(directory_need(&directory, key_of(9), address));
    assert_true(
        slice_equal(directory_address(directory_find(&directory, key_of(9), address)), address));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(thousands_are_found_while_it_grows),
        T(who_is_released_is_gone_and_nobody_else),
        T(an_entry_stays_while_somebody_holds_it),
        T(addresses_with_the_same_hash_are_told_apart),
        T(the_longest_address_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
