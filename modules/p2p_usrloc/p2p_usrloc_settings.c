/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: module parameters, their ranges and defaults, in one table. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/un.h>

#include "core/dprint.h"
#include "core/sr_module.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"

struct pul_settings pul_settings = {
	.gateway_socket = "/run/p2psip/gateway.sock",
	.tables = "",
	.name_format = "",
	.cache_size = 10000,
	.cache_fresh_ms = 30000,
	.cache_max_s = 3600,
	.peer_cache_size = 1000,
	.hash_size = 15,
	.question_max = 10000, /* as p2p_registrar's lookups_max */
	.publish_window = 64,
	.publish_delay_ms = 20,
	.query_connections = 32,
	.gateway_timeout_ms = 2000,
	.reconnect_max_ms = 1000,
	.withdrawn_max = 100000,
	.sessions_max = 2048,
	.auth_cache_size = 4096,
	.auth_cache_s = 60,
	.moves = 1,
	.memory_pieces = 1,
	.contacts_file = "",
	.contacts_memory = "",
	.contacts_max = 200000,
	.contacts_sync_s = 1,
};

param_export_t pul_params[] = {
	{"gateway_socket", PARAM_STRING, &pul_settings.gateway_socket},
	{"tables", PARAM_STRING, &pul_settings.tables},
	{"name_format", PARAM_STRING, &pul_settings.name_format},
	{"cache_size", PARAM_INT, &pul_settings.cache_size},
	{"cache_fresh_ms", PARAM_INT, &pul_settings.cache_fresh_ms},
	{"cache_max_s", PARAM_INT, &pul_settings.cache_max_s},
	{"peer_cache_size", PARAM_INT, &pul_settings.peer_cache_size},
	{"hash_size", PARAM_INT, &pul_settings.hash_size},
	{"question_max", PARAM_INT, &pul_settings.question_max},
	{"publish_window", PARAM_INT, &pul_settings.publish_window},
	{"publish_delay_ms", PARAM_INT, &pul_settings.publish_delay_ms},
	{"query_connections", PARAM_INT, &pul_settings.query_connections},
	{"gateway_timeout_ms", PARAM_INT, &pul_settings.gateway_timeout_ms},
	{"reconnect_max_ms", PARAM_INT, &pul_settings.reconnect_max_ms},
	{"withdrawn_max", PARAM_INT, &pul_settings.withdrawn_max},
	{"sessions_max", PARAM_INT, &pul_settings.sessions_max},
	{"auth_cache_size", PARAM_INT, &pul_settings.auth_cache_size},
	{"auth_cache_s", PARAM_INT, &pul_settings.auth_cache_s},
	{"moves", PARAM_INT, &pul_settings.moves},
	{"memory_pieces", PARAM_INT, &pul_settings.memory_pieces},
	{"contacts_file", PARAM_STRING, &pul_settings.contacts_file},
	{"contacts_memory", PARAM_STRING, &pul_settings.contacts_memory},
	{"contacts_max", PARAM_INT, &pul_settings.contacts_max},
	{"contacts_sync_s", PARAM_INT, &pul_settings.contacts_sync_s},
	{0, 0, 0},
};

static const struct {
	const char *name;
	const int *value;
	int min, max;
} ranges[] = {
	{"cache_size", &pul_settings.cache_size, 64, 10000000},
	{"cache_fresh_ms", &pul_settings.cache_fresh_ms, 0, 3600000},
	{"cache_max_s", &pul_settings.cache_max_s, 0, 604800},
	{"peer_cache_size", &pul_settings.peer_cache_size, 64, 1000000},
	{"hash_size", &pul_settings.hash_size, 6, 20},
	{"question_max", &pul_settings.question_max, 1, 100000},
	{"publish_window", &pul_settings.publish_window, 1, 1024},
	{"publish_delay_ms", &pul_settings.publish_delay_ms, 0, 1000},
	{"query_connections", &pul_settings.query_connections, 1, 128},
	{"gateway_timeout_ms", &pul_settings.gateway_timeout_ms, 100, 60000},
	{"reconnect_max_ms", &pul_settings.reconnect_max_ms, 50, 60000},
	{"withdrawn_max", &pul_settings.withdrawn_max, 0, 10000000},
	{"sessions_max", &pul_settings.sessions_max, 16, 65536},
	{"auth_cache_size", &pul_settings.auth_cache_size, 64, 1000000},
	{"auth_cache_s", &pul_settings.auth_cache_s, 0, 600},
	{"moves", &pul_settings.moves, 0, 1},
	{"memory_pieces", &pul_settings.memory_pieces, 0, 1},
	{"contacts_max", &pul_settings.contacts_max, 100, 10000000},
	{"contacts_sync_s", &pul_settings.contacts_sync_s, 0, 3600},
};

int pul_settings_check(void)
{
	const size_t path_max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
	size_t i, len;
	int err = 0;

	for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		if (*ranges[i].value < ranges[i].min || *ranges[i].value > ranges[i].max) {
			LM_ERR("parameter %s is %d: it must be from %d to %d\n", ranges[i].name,
			       *ranges[i].value, ranges[i].min, ranges[i].max);
			err = EINVAL;
		}
	}
	len = strlen(pul_settings.gateway_socket);
	if (pul_settings.gateway_socket[0] != '/' || len > path_max) {
		LM_ERR("parameter gateway_socket is \"%s\": it must be an absolute path of at most "
		       "%zu bytes\n",
		       pul_settings.gateway_socket, path_max);
		err = EINVAL;
	}
	if (*pul_settings.contacts_file != '\0' && *pul_settings.contacts_file != '/') {
		LM_ERR("parameter contacts_file is \"%s\": it must be an absolute path, or empty\n",
		       pul_settings.contacts_file);
		err = EINVAL;
	}
	if (*pul_settings.contacts_memory != '\0' && *pul_settings.contacts_memory != '/') {
		LM_ERR("parameter contacts_memory is \"%s\": it must be an absolute path, or "
		       "empty\n",
		       pul_settings.contacts_memory);
		err = EINVAL;
	}
	return err;
}
