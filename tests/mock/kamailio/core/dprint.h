/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stands in for Kamailio's core/dprint.h in unit tests: nothing is printed. */
#ifndef MOCK_KAMAILIO_DPRINT_H
#define MOCK_KAMAILIO_DPRINT_H

#include "core/locking.h"

/* Nor may anything be logged with a lock held. */
#define LM_ERR(...) mock_lock_none_held()
#define LM_WARN(...) mock_lock_none_held()
#define LM_INFO(...) mock_lock_none_held()
#define LM_DBG(...) mock_lock_none_held()

#endif
