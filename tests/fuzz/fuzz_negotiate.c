/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two offers out of arbitrary bytes: both sides reach the same, or both refuse. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "lib/model/negotiate.h"

static const char *const uris[] = {
	"sip:192.0.2.1:5060;transport=udp",	"sip:192.0.2.1:5060;transport=tcp",
	"sip:192.0.2.1:5061;transport=tls",	"sip:[2001:db8::1]:5060;transport=udp",
	"sip:[2001:db8::1]:5060;transport=tcp", "sip:[2001:db8::1]:5061;transport=tls",
};

static uint8_t next(const uint8_t **data, size_t *size)
{
	if (!*size)
		return 0;
	(*size)--;
	return *(*data)++;
}

/* As it may come out of a decoder, sense or not. */
static void offer_read(struct p2p_offer *o, const uint8_t **data, size_t *size)
{
	uint8_t addresses;

	memset(o, 0, sizeof(*o));
	o->n_signallings = next(data, size) % 5;
	o->n_families = next(data, size) % 4;
	o->n_medias = next(data, size) % 5;
	addresses = next(data, size);
	for (unsigned int i = 0; i < P2P_OFFER_SIGNALLINGS_MAX; i++)
		o->signalling[i] = next(data, size) % 10;
	for (unsigned int i = 0; i < P2P_OFFER_FAMILIES_MAX; i++)
		o->family[i] = next(data, size) % 8;
	for (unsigned int i = 0; i < P2P_OFFER_MEDIAS_MAX; i++)
		o->media[i] = next(data, size) % 10;
	for (unsigned int i = 0; i < 6; i++)
		if (addresses & 1u << i)
			must(p2p_offer_add(o, uris[i], strlen(uris[i])) == 0);
}

static int has(const uint8_t *list, uint8_t n, uint8_t what)
{
	return memchr(list, what, n) != NULL;
}

static void check(const struct p2p_offer *o, const struct p2p_agreed *x)
{
	must(has(o->signalling, o->n_signallings, x->signalling));
	must(has(o->family, o->n_families, x->family));
	must(has(o->media, o->n_medias, x->media));
	must(p2p_offer_uri(o, x->signalling, x->family) != NULL);
	must(!x->stream_family || p2p_offer_uri(o, P2P_SIGNALLING_TCP, x->stream_family) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct p2p_agreed x = {0}, y = {0};
	struct p2p_offer_address address;
	struct p2p_offer a, b;
	enum p2p_uncommon what;
	char reason[64];

	if (!p2p_offer_address_parse(&address, (const char *)data, size)) {
		must(strlen(address.uri) == size && (address.family == 4 || address.family == 6));
		must(p2p_signalling_text(address.signalling) != NULL);
	}
	offer_read(&a, &data, &size);
	offer_read(&b, &data, &size);
	if (!p2p_offer_valid(&a) || !p2p_offer_valid(&b))
		return 0;
	what = p2p_negotiate(&a, &b, &x);
	must(what == p2p_negotiate(&b, &a, &y));
	must(!memcmp(&x, &y, sizeof(x)));
	if (what) {
		p2p_uncommon_reason(what, &a, &b, reason, sizeof(reason));
		must(strlen(reason) < sizeof(reason) && strlen(reason) > 0);
		must(p2p_uncommon_parse(p2p_uncommon_text(what), strlen(p2p_uncommon_text(what))) ==
		     what);
		return 0;
	}
	check(&a, &x);
	check(&b, &x);
	return 0;
}
