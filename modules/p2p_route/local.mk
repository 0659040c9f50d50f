# SPDX-License-Identifier: GPL-2.0-or-later
kamailiomod_LTLIBRARIES += p2p_route.la
p2p_route_la_SOURCES = \
	modules/p2p_route/api.h \
	modules/p2p_route/p2p_route.h \
	modules/p2p_route/p2p_route_hdr.c \
	modules/p2p_route/p2p_route_health.c \
	modules/p2p_route/p2p_route_mod.c \
	modules/p2p_route/p2p_route_next.c \
	modules/p2p_route/p2p_route_peer.c \
	modules/p2p_route/p2p_route_rpc.c \
	modules/p2p_route/p2p_route_stats.c
p2p_route_la_CPPFLAGS = $(MODULE_CPPFLAGS) -DMOD_NAME='"p2p_route"' -DMOD_NAMEID=p2p_route
p2p_route_la_CFLAGS = $(MODULE_CFLAGS)
p2p_route_la_LDFLAGS = $(MODULE_LDFLAGS)
p2p_route_la_LIBADD = lib/libp2pcore.la
