/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/model/negotiate.h"
#include <errno.h>
#include <string.h>
#include "lib/base/bytes.h"
#include "lib/proto/opp.h"
#include "lib/proto/record.h"

/* By what they protect, the most first: decides between equals. */
static const uint8_t signallings[] = {P2P_SIGNALLING_TLS, P2P_SIGNALLING_TCP, P2P_SIGNALLING_UDP};
static const uint8_t families[] = {6, 4};
static const uint8_t medias[] = {P2P_MEDIA_DTLS, P2P_MEDIA_SDES, P2P_MEDIA_RTP};
#define N(a) (sizeof(a) / sizeof((a)[0]))

static int place(const uint8_t *list, uint8_t n, uint8_t what)
{
	for (uint8_t i = 0; i < n; i++)
		if (list[i] == what)
			return i;
	return -1;
}

/* The places in both lists together; -1: not in both. */
static int cost(const uint8_t *a, uint8_t na, const uint8_t *b, uint8_t nb, uint8_t what)
{
	int x = place(a, na, what), y = place(b, nb, what);

	return x < 0 || y < 0 ? -1 : x + y;
}

const char *p2p_offer_uri(const struct p2p_offer *offer, uint8_t signalling, uint8_t family)
{
	for (unsigned int i = 0; i < offer->n_addresses; i++)
		if (offer->address[i].signalling == signalling &&
		    offer->address[i].family == family)
			return offer->address[i].uri;
	return NULL;
}

static bool has_any(const struct p2p_offer *o, uint8_t signalling)
{
	return p2p_offer_uri(o, signalling, 4) || p2p_offer_uri(o, signalling, 6);
}

static int signalling_cost(const struct p2p_offer *a, const struct p2p_offer *b, uint8_t what)
{
	return cost(a->signalling, a->n_signallings, b->signalling, b->n_signallings, what);
}

/* The family to use this signalling over; 0: none. */
static uint8_t family_of(const struct p2p_offer *a, const struct p2p_offer *b, uint8_t signalling)
{
	uint8_t best = 0;
	int least = -1;

	for (size_t i = 0; i < N(families); i++) {
		uint8_t f = families[i];
		int c = cost(a->family, a->n_families, b->family, b->n_families, f);

		if (c < 0 || !p2p_offer_uri(a, signalling, f) || !p2p_offer_uri(b, signalling, f) ||
		    (best && c >= least))
			continue;
		best = f;
		least = c;
	}
	return best;
}

static uint8_t stream_family(const struct p2p_offer *a, const struct p2p_offer *b,
			     const struct p2p_agreed *agreed)
{
	if (agreed->signalling != P2P_SIGNALLING_UDP ||
	    signalling_cost(a, b, P2P_SIGNALLING_TCP) < 0)
		return 0;
	if (p2p_offer_uri(a, P2P_SIGNALLING_TCP, agreed->family) &&
	    p2p_offer_uri(b, P2P_SIGNALLING_TCP, agreed->family))
		return agreed->family;
	return family_of(a, b, P2P_SIGNALLING_TCP);
}

enum p2p_uncommon p2p_negotiate(const struct p2p_offer *a, const struct p2p_offer *b,
				struct p2p_agreed *agreed)
{
	enum p2p_uncommon what = P2P_UNCOMMON_SIGNALLING;
	struct p2p_agreed best = {0};
	int least = -1;

	for (size_t i = 0; i < N(signallings); i++) {
		uint8_t s = signallings[i], f;
		int c = signalling_cost(a, b, s);

		if (c < 0)
			continue;
		f = family_of(a, b, s);
		if (!f) {
			if (has_any(a, s) && has_any(b, s))
				what = P2P_UNCOMMON_FAMILY;
			continue;
		}
		if (best.signalling && c >= least)
			continue;
		best.signalling = s;
		best.family = f;
		least = c;
	}
	if (!best.signalling)
		return what;
	for (size_t i = 0; i < N(medias); i++) {
		int c = cost(a->media, a->n_medias, b->media, b->n_medias, medias[i]);

		if (c < 0 || (best.media && c >= least))
			continue;
		best.media = medias[i];
		least = c;
	}
	if (!best.media)
		return P2P_UNCOMMON_MEDIA;
	best.stream_family = stream_family(a, b, &best);
	*agreed = best;
	return P2P_COMMON;
}

