/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stands in for Kamailio's core/counters.h in unit tests. */
#ifndef MOCK_KAMAILIO_COUNTERS_H
#define MOCK_KAMAILIO_COUNTERS_H
#endif
