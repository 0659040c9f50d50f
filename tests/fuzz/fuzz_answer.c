/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a gateway answers to p2p_usrloc, as bytes from its socket: each answer among them is read as
 * every kind of answer. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "modules/p2p_usrloc/p2p_usrloc_answer.h"

static void candidate_check(const struct p2p_candidate *c)
{
	unsigned int i;

	must(c->n_uris >= 1 && c->n_uris <= P2P_CANDIDATE_URIS_MAX);
	must(c->n_instances <= P2P_CANDIDATE_INSTANCES_MAX);
	for (i = 0; i < c->n_uris; i++) {
		must(memchr(c->uri[i], '\0', sizeof(c->uri[i])) != NULL);
		must(strncasecmp(c->uri[i], "sip", 3) == 0);
		must(strpbrk(c->uri[i], " \r\n<>\"") == NULL);
	}
}

static void ignore(const struct p2p_session_id *id)
{
	(void)id;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char hit_text[] = "2001:21:aaaa::1";
	static struct p2p_candidate_set set;
	struct pul_gateway_info info;
	struct p2p_session session;
	struct pul_rules rules;
	struct p2p_auth auth;
	uint64_t ttl_ms;
	struct p2p_hit hit;
	redisReader *reader = pul_answer_reader();
	uint64_t cursor;
	void *reply;
	unsigned int i;

	must(reader != NULL);
	must(p2p_hit_parse(&hit, hit_text, sizeof(hit_text) - 1) == 0);
	redisReaderFeed(reader, (const char *)data, size);
	for (;;) {
		reply = NULL;
		if (redisReaderGetReply(reader, &reply) != REDIS_OK || reply == NULL)
			break;
		if (pul_answer_route(&set, reply, NULL)) {
			must(set.n >= 1 && set.n <= P2P_CANDIDATES_MAX);
			for (i = 0; i < set.n; i++)
				candidate_check(&set.c[i]);
		}
		if (pul_answer_peer(&set, reply, &hit)) {
			must(set.n == 1 && p2p_hit_cmp(&set.c[0].hit, &hit) == 0);
			candidate_check(&set.c[0]);
		}
		if (pul_answer_session(&session, reply)) {
			must(session.family == 4 || session.family == 6);
			must(p2p_signalling_text(session.signalling) != NULL);
			must(p2p_media_text(session.media) != NULL);
			must(memchr(session.uri, '\0', sizeof(session.uri)) != NULL);
			must(memchr(session.stream_uri, '\0', sizeof(session.stream_uri)) != NULL);
		}
		if (pul_answer_auth(&auth, &ttl_ms, reply))
			must(auth.enrolled && p2p_digests_len(auth.digests) != 0 &&
			     p2p_realm_valid(auth.realm, strlen(auth.realm)));
		if (pul_answer_rules(&rules, reply))
			must(rules.known && p2p_digests_len(rules.digests) != 0 &&
			     p2p_realm_valid(rules.realm, strlen(rules.realm)));
		(void)pul_answer_session_ids(reply, &cursor, ignore);
		if (pul_answer_handshake(&info, reply)) {
			must(info.known);
			must(strlen(info.server) < sizeof(info.server));
			must(strlen(info.overlay) < sizeof(info.overlay));
		}
		freeReplyObject(reply);
	}
	redisReaderFree(reader);
	return 0;
}
