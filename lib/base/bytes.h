/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Big-endian numbers, and bounded readers and writers over the caller's bytes. */
#ifndef P2PSIP_BASE_BYTES_H
#define P2PSIP_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t p2p_be16(const uint8_t *p)
{
	return (uint16_t)((unsigned int)p[0] << 8 | p[1]);
}

static inline uint32_t p2p_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t p2p_be64(const uint8_t *p)
{
	return (uint64_t)p2p_be32(p) << 32 | p2p_be32(p + 4);
}

static inline void p2p_put_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void p2p_put_be32(uint8_t *p, uint32_t v)
{
	p2p_put_be16(p, (uint16_t)(v >> 16));
	p2p_put_be16(p + 2, (uint16_t)v);
}

static inline void p2p_put_be64(uint8_t *p, uint64_t v)
{
	p2p_put_be32(p, (uint32_t)(v >> 32));
	p2p_put_be32(p + 4, (uint32_t)v);
}

/* Writes into a buffer of fixed size. What does not fit is not written and sets `full`, so that
 * one look at the end is enough. */
struct p2p_writer {
	uint8_t *p;
	size_t len, cap;
	bool full;
};

static inline void p2p_writer_init(struct p2p_writer *w, void *p, size_t cap)
{
	w->p = p;
	w->len = 0;
	w->cap = cap;
	w->full = false;
}

/* Room for n bytes, or NULL. */
uint8_t *p2p_writer_room(struct p2p_writer *w, size_t n);
void p2p_write(struct p2p_writer *w, const void *s, size_t n);
void p2p_write_u8(struct p2p_writer *w, uint8_t v);
void p2p_write_be16(struct p2p_writer *w, uint16_t v);
void p2p_write_be32(struct p2p_writer *w, uint32_t v);
void p2p_write_be64(struct p2p_writer *w, uint64_t v);

/* Text into a buffer of fixed size: always NUL-terminated (cap at least 1), cut at the end. */
struct p2p_text {
	char *s;
	size_t len, cap;
	bool cut;
};

void p2p_text_init(struct p2p_text *t, char *s, size_t cap);
void p2p_text_add(struct p2p_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Lower case as far as ASCII goes, whatever the locale. */
static inline char p2p_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* Is it this word, which is in lower case, in whatever case? */
bool p2p_word_is(const char *s, size_t len, const char *word);

/* Value of a hexadecimal digit, or -1. */
static inline int p2p_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = p2p_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Lower-case hexadecimal text of n bytes and a NUL: 2n+1 bytes. */
void p2p_hex_print(char *text, const void *bytes, size_t n);
/* Exactly n bytes from 2n digits. 0 or EINVAL. */
int p2p_hex_parse(void *bytes, size_t n, const char *text, size_t len);
/* base64url (RFC 4648 section 5) without padding: P2P_BASE64URL_LEN(n) digits, and a NUL. */
#define P2P_BASE64URL_LEN(n) (((n)*4 + 2) / 3)
void p2p_base64url_print(char *text, const void *bytes, size_t n);
/* Exactly n bytes; bits behind the last one must be 0. 0 or EINVAL. */
int p2p_base64url_parse(void *bytes, size_t n, const char *text, size_t len);
/* Decimal digits only, no sign, no spaces, no leading zeros but "0" itself. EINVAL, ERANGE. */
int p2p_u64_parse(uint64_t *v, const char *text, size_t len);

#endif
