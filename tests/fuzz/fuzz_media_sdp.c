/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bodies of SIP messages: the first line is the Content-Type, the rest the body. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "modules/p2p_media/p2p_media_sdp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *s = (const char *)data, *nl = size > 0 ? memchr(s, '\n', size) : NULL;
	struct p2p_media_sdp sdp, less;
	size_t off, len, blen, n;
	char *out;
	const char *body;

	if (nl == NULL)
		return 0;
	body = nl + 1;
	blen = size - (size_t)(body - s);
	if (p2p_media_sdp_find(s, (size_t)(nl - s), body, blen, &off, &len) != 0)
		return 0;
	must(len > 0 && off + len <= blen);
	if (p2p_media_sdp_inspect(body + off, len, &sdp) != 0)
		return 0;
	must(sdp.active <= sdp.sections && sdp.sections <= P2P_MEDIA_SECTIONS_MAX);
	must(strlen(sdp.address) < P2P_MEDIA_ADDRESS_MAX);
	(void)p2p_media_address_private(sdp.address);
	out = malloc(len + P2P_MEDIA_SECTIONS_MAX);
	must(out != NULL);
	n = p2p_media_sdp_decline(body + off, len, out);
	must(n <= len + P2P_MEDIA_SECTIONS_MAX);
	must(n > P2P_MEDIA_SDP_MAX || p2p_media_sdp_inspect(out, n, &less) == 0);
	must(n > P2P_MEDIA_SDP_MAX || (less.sections == sdp.sections && less.active == 0));
	free(out);
	return 0;
}
