# SPDX-License-Identifier: GPL-2.0-or-later
# All of the relay but main.c is a convenience library, so that tests link the real code.
noinst_LTLIBRARIES += relay/librelay.la
sbin_PROGRAMS += relay/p2psip-relay

relay_librelay_la_SOURCES = \
	relay/ng/ng_client.c relay/ng/ng_client.h \
	relay/ng/ng_msg.c relay/ng/ng_msg.h \
	relay/ng/ng_pool.c relay/ng/ng_pool.h \
	relay/relay.c relay/relay.h relay/relay_priv.h \
	relay/relay_admin.c \
	relay/relay_args.c relay/relay_args.h \
	relay/relay_call.c relay/relay_call.h \
	relay/relay_commands.c \
	relay/relay_media.c \
	relay/relay_owner.c \
	relay/relay_settings.c relay/relay_settings.h \
	relay/relay_sweep.c
relay_librelay_la_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE $(LIBEVENT_CFLAGS) $(JSONC_CFLAGS)
RELAY_LIBS = relay/librelay.la $(P2PIO_LIBS) $(JSONC_LIBS)

relay_p2psip_relay_SOURCES = relay/main.c
relay_p2psip_relay_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE $(LIBEVENT_CFLAGS)
relay_p2psip_relay_LDADD = $(RELAY_LIBS)

if WITH_CMOCKA
relay_unit_programs = tests/unit/test_relay tests/unit/test_relay_ng
check_PROGRAMS += $(relay_unit_programs)
TESTS += $(relay_unit_programs)
RELAY_UNIT_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE $(CMOCKA_CFLAGS) $(LIBEVENT_CFLAGS) $(JSONC_CFLAGS)

tests_unit_test_relay_SOURCES = tests/unit/test_relay.c tests/unit/alloc.c tests/unit/alloc.h tests/unit/test.h
tests_unit_test_relay_CPPFLAGS = $(RELAY_UNIT_CPPFLAGS)
tests_unit_test_relay_LDFLAGS = $(AM_LDFLAGS) $(UNIT_WRAP)
tests_unit_test_relay_LDADD = $(RELAY_LIBS) $(CMOCKA_LIBS)

tests_unit_test_relay_ng_SOURCES = tests/unit/test_relay_ng.c tests/unit/test.h
tests_unit_test_relay_ng_CPPFLAGS = $(RELAY_UNIT_CPPFLAGS)
tests_unit_test_relay_ng_LDADD = $(RELAY_LIBS) $(CMOCKA_LIBS)
endif

# Fuzzers of the relay's decoders (tests/fuzz/local.mk has the lib's, and the rules).
relay_fuzz_programs = tests/fuzz/fuzz_ng tests/fuzz/fuzz_relay_args
check_PROGRAMS += $(relay_fuzz_programs)
RELAY_FUZZ_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE $(LIBEVENT_CFLAGS) $(JSONC_CFLAGS)

tests_fuzz_fuzz_ng_SOURCES = tests/fuzz/fuzz_ng.c tests/fuzz/fuzz_main.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_ng_CPPFLAGS = $(RELAY_FUZZ_CPPFLAGS)
tests_fuzz_fuzz_ng_LDADD = $(RELAY_LIBS)

tests_fuzz_fuzz_relay_args_SOURCES = tests/fuzz/fuzz_relay_args.c tests/fuzz/fuzz_main.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_relay_args_CPPFLAGS = $(RELAY_FUZZ_CPPFLAGS)
tests_fuzz_fuzz_relay_args_LDADD = $(RELAY_LIBS)

if WITH_FUZZERS
RELAY_LF_CFLAGS = $(AM_CFLAGS) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined
RELAY_LF_LINK = $(AM_LDFLAGS) -fsanitize=fuzzer,address,undefined
noinst_PROGRAMS += tests/fuzz/lf_ng tests/fuzz/lf_relay_args

tests_fuzz_lf_ng_SOURCES = tests/fuzz/fuzz_ng.c relay/ng/ng_msg.c
tests_fuzz_lf_ng_CPPFLAGS = $(RELAY_FUZZ_CPPFLAGS)
tests_fuzz_lf_ng_CFLAGS = $(RELAY_LF_CFLAGS)
tests_fuzz_lf_ng_LDFLAGS = $(RELAY_LF_LINK)
tests_fuzz_lf_ng_LDADD = $(JSONC_LIBS)

tests_fuzz_lf_relay_args_SOURCES = tests/fuzz/fuzz_relay_args.c relay/relay_args.c
tests_fuzz_lf_relay_args_CPPFLAGS = $(RELAY_FUZZ_CPPFLAGS)
tests_fuzz_lf_relay_args_CFLAGS = $(RELAY_LF_CFLAGS)
tests_fuzz_lf_relay_args_LDFLAGS = $(RELAY_LF_LINK)
tests_fuzz_lf_relay_args_LDADD = $(RELAY_LIBS)
endif


dist_check_SCRIPTS += tests/unit/test_relay_docs
TESTS += tests/unit/test_relay_docs
