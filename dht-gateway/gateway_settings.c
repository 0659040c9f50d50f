/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/gateway_settings.h"
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/engine/dht_backend.h"
#include "dht-gateway/engine/dht_redis_map.h"
#include "dht-gateway/peers/gateway_policy.h"
#include "lib/base/bytes.h"
#include "lib/model/candidate.h"
#include "lib/proto/opp.h"
#include "lib/proto/key.h"

#define AT(member) offsetof(struct gw_settings, member)
#define STATE "/var/lib/p2psip"
#define RUN "/run/p2psip"

/* by enum p2p_log_level */
static const char *const levels[] = {"err", "warn", "info", "dbg", NULL};
static const char *const permissions[] = {"overlay", "required", "off", NULL};
static const char *const destinations[] = {"stderr", "syslog", NULL};

#define INT(section, key, member, min, max, dflt, reload, help)                                    \
	{                                                                                          \
		section, key, SETTING_INT, AT(member), min, max, dflt, NULL, reload, help          \
	}
#define STRING(section, key, member, min, max, dflt, reload, help)                                 \
	{                                                                                          \
		section, key, SETTING_STRING, AT(member), min, max, dflt, NULL, reload, help       \
	}

const struct setting gw_settings_table[] = {
	STRING("overlay", "secret_file", secret_file, 1, 1024, STATE "/overlay.secret", false,
	       "The overlay's secret, the same at all its peers, mode 0600 "
	       "(p2psipctl overlay create or join writes it)."),
	STRING("overlay", "id", overlay_id, 0, 32, "", false,
	       "The overlay's id, 32 hexadecimal digits; empty: from the authority's key, or, in "
	       "an "
	       "overlay without one, made from the secret."),
	STRING("overlay", "authority_dir", authority_dir, 0, 1024, STATE "/authority", false,
	       "The folder of the overlay's authority, where this peer has it: it invites, renews "
	       "certificates, enrols users and revokes. Empty: never here."),
	INT("overlay", "certificate_days", certificate_days, 1, 3650, "90", true,
	    "How long a certificate holds that the authority issues here; it is renewed when a "
	    "third of that is left."),
	INT("overlay", "holders", holders, 0, 9, "5", false,
	    "How many members keep each user's record, the same at all peers of the overlay; 0: "
	    "none does, and the engine alone tells where users are."),
	INT("overlay", "settle_ms", settle_ms, 0, 60000, "3000", false,
	    "When all holders of a user have begun anew at once, they have what serving peers told "
	    "them after this time, and can say that a user is absent."),
	{"overlay", "permission", SETTING_ENUM, AT(permission), 0, 0, "overlay", permissions, true,
	 "In an overlay with an authority: must a user's record have the authority's permission "
	 "for the peer that signed it? overlay: as the overlay's rules say; required: yes; off: "
	 "no. One without is neither stored nor believed."},
	STRING("identity", "file", identity_file, 1, 1024, STATE "/identity.pem", false,
	       "This peer's Host Identity, an ECDSA P-256 key, mode 0600."),
	{"identity", "create", SETTING_BOOL, AT(identity_create), 0, 0, "yes", NULL, false,
	 "Make the Host Identity on the first start; no: p2psipctl identity new makes it."},
	STRING("identity", "state_dir", state_dir, 1, 1024, STATE, false,
	       "Where this peer's epoch, published users and known DHT nodes are kept."),
	STRING("dht", "backend", backend, 0, 32, "", false,
	       "The DHT engine: opendht (embedded), redis (a Redis server or Cluster), none (the "
	       "gateways alone; [peers] bootstrap) or memory (a shared folder, for tests); two of "
	       "them: both at once, to change from one to the "
	       "other; empty: the first of these that is built in."),
	STRING("dht", "bind4", bind4, 0, 64, "0.0.0.0", false,
	       "IPv4 address of the DHT node; empty: none."),
	STRING("dht", "bind6", bind6, 0, 64, "", false,
	       "IPv6 address of the DHT node; empty: none."),
	INT("dht", "port", port, 1, 65535, "4222", false, "UDP port of the DHT node."),
	{"dht", "bootstrap", SETTING_LIST, AT(bootstrap), 0, 32, NULL, NULL, false,
	 "Peers to join the DHT by, host or host:port; none: this is the overlay's first peer."},
	INT("dht", "max_requests_per_s", max_requests_per_s, -1, 10000000, "20000", false,
	    "Requests a second taken from other nodes; -1: all."),
	INT("dht", "max_peer_requests_per_s", max_peer_requests_per_s, -1, 10000000, "5000", false,
	    "Of these, from one address; -1: all."),
	INT("dht", "store_bytes", store_bytes, 1048576, 68719476736, "1073741824", false,
	    "Memory for what is kept for other peers and for oneself, OpenDHT's own for each value "
	    "included: some 0.9 kB for a user."),
	STRING("dht", "memory_dir", memory_dir, 1, 1024, RUN "/memory-dht", false,
	       "The folder of the memory engine, shared by the overlay's gateways."),
	INT("dht", "reput_interval_s", reput_interval_s, 10, 43200, "43200", true,
	    "How often each user's record is signed and put again, at most half of [limits] "
	    "record_lifetime_s."),
	INT("dht", "puts_per_s", puts_per_s, 1, 1000, "100", true,
	    "Records a second that are put into the engine once their holders have them, after a "
	    "burst of 500."),
	INT("dht", "put_window", put_window, 1, 1024, "64", true,
	    "Records on their way to the DHT at once."),
	INT("dht", "watches_max", watches_max, 0, 4096, "512", true,
	    "Names whose changes are listened for: those served here and those last looked up."),
	INT("dht", "query_timeout_ms", query_timeout_ms, 50, 60000, "2000", true,
	    "Deadline of a search that no caller waits for."),
	{"redis", "server", SETTING_LIST, AT(redis_servers), 0, 32, NULL, NULL, false,
	 "With backend redis: the server, or some of a Cluster's, as address, address:port, or the "
	 "path of a unix socket; port 6379 if none is given. The others of a Cluster are found by "
	 "themselves."},
	STRING("redis", "user", redis_user, 0, 128, "", false,
	       "The user to log in as; empty: the default one."),
	STRING("redis", "password_file", redis_password_file, 0, 1024, "", false,
	       "A file, mode 0600, with the password; empty: none is asked for."),
	INT("redis", "timeout_ms", redis_timeout_ms, 50, 10000, "500", false,
	    "A server that has not answered within this time is left, and another one tried."),
	{"peers", "enabled", SETTING_BOOL, AT(peers_enabled), 0, 0, "yes", NULL, false,
	 "Speak with other peers' gateways: ask whether a user is there before a call is sent, and "
	 "answer that. no: calls go by the DHT's records alone."},
	{"peers", "listen", SETTING_LIST, AT(peers_listen), 0, GW_PEERS_LISTEN_MAX, NULL, NULL,
	 false,
	 "Where other gateways are listened to, address or address:port (TCP; port 7443 if not "
	 "given); none: the DHT node's addresses, port 7443 (with the memory engine: nowhere)."},
	{"peers", "bootstrap", SETTING_LIST, AT(peers_bootstrap), 0, 16, NULL, NULL, false,
	 "Addresses (address or address:port, port 7443 if not given) of other members' gateways, "
	 "by any of which this one finds all others. Needed with [dht] backend = none; else the "
	 "engine tells, and these are another way."},
	INT("peers", "ask_ms", ask_ms, 10, 5000, "300", true,
	    "How long a call waits for a peer's answer; without one it is sent by the record."),
	INT("peers", "ask_fresh_ms", ask_fresh_ms, 0, 60000, "2000", true,
	    "A peer that said yes is not asked about the same user again for this long."),
	INT("peers", "connections_max", peer_connections_max, 1, 16384, "256", false,
	    "Connections of other gateways at once; beyond, they are told to come back later."),
	INT("peers", "connections_per_address", peer_connections_per_address, 1, 16384, "32", false,
	    "Of these, from one address."),
	INT("peers", "requests_per_s", peer_requests_per_s, 1, 1000000, "1000", false,
	    "Requests a second taken on one connection."),
	INT("peers", "handshake_timeout_ms", peer_handshake_ms, 100, 60000, "5000", false,
	    "From a connection to its first request."),
	INT("peers", "idle_s", peer_idle_s, 2, 3600, "60", false,
	    "How long a connection is kept without a request."),
	INT("peers", "idle_connections_max", peer_idle_connections_max, 1, 16384, "64", false,
	    "Connections to other gateways that are kept for further questions."),
	INT("peers", "connections_per_peer", peer_connections_each, 1, 64, "4", false,
	    "Connections to one peer at once; further questions wait for one of them."),
	STRING("transport", "signalling", signalling, 0, 32, "", true,
	       "How SIP may go between this Kamailio and other peers', the best first: udp, tcp, "
	       "tls, separated by space; a single one is required. Empty: tls where the overlay is "
	       "enrolled and Kamailio has such an address, then udp, tcp."),
	STRING("transport", "family", family, 4, 16, "ipv4 ipv6", true,
	       "The IP families that it may go over, the best first: ipv4, ipv6."),
	STRING("transport", "media", media, 3, 64, "rtp srtp-sdes srtp-dtls", true,
	       "How RTP may go between the rtpengines, the best first: rtp, srtp-sdes (keys in the "
	       "SDP), srtp-dtls."),
	{"transport", "peer", SETTING_LIST, AT(transport_peers), 0, SETTINGS_LIST_MAX, NULL, NULL,
	 true,
	 "For one peer, instead of the above: its HIT and any of signalling=, family=, media=, "
	 "like "
	 "2001:22::1 signalling=tls media=srtp-dtls srtp-sdes. May be repeated."},
	INT("sessions", "lifetime_s", session_lifetime_s, 2, P2P_OPP_LIFETIME_MAX_S, "600", true,
	    "How long a session with another peer lasts unless it is renewed, which happens at "
	    "half "
	    "of it; the shorter one of both sides' counts."),
	INT("sessions", "linger_s", session_linger_s, 1, 86400, "120", true,
	    "A session over which no call runs, and that nobody used for this long, is closed."),
	INT("sessions", "max", sessions_max, 1, 100000, "4096", false,
	    "Sessions at once; beyond, other peers are told to come back later."),
	{"sip", "uri", SETTING_LIST, AT(uri), 0, P2P_CANDIDATE_URIS_MAX, NULL, NULL, true,
	 "SIP addresses of this peer's Kamailio for other peers, best first "
	 "(sip:192.0.2.1:5060;transport=udp); none: what Kamailio says."},
	STRING("tls", "dir", tls_dir, 0, 1024, STATE "/tls", false,
	       "Where Kamailio's TLS key and certificates are written, in an overlay with an "
	       "authority: sip-key.pem, sip-cert.pem, sip-ca.pem, readable by [control] "
	       "socket_group; empty: nowhere."),
	INT("tls", "days", tls_days, 1, 365, "30", true,
	    "How long Kamailio's certificate holds, at most as long as this peer's own; it is "
	    "renewed when a third of that is left."),
	STRING("control", "socket", socket, 1, 107, RUN "/gateway.sock", false,
	       "Where Kamailio's modules connect."),
	STRING("control", "socket_mode", socket_mode, 3, 4, "0660", false, "Its mode."),
	STRING("control", "socket_group", socket_group, 0, 64, "", false,
	       "Its group; empty: the process's."),
	STRING("control", "admin_socket", admin_socket, 1, 107, RUN "/gateway-admin.sock", false,
	       "Where p2psipctl connects."),
	STRING("control", "admin_mode", admin_mode, 3, 4, "0600", false, "Its mode."),
	STRING("control", "admin_group", admin_group, 0, 64, "", false,
	       "Its group; empty: the process's."),
	{"log", "level", SETTING_ENUM, AT(log_level), 0, 0, "info", levels, true,
	 "The most talkative level that is logged."},
	{"log", "to", SETTING_ENUM, AT(log_to), 0, 0, "stderr", destinations, false,
	 "Where the log goes (systemd's journal takes stderr)."},
	INT("limits", "users_max", users_max, 1, 10000000, "200000", false,
	    "Users that can be published."),
	INT("limits", "clients_max", clients_max, 1, 4096, "256", false,
	    "Connections to the socket at once."),
	INT("limits", "lookups_max", lookups_max, 1, 100000, "10000", false,
	    "Lookups that wait for the DHT at once; BUSY beyond."),
	INT("limits", "cache_max", cache_max, 1, 1000000, "50000", false,
	    "Names whose records are remembered."),
	INT("limits", "peers_max", peers_max, 1, 100000, "4096", false,
	    "Peers whose records are remembered."),
	INT("limits", "members_max", members_max, 16, 65000, "20000", false,
	    "Members of the overlay that are known."),
	INT("limits", "held_max", held_max, 1000, 100000000, "1000000", false,
	    "Records of other peers' users that are kept here as one of their holders."),
	INT("limits", "held_per_peer_max", held_per_peer_max, 100, 100000000, "200000", false,
	    "Of these, of one peer."),
	INT("limits", "enrolments_max", enrolments_max, 16, 10000000, "200000", false,
	    "Enrolment records that are kept here and put again: those of this peer, and, where "
	    "the authority is, all."),
	INT("limits", "cache_fresh_ms", cache_fresh_ms, 0, 60000, "1000", true,
	    "How long records that were read are answered without reading again."),
	INT("limits", "orphan_timeout_s", orphan_timeout_s, 1, 604800, "3600", true,
	    "Users that a restarted Kamailio does not name again stay published for this long: "
	    "no less than the longest registration."),
	INT("limits", "lease_s", lease_s, 10, 3600, "180", true,
	    "How long this peer vouches for its records at a time; renewed at a third of it."),
	INT("limits", "record_lifetime_s", record_lifetime_s, 300, 86400, "86400", true,
	    "Until a record that nobody repeats is void."),
	{.section = NULL},
};

