/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: one contact of usrloc as bytes, for the file of contacts. Knows nothing of Kamailio.
 * The ruid comes first: it is the key. */
#ifndef P2P_USRLOC_RECORD_H
#define P2P_USRLOC_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longer ones are no contacts of ours. */
#define PUL_RECORD_RUID_MAX 255
#define PUL_RECORD_TABLE_MAX 64
#define PUL_RECORD_STRING_MAX 4096

enum pul_record_string {
	PUL_RECORD_TABLE,
	PUL_RECORD_AOR,
	PUL_RECORD_CONTACT,
	PUL_RECORD_RECEIVED,
	PUL_RECORD_PATH,
	PUL_RECORD_SOCKET, /* proto:host:port */
	PUL_RECORD_CALLID,
	PUL_RECORD_USER_AGENT,
	PUL_RECORD_INSTANCE,
	PUL_RECORD_XAVP, /* see p2p_usrloc_restore.c */
	PUL_RECORD_STRINGS,
};

#define PUL_RECORD_STREAM 1u /* bound to a connection */
#define PUL_RECORD_MARKS PUL_RECORD_STREAM

struct pul_record {
	size_t ruid_len;
	const char *ruid;
	struct {
		size_t len;
		const char *s; /* not NUL-terminated */
	} str[PUL_RECORD_STRINGS];
	int32_t q, server_id;
	uint32_t flags, cflags, methods, reg_id;
	uint32_t marks; /* PUL_RECORD_STREAM */
};

/* Returns the length, or 0: it does not fit, or a string is longer than may be. */
size_t pul_record_write(const struct pul_record *r, uint8_t *buf, size_t size);
/* The strings point into data. False: these are not all and only the bytes of one contact, or what
 * a contact must have is missing: ruid, table, AoR, contact, Call-ID. */
bool pul_record_read(struct pul_record *r, const uint8_t *data, size_t len, size_t ruid_len);

#endif
