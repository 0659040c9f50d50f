/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What every unit test includes, in the order that cmocka wants. */
#ifndef P2PSIP_TESTS_TEST_H
#define P2PSIP_TESTS_TEST_H

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define assert_ok(expr) assert_int_equal(expr, 0)

#endif
