/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "relay/relay_settings.h"

static const char *const family_names[] = {"auto", "ipv4", "ipv6", NULL};
static const char *const log_to_names[] = {"stderr", "syslog", NULL};
static const char *const log_level_names[] = {"err", "warn", "info", "dbg", NULL};

#define OFF(member) offsetof(struct relay_settings, member)
#define INT(section, key, member, min, max, dflt, reload, help)                                    \
	{                                                                                          \
		section, key, SETTING_INT, OFF(member), min, max, dflt, NULL, reload, help         \
	}
#define STRING(section, key, member, max, dflt, reload, help)                                      \
	{                                                                                          \
		section, key, SETTING_STRING, OFF(member), 0, max, dflt, NULL, reload, help        \
	}
#define ENUM(section, key, member, choices, dflt, reload, help)                                    \
	{                                                                                          \
		section, key, SETTING_ENUM, OFF(member), 0, 0, dflt, choices, reload, help         \
	}
#define LIST(section, key, member, max, dflt, reload, help)                                        \
	{                                                                                          \
		section, key, SETTING_LIST, OFF(member), 0, max, dflt, NULL, reload, help          \
	}

const struct setting relay_settings_table[] = {
	STRING("relay", "socket", socket, 107, "/run/p2psip/relay.sock", false,
	       "where p2p_media connects"),
	STRING("relay", "socket_mode", socket_mode, 4, "0660", false,
	       "the socket's file mode, octal"),
	STRING("relay", "socket_group", socket_group, 64, "", false,
	       "the socket's group (Kamailio's); empty: the daemon's own"),
	STRING("relay", "admin_socket", admin_socket, 107, "/run/p2psip/relay-admin.sock", false,
	       "where p2psipctl connects"),
	STRING("relay", "admin_mode", admin_mode, 4, "0600", false, "its file mode, octal"),
	STRING("relay", "admin_group", admin_group, 64, "", false, "its group"),
	STRING("relay", "user", user, 64, "", false,
	       "run as this user when started as root; empty: stay"),
	STRING("relay", "group", group, 64, "", false, "and as this group; empty: the user's own"),
	STRING("relay", "pid_file", pid_file, 200, "", false, "empty: none"),
	ENUM("relay", "log_to", log_to, log_to_names, "stderr", false, "stderr or syslog"),
	ENUM("relay", "log_level", log_level, log_level_names, "info", true,
	     "err, warn, info or dbg"),
	STRING("relay", "prefix", prefix, 16, "p2p", false,
	       "begins each call id given to rtpengine; two relays that share an rtpengine need "
	       "different ones"),
	INT("relay", "max_calls", max_calls, 1, 1000000, "10000", true,
	    "calls at a time; more are refused with BUSY"),
	INT("relay", "max_clients", max_clients, 1, 4096, "256", false,
	    "connections at a time on each socket"),
	INT("relay", "max_pending", max_pending, 1, 1024, "64", false,
	    "requests without an answer on one connection"),

	LIST("rtpengine", "instance", instance, NG_INSTANCES_MAX, NULL, true,
	     "an rtpengine: `name udp:ADDRESS:PORT [weight N]`; repeated for each one"),
	STRING("rtpengine", "ua_interface", ua_interface, 32, "ua", true,
	       "rtpengine's name of the interface towards phones"),
	STRING("rtpengine", "overlay_interface", overlay_interface, 32, "ovl", true,
	       "rtpengine's name of the interface towards overlay peers"),
	ENUM("rtpengine", "ua_family", ua_family, family_names, "auto", true,
	     "address family shown to phones: auto (as the other side's), ipv4 or ipv6"),
	ENUM("rtpengine", "overlay_family", overlay_family, family_names, "auto", true,
	     "address family shown to overlay peers"),
	LIST("rtpengine", "flags", flags, RELAY_FLAGS_MAX, NULL, true,
	     "further ng flags for each offer and answer, such as `media-handover`"),
	INT("rtpengine", "deadline_ms", deadline_ms, 20, 5000, "120", true,
	    "how long an offer, answer or query may take, all repetitions and instances together; "
	    "below p2p_media's timeout_ms"),
	INT("rtpengine", "retransmit_ms", retransmit_ms, 5, 1000, "30", true,
	    "before a request is repeated for the first time; doubles from then on"),
	INT("rtpengine", "instance_max_pending", instance_max_pending, 1, 4096, "256", true,
	    "requests under way at one instance; it gets no more"),
	INT("rtpengine", "ping_interval_ms", ping_interval_ms, 100, 60000, "1000", true,
	    "between two health checks"),
	INT("rtpengine", "ping_timeout_ms", ping_timeout_ms, 20, 10000, "300", true,
	    "how long a health check waits"),
	INT("rtpengine", "fail_after", fail_after, 1, 20, "2", true,
	    "unanswered requests in a row after which an instance is out"),

	INT("sweep", "lease_s", lease_s, 5, 3600, "15", true, "how often each call is looked at"),
	INT("sweep", "media_timeout_s", media_timeout_s, 10, 86400, "40", true,
	    "an answered call without any packet for so long is deleted"),
	INT("sweep", "hold_timeout_s", hold_timeout_s, 10, 86400, "3600", true,
	    "the same for a call on hold"),
	INT("sweep", "ring_timeout_s", ring_timeout_s, 10, 3600, "240", true,
	    "the same for a call that was not answered; more than Kamailio's max_inv_lifetime"),
	INT("sweep", "owner_grace_s", owner_grace_s, 1, 3600, "10", true,
	    "unanswered calls of a Kamailio whose connections are all gone are deleted after so "
	    "long"),
	INT("sweep", "delete_retry_s", delete_retry_s, 10, 86400, "3600", true,
	    "how long a deletion that an instance did not answer is tried again"),
	INT("sweep", "reconcile_interval_s", reconcile_interval_s, 2, 3600, "15", true,
	    "how often an instance's own list of calls is compared with ours"),
	INT("sweep", "list_max", list_max, 10, 700, "500", true,
	    "calls asked for in that comparison: the reply must fit into one datagram"),
	INT("sweep", "max_pending", sweep_max_pending, 1, 256, "32", true,
	    "such requests under way at a time"),
	{0},
};

