/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2psip-relay's settings: one table for the file, the checks and the manual. */
#ifndef P2PSIP_RELAY_SETTINGS_H
#define P2PSIP_RELAY_SETTINGS_H

#include <sys/types.h>
#include "lib/base/log.h"
#include "lib/io/settings.h"
#include "relay/ng/ng_pool.h"

/* Flags and such that are passed on to rtpengine with each offer and answer. */
#define RELAY_FLAGS_MAX 16

enum relay_family { RELAY_FAMILY_AUTO = 0, RELAY_FAMILY_IPV4, RELAY_FAMILY_IPV6 };
enum relay_log_to { RELAY_LOG_STDERR = 0, RELAY_LOG_SYSLOG };

struct relay_settings {
	/* [relay] */
	char *socket, *socket_mode, *socket_group;
	char *admin_socket, *admin_mode, *admin_group;
	char *user, *group, *pid_file;
	int log_to, log_level;
	char *prefix;
	int64_t max_calls, max_clients, max_pending;
	/* [rtpengine] */
	struct setting_list instance;
	char *ua_interface, *overlay_interface;
	int ua_family, overlay_family;
	struct setting_list flags;
	int64_t deadline_ms, retransmit_ms, instance_max_pending;
	int64_t ping_interval_ms, ping_timeout_ms, fail_after;
	/* [sweep] */
	int64_t lease_s, media_timeout_s, hold_timeout_s, ring_timeout_s;
	int64_t owner_grace_s, delete_retry_s, reconcile_interval_s, list_max, sweep_max_pending;

	/* made from the above by relay_settings_load */
	struct ng_spec spec[NG_INSTANCES_MAX];
	size_t n_spec;
	mode_t socket_mode_bits, admin_mode_bits;
};

extern const struct setting relay_settings_table[];

/* Zeroes s first. path NULL: defaults, which name no instance. 0, or errno and "file:line: reason"
 * (or "file: reason") in err. */
int relay_settings_load(struct relay_settings *s, const char *path, char *err, size_t errlen);
void relay_settings_free(struct relay_settings *s);
enum p2p_log_level relay_settings_log_level(const struct relay_settings *s);

#endif
