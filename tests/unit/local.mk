# SPDX-License-Identifier: GPL-2.0-or-later
# Unit and golden tests: no network, a clock of their own, together under ten seconds.
UNIT_WRAP = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup,--wrap=strndup
UNIT_COMMON = tests/unit/test.h
UNIT_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS) $(LIBEVENT_CFLAGS) $(HIREDIS_CFLAGS) $(OPENSSL_CFLAGS)

if WITH_CMOCKA
unit_programs = \
	tests/unit/test_base \
	tests/unit/test_golden
check_PROGRAMS += $(unit_programs)
TESTS += $(unit_programs)

tests_unit_test_base_SOURCES = tests/unit/test_base.c $(UNIT_COMMON)
tests_unit_test_base_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_base_LDADD = lib/libp2pcore.la $(CMOCKA_LIBS)

tests_unit_test_golden_SOURCES = tests/unit/test_golden.c tests/unit/crypto.c tests/unit/crypto.h $(UNIT_COMMON)
tests_unit_test_golden_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_golden_LDADD = lib/libp2pcore.la $(CMOCKA_LIBS) $(OPENSSL_LIBS)
endif

EXTRA_DIST += tests/golden/golden.py tests/golden/vectors.txt