#define REJECT(section, key, value, ...)                                                           \
	settings_reject(path, section, key, value, err, errlen, __VA_ARGS__)

static int mode_parse(const char *s, mode_t *mode)
{
	char *end;
	unsigned long n = strtoul(s, &end, 8);

	if (s[0] < '0' || s[0] > '7' || *end != '\0' || n > 0777)
		return EINVAL;
	*mode = (mode_t)n;
	return 0;
}

static bool word_ok(const char *s)
{
	return s[0] != '\0' &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") ==
		       strlen(s);
}

static int derive(struct relay_settings *s, const char *path, char *err, size_t errlen)
{
	char why[200];
	size_t i, k;

	if (mode_parse(s->socket_mode, &s->socket_mode_bits) != 0)
		return REJECT("relay", "socket_mode", NULL, "must be octal, like 0660");
	if (mode_parse(s->admin_mode, &s->admin_mode_bits) != 0)
		return REJECT("relay", "admin_mode", NULL, "must be octal, like 0600");
	if (s->socket[0] != '/')
		return REJECT("relay", "socket", NULL, "must be an absolute path");
	if (s->admin_socket[0] != '/')
		return REJECT("relay", "admin_socket", NULL, "must be an absolute path");
	if (strcmp(s->socket, s->admin_socket) == 0)
		return REJECT("relay", "admin_socket", NULL, "must be different from socket");
	if (!word_ok(s->prefix))
		return REJECT("relay", "prefix", NULL, "must be letters, digits, '.', '_', '-'");
	if (!word_ok(s->ua_interface))
		return REJECT("rtpengine", "ua_interface", NULL,
			      "must be the name of an interface");
	if (!word_ok(s->overlay_interface))
		return REJECT("rtpengine", "overlay_interface", NULL,
			      "must be the name of an interface");
	if (s->retransmit_ms >= s->deadline_ms)
		return REJECT("rtpengine", "retransmit_ms", NULL, "must be below deadline_ms");
	if (s->ping_timeout_ms > s->ping_interval_ms)
		return REJECT("rtpengine", "ping_timeout_ms", NULL,
			      "must not be over ping_interval_ms");
	if (s->media_timeout_s < s->lease_s)
		return REJECT("sweep", "media_timeout_s", NULL, "must not be under lease_s");
	if (s->flags.n > RELAY_FLAGS_MAX)
		return REJECT("rtpengine", "flags", NULL, "too many");
	if (s->instance.n > NG_INSTANCES_MAX)
		return REJECT("rtpengine", "instance", NULL, "too many");
	for (i = 0; i < s->instance.n; i++) {
		const char *text = s->instance.v[i];

		if (ng_spec_parse(&s->spec[i], text, why, sizeof(why)) != 0)
			return REJECT("rtpengine", "instance", text, "%s", why);
		for (k = 0; k < i; k++) {
			if (strcmp(s->spec[k].name, s->spec[i].name) == 0 ||
			    strcmp(s->spec[k].text, s->spec[i].text) == 0)
				return REJECT("rtpengine", "instance", text,
					      "\"%s\": its name or its address is there twice",
					      text);
		}
	}
	s->n_spec = s->instance.n;
	return 0;
}

int relay_settings_load(struct relay_settings *s, const char *path, char *err, size_t errlen)
{
	int e;

	memset(s, 0, sizeof(*s));
	e = settings_load(relay_settings_table, s, path, err, errlen);
	if (e != 0)
		return e;
	e = derive(s, path, err, errlen);
	if (e != 0)
		relay_settings_free(s);
	return e;
}

void relay_settings_free(struct relay_settings *s)
{
	settings_free(relay_settings_table, s);
	memset(s, 0, sizeof(*s));
}

enum p2p_log_level relay_settings_log_level(const struct relay_settings *s)
{
	return (enum p2p_log_level)s->log_level;
}
