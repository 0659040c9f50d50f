# SPDX-License-Identifier: GPL-2.0-or-later
# libp2pcore: base, proto, model; libc only, so that the Kamailio modules link it too.
# libp2pio: for the daemons; link with $(P2PIO_LIBS).
# libp2popp: the bodies of the overlay peer protocol; link with $(P2POPP_LIBS).
# libp2phttps: HTTPS between peers; link with $(P2PHTTPS_LIBS).
noinst_LTLIBRARIES += lib/libp2pcore.la lib/libp2pio.la lib/libp2popp.la lib/libp2phttps.la

lib_libp2pcore_la_SOURCES = \
	lib/base/bytes.c lib/base/bytes.h \
	lib/base/clock.c lib/base/clock.h \
	lib/base/hash.c lib/base/hash.h \
	lib/base/log.c lib/base/log.h \
	lib/base/shared.c lib/base/shared.h \
	lib/proto/crypto.c lib/proto/crypto.h \
	lib/proto/hit.c lib/proto/hit.h \
	lib/proto/enrolment.c lib/proto/enrolment.h \
	lib/proto/key.c lib/proto/key.h \
	lib/proto/name.c lib/proto/name.h \
	lib/proto/permission.c lib/proto/permission.h \
	lib/proto/record.c lib/proto/record.h \
	lib/proto/record_head.c lib/proto/record_head.h lib/proto/record_impl.h lib/proto/record_uri.c \
	lib/proto/resp.c lib/proto/resp.h \
	lib/proto/revocation.c lib/proto/revocation.h \
	lib/proto/token.c lib/proto/token.h \
	lib/model/announce.c lib/model/announce.h \
	lib/model/breaker.c lib/model/breaker.h \
	lib/model/candidate.c lib/model/candidate.h \
	lib/model/gossip.c lib/model/gossip.h lib/model/gossip_impl.h \
	lib/model/gossip_message.c \
	lib/model/held.c lib/model/held.h \
	lib/model/hlc.c lib/model/hlc.h \
	lib/model/lag.c lib/model/lag.h \
	lib/model/moves.c lib/model/moves.h \
	lib/model/negotiate.c lib/model/negotiate.h \
	lib/model/published.c lib/model/published.h lib/model/published_impl.h \
	lib/model/published_table.c lib/model/published_work.c \
	lib/model/quorum.h \
	lib/model/replay.c lib/model/replay.h \
	lib/model/retry.c lib/model/retry.h \
	lib/model/ring.c lib/model/ring.h \
	lib/model/rtt.c lib/model/rtt.h \
	lib/model/search.c lib/model/search.h \
	lib/model/session.c lib/model/session.h \
	lib/model/sessions.c lib/model/sessions.h \
	lib/model/userset.c lib/model/userset.h
lib_libp2pcore_la_LIBADD =

lib_libp2pio_la_SOURCES = \
	lib/io/daemon.c lib/io/daemon.h lib/io/daemon_args.c lib/io/daemon_args.h \
	lib/io/metrics.c lib/io/metrics.h \
	lib/io/resp_client.c lib/io/resp_command.c lib/io/resp_reader.c lib/io/resp_reply.c \
	lib/io/resp_server.c lib/io/resp_server.h lib/io/resp_impl.h \
	lib/io/settings.c lib/io/settings.h lib/io/settings_impl.h \
	lib/io/settings_print.c lib/io/settings_value.c
lib_libp2pio_la_CPPFLAGS = $(AM_CPPFLAGS) $(LIBEVENT_CFLAGS) $(HIREDIS_CFLAGS) $(INIH_CFLAGS)
P2PIO_LIBS = lib/libp2pio.la lib/libp2pcore.la $(LIBEVENT_LIBS) $(HIREDIS_LIBS) $(INIH_LIBS)
lib_libp2pio_la_LIBADD =

lib_libp2popp_la_SOURCES = lib/proto/opp.h lib/proto/opp_impl.h \
	lib/proto/opp_enrol.c \
	lib/proto/opp_error.c \
	lib/proto/opp_member.c \
	lib/proto/opp_members.c lib/proto/opp_members.h \
	lib/proto/opp_path.c \
	lib/proto/opp_peer.c \
	lib/proto/opp_records.c lib/proto/opp_records.h \
	lib/proto/opp_session.c \
	lib/proto/opp_text.c \
	lib/proto/opp_user.c
lib_libp2popp_la_CPPFLAGS = $(AM_CPPFLAGS) $(JSONC_CFLAGS)
P2POPP_LIBS = lib/libp2popp.la lib/libp2pcore.la $(JSONC_LIBS)

lib_libp2phttps_la_SOURCES = \
	lib/io/https_client.c lib/io/https_client.h \
	lib/io/https_server.c lib/io/https_server.h \
	lib/io/https_tls.c lib/io/https_tls.h
lib_libp2phttps_la_CPPFLAGS = $(AM_CPPFLAGS) $(LIBEVENT_CFLAGS) $(EVENTSSL_CFLAGS) $(SSL_CFLAGS) $(OPENSSL_CFLAGS) $(CURL_CFLAGS)
P2PHTTPS_LIBS = lib/libp2phttps.la lib/libp2pcore.la $(CURL_LIBS) $(EVENTSSL_LIBS) $(SSL_LIBS) $(OPENSSL_LIBS) $(LIBEVENT_LIBS)
