# SPDX-License-Identifier: GPL-2.0-or-later
kamailiomod_LTLIBRARIES += p2p_registrar.la
p2p_registrar_la_SOURCES = \
	modules/p2p_registrar/p2p_registrar.h \
	modules/p2p_registrar/p2p_registrar_lookup.c \
	modules/p2p_registrar/p2p_registrar_mod.c \
	modules/p2p_registrar/p2p_registrar_next.c \
	modules/p2p_registrar/p2p_registrar_reply.c \
	modules/p2p_registrar/p2p_registrar_rpc.c \
	modules/p2p_registrar/p2p_registrar_save.c \
	modules/p2p_registrar/p2p_registrar_stats.c \
	modules/p2p_registrar/p2p_registrar_suspend.c \
	modules/p2p_registrar/p2p_registrar_worker.c
p2p_registrar_la_CPPFLAGS = $(MODULE_CPPFLAGS) -DMOD_NAME='"p2p_registrar"' -DMOD_NAMEID=p2p_registrar
p2p_registrar_la_CFLAGS = $(MODULE_CFLAGS)
p2p_registrar_la_LDFLAGS = $(MODULE_LDFLAGS)
p2p_registrar_la_LIBADD = lib/libp2pcore.la