int gw_settings_mode(const char *text, mode_t *mode)
{
	unsigned int m = 0;

	if (!*text)
		return EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '7')
			return EINVAL;
		m = m * 8 + (unsigned int)(*text - '0');
	}
	if (m > 0777)
		return EINVAL;
	*mode = m;
	return 0;
}

int gw_settings_listen(const char *text, struct sockaddr_storage *out)
{
	char host[INET6_ADDRSTRLEN];
	struct sockaddr_storage ss = {0};
	const char *end, *p = text;
	uint64_t port = GW_PEERS_PORT;
	bool v6 = *p == '[';
	size_t n;

	if (v6)
		p++;
	end = strchr(p, v6 ? ']' : ':');
	if (v6 && !end)
		return EINVAL;
	n = end ? (size_t)(end - p) : strlen(p);
	if (!n || n >= sizeof(host))
		return EINVAL;
	memcpy(host, p, n);
	host[n] = 0;
	p += n + v6;
	if (*p == ':' && (p2p_u64_parse(&port, p + 1, strlen(p + 1)) || !port || port > 65535))
		return EINVAL;
	if (*p && *p != ':')
		return EINVAL;
	if (v6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)port);
		if (inet_pton(AF_INET6, host, &in6->sin6_addr) != 1)
			return EINVAL;
	} else {
		struct sockaddr_in *in = (struct sockaddr_in *)&ss;

		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)port);
		if (inet_pton(AF_INET, host, &in->sin_addr) != 1)
			return EINVAL;
	}
	*out = ss;
	return 0;
}

