# SPDX-License-Identifier: GPL-2.0-or-later
kamailiomod_LTLIBRARIES += p2p_route.la
p2p_route_la_SOURCES = \
	modules/p2p_route/api.h \
	modules/p2p_route/p2p_route.h \
	modules/p2p_route/p2p_route_auth.c \
	modules/p2p_route/p2p_route_calls.c \
	modules/p2p_route/p2p_route_dialog.c \
	modules/p2p_route/p2p_route_from.c \
	modules/p2p_route/p2p_route_header.c modules/p2p_route/p2p_route_header.h \
	modules/p2p_route/p2p_route_header_msg.c \
	modules/p2p_route/p2p_route_health.c modules/p2p_route/p2p_route_health.h \
	modules/p2p_route/p2p_route_knock.c modules/p2p_route/p2p_route_knock.h \
	modules/p2p_route/p2p_route_mod.c \
	modules/p2p_route/p2p_route_next.c \
	modules/p2p_route/p2p_route_peer.c \
	modules/p2p_route/p2p_route_rpc.c \
	modules/p2p_route/p2p_route_sockets.c \
	modules/p2p_route/p2p_route_stats.c \
	modules/p2p_route/p2p_route_tls.c modules/p2p_route/p2p_route_tls.h \
	modules/p2p_route/p2p_route_tls_accept.c \
	modules/p2p_route/p2p_route_tls_gate.c \
	modules/p2p_route/p2p_route_tls_prove.c \
	modules/p2p_route/p2p_route_tls_reload.c \
	modules/p2p_route/p2p_route_tls_table.c modules/p2p_route/p2p_route_tls_table.h \
	modules/p2p_route/p2p_route_watch.c
p2p_route_la_CPPFLAGS = $(MODULE_CPPFLAGS) -D_GNU_SOURCE -DMOD_NAME='"p2p_route"' \
	-DMOD_NAMEID=p2p_route
p2p_route_la_CFLAGS = $(MODULE_CFLAGS)
p2p_route_la_LDFLAGS = $(MODULE_LDFLAGS)
p2p_route_la_LIBADD = lib/libp2pcore.la

# What can be tested without Kamailio
if WITH_CMOCKA
check_PROGRAMS += tests/unit/test_peer_header
TESTS += tests/unit/test_peer_header
tests_unit_test_peer_header_SOURCES = tests/unit/test_peer_header.c tests/unit/test.h \
	modules/p2p_route/p2p_route_header.c
tests_unit_test_peer_header_CPPFLAGS = $(UNIT_CPPFLAGS) -D_GNU_SOURCE
tests_unit_test_peer_header_LDADD = lib/libp2pcore.la $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/test_tls_table
TESTS += tests/unit/test_tls_table
tests_unit_test_tls_table_SOURCES = tests/unit/test_tls_table.c tests/unit/test.h \
	modules/p2p_route/p2p_route_tls_table.c
tests_unit_test_tls_table_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_test_tls_table_LDADD = lib/libp2pcore.la $(CMOCKA_LIBS)
endif
check_PROGRAMS += tests/fuzz/fuzz_peer_header
tests_fuzz_fuzz_peer_header_SOURCES = tests/fuzz/fuzz_peer_header.c $(FUZZ_MAIN) \
	modules/p2p_route/p2p_route_header.c
tests_fuzz_fuzz_peer_header_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE
tests_fuzz_fuzz_peer_header_LDADD = lib/libp2pcore.la
if WITH_FUZZERS
noinst_PROGRAMS += tests/fuzz/lf_peer_header
tests_fuzz_lf_peer_header_SOURCES = tests/fuzz/fuzz_peer_header.c \
	modules/p2p_route/p2p_route_header.c $(lib_libp2pcore_la_SOURCES)
tests_fuzz_lf_peer_header_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE
tests_fuzz_lf_peer_header_CFLAGS = $(LF_CFLAGS)
tests_fuzz_lf_peer_header_LDFLAGS = $(LF_LINK)
endif
