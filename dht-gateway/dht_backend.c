/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"
#include "dht-gateway/dht_backend.h"
#include <string.h>
#include "dht-gateway/dht_engines.h"

const struct dht_ops *const dht_backends[] = {
#ifdef WITH_OPENDHT
	&dht_opendht_ops,
#endif
	&dht_redis_ops,
	&dht_memory_ops,
	NULL,
};

const struct dht_ops *dht_backend_find(const char *name)
{
	if (!*name)
		return dht_backends[0];
	for (size_t i = 0; dht_backends[i]; i++)
		if (!strcmp(dht_backends[i]->name, name))
			return dht_backends[i];
	return NULL;
}
