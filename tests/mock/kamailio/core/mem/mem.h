/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stands in for Kamailio's core/mem/mem.h in unit tests: malloc. */
#ifndef MOCK_KAMAILIO_MEM_H
#define MOCK_KAMAILIO_MEM_H

#include <stdlib.h>

#define pkg_malloc(n) malloc(n)
#define pkg_free(p) free(p)
#define PKG_MEM_ERROR ((void)0)

#endif
