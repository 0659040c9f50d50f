# SPDX-License-Identifier: GPL-2.0-or-later
kamailiomod_LTLIBRARIES += p2p_media.la

p2p_media_la_SOURCES = \
	modules/p2p_media/p2p_media.h \
	modules/p2p_media/p2p_media_body.c \
	modules/p2p_media/p2p_media_dialog.c \
	modules/p2p_media/p2p_media_exchange.c \
	modules/p2p_media/p2p_media_mod.c \
	modules/p2p_media/p2p_media_policy.c \
	modules/p2p_media/p2p_media_relay.c \
	modules/p2p_media/p2p_media_rpc.c \
	modules/p2p_media/p2p_media_sdp.c modules/p2p_media/p2p_media_sdp.h \
	modules/p2p_media/p2p_media_session.c \
	modules/p2p_media/p2p_media_stats.c \
	modules/p2p_media/p2p_media_transport.c
p2p_media_la_CPPFLAGS = $(MODULE_CPPFLAGS) -D_GNU_SOURCE $(HIREDIS_CFLAGS) \
	-DMOD_NAME='"p2p_media"' -DMOD_NAMEID=p2p_media
p2p_media_la_CFLAGS = $(MODULE_CFLAGS)
p2p_media_la_LDFLAGS = $(MODULE_LDFLAGS)
p2p_media_la_LIBADD = lib/libp2pcore.la $(HIREDIS_LIBS)

# What needs nothing of Kamailio is tested by itself.
if WITH_CMOCKA
check_PROGRAMS += tests/unit/test_media_sdp
TESTS += tests/unit/test_media_sdp
tests_unit_test_media_sdp_SOURCES = tests/unit/test_media_sdp.c tests/unit/test.h \
	modules/p2p_media/p2p_media_sdp.c modules/p2p_media/p2p_media_sdp.h
tests_unit_test_media_sdp_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE $(CMOCKA_CFLAGS)
tests_unit_test_media_sdp_LDADD = $(CMOCKA_LIBS)
endif

check_PROGRAMS += tests/fuzz/fuzz_media_sdp
tests_fuzz_fuzz_media_sdp_SOURCES = tests/fuzz/fuzz_media_sdp.c tests/fuzz/fuzz_main.c tests/fuzz/fuzz.h \
	modules/p2p_media/p2p_media_sdp.c modules/p2p_media/p2p_media_sdp.h
tests_fuzz_fuzz_media_sdp_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE

if WITH_FUZZERS
noinst_PROGRAMS += tests/fuzz/lf_media_sdp
tests_fuzz_lf_media_sdp_SOURCES = tests/fuzz/fuzz_media_sdp.c modules/p2p_media/p2p_media_sdp.c
tests_fuzz_lf_media_sdp_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE
tests_fuzz_lf_media_sdp_CFLAGS = $(AM_CFLAGS) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined
tests_fuzz_lf_media_sdp_LDFLAGS = $(AM_LDFLAGS) -fsanitize=fuzzer,address,undefined
endif

