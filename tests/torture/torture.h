/* For what a test makes for itself (spared.c): between the two calls no allocation fails. */
#ifndef TESTS_TORTURE_TORTURE_H
#define TESTS_TORTURE_TORTURE_H

#include <stdbool.h>

/* Returns what torture_resume wants. */
bool torture_pause(void);
void torture_resume(bool before);

#endif
