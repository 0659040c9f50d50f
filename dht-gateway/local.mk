# SPDX-License-Identifier: GPL-2.0-or-later
# The gateway: everything but main.c in a convenience library, so that the tests link the real code.
# What p2psipctl needs of it (keys and secrets) is a library of its own.
noinst_LTLIBRARIES += dht-gateway/libgateway.la dht-gateway/libgatewaykeys.la
sbin_PROGRAMS += dht-gateway/p2psip-gateway

GATEWAY_CPPFLAGS = $(AM_CPPFLAGS) $(LIBEVENT_CFLAGS) $(HIREDIS_CFLAGS) $(INIH_CFLAGS) $(OPENSSL_CFLAGS)
GATEWAY_LIBS = dht-gateway/libgateway.la $(P2PHTTPS_LIBS) $(P2POPP_LIBS) $(P2PIO_LIBS) $(OPENSSL_LIBS)

dht_gateway_libgateway_la_SOURCES = \
	dht-gateway/engine/dht_backend.c dht-gateway/engine/dht_backend.h dht-gateway/engine/dht_engines.h \
	dht-gateway/engine/dht_both.c \
	dht-gateway/engine/dht_memory.c \
	dht-gateway/engine/dht_none.c \
	dht-gateway/engine/dht_redis.c dht-gateway/engine/dht_redis_impl.h \
	dht-gateway/engine/dht_redis_conn.c dht-gateway/engine/dht_redis_conn.h \
	dht-gateway/engine/dht_redis_map.c dht-gateway/engine/dht_redis_map.h \
	dht-gateway/engine/dht_redis_ops.c dht-gateway/engine/dht_redis_servers.c \
	dht-gateway/gateway.c dht-gateway/gateway.h \
	dht-gateway/gateway_admin.c dht-gateway/gateway_admin.h dht-gateway/gateway_admin_enrol.c \
	dht-gateway/gateway_admin_lists.c \
	dht-gateway/peers/gateway_ask.c dht-gateway/peers/gateway_ask.h \
	dht-gateway/location/gateway_announce.c dht-gateway/location/gateway_announce.h \
	dht-gateway/location/gateway_announce_check.c dht-gateway/location/gateway_announce_engine.c \
	dht-gateway/location/gateway_announce_impl.h dht-gateway/location/gateway_announce_tell.c \
	dht-gateway/enrol/gateway_auth.c dht-gateway/enrol/gateway_auth.h \
	dht-gateway/enrol/gateway_auth_admin.c \
	dht-gateway/enrol/gateway_auth_rules.c dht-gateway/enrol/gateway_auth_rules.h \
	dht-gateway/enrol/gateway_auth_store.c dht-gateway/enrol/gateway_auth_store.h \
	dht-gateway/enrol/gateway_auth_store_file.c dht-gateway/enrol/gateway_auth_store_impl.h \
	dht-gateway/enrol/gateway_auth_store_put.c \
	dht-gateway/location/gateway_cache.c dht-gateway/location/gateway_cache.h \
	dht-gateway/location/gateway_moves.c dht-gateway/location/gateway_moves.h \
	dht-gateway/location/gateway_confirm.c dht-gateway/location/gateway_confirm.h \
	dht-gateway/gateway_core.c dht-gateway/gateway_core.h \
	dht-gateway/enrol/gateway_enrol.c dht-gateway/enrol/gateway_enrol.h \
	dht-gateway/members/gateway_gossip.c dht-gateway/members/gateway_gossip.h dht-gateway/members/gateway_gossip_impl.h \
	dht-gateway/members/gateway_gossip_file.c dht-gateway/members/gateway_gossip_seed.c \
	dht-gateway/members/gateway_gossip_talk.c \
	dht-gateway/location/gateway_hold.c dht-gateway/location/gateway_hold.h \
	dht-gateway/enrol/gateway_known.c dht-gateway/enrol/gateway_known.h \
	dht-gateway/gateway_info.c \
	dht-gateway/location/gateway_lookup.c dht-gateway/location/gateway_lookup.h \
	dht-gateway/location/gateway_lookup_impl.h dht-gateway/location/gateway_lookup_search.c \
	dht-gateway/gateway_load.c dht-gateway/gateway_load.h \
	dht-gateway/gateway_map.c dht-gateway/gateway_map.h \
	dht-gateway/enrol/gateway_member.c dht-gateway/enrol/gateway_member.h \
	dht-gateway/gateway_metrics.c dht-gateway/gateway_metrics.h \
	dht-gateway/engine/gateway_names.c dht-gateway/engine/gateway_names.h \
	dht-gateway/engine/gateway_nodes.c dht-gateway/engine/gateway_nodes.h \
	dht-gateway/members/gateway_peers.c dht-gateway/members/gateway_peers.h \
	dht-gateway/members/gateway_peers_impl.h dht-gateway/members/gateway_peers_own.c \
	dht-gateway/peers/gateway_policy.c dht-gateway/peers/gateway_policy.h \
	dht-gateway/location/gateway_query.c dht-gateway/location/gateway_query.h \
	dht-gateway/location/gateway_records.c dht-gateway/location/gateway_records.h \
	dht-gateway/enrol/gateway_renew.c dht-gateway/enrol/gateway_renew.h \
	dht-gateway/gateway_resp.c dht-gateway/gateway_resp.h dht-gateway/gateway_resp_impl.h \
	dht-gateway/gateway_resp_events.c dht-gateway/gateway_resp_lookup.c \
	dht-gateway/gateway_resp_sessions.c dht-gateway/gateway_resp_users.c \
	dht-gateway/enrol/gateway_revoke.c dht-gateway/enrol/gateway_rotate.c dht-gateway/enrol/gateway_rotate.h \
	dht-gateway/enrol/gateway_rotate_impl.h \
	dht-gateway/location/gateway_route.c dht-gateway/location/gateway_route.h \
	dht-gateway/peers/gateway_presence.c dht-gateway/peers/gateway_presence.h \
	dht-gateway/peers/gateway_serve.c dht-gateway/peers/gateway_serve.h \
	dht-gateway/peers/gateway_serve_records.c dht-gateway/peers/gateway_serve_records.h \
	dht-gateway/peers/gateway_session.c dht-gateway/peers/gateway_session.h dht-gateway/peers/gateway_session_impl.h \
	dht-gateway/peers/gateway_session_open.c dht-gateway/peers/gateway_session_serve.c \
	dht-gateway/gateway_settings.c dht-gateway/gateway_settings.h \
	dht-gateway/gateway_state.c dht-gateway/gateway_state.h \
	dht-gateway/location/gateway_sync.c dht-gateway/location/gateway_sync.h \
	dht-gateway/location/gateway_tell.c dht-gateway/location/gateway_tell.h \
	dht-gateway/enrol/gateway_user_enrolment.c dht-gateway/enrol/gateway_user_enrolment.h \
	dht-gateway/enrol/gateway_user_enrolment_file.c dht-gateway/enrol/gateway_user_enrolment_file.h \
	dht-gateway/location/gateway_users.c dht-gateway/location/gateway_users.h dht-gateway/location/gateway_users_impl.h \
	dht-gateway/location/gateway_users_job.c dht-gateway/location/gateway_users_journal.c \
	dht-gateway/location/gateway_user_keys.c dht-gateway/location/gateway_user_keys.h \
	dht-gateway/location/gateway_watch.c dht-gateway/location/gateway_watch.h
