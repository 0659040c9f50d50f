/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/model/candidate.h"

#include "lib/base/bytes.h"

/* FNV-1a: the hash is written into records and compared between peers, so it has no key. Nothing
 * but a preference hangs on it. */
uint32_t p2p_instance_hash(const char *instance, size_t len)
{
	uint32_t h = 2166136261u;
	size_t i;

	/* the header's value as it stands: "<urn:uuid:...>", quotes and all */
	while (len > 0 && (instance[0] == '"' || instance[0] == '<')) {
		instance++;
		len--;
	}
	while (len > 0 && (instance[len - 1] == '"' || instance[len - 1] == '>'))
		len--;
	for (i = 0; i < len; i++) {
		h ^= (uint8_t)p2p_lower(instance[i]);
		h *= 16777619u;
	}
	return h != 0 ? h : 1;
}
