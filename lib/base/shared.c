/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/base/shared.h"

#include <stdlib.h>
#include <string.h>

struct p2p_shared *p2p_shared_new(const void *bytes, size_t len)
{
	struct p2p_shared *s = len <= UINT16_MAX ? malloc(sizeof(*s) + len) : NULL;

	if (s == NULL)
		return NULL;
	s->owners = 1;
	s->len = (uint16_t)len;
	if (len > 0)
		memcpy(s->bytes, bytes, len);
	return s;
}

struct p2p_shared *p2p_shared_keep(struct p2p_shared *s)
{
	s->owners++;
	return s;
}

void p2p_shared_drop(struct p2p_shared *s)
{
	if (s != NULL && --s->owners == 0)
		free(s);
}
