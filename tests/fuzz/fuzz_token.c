/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The token of an invitation, as somebody pasted it; and the body of a revocation. The first byte
 * chooses. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "lib/proto/revocation.h"
#include "lib/proto/token.h"

static void token(const char *text, size_t len)
{
	struct p2p_token t, again;
	char out[P2P_TOKEN_MAX], host[P2P_TOKEN_ADDRESS_MAX];
	uint16_t port;
	unsigned int i;

	if (p2p_token_parse(&t, text, len) != 0)
		return;
	must(t.n_addresses > 0 && t.n_addresses <= P2P_TOKEN_ADDRESSES_MAX);
	for (i = 0; i < t.n_addresses; i++) {
		must(p2p_token_address_check(t.address[i]) == 0);
		p2p_token_address_split(t.address[i], host, &port);
		must(port != 0 && host[0] != '\0' && strchr(host, '[') == NULL);
	}
	must(p2p_token_print(&t, out) == 0);
	must(p2p_token_parse(&again, out, strlen(out)) == 0);
	must(memcmp(&t, &again, sizeof(t)) == 0);
}

static void revocation(const char *body, size_t len)
{
	struct p2p_record rec, again;
	struct p2p_revocation r, second;

	if (len > P2P_RECORD_BODY_MAX)
		return;
	memset(&rec, 0, sizeof(rec));
	rec.kind = P2P_RECORD_REVOCATION;
	rec.body_len = (uint16_t)len;
	memcpy(rec.body, body, len);
	if (p2p_revocation_decode(&r, &rec) != P2P_RECORD_OK)
		return;
	memset(&again, 0, sizeof(again));
	must(p2p_revocation_encode(&r, &again) == 0);
	must(again.body_len <= rec.body_len);
	must(p2p_revocation_decode(&second, &again) == P2P_RECORD_OK);
	must(memcmp(&r, &second, sizeof(r)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (size == 0)
		return 0;
	/* of exactly this size, so that reading past it is seen */
	text = malloc(size - 1 > 0 ? size - 1 : 1);
	if (text == NULL)
		return 0;
	memcpy(text, data + 1, size - 1);
	(data[0] % 2 != 0 ? revocation : token)(text, size - 1);
	free(text);
	return 0;
}
