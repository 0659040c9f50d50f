/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef P2PSIP_GATEWAY_METRICS_H
#define P2PSIP_GATEWAY_METRICS_H

#include "dht-gateway/gateway.h"
#include "lib/io/metrics.h"

extern const struct metric gw_metrics_table[];
/* Bring the gauges up to date. */
void gw_metrics_refresh(struct gw *gw);

#endif
