/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Failing allocations on demand. The program is linked with
 * -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup,--wrap=strndup
 * and libevent's allocations can be made to fail with them. */
#ifndef P2PSIP_TESTS_ALLOC_H
#define P2PSIP_TESTS_ALLOC_H

#include <stdbool.h>

/* The n-th allocation from now on (0: the next) fails, and only that. */
void alloc_fail_at(unsigned int n);
/* No more failing. Was the failing one reached? */
bool alloc_fail_end(void);
/* libevent too; before its first use. */
void alloc_wrap_libevent(void);

/* Run step again and again with allocation 0, 1, 2, ... failing, until one run does without any
 * failing. step returns 0 or an errno; what it made, it has ended again. It must not return 0 when
 * memory was short, unless `may_do_without`. */
#define alloc_loop(step, arg, may_do_without)                                                      \
	do {                                                                                       \
		unsigned int n_;                                                                   \
		for (n_ = 0;; n_++) {                                                              \
			int err_;                                                                  \
			bool hit_;                                                                 \
			alloc_fail_at(n_);                                                         \
			err_ = step(arg);                                                          \
			hit_ = alloc_fail_end();                                                   \
			if (!hit_) {                                                               \
				assert_int_equal(err_, 0);                                         \
				break;                                                             \
			}                                                                          \
			if (!(may_do_without))                                                     \
				assert_int_not_equal(err_, 0);                                     \
			assert_true(n_ < 10000);                                                   \
		}                                                                                  \
		assert_true(n_ > 0);                                                               \
	} while (0)

#endif
