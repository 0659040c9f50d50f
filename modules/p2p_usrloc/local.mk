# SPDX-License-Identifier: GPL-2.0-or-later
kamailiomod_LTLIBRARIES += p2p_usrloc.la

pul_users_sources = modules/p2p_usrloc/p2p_usrloc_users.c modules/p2p_usrloc/p2p_usrloc_users_priv.h \
	modules/p2p_usrloc/p2p_usrloc_users_view.c modules/p2p_usrloc/p2p_usrloc_users_work.c

pul_lookup_sources = modules/p2p_usrloc/p2p_usrloc_lookup.c modules/p2p_usrloc/p2p_usrloc_lookup_priv.h \
	modules/p2p_usrloc/p2p_usrloc_lookup_command.c modules/p2p_usrloc/p2p_usrloc_lookup_deliver.c \
	modules/p2p_usrloc/p2p_usrloc_lookup_pool.c modules/p2p_usrloc/p2p_usrloc_lookup_read.c

p2p_usrloc_la_SOURCES = \
	modules/p2p_usrloc/api.h \
	modules/p2p_usrloc/p2p_usrloc.h \
	modules/p2p_usrloc/p2p_usrloc_answer.c modules/p2p_usrloc/p2p_usrloc_answer.h \
	modules/p2p_usrloc/p2p_usrloc_auth.c \
	modules/p2p_usrloc/p2p_usrloc_back.c modules/p2p_usrloc/p2p_usrloc_back.h \
	modules/p2p_usrloc/p2p_usrloc_cache.c \
	modules/p2p_usrloc/p2p_usrloc_client.c modules/p2p_usrloc/p2p_usrloc_client_priv.h \
	modules/p2p_usrloc/p2p_usrloc_client_main.c \
	modules/p2p_usrloc/p2p_usrloc_client_publish.c \
	modules/p2p_usrloc/p2p_usrloc_client_scan.c \
	modules/p2p_usrloc/p2p_usrloc_client_sessions.c \
	modules/p2p_usrloc/p2p_usrloc_client_shake.c \
	modules/p2p_usrloc/p2p_usrloc_client_sub.c \
	modules/p2p_usrloc/p2p_usrloc_confirm.c modules/p2p_usrloc/p2p_usrloc_confirm.h \
	modules/p2p_usrloc/p2p_usrloc_conn.c modules/p2p_usrloc/p2p_usrloc_conn.h \
	modules/p2p_usrloc/p2p_usrloc_file.c modules/p2p_usrloc/p2p_usrloc_file.h \
	modules/p2p_usrloc/p2p_usrloc_file_copy.c \
	modules/p2p_usrloc/p2p_usrloc_file_open.c modules/p2p_usrloc/p2p_usrloc_file_priv.h \
	modules/p2p_usrloc/p2p_usrloc_file_slots.c \
	modules/p2p_usrloc/p2p_usrloc_lookup.h $(pul_lookup_sources) \
	modules/p2p_usrloc/p2p_usrloc_mod.c \
	modules/p2p_usrloc/p2p_usrloc_moves.c \
	modules/p2p_usrloc/p2p_usrloc_names.c \
	modules/p2p_usrloc/p2p_usrloc_pages.h \
	modules/p2p_usrloc/p2p_usrloc_pieces.c \
	modules/p2p_usrloc/p2p_usrloc_question.c \
	modules/p2p_usrloc/p2p_usrloc_record.c modules/p2p_usrloc/p2p_usrloc_record.h \
	modules/p2p_usrloc/p2p_usrloc_restore.c \
	modules/p2p_usrloc/p2p_usrloc_rpc.c \
	modules/p2p_usrloc/p2p_usrloc_sessions.c \
	modules/p2p_usrloc/p2p_usrloc_settings.c \
	modules/p2p_usrloc/p2p_usrloc_shared.c \
	modules/p2p_usrloc/p2p_usrloc_stats.c \
	modules/p2p_usrloc/p2p_usrloc_store.c modules/p2p_usrloc/p2p_usrloc_store.h \
	modules/p2p_usrloc/p2p_usrloc_sync.c modules/p2p_usrloc/p2p_usrloc_sync.h \
	modules/p2p_usrloc/p2p_usrloc_ul.c \
	$(pul_users_sources)
# the names by which log lines and the memory statistics call the module
p2p_usrloc_la_CPPFLAGS = $(MODULE_CPPFLAGS) $(HIREDIS_CFLAGS) \
	-DMOD_NAME='"p2p_usrloc"' -DMOD_NAMEID=p2p_usrloc
p2p_usrloc_la_CFLAGS = $(MODULE_CFLAGS)
p2p_usrloc_la_LDFLAGS = $(MODULE_LDFLAGS)
p2p_usrloc_la_LIBADD = lib/libp2pcore.la $(HIREDIS_LIBS)

pul_file_sources = modules/p2p_usrloc/p2p_usrloc_file.c modules/p2p_usrloc/p2p_usrloc_file_copy.c \
	modules/p2p_usrloc/p2p_usrloc_file_open.c \
	modules/p2p_usrloc/p2p_usrloc_file_slots.c modules/p2p_usrloc/p2p_usrloc_record.c

# Tests without Kamailio: tests/mock/kamailio stands in for it.
if WITH_CMOCKA
pul_tests = tests/unit/test_usrloc tests/unit/test_usrloc_cache tests/unit/test_usrloc_file \
	tests/unit/test_usrloc_lookup tests/unit/test_usrloc_sessions
