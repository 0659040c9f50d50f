# SPDX-License-Identifier: GPL-2.0-or-later
# Unit and golden tests of lib: no network, a clock of their own, together under ten seconds.
# Other directories add theirs to unit_programs.
UNIT_WRAP = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup,--wrap=strndup
UNIT_CPPFLAGS = $(AM_CPPFLAGS) $(CMOCKA_CFLAGS) $(LIBEVENT_CFLAGS) $(HIREDIS_CFLAGS) $(OPENSSL_CFLAGS)
UNIT_COMMON = tests/unit/test.h
UNIT_ALLOC = tests/unit/alloc.c tests/unit/alloc.h
UNIT_CRYPTO = tests/unit/crypto.c tests/unit/crypto.h

if WITH_CMOCKA
unit_programs = \
	tests/unit/test_base \
	tests/unit/test_daemon \
	tests/unit/test_golden \
	tests/unit/test_gossip \
	tests/unit/test_holders \
	tests/unit/test_model \
	tests/unit/test_negotiate \
	tests/unit/test_search \
	tests/unit/test_sessions \
	tests/unit/test_enrol \
	tests/unit/test_opp \
	tests/unit/test_proto \
	tests/unit/test_published \
	tests/unit/test_replay \
	tests/unit/test_resp_server \
	tests/unit/test_retry \
	tests/unit/test_ring \
	tests/unit/test_settings
check_PROGRAMS += $(unit_programs)
TESTS += $(unit_programs)

tests_unit_test_base_SOURCES = tests/unit/test_base.c $(UNIT_COMMON)
tests_unit_test_base_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_base_LDADD = lib/libp2pcore.la $(CMOCKA_LIBS)

tests_unit_test_daemon_SOURCES = tests/unit/test_daemon.c $(UNIT_ALLOC) $(UNIT_COMMON)
tests_unit_test_daemon_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_daemon_LDFLAGS = $(AM_LDFLAGS) $(UNIT_WRAP)
tests_unit_test_daemon_LDADD = $(P2PIO_LIBS) $(CMOCKA_LIBS)

tests_unit_test_golden_SOURCES = tests/unit/test_golden.c $(UNIT_CRYPTO) $(UNIT_COMMON)
tests_unit_test_golden_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_golden_LDADD = lib/libp2pcore.la $(CMOCKA_LIBS) $(OPENSSL_LIBS)

tests_unit_test_gossip_SOURCES = tests/unit/test_gossip.c $(UNIT_ALLOC) $(UNIT_COMMON)
tests_unit_test_gossip_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_gossip_LDFLAGS = $(AM_LDFLAGS) $(UNIT_WRAP)
tests_unit_test_gossip_LDADD = $(P2POPP_LIBS) $(CMOCKA_LIBS) $(LIBEVENT_LIBS)

tests_unit_test_holders_SOURCES = tests/unit/test_holders.c $(UNIT_COMMON)
tests_unit_test_holders_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_holders_LDADD = $(P2POPP_LIBS) $(CMOCKA_LIBS)

tests_unit_test_model_SOURCES = tests/unit/test_model.c $(UNIT_COMMON)
tests_unit_test_model_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_model_LDADD = lib/libp2pcore.la $(CMOCKA_LIBS)

tests_unit_test_negotiate_SOURCES = tests/unit/test_negotiate.c $(UNIT_COMMON)
tests_unit_test_negotiate_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_negotiate_LDADD = lib/libp2pcore.la $(CMOCKA_LIBS)

tests_unit_test_replay_SOURCES = tests/unit/test_replay.c $(UNIT_COMMON)
tests_unit_test_replay_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_replay_LDADD = lib/libp2pcore.la $(CMOCKA_LIBS)

tests_unit_test_search_SOURCES = tests/unit/test_search.c $(UNIT_COMMON)
tests_unit_test_search_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_search_LDADD = lib/libp2pcore.la $(CMOCKA_LIBS)

tests_unit_test_sessions_SOURCES = tests/unit/test_sessions.c $(UNIT_COMMON)
tests_unit_test_sessions_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_sessions_LDADD = lib/libp2pcore.la $(CMOCKA_LIBS)

tests_unit_test_enrol_SOURCES = tests/unit/test_enrol.c $(UNIT_CRYPTO) $(UNIT_COMMON)
tests_unit_test_enrol_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_enrol_LDADD = $(P2POPP_LIBS) $(CMOCKA_LIBS) $(OPENSSL_LIBS)

tests_unit_test_opp_SOURCES = tests/unit/test_opp.c $(UNIT_CRYPTO) $(UNIT_COMMON)
tests_unit_test_opp_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_opp_LDADD = $(P2POPP_LIBS) $(CMOCKA_LIBS) $(OPENSSL_LIBS)

tests_unit_test_proto_SOURCES = tests/unit/test_proto.c $(UNIT_CRYPTO) $(UNIT_COMMON)
tests_unit_test_proto_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_proto_LDADD = lib/libp2pcore.la $(CMOCKA_LIBS) $(OPENSSL_LIBS)

tests_unit_test_published_SOURCES = tests/unit/test_published.c $(UNIT_ALLOC) $(UNIT_COMMON)
tests_unit_test_published_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_published_LDFLAGS = $(AM_LDFLAGS) $(UNIT_WRAP)
tests_unit_test_published_LDADD = lib/libp2pcore.la $(CMOCKA_LIBS) $(LIBEVENT_LIBS)

tests_unit_test_resp_server_SOURCES = tests/unit/test_resp_server.c $(UNIT_ALLOC) $(UNIT_COMMON)
tests_unit_test_resp_server_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_resp_server_LDFLAGS = $(AM_LDFLAGS) $(UNIT_WRAP)
tests_unit_test_resp_server_LDADD = $(P2PIO_LIBS) $(CMOCKA_LIBS)

tests_unit_test_retry_SOURCES = tests/unit/test_retry.c $(UNIT_COMMON)
tests_unit_test_retry_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_retry_LDADD = lib/libp2pcore.la $(CMOCKA_LIBS)

tests_unit_test_ring_SOURCES = tests/unit/test_ring.c $(UNIT_ALLOC) $(UNIT_COMMON)
tests_unit_test_ring_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_ring_LDFLAGS = $(AM_LDFLAGS) $(UNIT_WRAP)
tests_unit_test_ring_LDADD = lib/libp2pcore.la $(CMOCKA_LIBS) $(LIBEVENT_LIBS)

tests_unit_test_settings_SOURCES = tests/unit/test_settings.c $(UNIT_ALLOC) $(UNIT_COMMON)
tests_unit_test_settings_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_settings_LDFLAGS = $(AM_LDFLAGS) $(UNIT_WRAP)
tests_unit_test_settings_LDADD = $(P2PIO_LIBS) $(CMOCKA_LIBS)
endif

dist_check_SCRIPTS += tests/unit/test_layers tests/unit/test_vectors
TESTS += tests/unit/test_layers tests/unit/test_vectors
EXTRA_DIST += tests/golden/golden.py tests/golden/vectors.txt

dist_check_SCRIPTS += tests/unit/test_sim
TESTS += tests/unit/test_sim
