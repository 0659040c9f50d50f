/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The short texts: HITs, SIP URIs of peers, overlay ids, numbers, error codes, +sip.instance. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "lib/base/bytes.h"
#include "lib/model/candidate.h"
#include "lib/proto/hit.h"
#include "lib/proto/key.h"
#include "lib/proto/record.h"
#include "lib/proto/resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *s = (const char *)data;
	char text[P2P_LOCATOR_URI_MAX], number[24];
	struct p2p_overlay_id id;
	struct p2p_locator l, l2;
	struct p2p_hit hit, hit2;
	struct p2p_record rec;
	uint64_t v, v2;

	if (p2p_hit_parse(&hit, s, size) == 0) {
		p2p_hit_print(&hit, text);
		must(p2p_hit_parse(&hit2, text, strlen(text)) == 0);
		must(p2p_hit_cmp(&hit, &hit2) == 0);
	}
	if (p2p_locator_parse(&l, s, size) == 0) {
		must(p2p_locator_print(&l, (enum p2p_transport)l.transports, text) == 0);
		must(p2p_locator_parse(&l2, text, strlen(text)) == 0);
		must(l.port == l2.port && l.family == l2.family && l.transports == l2.transports);
		must(memcmp(l.addr, l2.addr, l.family == 4 ? 4 : 16) == 0);
		memset(&rec, 0, sizeof(rec));
		must(p2p_record_add_uri(&rec, s, size) == 0);
		must(p2p_record_uri(&rec, 0, text) == 0);
	}
	if (p2p_u64_parse(&v, s, size) == 0) {
		snprintf(number, sizeof(number), "%llu", (unsigned long long)v);
		must(strlen(number) == size && memcmp(number, s, size) == 0);
		must(p2p_u64_parse(&v2, number, size) == 0 && v == v2);
	}
	(void)p2p_overlay_id_parse(&id, s, size);
	(void)p2p_resp_code(s, size);
	must(p2p_instance_hash(s, size) != 0);
	return 0;
}
