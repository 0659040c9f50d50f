// SPDX-License-Identifier: GPL-2.0-or-later
/* p2p_route: the value of P2P-Peer; see the header. */
#include <ctype.h>
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

/* one name=value */
static void parameter(struct route_header *h, const char *s, size_t len)
{
	const char *eq = memchr(s, '=', len), *value;
	size_t name_len, value_len;

	if (eq == NULL)
		return;
	name_len = (size_t)(eq - s);
	value = eq + 1;
	value_len = len - name_len - 1;
	trim(&s, &name_len);
	trim(&value, &value_len);
	if (name_len == 1 && (*s == 'v' || *s == 'V')) {
		if (value_len != 1 || *value != '1')
			h->has_hit = false;
	} else if (name_len == 4 && strncasecmp(s, "hops", 4) == 0) {
		h->hops = number(value, value_len);
	}
}

void route_header_parse(struct route_header *h, const char *value, size_t len)
{
	const char *semi = memchr(value, ';', len), *s = value;
	size_t n = semi != NULL ? (size_t)(semi - value) : len;

	h->hops = 0;
	trim(&s, &n);
	h->has_hit = p2p_hit_parse(&h->hit, s, n) == 0;
	while (semi != NULL) {
		s = semi + 1;
		n = len - (size_t)(s - value);
		semi = memchr(s, ';', n);
		if (semi != NULL)
			n = (size_t)(semi - s);
		parameter(h, s, n);
	}
}