int gw_settings_locator(const char *text, struct p2p_locator *out)
{
	struct sockaddr_storage ss;
	const struct sockaddr_in *in = (struct sockaddr_in *)&ss;
	const struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;

	if (gw_settings_listen(text, &ss))
		return EINVAL;
	memset(out, 0, sizeof(*out));
	out->service = P2P_SERVICE_GATEWAY;
	out->transports = P2P_TRANSPORT_TLS;
	if (ss.ss_family == AF_INET) {
		out->family = 4;
		out->port = ntohs(in->sin_port);
		memcpy(out->addr, &in->sin_addr, 4);
	} else {
		out->family = 6;
		out->port = ntohs(in6->sin6_port);
		memcpy(out->addr, &in6->sin6_addr, 16);
	}
	return 0;
}

int gw_settings_locators(const struct gw_settings *s, struct p2p_record *rec)
{
	for (size_t i = 0; i < s->uri.n; i++) {
		int err = p2p_record_add_uri(rec, s->uri.v[i], strlen(s->uri.v[i]));

		if (err)
			return err;
	}
	return 0;
}

#define REJECT(section, key, value, ...)                                                           \
	settings_reject(path, section, key, value, err, errlen, __VA_ARGS__)

static int check_transport(const struct gw_settings *s, const char *path, char *err, size_t errlen)
{
	struct gw_policy policy = {0};
	struct p2p_hit hit;

	if (*s->signalling && gw_policy_words(&policy, "signalling", s->signalling))
		return REJECT("transport", "signalling", NULL,
			      "words of udp, tcp, tls, each at most once, separated by space");
	if (gw_policy_words(&policy, "family", s->family))
		return REJECT("transport", "family", NULL,
			      "words of ipv4, ipv6, each at most once, separated by space");
	if (gw_policy_words(&policy, "media", s->media))
		return REJECT("transport", "media", NULL,
			      "words of rtp, srtp-sdes, srtp-dtls, each at most once, separated by "
			      "space");
	for (size_t i = 0; i < s->transport_peers.n; i++)
		if (gw_policy_peer(s->transport_peers.v[i], &hit, &policy))
			return REJECT("transport", "peer", s->transport_peers.v[i],
				      "'%s' is no HIT with any of signalling=, family=, media= and "
				      "their words",
				      s->transport_peers.v[i]);
	return 0;
}

