/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One fuzzer per decoder: each source file has libFuzzer's entry point. With clang and
 * --enable-fuzzers it is linked with libFuzzer; everywhere it is linked with fuzz_main.c, which
 * runs the corpus as a test. */
#ifndef P2PSIP_TESTS_FUZZ_H
#define P2PSIP_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold whatever comes in. */
#define must(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);         \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#endif
