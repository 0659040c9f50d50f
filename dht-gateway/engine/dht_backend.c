/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "dht-gateway/engine/dht_backend.h"
#include <string.h>
#include "dht-gateway/engine/dht_engines.h"

const struct dht_ops *const dht_backends[] = {
#ifdef WITH_OPENDHT
	&dht_opendht_ops,
#endif
	&dht_redis_ops,	  &dht_memory_ops, &dht_none_ops, NULL,
};

static const struct dht_ops *find(const char *name, size_t len)
{
	for (size_t i = 0; dht_backends[i]; i++)
		if (strlen(dht_backends[i]->name) == len &&
		    !memcmp(dht_backends[i]->name, name, len))
			return dht_backends[i];
	return NULL;
}

const struct dht_ops *dht_backend_find(const char *name, const struct dht_ops *both[2])
{
	const struct dht_ops *one, *other;
	size_t len = strcspn(name, " ");

	if (both)
		both[0] = both[1] = NULL;
	if (!*name)
		return dht_backends[0];
	one = find(name, len);
	name += len + strspn(name + len, " ");
	if (!one || !*name)
		return one;
	other = find(name, strlen(name));
	if (!other || other == one || one == &dht_none_ops || other == &dht_none_ops)
		return NULL;
	if (both) {
		both[0] = one;
		both[1] = other;
	}
	return &dht_both_ops;
}
