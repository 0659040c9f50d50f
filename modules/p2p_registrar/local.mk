# SPDX-License-Identifier: GPL-2.0-or-later
kamailiomod_LTLIBRARIES += p2p_registrar.la
p2p_registrar_la_SOURCES = \
	modules/p2p_registrar/p2p_registrar.h \
	modules/p2p_registrar/p2p_registrar_again.c \
	modules/p2p_registrar/p2p_registrar_auth.c \
	modules/p2p_registrar/p2p_registrar_candidates.c \
	modules/p2p_registrar/p2p_registrar_digest.c modules/p2p_registrar/p2p_registrar_digest.h \
	modules/p2p_registrar/p2p_registrar_kemi.c \
	modules/p2p_registrar/p2p_registrar_lookup.c \
	modules/p2p_registrar/p2p_registrar_lumps.c \
	modules/p2p_registrar/p2p_registrar_mod.c \
	modules/p2p_registrar/p2p_registrar_native.c \
	modules/p2p_registrar/p2p_registrar_next.c \
	modules/p2p_registrar/p2p_registrar_publish.c \
	modules/p2p_registrar/p2p_registrar_reply.c \
	modules/p2p_registrar/p2p_registrar_request.c \
	modules/p2p_registrar/p2p_registrar_rpc.c \
	modules/p2p_registrar/p2p_registrar_save.c \
	modules/p2p_registrar/p2p_registrar_script.c \
	modules/p2p_registrar/p2p_registrar_settings.c \
	modules/p2p_registrar/p2p_registrar_stats.c \
	modules/p2p_registrar/p2p_registrar_suspend.c \
	modules/p2p_registrar/p2p_registrar_worker.c
p2p_registrar_la_CPPFLAGS = $(MODULE_CPPFLAGS) -DMOD_NAME='"p2p_registrar"' -DMOD_NAMEID=p2p_registrar
p2p_registrar_la_CFLAGS = $(MODULE_CFLAGS)
p2p_registrar_la_LDFLAGS = $(MODULE_LDFLAGS)
p2p_registrar_la_LIBADD = lib/libp2pcore.la

if WITH_CMOCKA
check_PROGRAMS += tests/unit/test_digest
TESTS += tests/unit/test_digest
tests_unit_test_digest_SOURCES = tests/unit/test_digest.c \
	modules/p2p_registrar/p2p_registrar_digest.c
tests_unit_test_digest_CPPFLAGS = -I$(top_srcdir)/tests/mock/kamailio $(UNIT_CPPFLAGS) -D_GNU_SOURCE
tests_unit_test_digest_LDADD = lib/libp2pcore.la $(OPENSSL_LIBS) $(CMOCKA_LIBS)
endif
EXTRA_DIST += \
	tests/mock/kamailio/core/crypto/md5.h \
	tests/mock/kamailio/core/crypto/sha256.h \
	tests/mock/kamailio/core/parser/digest/digest_parser.h
