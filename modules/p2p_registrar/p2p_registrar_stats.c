// SPDX-License-Identifier: GPL-2.0-or-later
/* Counters of p2p_registrar: name and description in one table (kamcmd cnt.grp_get_all
 * p2p_registrar). */
#include "p2p_registrar.h"

static counter_handle_t handle[REG_CNT_MAX];

#define CNT(i, n, d) [i] = {&handle[i], n, 0, NULL, NULL, d}
static counter_def_t defs[REG_CNT_MAX + 1] = {
	CNT(REG_CNT_SAVES, "saves", "calls of p2p_save()"),
	CNT(REG_CNT_SENT_AGAIN, "sent_again",
	    "contacts in a REGISTER that an earlier Kamailio had saved already"),
	CNT(REG_CNT_LOOKUPS, "lookups", "calls of p2p_lookup()"),
	CNT(REG_CNT_LOCAL, "local", "lookups that found contacts of this server"),
	CNT(REG_CNT_CACHED, "cached", "lookups that used cached remote records"),
	CNT(REG_CNT_SUSPENDED, "suspended", "requests suspended to ask the gateway"),
	CNT(REG_CNT_CONTINUED, "continued", "suspended requests whose route was run"),
	CNT(REG_CNT_CANCELLED, "cancelled", "suspended requests cancelled before the answer came"),
	CNT(REG_CNT_LATE, "late", "answers that came after tm had given the request up"),
	CNT(REG_CNT_REFRESHES, "refreshes",
	    "background questions about other peers of a local user"),
	CNT(REG_CNT_FOUND, "found", "outcomes: found"),
	CNT(REG_CNT_ABSENT, "absent", "outcomes: absent (404)"),
	CNT(REG_CNT_UNKNOWN, "unknown", "outcomes: unknown (480)"),
	CNT(REG_CNT_UNAVAILABLE, "unavailable", "outcomes: unavailable (503)"),
	CNT(REG_CNT_DENIED, "denied", "outcomes: denied (403, 405, 482, 483)"),
	CNT(REG_CNT_NEXT_STALE, "stale",
	    "branches to a peer that answered 404: its record was stale"),
	CNT(REG_CNT_NEXT_DEAD, "dead", "branches to a peer that did not answer"),
	CNT(REG_CNT_NEXT_TRIED, "next", "times p2p_next() went on with another peer"),
	CNT(REG_CNT_NEXT_FRESH, "fresh", "times p2p_next() asked past every cache"),
	CNT(REG_CNT_NEXT_REFUSED, "session_refused",
	    "branches refused because the peer did not know the session"),
	CNT(REG_CNT_REFUSED, "refused",
	    "requests refused because too many were suspended (lookups_max)"),
	CNT(REG_CNT_AUTHS, "auths", "calls of p2p_authenticate()"),
	CNT(REG_CNT_AUTH_OK, "auth_ok", "of these, authenticated"),
	CNT(REG_CNT_AUTH_CHALLENGED, "auth_challenged", "challenges sent (401, 407)"),
	CNT(REG_CNT_AUTH_WRONG, "auth_wrong", "wrong passwords, and users that are not enrolled"),
	CNT(REG_CNT_AUTH_DENIED, "auth_denied",
	    "right ones, of users that this peer may not serve, or that name others (403)"),
	CNT(REG_CNT_AUTH_UNAVAILABLE, "auth_unavailable",
	    "credentials that could not be checked (503)"),
	CNT(REG_CNT_CONFIRMED_AT_ONCE, "confirmed_at_once",
	    "registrations that had nothing to wait for (publish=confirmed)"),
	CNT(REG_CNT_CONFIRMED, "confirmed",
	    "registrations answered 200 when other peers could find them"),
	CNT(REG_CNT_UNCONFIRMED, "unconfirmed",
	    "registrations that were not confirmed in time (503)"),
};

int reg_stats_init(void)
{
	return counter_register_array("p2p_registrar", defs) < 0 ? -1 : 0;
}

void reg_count(enum reg_counter c)
{
	counter_inc(handle[c]);
}

const char *reg_stats_name(int i)
{
	return i >= 0 && i < REG_CNT_MAX ? defs[i].name : NULL;
}

long reg_stats_value(int i)
{
	return counter_get_val(handle[i]);
}
