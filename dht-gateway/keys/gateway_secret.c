/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/keys/gateway_secret.h"
#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include "dht-gateway/keys/gateway_crypto.h"
#include "dht-gateway/keys/gateway_file.h"
#include "lib/base/bytes.h"

#define SECRET_NEW_LEN 32
#define SECRET_TEXT_MAX 2048

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

int gw_secret_random(struct gw_secret *secret)
{
	memset(secret, 0, sizeof(*secret));
	secret->len = SECRET_NEW_LEN;
	return gw_crypto_random(secret->b, SECRET_NEW_LEN);
}

int gw_secret_load(struct gw_secret *secret, const char *path, char *err, size_t errlen)
{
	struct gw_secrets all;
	int ret = gw_secrets_load(&all, path, err, errlen);

	if (!ret)
		*secret = all.e[0].s;
	OPENSSL_cleanse(&all, sizeof(all));
	return ret;
}

/* --- generations -------------------------------------------------------------------------------
 */

/* "before <hex> 3 1767225600000" or "next <hex> 0 0"; "generation 4 1767225600000" is of the first
 * line's. What a later version adds is passed over. */
static int line_parse(struct gw_secrets *s, const char *line)
{
	char hex[2 * P2P_SECRET_MAX + 1];
	struct gw_secret secret;
	uint64_t since;
	uint32_t generation;
	int ret = 0;

	if (sscanf(line, "generation %" SCNu32 " %" SCNu64, &generation, &since) == 2) {
		s->e[0].generation = generation;
		s->e[0].since_ms = since;
	} else if (sscanf(line, "before %128[0-9a-f] %" SCNu32 " %" SCNu64, hex, &generation,
			  &since) == 3) {
		ret = gw_secret_parse(&secret, hex, strlen(hex));
		if (!ret && s->n < GW_SECRETS_MAX) {
			s->e[s->n].s = secret;
			s->e[s->n].generation = generation;
			s->e[s->n++].since_ms = since;
		}
	} else if (sscanf(line, "next %128[0-9a-f]", hex) == 1) {
		ret = gw_secret_parse(&s->next, hex, strlen(hex));
		s->has_next = !ret;
	}
	OPENSSL_cleanse(hex, sizeof(hex));
	OPENSSL_cleanse(&secret, sizeof(secret));
	return ret;
}

static int text_parse(struct gw_secrets *s, char *text)
{
	char *save = NULL, *line = strtok_r(text, "\n", &save);
	int ret = line ? gw_secret_parse(&s->e[0].s, line, strlen(line)) : EINVAL;

	s->n = 1;
	while (!ret && (line = strtok_r(NULL, "\n", &save)))
		ret = line_parse(s, line);
	return ret;
}

int gw_secrets_load(struct gw_secrets *secrets, const char *path, char *err, size_t errlen)
{
	struct gw_secrets s;
	char text[SECRET_TEXT_MAX];
	size_t len;
	int ret = gw_file_read_secret(path, text, sizeof(text), &len, err, errlen);

	if (ret == ENOENT)
		snprintf(err, errlen,
			 "%s: the overlay's secret is missing: begin an overlay (p2psipctl overlay "
			 "create), join one (p2psipctl join), or, without an authority, make a "
			 "secret (p2psipctl overlay secret new %s) or copy that of another peer",
			 path, path);
	if (ret)
		return ret;
	memset(&s, 0, sizeof(s));
	ret = text_parse(&s, text);
	if (ret)
		snprintf(err, errlen,
			 "%s: no overlay secret (%d to %d bytes in hexadecimal or base64)", path,
			 P2P_SECRET_MIN, P2P_SECRET_MAX);
	else
		*secrets = s;
	OPENSSL_cleanse(&s, sizeof(s));
	OPENSSL_cleanse(text, sizeof(text));
	return ret;
}

static void hex_add(struct p2p_text *t, const char *word, const struct gw_secret *s)
{
	char hex[2 * P2P_SECRET_MAX + 1];

	p2p_hex_print(hex, s->b, s->len);
	p2p_text_add(t, "%s%s", word, hex);
	OPENSSL_cleanse(hex, sizeof(hex));
}

int gw_secrets_save(const struct gw_secrets *s, const char *path)
{
	char text[SECRET_TEXT_MAX];
	struct p2p_text t;
	int ret;

	p2p_text_init(&t, text, sizeof(text));
	hex_add(&t, "", &s->e[0].s);
	p2p_text_add(&t, "\ngeneration %" PRIu32 " %" PRIu64 "\n", s->e[0].generation,
		     s->e[0].since_ms);
	for (unsigned int i = 1; i < s->n; i++) {
		hex_add(&t, "before ", &s->e[i].s);
		p2p_text_add(&t, " %" PRIu32 " %" PRIu64 "\n", s->e[i].generation,
			     s->e[i].since_ms);
	}
	if (s->has_next) {
		hex_add(&t, "next ", &s->next);
		p2p_text_add(&t, "\n");
	}
	ret = t.cut ? EMSGSIZE : gw_file_replace(path, text, t.len);
	OPENSSL_cleanse(text, sizeof(text));
	return ret;
}

int gw_secrets_push(struct gw_secrets *s, const struct gw_secret *secret, uint32_t generation,
		    uint64_t now_ms)
{
	if (generation <= s->e[0].generation)
		return EALREADY;
	if (s->n < GW_SECRETS_MAX)
		s->n++;
	memmove(&s->e[1], &s->e[0], (s->n - 1) * sizeof(s->e[0]));
	s->e[0].s = *secret;
	s->e[0].generation = generation;
	s->e[0].since_ms = now_ms;
	return 0;
}

unsigned int gw_secrets_live(const struct gw_secrets *s, uint64_t now_ms)
{
	unsigned int n = 1;

	/* a clock that was set back keeps them longer */
	while (n < s->n && now_ms < s->e[n - 1].since_ms + GW_SECRET_OVERLAP_MS)
		n++;
	return n;
}

uint32_t gw_secret_network(const struct p2p_overlay_id *overlay)
{
	uint32_t id = p2p_be32(overlay->b);

	return id ? id : 1;
}
