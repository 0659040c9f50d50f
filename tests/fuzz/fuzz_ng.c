/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rtpengine's replies, as they come in a datagram, and SDP on its way to it. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "relay/ng/ng_msg.h"

static bool on_call(const char *id, size_t len, void *arg)
{
	(void)arg;
	must(strlen(id) <= len);
	return true;
}

static void request(const char *s, size_t len)
{
	struct ng_offer o = {.call_id = "i",
			     .from_tag = "f",
			     .from_if = "ua",
			     .to_if = "ovl",
			     .sdp = s,
			     .sdp_len = len};
	struct ng_request *req = ng_request_offer(&o);
	char *packet, *id;
	size_t n;

	must(req != NULL);
	if (ng_request_datagram(req, "c", &packet, &n) == 0) {
		/* whatever the bytes were, they are there */
		must(n > len && memcmp(packet + n - 1 - len, s, len) == 0);
		free(packet);
	}
	ng_request_free(req);
	id = strndup(s, len);
	must(id != NULL);
	req = ng_request_query(id);
	must(req != NULL);
	if (ng_request_datagram(req, "c", &packet, &n) == 0)
		free(packet);
	ng_request_free(req);
	free(id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *s = (const char *)data;
	struct ng_call_state st;
	struct ng_reply r;
	size_t clen, off;

	request(s, size);
	if (ng_datagram_split(s, size, &clen, &off) != 0)
		return 0;
	must(clen > 0 && clen <= NG_COOKIE_MAX && off <= size);
	if (ng_reply_parse(&r, s + off, size - off) != 0)
		return 0;
	must(strlen(r.error) < NG_ERROR_MAX);
	must(r.sdp_len == 0 || r.root != NULL || (r.sdp >= s && r.sdp + r.sdp_len <= s + size));
	(void)ng_reply_unknown_call(&r);
	ng_reply_call_state(&r, &st);
	(void)ng_reply_calls(&r, on_call, NULL);
	ng_reply_free(&r);
	return 0;
}
