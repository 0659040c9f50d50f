/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dht-gateway/peers/gateway_policy.h"
#include <errno.h>
#include <string.h>
#include "dht-gateway/members/gateway_peers.h"

#define SPACE " \t"

static int word_add(uint8_t *list, uint8_t *n, uint8_t max, uint8_t value)
{
	if (!value || *n >= max)
		return EINVAL;
	for (uint8_t i = 0; i < *n; i++)
		if (list[i] == value)
			return EINVAL;
	list[(*n)++] = value;
	return 0;
}

static bool is(const char *s, size_t len, const char *word)
{
	return len == strlen(word) && !memcmp(s, word, len);
}

static int add(struct gw_policy *p, const char *key, size_t keylen, const char *word, size_t len)
{
	if (is(key, keylen, "signalling"))
		return word_add(p->signalling, &p->n_signallings, P2P_OFFER_SIGNALLINGS_MAX,
				p2p_signalling_parse(word, len));
	if (is(key, keylen, "family"))
		return word_add(p->family, &p->n_families, P2P_OFFER_FAMILIES_MAX,
				p2p_family_parse(word, len));
	if (is(key, keylen, "media"))
		return word_add(p->media, &p->n_medias, P2P_OFFER_MEDIAS_MAX,
				p2p_media_parse(word, len));
	return EINVAL;
}

int gw_policy_words(struct gw_policy *policy, const char *key, const char *words)
{
	unsigned int n = 0;

	for (;; n++) {
		size_t len;

		words += strspn(words, SPACE);
		len = strcspn(words, SPACE);
		if (!len)
			return n ? 0 : EINVAL;
		if (add(policy, key, strlen(key), words, len))
			return EINVAL;
		words += len;
	}
}

int gw_policy_peer(const char *text, struct p2p_hit *hit, struct gw_policy *policy)
{
	struct gw_policy p = {0};
	const char *key = NULL;
	size_t len, keylen = 0, words = 0;

	text += strspn(text, SPACE);
	len = strcspn(text, SPACE);
	if (p2p_hit_parse(hit, text, len))
		return EINVAL;
	for (text += len;; text += len) {
		const char *sign;

		text += strspn(text, SPACE);
		len = strcspn(text, SPACE);
		sign = len ? memchr(text, '=', len) : NULL;
		/* a key without words says nothing, and means a mistake */
		if ((!len || sign) && key && !words)
			return EINVAL;
		if (!len)
			break;
		if (sign) {
			key = text;
			keylen = (size_t)(sign - text);
			words = 0;
			len = keylen + 1;
			continue;
		}
		if (!key || add(&p, key, keylen, text, len))
			return EINVAL;
		words++;
	}
	if (!key)
		return EINVAL;
	*policy = p;
	return 0;
}

static void take(const struct gw_policy *p, struct p2p_offer *offer)
{
	if (p->n_signallings) {
		offer->n_signallings = p->n_signallings;
		memcpy(offer->signalling, p->signalling, sizeof(p->signalling));
	}
	if (p->n_families) {
		offer->n_families = p->n_families;
		memcpy(offer->family, p->family, sizeof(p->family));
	}
	if (p->n_medias) {
		offer->n_medias = p->n_medias;
		memcpy(offer->media, p->media, sizeof(p->media));
	}
}

static void signalling_default(const struct gw *gw, struct p2p_offer *offer)
{
	if (gw->enrolled && (p2p_offer_uri(offer, P2P_SIGNALLING_TLS, 4) ||
			     p2p_offer_uri(offer, P2P_SIGNALLING_TLS, 6)))
		offer->signalling[offer->n_signallings++] = P2P_SIGNALLING_TLS;
	offer->signalling[offer->n_signallings++] = P2P_SIGNALLING_UDP;
	offer->signalling[offer->n_signallings++] = P2P_SIGNALLING_TCP;
}

void gw_policy_offer(const struct gw *gw, const struct p2p_hit *hit, struct p2p_offer *offer)
{
	const struct gw_settings *s = gw->settings;
	char uri[P2P_CANDIDATE_URIS_MAX][P2P_CANDIDATE_URI_MAX];
	struct gw_policy own = {0};
	unsigned int n = gw_peers_uris(gw->peers, uri);

	memset(offer, 0, sizeof(*offer));
	for (unsigned int i = 0; i < n; i++)
		p2p_offer_add(offer, uri[i], strlen(uri[i]));
	signalling_default(gw, offer);
	if (*s->signalling)
		gw_policy_words(&own, "signalling", s->signalling);
	gw_policy_words(&own, "family", s->family);
	gw_policy_words(&own, "media", s->media);
	take(&own, offer);
	for (size_t i = 0; i < s->transport_peers.n; i++) {
		struct gw_policy theirs;
		struct p2p_hit whom;

		if (!gw_policy_peer(s->transport_peers.v[i], &whom, &theirs) &&
		    !p2p_hit_cmp(&whom, hit))
			take(&theirs, offer);
	}
}
