# SPDX-License-Identifier: GPL-2.0-or-later
# Examples go to $(datadir)/kamailio-p2psip; nothing of the operator's in /etc is touched.
p2psipdatadir = $(datadir)/kamailio-p2psip
dist_p2psipdata_DATA = \
	cfg/kamailio.cfg \
	cfg/kamailio-p2psip.cfg \
	cfg/p2psip-gateway.conf cfg/p2psip-relay.conf \
	cfg/sysusers.conf \
	cfg/tmpfiles.conf

EXTRA_DIST += cfg/p2psip-gateway.service.in cfg/p2psip-relay.service.in
CLEANFILES += cfg/p2psip-gateway.service cfg/p2psip-relay.service

if WITH_SYSTEMD
systemdsystemunit_DATA = cfg/p2psip-gateway.service cfg/p2psip-relay.service
endif

cfg/%.service: cfg/%.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) cfg && sed 's|@sbindir@|$(sbindir)|g' $< > $@.tmp && mv $@.tmp $@
