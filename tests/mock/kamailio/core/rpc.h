/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stands in for Kamailio's core/rpc.h in unit tests. */
#ifndef MOCK_KAMAILIO_RPC_H
#define MOCK_KAMAILIO_RPC_H

typedef struct rpc_export {
	const char *name;
} rpc_export_t;

#endif
