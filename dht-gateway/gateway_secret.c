/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/gateway_secret.h"
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include "dht-gateway/gateway_crypto.h"
#include "dht-gateway/gateway_file.h"
#include "lib/base/bytes.h"

#define SECRET_NEW_LEN 32
#define SECRET_TEXT_MAX 512

int gw_secret_create(const char *path, char *err, size_t errlen)
{
	uint8_t raw[SECRET_NEW_LEN];
	char text[2 * SECRET_NEW_LEN + 2];
	int ret = gw_crypto_random(raw, sizeof(raw));

	if (!ret) {
		p2p_hex_print(text, raw, sizeof(raw));
		text[2 * SECRET_NEW_LEN] = '\n';
		ret = gw_file_create(path, text, 2 * SECRET_NEW_LEN + 1);
	}
	OPENSSL_cleanse(raw, sizeof(raw));
	OPENSSL_cleanse(text, sizeof(text));
	if (ret)
		snprintf(err, errlen, "%s: cannot make an overlay secret: %s", path, strerror(ret));
	return ret;
}

static int base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	if (c == '/' || c == '_')
		return 63;
	return -1;
}

static int base64_parse(struct gw_secret *secret, const char *text, size_t len)
{
	uint32_t acc = 0;
	unsigned int bits = 0;

	while (len && text[len - 1] == '=')
		len--;
	if (len % 4 == 1)
		return EINVAL;
	secret->len = 0;
	for (size_t i = 0; i < len; i++) {
		int d = base64_digit(text[i]);

		if (d < 0)
			return EINVAL;
		acc = acc << 6 | (uint32_t)d;
		bits += 6;
		if (bits < 8)
			continue;
		bits -= 8;
		if (secret->len == sizeof(secret->b))
			return EINVAL;
		secret->b[secret->len++] = (uint8_t)(acc >> bits);
	}
	return 0;
}

int gw_secret_parse(struct gw_secret *secret, const char *text, size_t len)
{
	struct gw_secret s;
	int ret = EINVAL;

	memset(&s, 0, sizeof(s));
	while (len && (text[len - 1] == '\n' || text[len - 1] == '\r' || text[len - 1] == ' '))
		len--;
	/* what can be read as hexadecimal is: a secret made here always is */
	if (len % 2 == 0 && len / 2 <= sizeof(s.b) && !p2p_hex_parse(s.b, len / 2, text, len)) {
		s.len = len / 2;
		ret = 0;
	} else {
		ret = base64_parse(&s, text, len);
	}
	if (!ret && s.len < P2P_SECRET_MIN)
		ret = EINVAL;
	if (!ret)
		*secret = s;
	OPENSSL_cleanse(&s, sizeof(s));
	return ret;
}

int gw_secret_load(struct gw_secret *secret, const char *path, char *err, size_t errlen)
{
	char text[SECRET_TEXT_MAX];
	size_t len;
	int ret = gw_file_read_secret(path, text, sizeof(text), &len, err, errlen);

	if (ret == ENOENT)
		snprintf(err, errlen,
			 "%s: the overlay's secret is missing: make one (p2psipctl overlay secret "
			 "new %s), or copy the file from another peer of the overlay",
			 path, path);
	if (ret)
		return ret;
	ret = gw_secret_parse(secret, text, len);
	if (ret)
		snprintf(err, errlen,
			 "%s: no overlay secret (%d to %d bytes in hexadecimal or base64)", path,
			 P2P_SECRET_MIN, P2P_SECRET_MAX);
	OPENSSL_cleanse(text, sizeof(text));
	return ret;
}

uint32_t gw_secret_network(const struct p2p_overlay_id *overlay)
{
	uint32_t id = p2p_be32(overlay->b);

	return id ? id : 1;
}
