/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stands in for Kamailio's core/sr_module.h in unit tests. */
#ifndef MOCK_KAMAILIO_SR_MODULE_H
#define MOCK_KAMAILIO_SR_MODULE_H

#include "core/dprint.h"

typedef struct param_export {
	const char *name;
} param_export_t;

static inline void *find_export(const char *name, int params, int flags)
{
	(void)name;
	(void)params;
	(void)flags;
	return (void *)0;
}

#endif