dht_gateway_libgateway_la_CPPFLAGS = $(GATEWAY_CPPFLAGS)
dht_gateway_libgateway_la_LIBADD = dht-gateway/libgatewaykeys.la

dht_gateway_libgatewaykeys_la_SOURCES = \
	dht-gateway/keys/gateway_authority.c dht-gateway/keys/gateway_authority.h \
	dht-gateway/engine/gateway_bootstrap.c dht-gateway/engine/gateway_bootstrap.h \
	dht-gateway/keys/gateway_cert.c dht-gateway/keys/gateway_cert.h \
	dht-gateway/keys/gateway_crypto.c dht-gateway/keys/gateway_crypto.h \
	dht-gateway/keys/gateway_crypto_thread.c dht-gateway/keys/gateway_crypto_thread.h \
	dht-gateway/keys/gateway_file.c dht-gateway/keys/gateway_file.h \
	dht-gateway/keys/gateway_identity.c dht-gateway/keys/gateway_identity.h \
	dht-gateway/keys/gateway_leaf.c dht-gateway/keys/gateway_leaf.h \
	dht-gateway/enrol/gateway_roster.c dht-gateway/enrol/gateway_roster.h \
	dht-gateway/keys/gateway_seal.c dht-gateway/keys/gateway_seal.h \
	dht-gateway/keys/gateway_secret.c dht-gateway/keys/gateway_secret.h \
	dht-gateway/enrol/gateway_setup.c dht-gateway/enrol/gateway_setup.h