static int check(const struct gw_settings *s, const char *path, char *err, size_t errlen)
{
	struct p2p_overlay_id overlay;
	struct p2p_record rec;
	struct in6_addr addr;
	mode_t mode;

	if (gw_settings_mode(s->socket_mode, &mode))
		return REJECT("control", "socket_mode", NULL,
			      "a mode is three or four octal digits, like 0660");
	if (gw_settings_mode(s->admin_mode, &mode))
		return REJECT("control", "admin_mode", NULL,
			      "a mode is three or four octal digits, like 0660");
	if (!dht_backend_find(s->backend, NULL))
		return REJECT("dht", "backend", NULL,
			      "'%s' is no engine of this gateway, nor two of them", s->backend);
	for (size_t i = 0; i < s->redis_servers.n; i++) {
		struct redis_map_node node;

		if (redis_address(s->redis_servers.v[i], &node))
			return REJECT("redis", "server", s->redis_servers.v[i],
				      "'%s' is no address, address:port or path, like "
				      "192.0.2.1:6379, [2001:db8::1]:6379, /run/redis.sock",
				      s->redis_servers.v[i]);
	}
	if (strstr(s->backend, "redis") && !s->redis_servers.n)
		return REJECT("redis", "server", NULL, "none, and [dht] backend = redis needs one");
	if (!strcmp(s->backend, "none") && !s->peers_enabled)
		return REJECT("peers", "enabled", NULL,
			      "no, and with [dht] backend = none there is nobody else to ask");
	if (*s->bind4 && inet_pton(AF_INET, s->bind4, &addr) != 1)
		return REJECT("dht", "bind4", NULL, "'%s' is no IPv4 address", s->bind4);
	if (*s->bind6 && inet_pton(AF_INET6, s->bind6, &addr) != 1)
		return REJECT("dht", "bind6", NULL, "'%s' is no IPv6 address (no brackets)",
			      s->bind6);
	if (!*s->bind4 && !*s->bind6)
		return REJECT("dht", "bind4", NULL, "empty, and bind6 too");
	for (size_t i = 0; i < s->peers_listen.n; i++) {
		struct sockaddr_storage ss;

		if (gw_settings_listen(s->peers_listen.v[i], &ss)) {
			snprintf(err, errlen,
				 "[peers] listen: '%s' is no address or address:port, like "
				 "192.0.2.1:7443 or [2001:db8::1]:7443",
				 s->peers_listen.v[i]);
			return EINVAL;
		}
	}
	for (size_t i = 0; i < s->peers_bootstrap.n; i++) {
		struct p2p_locator l;

		if (gw_settings_locator(s->peers_bootstrap.v[i], &l))
			return REJECT("peers", "bootstrap", s->peers_bootstrap.v[i],
				      "'%s' is no address or address:port, like 192.0.2.1:7443 or "
				      "[2001:db8::1]:7443",
				      s->peers_bootstrap.v[i]);
	}
	if (check_transport(s, path, err, errlen))
		return EINVAL;
	if (*s->overlay_id && p2p_overlay_id_parse(&overlay, s->overlay_id, strlen(s->overlay_id)))
		return REJECT("overlay", "id", NULL, "not 32 hexadecimal digits");
	if (s->lease_s > s->record_lifetime_s)
		return REJECT("limits", "lease_s", NULL,
			      "longer than record_lifetime_s: a lease cannot outlive its record");
	memset(&rec, 0, sizeof(rec));
	for (size_t i = 0; i < s->uri.n; i++)
		if (p2p_record_add_uri(&rec, s->uri.v[i], strlen(s->uri.v[i])))
			return REJECT("sip", "uri", s->uri.v[i],
				      "'%s' is no SIP URI with an address and no user, like "
				      "sip:192.0.2.1:5060;transport=udp",
				      s->uri.v[i]);
	return 0;
}

int gw_settings_load(struct gw_settings *s, const char *path, char *err, size_t errlen)
{
	int ret;

	memset(s, 0, sizeof(*s));
	ret = settings_load(gw_settings_table, s, path, err, errlen);
	if (ret)
		return ret;
	ret = check(s, path, err, errlen);
	if (ret)
		gw_settings_free(s);
	return ret;
}

void gw_settings_free(struct gw_settings *s)
{
	settings_free(gw_settings_table, s);
	memset(s, 0, sizeof(*s));
}
