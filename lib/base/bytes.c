/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/base/bytes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

uint8_t *p2p_writer_room(struct p2p_writer *w, size_t n)
{
	uint8_t *p;

	if (w->full || n > w->cap - w->len) {
		w->full = true;
		return NULL;
	}
	p = w->p + w->len;
	w->len += n;
	return p;
}

void p2p_write(struct p2p_writer *w, const void *s, size_t n)
{
	uint8_t *p = p2p_writer_room(w, n);

	if (p != NULL && n > 0)
		memcpy(p, s, n);
}

void p2p_write_u8(struct p2p_writer *w, uint8_t v)
{
	p2p_write(w, &v, 1);
}

void p2p_write_be16(struct p2p_writer *w, uint16_t v)
{
	uint8_t *p = p2p_writer_room(w, 2);

	if (p != NULL)
		p2p_put_be16(p, v);
}

void p2p_write_be32(struct p2p_writer *w, uint32_t v)
{
	uint8_t *p = p2p_writer_room(w, 4);

	if (p != NULL)
		p2p_put_be32(p, v);
}

void p2p_write_be64(struct p2p_writer *w, uint64_t v)
{
	uint8_t *p = p2p_writer_room(w, 8);

	if (p != NULL)
		p2p_put_be64(p, v);
}

void p2p_text_init(struct p2p_text *t, char *s, size_t cap)
{
	t->s = s;
	t->len = 0;
	t->cap = cap;
	t->cut = false;
	s[0] = '\0';
}

void p2p_text_add(struct p2p_text *t, const char *fmt, ...)
{
	size_t left = t->cap - t->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->s + t->len, left, fmt, ap);
	va_end(ap);
	if (n < 0) {
		t->s[t->len] = '\0';
		t->cut = true;
	} else if ((size_t)n >= left) {
		t->len = t->cap - 1;
		t->cut = true;
	} else {
		t->len += (size_t)n;
	}
}

void p2p_hex_print(char *text, const void *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *b = bytes;
	size_t i;

	for (i = 0; i < n; i++) {
		text[2 * i] = digits[b[i] >> 4];
		text[2 * i + 1] = digits[b[i] & 15];
	}
	text[2 * n] = '\0';
}

bool p2p_word_is(const char *s, size_t len, const char *word)
{
	size_t i;

	if (strlen(word) != len)
		return false;
	for (i = 0; i < len; i++) {
		if (p2p_lower(s[i]) != word[i])
			return false;
	}
	return true;
}

int p2p_hex_parse(void *bytes, size_t n, const char *text, size_t len)
{
	uint8_t *b = bytes;
	size_t i;

	if (len != 2 * n)
		return EINVAL;
	for (i = 0; i < len; i++) {
		if (p2p_hex_digit(text[i]) < 0)
			return EINVAL;
	}
	for (i = 0; i < n; i++)
		b[i] = (uint8_t)(p2p_hex_digit(text[2 * i]) << 4 | p2p_hex_digit(text[2 * i + 1]));
	return 0;
}

static const char base64url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void p2p_base64url_print(char *text, const void *bytes, size_t n)
{
	const uint8_t *b = bytes;
	size_t i, at;
	unsigned int v;

	for (i = 0; i < P2P_BASE64URL_LEN(n); i++) {
		at = i * 6 / 8;
		v = (unsigned int)b[at] << 8 | (at + 1 < n ? b[at + 1] : 0u);
		text[i] = base64url[v >> (10 - i * 6 % 8) & 63];
	}
	text[i] = '\0';
}

int p2p_base64url_parse(void *bytes, size_t n, const char *text, size_t len)
{
	uint8_t *b = bytes;
	const char *digit;
	unsigned int v;
	size_t i, at;

	if (len != P2P_BASE64URL_LEN(n))
		return EINVAL;
	memset(b, 0, n);
	for (i = 0; i < len; i++) {
		digit = text[i] != '\0' ? strchr(base64url, text[i]) : NULL;
		if (digit == NULL)
			return EINVAL;
		at = i * 6 / 8;
		v = (unsigned int)(digit - base64url) << (10 - i * 6 % 8);
		b[at] |= (uint8_t)(v >> 8);
		if (at + 1 < n)
			b[at + 1] |= (uint8_t)v;
		else if ((v & 0xff) != 0)
			return EINVAL;
	}
	return 0;
}

int p2p_u64_parse(uint64_t *v, const char *text, size_t len)
{
	uint64_t x = 0;
	size_t i;

	if (len == 0 || (len > 1 && text[0] == '0'))
		return EINVAL;
	for (i = 0; i < len; i++) {
		unsigned int d = (unsigned int)(unsigned char)text[i] - '0';

		if (d > 9)
			return EINVAL;
		if (x > (UINT64_MAX - d) / 10)
			return ERANGE;
		x = x * 10 + d;
	}
	*v = x;
	return 0;
}
