/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RESP2 (the Redis protocol) between modules and daemons: writing commands and replies into the
 * caller's buffer, and the code words that error replies begin with. */
#ifndef P2PSIP_PROTO_RESP_H
#define P2PSIP_PROTO_RESP_H

#include <stddef.h>
#include <stdint.h>
#include "lib/base/bytes.h"

/* The version that HANDSHAKE offers. */
#define P2P_RESP_VERSION 2

/* A command is p2p_resp_array(n) and then n bulks; each function sets w->full when it does not
 * fit. */
void p2p_resp_array(struct p2p_writer *w, size_t n);
void p2p_resp_bulk(struct p2p_writer *w, const void *s, size_t len);
void p2p_resp_str(struct p2p_writer *w, const char *s);
void p2p_resp_u64(struct p2p_writer *w, uint64_t v);   /* bulk, decimal */
void p2p_resp_hex32(struct p2p_writer *w, uint32_t v); /* bulk, 8 digits */

enum p2p_resp_code {
	P2P_RESP_OTHER = 0, /* a code word that is not known here */
	P2P_RESP_NOTFOUND,
	P2P_RESP_TIMEOUT,
	P2P_RESP_BUSY,
	P2P_RESP_STALE,
	P2P_RESP_DENIED,
	P2P_RESP_BADARG,
	P2P_RESP_UNAVAIL,
	P2P_RESP_NOHANDSHAKE,
	P2P_RESP_PROTO,
	P2P_RESP_INTERNAL,
	P2P_RESP_UNREACHABLE, /* the other peer's gateway does not answer */
	P2P_RESP_NOCOMMON,    /* no way to talk that both peers offer */
};

/* The code word of an error reply (its text without the '-'). */
enum p2p_resp_code p2p_resp_code(const char *text, size_t len);
const char *p2p_resp_code_text(enum p2p_resp_code code);

#endif
