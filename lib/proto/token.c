/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/proto/token.h"

#include <errno.h>
#include <string.h>

#include "lib/base/bytes.h"

#define PREFIX "p2psip-"
#define VERSION 1
#define CHECK_LEN 4
#define HEAD_LEN (1 + P2P_OVERLAY_ID_LEN + P2P_HIT_LEN + P2P_TOKEN_SECRET_LEN + 8)
#define RAW_MAX (HEAD_LEN + P2P_TOKEN_ADDRESSES_MAX * P2P_TOKEN_ADDRESS_MAX + CHECK_LEN)

_Static_assert(sizeof(PREFIX) + P2P_BASE64URL_LEN(RAW_MAX) <= P2P_TOKEN_MAX, "P2P_TOKEN_MAX");

static int host_char(char c)
{
	c = p2p_lower(c);
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

int p2p_token_address_check(const char *address)
{
	size_t len = strnlen(address, P2P_TOKEN_ADDRESS_MAX), i = 0;
	const char *port;
	uint64_t number;

	if (len == P2P_TOKEN_ADDRESS_MAX)
		return EINVAL;
	if (address[0] == '[') {
		for (i = 1; i < len && (p2p_hex_digit(address[i]) >= 0 || address[i] == ':' ||
					address[i] == '.');
		     i++)
			;
		if (i < 3 || i == len || address[i++] != ']')
			return EINVAL;
	} else {
		while (i < len && host_char(address[i]))
			i++;
		if (i == 0 || address[0] == '-')
			return EINVAL;
	}
	if (i >= len || address[i] != ':')
		return EINVAL;
	port = address + i + 1;
	if (p2p_u64_parse(&number, port, strlen(port)) != 0 || number == 0 || number > 65535)
		return EINVAL;
	return 0;
}

void p2p_token_address_split(const char *address, char host[P2P_TOKEN_ADDRESS_MAX], uint16_t *port)
{
	const char *colon = strrchr(address, ':');
	int brackets = address[0] == '[';
	size_t len = (size_t)(colon - address) - (brackets ? 2 : 0);
	uint64_t number = 0;

	memcpy(host, address + brackets, len);
	host[len] = '\0';
	p2p_u64_parse(&number, colon + 1, strlen(colon + 1));
	*port = (uint16_t)number;
}

/* Against typing and cutting, not against anybody: 32-bit FNV-1a. */
static uint32_t check_of(const uint8_t *p, size_t n)
{
	uint32_t h = 2166136261u;

	while (n-- > 0)
		h = (h ^ *p++) * 16777619u;
	return h;
}

int p2p_token_print(const struct p2p_token *token, char text[P2P_TOKEN_MAX])
{
	uint8_t raw[RAW_MAX];
	struct p2p_writer w;
	unsigned int i;

	if (token->n_addresses == 0 || token->n_addresses > P2P_TOKEN_ADDRESSES_MAX)
		return EINVAL;
	p2p_writer_init(&w, raw, sizeof(raw) - CHECK_LEN);
	p2p_write_u8(&w, VERSION);
	p2p_write(&w, token->overlay.b, sizeof(token->overlay.b));
	p2p_write(&w, token->hit.b, sizeof(token->hit.b));
	p2p_write(&w, token->secret, sizeof(token->secret));
	p2p_write_be64(&w, token->expiry_s);
	for (i = 0; i < token->n_addresses; i++) {
		if (p2p_token_address_check(token->address[i]) != 0)
			return EINVAL;
		if (i > 0)
			p2p_write_u8(&w, ',');
		p2p_write(&w, token->address[i], strlen(token->address[i]));
	}
	p2p_put_be32(raw + w.len, check_of(raw, w.len));
	memcpy(text, PREFIX, sizeof(PREFIX) - 1);
	p2p_base64url_print(text + sizeof(PREFIX) - 1, raw, w.len + CHECK_LEN);
	return 0;
}

static int addresses_read(struct p2p_token *token, const char *s, size_t len)
{
	while (len > 0) {
		const char *comma = memchr(s, ',', len);
		size_t n = comma != NULL ? (size_t)(comma - s) : len;
		char *to = token->address[token->n_addresses];

		if (token->n_addresses == P2P_TOKEN_ADDRESSES_MAX || n >= P2P_TOKEN_ADDRESS_MAX ||
		    memchr(s, '\0', n) != NULL || (comma != NULL && n + 1 == len))
			return EINVAL;
		memcpy(to, s, n);
		to[n] = '\0';
		if (p2p_token_address_check(to) != 0)
			return EINVAL;
		token->n_addresses++;
		s += n + (comma != NULL);
		len -= n + (comma != NULL);
	}
	return token->n_addresses > 0 ? 0 : EINVAL;
}

int p2p_token_parse(struct p2p_token *out, const char *text, size_t len)
{
	struct p2p_token token = {0};
	uint8_t raw[RAW_MAX];
	const uint8_t *p = raw + 1;
	size_t n;

	if (len >= P2P_TOKEN_MAX || len < sizeof(PREFIX) ||
	    memcmp(text, PREFIX, sizeof(PREFIX) - 1) != 0)
		return EINVAL;
	text += sizeof(PREFIX) - 1;
	len -= sizeof(PREFIX) - 1;
	n = len * 3 / 4;
	if (n > sizeof(raw) || n <= HEAD_LEN + CHECK_LEN ||
	    p2p_base64url_parse(raw, n, text, len) != 0)
		return EBADMSG;
	n -= CHECK_LEN;
	if (p2p_be32(raw + n) != check_of(raw, n))
		return EBADMSG;
	if (raw[0] != VERSION)
		return EPROTONOSUPPORT;
	memcpy(token.overlay.b, p, sizeof(token.overlay.b));
	p += sizeof(token.overlay.b);
	memcpy(token.hit.b, p, sizeof(token.hit.b));
	p += sizeof(token.hit.b);
	memcpy(token.secret, p, sizeof(token.secret));
	p += sizeof(token.secret);
	token.expiry_s = p2p_be64(p);
	if (addresses_read(&token, (const char *)raw + HEAD_LEN, n - HEAD_LEN) != 0)
		return EBADMSG;
	*out = token;
	return 0;
}
