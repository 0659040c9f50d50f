// SPDX-License-Identifier: GPL-2.0-or-later
/* p2p_route: the value of P2P-Peer; see the header. */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "modules/p2p_route/p2p_route_header.h"

static void trim(const char **s, size_t *len)
{
	while (*len > 0 && isspace((unsigned char)**s)) {
		(*s)++;
		(*len)--;
	}
	while (*len > 0 && isspace((unsigned char)(*s)[*len - 1]))
		(*len)--;
}

static unsigned int number(const char *s, size_t len)
{
	unsigned int n = 0;
	size_t i;

	if (len == 0 || len > 5)
		return ROUTE_HOPS_MANY;
	for (i = 0; i < len; i++) {
		if (!isdigit((unsigned char)s[i]))
			return ROUTE_HOPS_MANY;
		n = n * 10 + (unsigned int)(s[i] - '0');
	}
	return n;
}

static bool is(const char *s, size_t len, const char *name)
{
	return len == strlen(name) && strncasecmp(s, name, len) == 0;
}

/* Which of them were there, as bits; SPOILT: one was malformed, or there twice. */
enum { SEEN_SESSION = 1, SEEN_TIME = 2, SEEN_MAC = 4, SEEN_ALL = 7, SPOILT = 8, SEEN_URI = 16 };

static unsigned int seen(unsigned int was, unsigned int bit, bool good)
{
	return was | bit | (!good || (was & bit) != 0 ? SPOILT : 0);
}

/* one name=value */
static unsigned int parameter(struct route_header *h, unsigned int was, const char *s, size_t len)
{
	const char *eq = memchr(s, '=', len), *value;
	size_t name_len, value_len;

	if (eq == NULL)
		return was;
	name_len = (size_t)(eq - s);
	value = eq + 1;
	value_len = len - name_len - 1;
	trim(&s, &name_len);
	trim(&value, &value_len);
	if (is(s, name_len, "v")) {
		if (value_len != 1 || *value != '2')
			h->has_hit = false;
	} else if (is(s, name_len, "hops")) {
		h->hops = number(value, value_len);
	} else if (is(s, name_len, "s")) {
		return seen(was, SEEN_SESSION,
			    p2p_session_id_parse(&h->session, value, value_len) == 0);
	} else if (is(s, name_len, "t")) {
		return seen(was, SEEN_TIME, p2p_u64_parse(&h->t_ms, value, value_len) == 0);
	} else if (is(s, name_len, "mac")) {
		return seen(was, SEEN_MAC,
			    p2p_hex_parse(h->mac, sizeof(h->mac), value, value_len) == 0);
	} else if (is(s, name_len, "u")) {
		return seen(was, SEEN_URI,
			    p2p_hex_parse(h->uri_hash, sizeof(h->uri_hash), value, value_len) == 0);
	}
	return was;
}

void route_header_parse(struct route_header *h, const char *value, size_t len)
{
	const char *semi = memchr(value, ';', len), *s = value;
	size_t n = semi != NULL ? (size_t)(semi - value) : len;
	unsigned int was = 0;

	h->hops = 0;
	trim(&s, &n);
	h->has_hit = p2p_hit_parse(&h->hit, s, n) == 0;
	while (semi != NULL) {
		s = semi + 1;
		n = len - (size_t)(s - value);
		semi = memchr(s, ';', n);
		if (semi != NULL)
			n = (size_t)(semi - s);
		was = parameter(h, was, s, n);
	}
	h->within_dialog = (was & SEEN_URI) != 0;
	h->is_signed = h->has_hit && (was & ~(unsigned int)SEEN_URI) == SEEN_ALL;
}

static char *decimal_print(char *p, uint64_t n)
{
	char digits[20];
	size_t i = sizeof(digits);

	do {
		digits[--i] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	memcpy(p, digits + i, sizeof(digits) - i);
	return p + sizeof(digits) - i;
}

static char *hex_print(char *p, const void *bytes, size_t n)
{
	p2p_hex_print(p, bytes, n);
	return p + 2 * n;
}

/* For each request between peers: no snprintf(), which takes as long as a block of SHA-256. */
size_t route_header_print(const struct route_header *h, char text[ROUTE_HEADER_MAX])
{
	char *p = stpcpy(text, ROUTE_HEADER ": ");

	p2p_hit_print(&h->hit, p);
	p = stpcpy(p + strlen(p), ";v=2;hops=");
	p = decimal_print(p, h->hops);
	if (h->is_signed) {
		p = stpcpy(p, ";s=");
		p = hex_print(p, &h->session, sizeof(h->session));
		p = stpcpy(p, ";t=");
		p = decimal_print(p, h->t_ms);
		if (h->within_dialog) {
			p = stpcpy(p, ";u=");
			p = hex_print(p, h->uri_hash, sizeof(h->uri_hash));
		}
		p = stpcpy(p, ";mac=");
		p = hex_print(p, h->mac, sizeof(h->mac));
	}
	p = stpcpy(p, "\r\n");
	return (size_t)(p - text);
}

_Static_assert(ROUTE_HEADER_MAX > ROUTE_HEADER_LEN + 2 + P2P_HIT_TEXT_MAX + 4 + 16 + 3 +
					  P2P_SESSION_ID_TEXT_MAX + 3 + 20 + 3 +
					  2 * ROUTE_URI_HASH_LEN + 5 + 2 * ROUTE_MAC_LEN + 3,
	       "the longest header fits");

int route_signed_bytes(const struct route_header *h, const struct route_signed *s,
		       struct p2p_writer *w)
{
	size_t i;

	p2p_write(w, "p2psip-sip", sizeof("p2psip-sip"));
	p2p_write(w, &h->session, sizeof(h->session));
	p2p_write_be64(w, h->t_ms);
	p2p_write_be32(w, h->hops);
	for (i = 0; i < sizeof(s->len) / sizeof(s->len[0]); i++) {
		if (s->len[i] > UINT16_MAX)
			return EMSGSIZE;
		p2p_write_be16(w, (uint16_t)s->len[i]);
		p2p_write(w, s->part[i], s->len[i]);
	}
	return w->full ? EMSGSIZE : 0;
}
