/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/model/session.h"
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include "lib/base/bytes.h"

struct word {
	uint8_t bit;
	const char *text;
};

static const struct word signallings[] = {
	{P2P_SIGNALLING_UDP, "udp"},
	{P2P_SIGNALLING_TCP, "tcp"},
	{P2P_SIGNALLING_TLS, "tls"},
	{0, NULL},
};

static const struct word medias[] = {
	{P2P_MEDIA_RTP, "rtp"},
	{P2P_MEDIA_SDES, "srtp-sdes"},
	{P2P_MEDIA_DTLS, "srtp-dtls"},
	{0, NULL},
};

static const char *word_text(const struct word *w, uint8_t bit)
{
	for (; w->text; w++)
		if (w->bit == bit)
			return w->text;
	return NULL;
}

static uint8_t word_parse(const struct word *w, const char *text, size_t len)
{
	for (; w->text; w++)
		if (strlen(w->text) == len && !memcmp(w->text, text, len))
			return w->bit;
	return 0;
}

const char *p2p_signalling_text(uint8_t signalling)
{
	return word_text(signallings, signalling);
}

const char *p2p_media_text(uint8_t media)
{
	return word_text(medias, media);
}

uint8_t p2p_signalling_parse(const char *text, size_t len)
{
	return word_parse(signallings, text, len);
}

uint8_t p2p_media_parse(const char *text, size_t len)
{
	return word_parse(medias, text, len);
}

void p2p_session_id_print(const struct p2p_session_id *id, char text[P2P_SESSION_ID_TEXT_MAX])
{
	p2p_hex_print(text, id->b, sizeof(id->b));
}

int p2p_session_id_parse(struct p2p_session_id *id, const char *text, size_t len)
{
	static const struct p2p_session_id zero;
	struct p2p_session_id parsed;

	for (size_t i = 0; i < len; i++)
		if (isupper((unsigned char)text[i]))
			return EINVAL;
	if (p2p_hex_parse(parsed.b, sizeof(parsed.b), text, len) ||
	    !memcmp(&parsed, &zero, sizeof(zero)))
		return EINVAL;
	*id = parsed;
	return 0;
}
