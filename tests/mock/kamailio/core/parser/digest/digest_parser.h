/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is used of Kamailio's parsed credentials. */
#ifndef MOCK_DIGEST_PARSER_H
#define MOCK_DIGEST_PARSER_H

#include "core/str.h"

typedef enum { QOP_UNSPEC = 0, QOP_AUTH = 1, QOP_AUTHINT = 2, QOP_OTHER = 4 } qop_type_t;

typedef struct dig_cred {
	str nonce, uri, response, cnonce, nc;
	struct {
		str alg_str;
	} alg;
	struct {
		str qop_str;
		qop_type_t qop_parsed;
	} qop;
} dig_cred_t;

#endif
