/* SPDX-License-Identifier: GPL-2.0-or-later */
/* User and host of a SIP URI, and a name as it comes over a socket. The first byte: where the host
 * begins, and flags. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "lib/proto/name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char out[P2P_NAME_MAX + 1], again[P2P_NAME_MAX + 1];
	const char *s = (const char *)data + 1;
	size_t userlen, len, len2;
	bool sensitive, host;

	(void)p2p_name_valid((const char *)data, size);
	if (size == 0)
		return 0;
	size--;
	sensitive = (data[0] & 1) != 0;
	host = (data[0] & 2) != 0;
	userlen = host ? (size_t)(data[0] >> 2) % (size + 1) : size;
	if (p2p_name_make(out, &len, s, userlen, host ? s + userlen : NULL, size - userlen,
			  sensitive) != 0)
		return 0;
	must(len <= P2P_NAME_MAX && out[len] == '\0' && strlen(out) == len);
	must(p2p_name_valid(out, len));
	/* canonical: making it again changes nothing, where there is nothing to unescape */
	if (!host && memchr(out, '%', len) == NULL) {
		must(p2p_name_make(again, &len2, out, len, NULL, 0, sensitive) == 0);
		must(len2 == len && memcmp(out, again, len) == 0);
	}
	return 0;
}
