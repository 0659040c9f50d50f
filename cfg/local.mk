# SPDX-License-Identifier: GPL-2.0-or-later
# Examples go to $(datadir)/kamailio-p2psip; nothing of the operator's in /etc is touched. systemd
# looks for users and folders below /usr/lib and /usr/local/lib.
p2psipdatadir = $(datadir)/kamailio-p2psip
dist_p2psipdata_DATA = \
	cfg/kamailio-p2psip.cfg \
	cfg/kamailio.cfg \
	cfg/p2psip-gateway.conf \
	cfg/p2psip-relay.conf \
	cfg/p2psip-tls.cfg \
	cfg/rtpengine.conf

EXTRA_DIST += cfg/p2psip-gateway.service.in cfg/p2psip-relay.service.in cfg/sysusers.conf \
	cfg/tmpfiles.conf
CLEANFILES += cfg/p2psip-gateway.service cfg/p2psip-relay.service cfg/sysusers.d/p2psip.conf \
	cfg/tmpfiles.d/p2psip.conf

if WITH_SYSTEMD
systemdsystemunit_DATA = cfg/p2psip-gateway.service cfg/p2psip-relay.service
sysusersdir = $(prefix)/lib/sysusers.d
sysusers_DATA = cfg/sysusers.d/p2psip.conf
tmpfilesdir = $(prefix)/lib/tmpfiles.d
tmpfiles_DATA = cfg/tmpfiles.d/p2psip.conf
endif

# [@]: config.status would put its own value for the plain word here, into the makefile
cfg/%.service: cfg/%.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) cfg && sed 's|[@]sbindir[@]|$(sbindir)|g' $< > $@.tmp && mv $@.tmp $@

cfg/%.d/p2psip.conf: cfg/%.conf
	$(AM_V_GEN)$(MKDIR_P) $(@D) && cp $< $@.tmp && mv $@.tmp $@