check_PROGRAMS += $(pul_tests)
TESTS += $(pul_tests)
tests_unit_test_usrloc_file_SOURCES = tests/unit/test_usrloc_file.c $(UNIT_COMMON) $(pul_file_sources)
tests_unit_test_usrloc_file_CPPFLAGS = $(UNIT_CPPFLAGS) -D_GNU_SOURCE
tests_unit_test_usrloc_file_LDADD = lib/libp2pcore.la $(CMOCKA_LIBS) -lpthread
pul_table_sources = tests/unit/test_usrloc_fixture.c tests/unit/test_usrloc_fixture.h \
	$(UNIT_ALLOC) $(UNIT_COMMON) \
	modules/p2p_usrloc/p2p_usrloc_cache.c $(pul_users_sources) \
	modules/p2p_usrloc/p2p_usrloc_auth.c modules/p2p_usrloc/p2p_usrloc_sessions.c \
	modules/p2p_usrloc/p2p_usrloc_sync.c
tests_unit_test_usrloc_SOURCES = tests/unit/test_usrloc.c $(pul_table_sources)
tests_unit_test_usrloc_CPPFLAGS = -I$(top_srcdir)/tests/mock/kamailio $(UNIT_CPPFLAGS) -D_GNU_SOURCE
tests_unit_test_usrloc_LDFLAGS = $(AM_LDFLAGS) $(UNIT_WRAP)
tests_unit_test_usrloc_LDADD = lib/libp2pcore.la $(CMOCKA_LIBS) $(LIBEVENT_LIBS) -lpthread
tests_unit_test_usrloc_cache_SOURCES = tests/unit/test_usrloc_cache.c $(pul_table_sources)
tests_unit_test_usrloc_cache_CPPFLAGS = -I$(top_srcdir)/tests/mock/kamailio $(UNIT_CPPFLAGS) -D_GNU_SOURCE
tests_unit_test_usrloc_cache_LDFLAGS = $(AM_LDFLAGS) $(UNIT_WRAP)
tests_unit_test_usrloc_cache_LDADD = lib/libp2pcore.la $(CMOCKA_LIBS) $(LIBEVENT_LIBS) -lpthread
tests_unit_test_usrloc_sessions_SOURCES = tests/unit/test_usrloc_sessions.c $(pul_table_sources)
tests_unit_test_usrloc_sessions_CPPFLAGS = -I$(top_srcdir)/tests/mock/kamailio $(UNIT_CPPFLAGS) -D_GNU_SOURCE
tests_unit_test_usrloc_sessions_LDFLAGS = $(AM_LDFLAGS) $(UNIT_WRAP)
tests_unit_test_usrloc_sessions_LDADD = lib/libp2pcore.la $(CMOCKA_LIBS) $(LIBEVENT_LIBS) -lpthread
tests_unit_test_usrloc_lookup_SOURCES = tests/unit/test_usrloc_lookup.c $(UNIT_COMMON) \
	modules/p2p_usrloc/p2p_usrloc_answer.c modules/p2p_usrloc/p2p_usrloc_back.c \
	modules/p2p_usrloc/p2p_usrloc_confirm.c \
	$(pul_lookup_sources)
tests_unit_test_usrloc_lookup_CPPFLAGS = -I$(top_srcdir)/tests/mock/kamailio $(UNIT_CPPFLAGS) -D_GNU_SOURCE
tests_unit_test_usrloc_lookup_LDADD = lib/libp2pcore.la $(HIREDIS_LIBS) $(CMOCKA_LIBS)
endif
EXTRA_DIST += \
	tests/mock/mock_gateway.py \
	tests/mock/kamailio/core/counters.h \
	tests/mock/kamailio/core/dprint.h \
	tests/mock/kamailio/core/locking.h \
	tests/mock/kamailio/core/mem/mem.h \
	tests/mock/kamailio/core/mem/shm_mem.h \
	tests/mock/kamailio/core/rpc.h \
	tests/mock/kamailio/core/sr_module.h \
	tests/mock/kamailio/core/str.h

check_PROGRAMS += tests/fuzz/fuzz_answer tests/fuzz/fuzz_contacts
tests_fuzz_fuzz_contacts_SOURCES = tests/fuzz/fuzz_contacts.c $(FUZZ_MAIN) $(pul_file_sources)
tests_fuzz_fuzz_contacts_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE
tests_fuzz_fuzz_contacts_LDADD = lib/libp2pcore.la -lpthread
tests_fuzz_fuzz_answer_SOURCES = tests/fuzz/fuzz_answer.c $(FUZZ_MAIN) \
	modules/p2p_usrloc/p2p_usrloc_answer.c
tests_fuzz_fuzz_answer_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE $(HIREDIS_CFLAGS)
tests_fuzz_fuzz_answer_LDADD = lib/libp2pcore.la $(HIREDIS_LIBS)
if WITH_FUZZERS
noinst_PROGRAMS += tests/fuzz/lf_answer tests/fuzz/lf_contacts
tests_fuzz_lf_contacts_SOURCES = tests/fuzz/fuzz_contacts.c $(pul_file_sources) \
	$(lib_libp2pcore_la_SOURCES)
tests_fuzz_lf_contacts_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE
tests_fuzz_lf_contacts_CFLAGS = $(LF_CFLAGS)
tests_fuzz_lf_contacts_LDFLAGS = $(LF_LINK)
tests_fuzz_lf_contacts_LDADD = -lpthread
tests_fuzz_lf_answer_SOURCES = tests/fuzz/fuzz_answer.c modules/p2p_usrloc/p2p_usrloc_answer.c \
	$(lib_libp2pcore_la_SOURCES)
tests_fuzz_lf_answer_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE $(HIREDIS_CFLAGS)
tests_fuzz_lf_answer_CFLAGS = $(LF_CFLAGS)
tests_fuzz_lf_answer_LDFLAGS = $(LF_LINK)
tests_fuzz_lf_answer_LDADD = $(HIREDIS_LIBS)
endif
