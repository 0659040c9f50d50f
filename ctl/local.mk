# SPDX-License-Identifier: GPL-2.0-or-later
bin_PROGRAMS += ctl/p2psipctl
ctl_p2psipctl_SOURCES = ctl/p2psipctl.c ctl/ctl.h ctl/ctl_reply.c ctl/ctl_reply.h \
	ctl/ctl_join.c ctl/ctl_overlay.c ctl/ctl_password.c ctl/ctl_password.h ctl/ctl_user.c
ctl_p2psipctl_CPPFLAGS = $(AM_CPPFLAGS) $(HIREDIS_CFLAGS) $(JSONC_CFLAGS) $(LIBEVENT_CFLAGS) $(OPENSSL_CFLAGS)
ctl_p2psipctl_LDADD = dht-gateway/libgatewaykeys.la $(P2PHTTPS_LIBS) $(P2POPP_LIBS) \
	$(HIREDIS_LIBS) $(JSONC_LIBS) $(OPENSSL_LIBS)
