/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stands in for Kamailio's core/str.h in unit tests. */
#ifndef MOCK_KAMAILIO_STR_H
#define MOCK_KAMAILIO_STR_H

typedef struct {
	char *s;
	int len;
} str;
#define str_init(x)                                                                                \
	{                                                                                          \
		(char *)(x), sizeof(x) - 1                                                         \
	}

#endif
