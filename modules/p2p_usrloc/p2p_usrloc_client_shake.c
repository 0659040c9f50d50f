/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: the handshake of each connection to the gateway, which says whose server this is. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "core/dprint.h"
#include "lib/base/bytes.h"
#include "lib/proto/resp.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"
#include "modules/p2p_usrloc/p2p_usrloc_client_priv.h"

/* pkg; before forking */
static char uris[P2P_CANDIDATE_URIS_MAX][P2P_CANDIDATE_URI_MAX];
static unsigned int n_uris;
static char instance[33]; /* of this Kamailio run, hex */

int pul_client_advertise(const str *uri)
{
	int i;

	if (uri == NULL || uri->s == NULL || uri->len <= 0 || uri->len >= P2P_CANDIDATE_URI_MAX ||
	    n_uris == P2P_CANDIDATE_URIS_MAX)
		return -1;
	for (i = 0; i < uri->len; i++) {
		if ((unsigned char)uri->s[i] <= ' ' || (unsigned char)uri->s[i] >= 0x7f)
			return -1;
	}
	memcpy(uris[n_uris], uri->s, uri->len);
	uris[n_uris][uri->len] = '\0';
	n_uris++;
	return 0;
}

int pul_client_init(void)
{
	uint8_t random_bytes[16];

	if (getrandom(random_bytes, sizeof(random_bytes), 0) != sizeof(random_bytes)) {
		LM_ERR("no random bytes: %s\n", strerror(errno));
		return EIO;
	}
	p2p_hex_print(instance, random_bytes, sizeof(random_bytes));
	return 0;
}

const char *pul_client_instance(void)
{
	return instance;
}

int pul_client_shake(struct pul_conn *conn, uint64_t deadline_ms, const char *resume,
		     pul_reply_h *h)
{
	uint8_t command[PUL_COMMAND_MAX];
	struct p2p_writer w;
	unsigned int i;

	p2p_writer_init(&w, command, sizeof(command));
	p2p_resp_array(&w, 4 + 2 * n_uris + (resume != NULL ? 2 : 0));
	p2p_resp_str(&w, "HANDSHAKE");
	p2p_resp_u64(&w, P2P_RESP_VERSION);
	p2p_resp_str(&w, "p2p_usrloc");
	p2p_resp_str(&w, instance);
	for (i = 0; i < n_uris; i++) {
		p2p_resp_str(&w, "uri");
		p2p_resp_str(&w, uris[i]);
	}
	if (resume != NULL) {
		p2p_resp_str(&w, "resume");
		p2p_resp_str(&w, resume);
	}
	return pul_conn_send(conn, command, w.len, deadline_ms, h, NULL);
}