dht_gateway_libgatewaykeys_la_CPPFLAGS = $(AM_CPPFLAGS) $(OPENSSL_CFLAGS)

dht_gateway_p2psip_gateway_SOURCES = dht-gateway/main.c
dht_gateway_p2psip_gateway_CPPFLAGS = $(GATEWAY_CPPFLAGS)
dht_gateway_p2psip_gateway_LDADD = $(GATEWAY_LIBS)

# The embedded engine is under GPL version 3 or later, and so is a gateway that has it.
if WITH_OPENDHT
noinst_LTLIBRARIES += dht-gateway/libopendhtshim.la
dht_gateway_libopendhtshim_la_SOURCES = \
	dht-gateway/engine/opendht_shim.cpp dht-gateway/engine/opendht_shim.h \
	dht-gateway/engine/dht_opendht.c
dht_gateway_libopendhtshim_la_CPPFLAGS = $(GATEWAY_CPPFLAGS) $(OPENDHT_CFLAGS)
# these checks need the run-time library of C++ itself, and the programs are linked as C
dht_gateway_libopendhtshim_la_CXXFLAGS = $(AM_CXXFLAGS) -fno-sanitize=undefined
dht_gateway_libopendhtshim_la_LIBADD = $(OPENDHT_LIBS)
# libtool takes the C++ library for granted where it links C++, and the programs are linked as C
dht_gateway_libgateway_la_LIBADD += dht-gateway/libopendhtshim.la -lstdc++
else
EXTRA_DIST += dht-gateway/engine/opendht_shim.cpp dht-gateway/engine/opendht_shim.h dht-gateway/engine/dht_opendht.c
endif

if WITH_CMOCKA
gateway_tests = \
	tests/unit/test_gw_auth \
	tests/unit/test_gw_backend \
	tests/unit/test_gw_cert \
	tests/unit/test_gw_engine \
	tests/unit/test_gw_gossip \
	tests/unit/test_gw_https \
	tests/unit/test_gw_crypto \
	tests/unit/test_gw_keys \
	tests/unit/test_gw_limits \
	tests/unit/test_gw_lookup \
	tests/unit/test_gw_members \
	tests/unit/test_gw_peers \
	tests/unit/test_gw_redis \
	tests/unit/test_gw_resp \
	tests/unit/test_gw_roster \
	tests/unit/test_gw_sessions \
	tests/unit/test_gw_seal \
	tests/unit/test_gw_users
check_PROGRAMS += $(gateway_tests)
TESTS += $(gateway_tests)

GATEWAY_TEST_CPPFLAGS = $(GATEWAY_CPPFLAGS) $(CMOCKA_CFLAGS)
GATEWAY_TEST_LIBS = $(GATEWAY_LIBS) $(CMOCKA_LIBS)
GATEWAY_WORLD = tests/unit/test_gw_world.c tests/unit/test_gw_world.h tests/unit/test.h
GATEWAY_FIXTURE = tests/unit/test_gw_fixture.c tests/unit/test_gw_fixture.h tests/unit/test.h

tests_unit_test_gw_auth_SOURCES = tests/unit/test_gw_auth.c $(GATEWAY_FIXTURE)
tests_unit_test_gw_auth_CPPFLAGS = $(GATEWAY_TEST_CPPFLAGS)
tests_unit_test_gw_auth_LDADD = $(GATEWAY_TEST_LIBS)

DHT_CONFORM = tests/unit/dht_conform.c tests/unit/dht_conform.h tests/unit/test.h
tests_unit_test_gw_backend_SOURCES = tests/unit/test_gw_backend.c $(DHT_CONFORM)
tests_unit_test_gw_backend_CPPFLAGS = $(GATEWAY_TEST_CPPFLAGS)
tests_unit_test_gw_backend_LDADD = $(GATEWAY_TEST_LIBS)

if WITH_OPENDHT
check_PROGRAMS += tests/unit/test_opendht_shim
TESTS += tests/unit/test_opendht_shim
tests_unit_test_opendht_shim_SOURCES = tests/unit/test_opendht_shim.cpp
tests_unit_test_opendht_shim_CPPFLAGS = $(GATEWAY_TEST_CPPFLAGS) $(OPENDHT_CFLAGS)
tests_unit_test_opendht_shim_LDADD = dht-gateway/libopendhtshim.la $(GATEWAY_TEST_LIBS)
else
EXTRA_DIST += tests/unit/test_opendht_shim.cpp
endif