/* --- offers ------------------------------------------------------------------------------------
 */

static bool list_valid(const uint8_t *list, uint8_t n, uint8_t max, const uint8_t *known,
		       size_t n_known)
{
	if (n > max)
		return false;
	for (uint8_t i = 0; i < n; i++)
		if (place(known, (uint8_t)n_known, list[i]) < 0 || place(list, i, list[i]) >= 0)
			return false;
	return true;
}

bool p2p_offer_valid(const struct p2p_offer *offer)
{
	if (!list_valid(offer->signalling, offer->n_signallings, P2P_OFFER_SIGNALLINGS_MAX,
			signallings, N(signallings)) ||
	    !list_valid(offer->family, offer->n_families, P2P_OFFER_FAMILIES_MAX, families,
			N(families)) ||
	    !list_valid(offer->media, offer->n_medias, P2P_OFFER_MEDIAS_MAX, medias, N(medias)) ||
	    offer->n_addresses > P2P_OFFER_ADDRESSES_MAX)
		return false;
	for (unsigned int i = 0; i < offer->n_addresses; i++) {
		const struct p2p_offer_address *x = &offer->address[i];
		struct p2p_offer_address parsed;
		size_t len = strnlen(x->uri, sizeof(x->uri));

		if (len == sizeof(x->uri) || p2p_offer_address_parse(&parsed, x->uri, len) ||
		    parsed.signalling != x->signalling || parsed.family != x->family)
			return false;
	}
	return true;
}

int p2p_offer_address_parse(struct p2p_offer_address *address, const char *uri, size_t len)
{
	struct p2p_offer_address x = {0};
	struct p2p_locator l;

	if (len >= sizeof(x.uri) || memchr(uri, 0, len) || p2p_locator_parse(&l, uri, len))
		return EINVAL;
	switch (l.transports) {
	case P2P_TRANSPORT_UDP:
		x.signalling = P2P_SIGNALLING_UDP;
		break;
	case P2P_TRANSPORT_TCP:
		x.signalling = P2P_SIGNALLING_TCP;
		break;
	case P2P_TRANSPORT_TLS:
		x.signalling = P2P_SIGNALLING_TLS;
		break;
	default:
		return EINVAL;
	}
	x.family = l.family;
	memcpy(x.uri, uri, len);
	*address = x;
	return 0;
}

int p2p_offer_add(struct p2p_offer *offer, const char *uri, size_t len)
{
	struct p2p_offer_address x;

	if (p2p_offer_address_parse(&x, uri, len))
		return EINVAL;
	for (unsigned int i = 0; i < offer->n_addresses; i++)
		if (!strcmp(offer->address[i].uri, x.uri))
			return EEXIST;
	if (offer->n_addresses >= P2P_OFFER_ADDRESSES_MAX)
		return ENOSPC;
	offer->address[offer->n_addresses++] = x;
	return 0;
}

const char *p2p_family_text(uint8_t family)
{
	return family == 4 ? "ipv4" : family == 6 ? "ipv6" : NULL;
}

uint8_t p2p_family_parse(const char *text, size_t len)
{
	return len != 4 || memcmp(text, "ipv", 3) ? 0 : text[3] == '4' ? 4 : text[3] == '6' ? 6 : 0;
}

static void words_read(uint8_t *list, uint8_t *n, uint8_t max, const struct p2p_opp_words *words,
		       uint8_t (*parse)(const char *text, size_t len))
{
	*n = 0;
	for (unsigned int i = 0; i < words->n && *n < max; i++) {
		uint8_t x = parse(words->word[i], strlen(words->word[i]));

		if (x && place(list, *n, x) < 0)
			list[(*n)++] = x;
	}
}

