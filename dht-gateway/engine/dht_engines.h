/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef P2PSIP_DHT_ENGINES_H
#define P2PSIP_DHT_ENGINES_H

#include "dht-gateway/engine/dht_backend.h"

extern const struct dht_ops dht_memory_ops;
extern const struct dht_ops dht_none_ops;
extern const struct dht_ops dht_redis_ops;
extern const struct dht_ops dht_both_ops;    /* named by its two engines */
extern const struct dht_ops dht_opendht_ops; /* with WITH_OPENDHT only */

#endif