tests_unit_test_gw_cert_SOURCES = tests/unit/test_gw_cert.c tests/unit/test.h
tests_unit_test_gw_cert_CPPFLAGS = $(GATEWAY_TEST_CPPFLAGS)
tests_unit_test_gw_cert_LDADD = $(GATEWAY_TEST_LIBS)

tests_unit_test_gw_engine_SOURCES = tests/unit/test_gw_engine.c $(GATEWAY_FIXTURE)
tests_unit_test_gw_engine_CPPFLAGS = $(GATEWAY_TEST_CPPFLAGS)
tests_unit_test_gw_engine_LDADD = $(GATEWAY_TEST_LIBS)

tests_unit_test_gw_gossip_SOURCES = tests/unit/test_gw_gossip.c $(GATEWAY_FIXTURE)
tests_unit_test_gw_gossip_CPPFLAGS = $(GATEWAY_TEST_CPPFLAGS)
tests_unit_test_gw_gossip_LDADD = $(GATEWAY_TEST_LIBS)

tests_unit_test_gw_https_SOURCES = tests/unit/test_gw_https.c tests/unit/test.h
tests_unit_test_gw_https_CPPFLAGS = $(GATEWAY_TEST_CPPFLAGS)
tests_unit_test_gw_https_LDADD = $(GATEWAY_TEST_LIBS)

tests_unit_test_gw_crypto_SOURCES = tests/unit/test_gw_crypto.c tests/unit/test.h
tests_unit_test_gw_crypto_CPPFLAGS = $(GATEWAY_TEST_CPPFLAGS)
tests_unit_test_gw_crypto_LDADD = $(GATEWAY_TEST_LIBS) $(OPENSSL_LIBS)
tests_unit_test_gw_keys_SOURCES = tests/unit/test_gw_keys.c tests/unit/test.h
tests_unit_test_gw_keys_CPPFLAGS = $(GATEWAY_TEST_CPPFLAGS)
tests_unit_test_gw_keys_LDADD = $(GATEWAY_TEST_LIBS)

tests_unit_test_gw_limits_SOURCES = tests/unit/test_gw_limits.c $(GATEWAY_FIXTURE)
tests_unit_test_gw_limits_CPPFLAGS = $(GATEWAY_TEST_CPPFLAGS)
tests_unit_test_gw_limits_LDADD = $(GATEWAY_TEST_LIBS)

tests_unit_test_gw_lookup_SOURCES = tests/unit/test_gw_lookup.c $(GATEWAY_FIXTURE)
tests_unit_test_gw_lookup_CPPFLAGS = $(GATEWAY_TEST_CPPFLAGS)
tests_unit_test_gw_lookup_LDADD = $(GATEWAY_TEST_LIBS)

tests_unit_test_gw_members_SOURCES = tests/unit/test_gw_members.c $(GATEWAY_WORLD)
tests_unit_test_gw_members_CPPFLAGS = $(GATEWAY_TEST_CPPFLAGS)
tests_unit_test_gw_members_LDADD = $(GATEWAY_TEST_LIBS)

tests_unit_test_gw_peers_SOURCES = tests/unit/test_gw_peers.c $(GATEWAY_WORLD)
tests_unit_test_gw_peers_CPPFLAGS = $(GATEWAY_TEST_CPPFLAGS)
tests_unit_test_gw_peers_LDADD = $(GATEWAY_TEST_LIBS)

tests_unit_test_gw_redis_SOURCES = tests/unit/test_gw_redis.c $(DHT_CONFORM)
tests_unit_test_gw_redis_CPPFLAGS = $(GATEWAY_TEST_CPPFLAGS)
tests_unit_test_gw_redis_LDADD = $(GATEWAY_TEST_LIBS)

tests_unit_test_gw_resp_SOURCES = tests/unit/test_gw_resp.c $(GATEWAY_FIXTURE)
tests_unit_test_gw_resp_CPPFLAGS = $(GATEWAY_TEST_CPPFLAGS)
tests_unit_test_gw_resp_LDADD = $(GATEWAY_TEST_LIBS)

tests_unit_test_gw_roster_SOURCES = tests/unit/test_gw_roster.c tests/unit/test.h
tests_unit_test_gw_roster_CPPFLAGS = $(GATEWAY_TEST_CPPFLAGS)
tests_unit_test_gw_roster_LDADD = $(GATEWAY_TEST_LIBS)