void p2p_offer_read(struct p2p_offer *offer, const struct p2p_opp_offer *told)
{
	memset(offer, 0, sizeof(*offer));
	words_read(offer->signalling, &offer->n_signallings, P2P_OFFER_SIGNALLINGS_MAX,
		   &told->signalling, p2p_signalling_parse);
	words_read(offer->family, &offer->n_families, P2P_OFFER_FAMILIES_MAX, &told->family,
		   p2p_family_parse);
	words_read(offer->media, &offer->n_medias, P2P_OFFER_MEDIAS_MAX, &told->media,
		   p2p_media_parse);
	for (unsigned int i = 0; i < told->n_uris; i++)
		p2p_offer_add(offer, told->uri[i], strlen(told->uri[i]));
}

static void words_write(const uint8_t *list, uint8_t n, struct p2p_opp_words *words,
			const char *(*text)(uint8_t))
{
	for (words->n = 0; words->n < n; words->n++)
		strcpy(words->word[words->n], text(list[words->n]));
}

void p2p_offer_write(const struct p2p_offer *offer, struct p2p_opp_offer *told)
{
	memset(told, 0, sizeof(*told));
	words_write(offer->signalling, offer->n_signallings, &told->signalling,
		    p2p_signalling_text);
	words_write(offer->family, offer->n_families, &told->family, p2p_family_text);
	words_write(offer->media, offer->n_medias, &told->media, p2p_media_text);
	for (; told->n_uris < offer->n_addresses; told->n_uris++)
		strcpy(told->uri[told->n_uris], offer->address[told->n_uris].uri);
}

/* --- for people --------------------------------------------------------------------------------
 */

static const char *const uncommons[] = {
	[P2P_UNCOMMON_SIGNALLING] = "signalling",
	[P2P_UNCOMMON_FAMILY] = "family",
	[P2P_UNCOMMON_MEDIA] = "media",
};

const char *p2p_uncommon_text(enum p2p_uncommon what)
{
	return (size_t)what < N(uncommons) ? uncommons[what] : NULL;
}

enum p2p_uncommon p2p_uncommon_parse(const char *text, size_t len)
{
	for (size_t i = 1; i < N(uncommons); i++)
		if (strlen(uncommons[i]) == len && !memcmp(uncommons[i], text, len))
			return (enum p2p_uncommon)i;
	return P2P_COMMON;
}

static void side(struct p2p_text *t, enum p2p_uncommon what, const struct p2p_offer *o)
{
	size_t before = t->len;

	switch (what) {
	case P2P_UNCOMMON_MEDIA:
		for (unsigned int i = 0; i < o->n_medias; i++)
			p2p_text_add(t, "%s%s", i ? " " : "", p2p_media_text(o->media[i]));
		break;
	case P2P_UNCOMMON_FAMILY:
		for (unsigned int i = 0; i < o->n_families; i++) {
			bool any = false;

			for (unsigned int j = 0; j < o->n_addresses; j++)
				any = any || o->address[j].family == o->family[i];
			if (any)
				p2p_text_add(t, "%sIPv%u", t->len > before ? " " : "",
					     o->family[i]);
		}
		break;
	default:
		for (unsigned int i = 0; i < o->n_signallings; i++)
			if (has_any(o, o->signalling[i]))
				p2p_text_add(t, "%s%s", t->len > before ? " " : "",
					     p2p_signalling_text(o->signalling[i]));
	}
	if (t->len == before)
		p2p_text_add(t, "none");
}

void p2p_uncommon_reason(enum p2p_uncommon what, const struct p2p_offer *here,
			 const struct p2p_offer *there, char *text, size_t cap)
{
	struct p2p_text t;

	p2p_text_init(&t, text, cap);
	p2p_text_add(&t,
		     "no common %s: ", what == P2P_UNCOMMON_FAMILY ? "IP family" : uncommons[what]);
	side(&t, what, here);
	p2p_text_add(&t, " here, ");
	side(&t, what, there);
	p2p_text_add(&t, " there");
}
