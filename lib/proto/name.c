/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/proto/name.h"

#include <errno.h>
#include <stdint.h>

#include "lib/base/bytes.h"

static bool is_control(unsigned char c)
{
	return c < 0x20 || c == 0x7f;
}

/* What a host is written with: names, IPv4, [IPv6] */
static bool is_host_char(char c)
{
	c = p2p_lower(c);
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
	       c == '_' || c == ':' || c == '[' || c == ']';
}

int p2p_name_make(char out[P2P_NAME_MAX + 1], size_t *outlen, const char *user, size_t userlen,
		  const char *host, size_t hostlen, bool case_sensitive)
{
	char name[P2P_NAME_MAX + 1];
	size_t n = 0, i;

	if (userlen == 0)
		return EINVAL;
	for (i = 0; i < userlen; i++) {
		char c = user[i];

		if (c == '%') {
			int hi, lo;

			if (userlen - i < 3)
				return EINVAL;
			hi = p2p_hex_digit(user[i + 1]);
			lo = p2p_hex_digit(user[i + 2]);
			if (hi < 0 || lo < 0)
				return EINVAL;
			c = (char)(hi << 4 | lo);
			i += 2;
		}
		if (is_control((unsigned char)c))
			return EINVAL;
		if (n == P2P_NAME_MAX)
			return ENAMETOOLONG;
		name[n++] = case_sensitive ? c : p2p_lower(c);
	}
	if (host != NULL) {
		/* "example.com." is example.com */
		if (hostlen > 1 && host[hostlen - 1] == '.')
			hostlen--;
		if (hostlen == 0)
			return EINVAL;
		if (hostlen + 1 > P2P_NAME_MAX - n)
			return ENAMETOOLONG;
		name[n++] = '@';
		for (i = 0; i < hostlen; i++) {
			if (!is_host_char(host[i]))
				return EINVAL;
			name[n++] = p2p_lower(host[i]);
		}
	}
	name[n] = '\0';
	memcpy(out, name, n + 1);
	*outlen = n;
	return 0;
}

bool p2p_name_valid(const char *name, size_t len)
{
	size_t i;

	if (len == 0 || len > P2P_NAME_MAX)
		return false;
	for (i = 0; i < len; i++) {
		if (is_control((unsigned char)name[i]))
			return false;
	}
	return true;
}
