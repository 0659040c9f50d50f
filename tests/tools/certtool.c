/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For tests: a peer's certificate as an authority would not issue it. Prints it as PEM.
 *
 *   certtool AUTHORITY_DIR IDENTITY FROM UNTIL [OVERLAY [HIT]]
 *
 * FROM, UNTIL: seconds from now, may be negative. OVERLAY: the id that it names, "-" for the
 * authority's; HIT: the one that it names, instead of the identity's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "dht-gateway/keys/gateway_authority.h"
#include "dht-gateway/keys/gateway_cert.h"
#include "dht-gateway/keys/gateway_identity.h"
#include "lib/proto/key.h"

static int fail(const char *why)
{
	fprintf(stderr, "certtool: %s\n", why);
	return 1;
}

int main(int argc, char **argv)
{
	char err[512], pem[4096], path[4096];
	struct gw_identity *id, *signer;
	struct p2p_overlay_id overlay;
	struct gw_authority *a;
	X509 *cert;
	struct p2p_hit hit;
	int64_t now = (int64_t)time(NULL);
	size_t len;

	if (argc < 5 || argc > 7)
		return fail("AUTHORITY_DIR IDENTITY FROM UNTIL [OVERLAY [HIT]]");
	snprintf(path, sizeof(path), "%s/%s", argv[1], GW_AUTHORITY_KEY);
	if (gw_authority_load(&a, argv[1], err, sizeof(err)) ||
	    gw_identity_load(&signer, path, err, sizeof(err)) ||
	    gw_identity_load(&id, argv[2], err, sizeof(err)))
		return fail(err);
	overlay = gw_authority_anchor(a)->overlay;
	hit = *gw_identity_hit(id);
	if (argc > 5 && strcmp(argv[5], "-") &&
	    p2p_overlay_id_parse(&overlay, argv[5], strlen(argv[5])))
		return fail("no overlay id");
	if (argc > 6 && p2p_hit_parse(&hit, argv[6], strlen(argv[6])))
		return fail("no HIT");
	if (gw_cert_make_peer(&cert, gw_identity_key(id), &hit, gw_authority_anchor(a)->cert,
			      gw_identity_key(signer), &overlay, now + atoll(argv[3]),
			      now + atoll(argv[4])) ||
	    gw_cert_print(&cert, 1, pem, sizeof(pem), &len))
		return fail("cannot make it");
	fputs(pem, stdout);
	X509_free(cert);
	gw_identity_free(id);
	gw_identity_free(signer);
	gw_authority_free(a);
	return 0;
}
