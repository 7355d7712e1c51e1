/* Functions with a planted fault each; what they return is of no interest. */
#ifndef TESTS_TORTURE_PLANTED_PARTS_H
#define TESTS_TORTURE_PLANTED_PARTS_H

#include <stdbool.h>

char planted_unchecked(void);
char planted_used_after_free(void);
bool planted_freed_twice(void);
void planted_own_assertion(void);
bool planted_leaked_on_the_way_out(void);
void planted_tries_forever(void);
char planted_second_failure_unchecked(void);
bool planted_sound(void); /* returns whether all of it was there; has no fault */

#endif