tests_unit_test_gw_seal_SOURCES = tests/unit/test_gw_seal.c tests/unit/test.h
tests_unit_test_gw_seal_CPPFLAGS = $(GATEWAY_TEST_CPPFLAGS)
tests_unit_test_gw_seal_LDADD = $(GATEWAY_TEST_LIBS)

tests_unit_test_gw_sessions_SOURCES = tests/unit/test_gw_sessions.c $(GATEWAY_WORLD)
tests_unit_test_gw_sessions_CPPFLAGS = $(GATEWAY_TEST_CPPFLAGS)
tests_unit_test_gw_sessions_LDADD = $(GATEWAY_TEST_LIBS)

tests_unit_test_gw_users_SOURCES = tests/unit/test_gw_users.c $(GATEWAY_FIXTURE)
tests_unit_test_gw_users_CPPFLAGS = $(GATEWAY_TEST_CPPFLAGS)
tests_unit_test_gw_users_LDADD = $(GATEWAY_TEST_LIBS)
endif

dist_check_SCRIPTS += tests/unit/test_gw_docs tests/unit/test_opp_api
TESTS += tests/unit/test_gw_docs tests/unit/test_opp_api

# What the gateway reads of its own state after a crash.
gateway_fuzz_programs = \
	tests/fuzz/fuzz_enrolled \
	tests/fuzz/fuzz_journal \
	tests/fuzz/fuzz_nodes
check_PROGRAMS += $(gateway_fuzz_programs)
tests_fuzz_fuzz_enrolled_SOURCES = tests/fuzz/fuzz_enrolled.c $(FUZZ_MAIN)
tests_fuzz_fuzz_enrolled_CPPFLAGS = $(GATEWAY_CPPFLAGS)
tests_fuzz_fuzz_enrolled_LDADD = $(GATEWAY_LIBS)
tests_fuzz_fuzz_journal_SOURCES = tests/fuzz/fuzz_journal.c $(FUZZ_MAIN)
tests_fuzz_fuzz_journal_CPPFLAGS = $(GATEWAY_CPPFLAGS)
tests_fuzz_fuzz_journal_LDADD = $(GATEWAY_LIBS)
tests_fuzz_fuzz_nodes_SOURCES = tests/fuzz/fuzz_nodes.c $(FUZZ_MAIN)
tests_fuzz_fuzz_nodes_CPPFLAGS = $(GATEWAY_CPPFLAGS)
tests_fuzz_fuzz_nodes_LDADD = $(GATEWAY_LIBS)
if WITH_FUZZERS
noinst_PROGRAMS += tests/fuzz/lf_enrolled tests/fuzz/lf_journal tests/fuzz/lf_nodes
tests_fuzz_lf_enrolled_SOURCES = tests/fuzz/fuzz_enrolled.c \
	dht-gateway/enrol/gateway_user_enrolment_file.c dht-gateway/keys/gateway_file.c \
	dht-gateway/keys/gateway_crypto.c dht-gateway/keys/gateway_crypto_thread.c \
	$(lib_libp2pcore_la_SOURCES)
tests_fuzz_lf_enrolled_CPPFLAGS = $(GATEWAY_CPPFLAGS)
tests_fuzz_lf_enrolled_CFLAGS = $(LF_CFLAGS)
tests_fuzz_lf_enrolled_LDFLAGS = $(LF_LINK)
tests_fuzz_lf_enrolled_LDADD = $(OPENSSL_LIBS)
tests_fuzz_lf_journal_SOURCES = tests/fuzz/fuzz_journal.c \
	dht-gateway/keys/gateway_file.c dht-gateway/gateway_map.c dht-gateway/gateway_state.c \
	$(lib_libp2pcore_la_SOURCES)
tests_fuzz_lf_journal_CPPFLAGS = $(GATEWAY_CPPFLAGS)
tests_fuzz_lf_journal_CFLAGS = $(LF_CFLAGS)
tests_fuzz_lf_journal_LDFLAGS = $(LF_LINK)
tests_fuzz_lf_journal_LDADD = $(OPENSSL_LIBS)
tests_fuzz_lf_nodes_SOURCES = tests/fuzz/fuzz_nodes.c dht-gateway/engine/gateway_nodes.c \
	$(lib_libp2pcore_la_SOURCES)
tests_fuzz_lf_nodes_CPPFLAGS = $(GATEWAY_CPPFLAGS)
tests_fuzz_lf_nodes_CFLAGS = $(LF_CFLAGS)
tests_fuzz_lf_nodes_LDFLAGS = $(LF_LINK)
endif
