/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: a contact as bytes.
 *
 *	ruid | version | marks q flags cflags methods reg_id server_id | strings, each with its
 *	length in 16 bits | numbers in the machine's order, as all of the file */
#include <string.h>

#include "modules/p2p_usrloc/p2p_usrloc_record.h"

#define RECORD_VERSION 1

struct numbers {
	uint32_t version, marks;
	int32_t q, server_id;
	uint32_t flags, cflags, methods, reg_id;
};

static size_t string_max(unsigned int i)
{
	return i == PUL_RECORD_TABLE ? PUL_RECORD_TABLE_MAX : PUL_RECORD_STRING_MAX;
}

size_t pul_record_write(const struct pul_record *r, uint8_t *buf, size_t size)
{
	const struct numbers n = {RECORD_VERSION, r->marks,  r->q,	 r->server_id,
				  r->flags,	  r->cflags, r->methods, r->reg_id};
	uint8_t *p = buf;
	uint16_t len;
	unsigned int i;

	if (r->ruid_len == 0 || r->ruid_len > PUL_RECORD_RUID_MAX || size < r->ruid_len + sizeof(n))
		return 0;
	memcpy(p, r->ruid, r->ruid_len);
	p += r->ruid_len;
	memcpy(p, &n, sizeof(n));
	p += sizeof(n);
	for (i = 0; i < PUL_RECORD_STRINGS; i++) {
		if (r->str[i].len > string_max(i) ||
		    size - (size_t)(p - buf) < sizeof(len) + r->str[i].len)
			return 0;
		len = (uint16_t)r->str[i].len;
		memcpy(p, &len, sizeof(len));
		p += sizeof(len);
		if (len > 0)
			memcpy(p, r->str[i].s, len);
		p += len;
	}
	return (size_t)(p - buf);
}

bool pul_record_read(struct pul_record *r, const uint8_t *data, size_t len, size_t ruid_len)
{
	static const enum pul_record_string needed[] = {PUL_RECORD_TABLE, PUL_RECORD_AOR,
							PUL_RECORD_CONTACT, PUL_RECORD_CALLID};
	const uint8_t *p = data, *end = data + len;
	struct numbers n;
	uint16_t string;
	unsigned int i;

	if (ruid_len == 0 || ruid_len > PUL_RECORD_RUID_MAX || len < ruid_len + sizeof(n))
		return false;
	r->ruid = (const char *)p;
	r->ruid_len = ruid_len;
	p += ruid_len;
	memcpy(&n, p, sizeof(n));
	p += sizeof(n);
	if (n.version != RECORD_VERSION || (n.marks & ~PUL_RECORD_MARKS) != 0)
		return false;
	r->marks = n.marks;
	r->q = n.q;
	r->server_id = n.server_id;
	r->flags = n.flags;
	r->cflags = n.cflags;
	r->methods = n.methods;
	r->reg_id = n.reg_id;
	for (i = 0; i < PUL_RECORD_STRINGS; i++) {
		if ((size_t)(end - p) < sizeof(string))
			return false;
		memcpy(&string, p, sizeof(string));
		p += sizeof(string);
		if (string > string_max(i) || (size_t)(end - p) < string)
			return false;
		r->str[i].len = string;
		r->str[i].s = (const char *)p;
		p += string;
	}
	for (i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (r->str[needed[i]].len == 0)
			return false;
	}
	return p == end;
}
