/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The authority's files of users and rules: what is taken can be written, and reads the same. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "dht-gateway/enrol/gateway_user_enrolment_file.h"

static void user(const char *s, size_t size)
{
	char one[GW_ENROLLED_TEXT_MAX], two[GW_ENROLLED_TEXT_MAX];
	struct gw_enrolled u, again;
	size_t n, m;

	memset(&u, 0, sizeof(u));
	if (gw_enrolled_parse(&u, s, size) != 0)
		return;
	must(u.len <= P2P_NAME_MAX && u.n_peers <= GW_ENROLLED_PEERS_MAX);
	must(u.len == 0 || (u.digests != 0 && p2p_realm_valid(u.realm, strlen(u.realm))));
	must(gw_enrolled_print(&u, one, sizeof(one), &n) == 0);
	must(gw_enrolled_parse(&again, one, n) == 0);
	must(gw_enrolled_print(&again, two, sizeof(two), &m) == 0);
	must(n == m && memcmp(one, two, n) == 0);
}

static void rules(const char *s, size_t size)
{
	char one[GW_ENROLLED_TEXT_MAX], two[GW_ENROLLED_TEXT_MAX];
	struct gw_enrolled_rules r, again;
	size_t n, m;

	if (gw_enrolled_rules_parse(&r, s, size) != 0)
		return;
	must(r.digests != 0 && r.n_changed <= P2P_CHANGED_MAX && r.n_changed <= r.changes);
	must(gw_enrolled_rules_print(&r, one, sizeof(one), &n) == 0);
	must(gw_enrolled_rules_parse(&again, one, n) == 0);
	must(gw_enrolled_rules_print(&again, two, sizeof(two), &m) == 0);
	must(n == m && memcmp(one, two, n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	user((const char *)data, size);
	rules((const char *)data, size);
	return 0;
}
