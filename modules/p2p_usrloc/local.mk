# SPDX-License-Identifier: GPL-2.0-or-later
kamailiomod_LTLIBRARIES += p2p_usrloc.la

p2p_usrloc_la_SOURCES = \
	modules/p2p_usrloc/api.h \
	modules/p2p_usrloc/p2p_usrloc.h \
	modules/p2p_usrloc/p2p_usrloc_cache.c \
	modules/p2p_usrloc/p2p_usrloc_client.c \
	modules/p2p_usrloc/p2p_usrloc_conn.c modules/p2p_usrloc/p2p_usrloc_conn.h \
	modules/p2p_usrloc/p2p_usrloc_lookup.c modules/p2p_usrloc/p2p_usrloc_lookup.h \
	modules/p2p_usrloc/p2p_usrloc_mod.c \
	modules/p2p_usrloc/p2p_usrloc_names.c \
	modules/p2p_usrloc/p2p_usrloc_question.c \
	modules/p2p_usrloc/p2p_usrloc_rpc.c \
	modules/p2p_usrloc/p2p_usrloc_settings.c \
	modules/p2p_usrloc/p2p_usrloc_shared.c \
	modules/p2p_usrloc/p2p_usrloc_stats.c \
	modules/p2p_usrloc/p2p_usrloc_ul.c \
	modules/p2p_usrloc/p2p_usrloc_users.c
# the names by which log lines and the memory statistics call the module
p2p_usrloc_la_CPPFLAGS = $(MODULE_CPPFLAGS) $(HIREDIS_CFLAGS) \
	-DMOD_NAME='"p2p_usrloc"' -DMOD_NAMEID=p2p_usrloc
p2p_usrloc_la_CFLAGS = $(MODULE_CFLAGS)
p2p_usrloc_la_LDFLAGS = $(MODULE_LDFLAGS)
p2p_usrloc_la_LIBADD = lib/libp2pcore.la $(HIREDIS_LIBS)
