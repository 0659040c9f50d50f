/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/proto/resp.h"

#include <inttypes.h>
#include <stdio.h>

static void head(struct p2p_writer *w, char type, size_t n)
{
	char s[32];

	p2p_write(w, s, (size_t)snprintf(s, sizeof(s), "%c%zu\r\n", type, n));
}

void p2p_resp_array(struct p2p_writer *w, size_t n)
{
	head(w, '*', n);
}

void p2p_resp_bulk(struct p2p_writer *w, const void *s, size_t len)
{
	head(w, '$', len);
	p2p_write(w, s, len);
	p2p_write(w, "\r\n", 2);
}

void p2p_resp_str(struct p2p_writer *w, const char *s)
{
	p2p_resp_bulk(w, s, strlen(s));
}

void p2p_resp_u64(struct p2p_writer *w, uint64_t v)
{
	char s[24];

	p2p_resp_bulk(w, s, (size_t)snprintf(s, sizeof(s), "%" PRIu64, v));
}

void p2p_resp_hex32(struct p2p_writer *w, uint32_t v)
{
	uint8_t b[4];
	char s[9];

	p2p_put_be32(b, v);
	p2p_hex_print(s, b, sizeof(b));
	p2p_resp_bulk(w, s, 8);
}

static const char *const codes[] = {
	[P2P_RESP_OTHER] = "OTHER",
	[P2P_RESP_NOTFOUND] = "NOTFOUND",
	[P2P_RESP_TIMEOUT] = "TIMEOUT",
	[P2P_RESP_BUSY] = "BUSY",
	[P2P_RESP_STALE] = "STALE",
	[P2P_RESP_DENIED] = "DENIED",
	[P2P_RESP_BADARG] = "BADARG",
	[P2P_RESP_UNAVAIL] = "UNAVAIL",
	[P2P_RESP_NOHANDSHAKE] = "NOHANDSHAKE",
	[P2P_RESP_PROTO] = "PROTO",
	[P2P_RESP_INTERNAL] = "INTERNAL",
	[P2P_RESP_UNREACHABLE] = "UNREACHABLE",
	[P2P_RESP_NOCOMMON] = "NOCOMMON",
};
#define N_CODES (sizeof(codes) / sizeof(codes[0]))

enum p2p_resp_code p2p_resp_code(const char *text, size_t len)
{
	const char *end = memchr(text, ' ', len);
	size_t n = end != NULL ? (size_t)(end - text) : len, i;

	for (i = 1; i < N_CODES; i++) {
		if (strlen(codes[i]) == n && memcmp(codes[i], text, n) == 0)
			return (enum p2p_resp_code)i;
	}
	return P2P_RESP_OTHER;
}

const char *p2p_resp_code_text(enum p2p_resp_code code)
{
	return (size_t)code < N_CODES ? codes[code] : codes[P2P_RESP_OTHER];
}
