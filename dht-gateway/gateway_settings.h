/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The gateway's settings. gateway_settings.c has the table: names, ranges, defaults, help. */
#ifndef P2PSIP_GATEWAY_SETTINGS_H
#define P2PSIP_GATEWAY_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include "lib/io/settings.h"
#include "lib/proto/record.h"

#define GW_SETTINGS_PATH "/etc/p2psip/gateway.conf"
/* TCP, of the overlay peer protocol */
#define GW_PEERS_PORT 7443
#define GW_PEERS_LISTEN_MAX 8

struct gw_settings {
	/* [overlay] */
	char *secret_file, *overlay_id, *authority_dir;
	int permission;
	int64_t certificate_days, holders, settle_ms;
	/* [identity] */
	char *identity_file, *state_dir;
	bool identity_create;
	/* [dht] */
	char *backend, *bind4, *bind6, *memory_dir;
	int64_t port;
	struct setting_list bootstrap;
	int64_t max_requests_per_s, max_peer_requests_per_s, store_bytes;
	int64_t reput_interval_s, put_window, puts_per_s, watches_max, query_timeout_ms;
	/* [redis] */
	struct setting_list redis_servers;
	char *redis_user, *redis_password_file;
	int64_t redis_timeout_ms;
	/* [peers] */
	bool peers_enabled;
	struct setting_list peers_listen, peers_bootstrap;
	int64_t ask_ms, ask_fresh_ms, peer_connections_max, peer_connections_per_address;
	int64_t peer_requests_per_s, peer_handshake_ms, peer_idle_s;
	int64_t peer_idle_connections_max, peer_connections_each;
	/* [transport] */
	char *signalling, *family, *media;
	struct setting_list transport_peers;
	/* [sessions] */
	int64_t session_lifetime_s, session_linger_s, sessions_max;
	/* [sip] */
	struct setting_list uri;
	/* [tls] */
	char *tls_dir;
	int64_t tls_days;
	/* [control] */
	char *socket, *socket_mode, *socket_group;
	char *admin_socket, *admin_mode, *admin_group;
	/* [log] */
	int log_level, log_to;
	/* [limits] */
	int64_t users_max, clients_max, lookups_max, cache_max, peers_max, members_max;
	int64_t enrolments_max, held_max, held_per_peer_max;
	int64_t cache_fresh_ms, orphan_timeout_s, lease_s, record_lifetime_s;
};

enum { GW_LOG_STDERR, GW_LOG_SYSLOG };
/* Is a user record without the authority's permission refused? */
enum { GW_PERMISSION_OVERLAY, GW_PERMISSION_REQUIRED, GW_PERMISSION_OFF };

extern const struct setting gw_settings_table[];

/* As settings_load(), and what the table alone cannot say: modes, addresses, the backend's name,
 * SIP addresses. settings need not be zeroed; gw_settings_free() also after a failure. */
int gw_settings_load(struct gw_settings *s, const char *path, char *err, size_t errlen);
void gw_settings_free(struct gw_settings *s);

/* "0660". 0 or EINVAL. */
int gw_settings_mode(const char *text, mode_t *mode);

/* "192.0.2.1", "192.0.2.1:7443", "[2001:db8::1]", "[2001:db8::1]:7443". 0 or EINVAL. */
int gw_settings_listen(const char *text, struct sockaddr_storage *out);

/* The same as the address of a gateway. */
int gw_settings_locator(const char *text, struct p2p_locator *out);

/* [sip] uri as locators of a record. */
int gw_settings_locators(const struct gw_settings *s, struct p2p_record *rec);

#endif
