# SPDX-License-Identifier: GPL-2.0-or-later
kamailiomod_LTLIBRARIES += modules/p2p_media/p2p_media.la

modules_p2p_media_p2p_media_la_SOURCES = \
	modules/p2p_media/p2p_media.h \
	modules/p2p_media/p2p_media_dialog.c \
	modules/p2p_media/p2p_media_exchange.c \
	modules/p2p_media/p2p_media_mod.c \
	modules/p2p_media/p2p_media_policy.c \
	modules/p2p_media/p2p_media_relay.c \
	modules/p2p_media/p2p_media_rpc.c \
	modules/p2p_media/p2p_media_sdp.c modules/p2p_media/p2p_media_sdp.h \
	modules/p2p_media/p2p_media_session.c \
	modules/p2p_media/p2p_media_stats.c
modules_p2p_media_p2p_media_la_CPPFLAGS = $(MODULE_CPPFLAGS) -D_GNU_SOURCE $(HIREDIS_CFLAGS) \
	-DMOD_NAME='"p2p_media"' -DMOD_NAMEID=p2p_media
modules_p2p_media_p2p_media_la_CFLAGS = $(MODULE_CFLAGS)
modules_p2p_media_p2p_media_la_LDFLAGS = $(MODULE_LDFLAGS)
modules_p2p_media_p2p_media_la_LIBADD = lib/libp2pcore.la $(HIREDIS_LIBS)
