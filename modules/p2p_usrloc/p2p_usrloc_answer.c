/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: what the gateway's answers mean; see the header. */
#include <string.h>
#include <strings.h>

#include "lib/base/bytes.h"
#include "modules/p2p_usrloc/p2p_usrloc_answer.h"

/* Elements of one array in an answer; more than any answer has. */
#define ELEMENTS_MAX 1024

#if HIREDIS_MAJOR < 1
/* This hiredis would allocate as many elements as the other side says. */
static redisReplyObjectFunctions bounded;
static void *(*create_array)(const redisReadTask *task, int elements);

static void *create_array_bounded(const redisReadTask *task, int elements)
{
	return elements > ELEMENTS_MAX ? NULL : create_array(task, elements);
}
#endif

redisReader *pul_answer_reader(void)
{
	redisReader *reader = redisReaderCreate();

	if (reader == NULL)
		return NULL;
#if HIREDIS_MAJOR < 1
	if (create_array == NULL) {
		bounded = *reader->fn;
		create_array = bounded.createArray;
		bounded.createArray = create_array_bounded;
	}
	reader->fn = &bounded;
#else
	reader->maxelements = ELEMENTS_MAX;
#endif
	return reader;
}

static bool number(const redisReply *r, uint64_t *v)
{
	if (r->type == REDIS_REPLY_INTEGER && r->integer >= 0) {
		*v = (uint64_t)r->integer;
		return true;
	}
	return (r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS) &&
	       p2p_u64_parse(v, r->str, r->len) == 0;
}

static bool uri_valid(const redisReply *r)
{
	size_t k;

	if (r->type != REDIS_REPLY_STRING || r->len >= P2P_CANDIDATE_URI_MAX || r->len < 5 ||
	    strncasecmp(r->str, "sip", 3) != 0)
		return false;
	for (k = 0; k < r->len; k++) {
		unsigned char ch = (unsigned char)r->str[k];

		if (ch <= ' ' || ch >= 0x7f || ch == '<' || ch == '>' || ch == '"')
			return false;
	}
	return true;
}

static bool uris_read(struct p2p_candidate *c, redisReply *const *element, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (!uri_valid(element[i]))
			return false;
		if (i >= P2P_CANDIDATE_URIS_MAX)
			continue; /* the less preferred ones */
		memcpy(c->uri[i], element[i]->str, element[i]->len);
		c->uri[i][element[i]->len] = '\0';
		c->n_uris = (uint8_t)(i + 1);
	}
	return c->n_uris > 0;
}

static bool is_word(const redisReply *r, const char *word)
{
	return r->len == strlen(word) && memcmp(r->str, word, r->len) == 0;
}

static void text_take(char *to, size_t room, const char *s, size_t n)
{
	size_t len = n < room - 1 ? n : room - 1, i;

	for (i = 0; i < len; i++)
		to[i] = s[i] >= ' ' && s[i] < 0x7f ? s[i] : '?';
	to[len] = '\0';
}

/* "word why" or "word": why there is no session. A word of a later version says as much as none. */
static void session_none(struct p2p_candidate *c, const redisReply *r)
{
	static const struct {
		const char *word;
		enum p2p_candidate_session session;
	} words[] = {
		{"unreachable", P2P_CANDIDATE_SESSION_UNREACHABLE},
		{"nocommon-signalling", P2P_CANDIDATE_SESSION_NOCOMMON_SIGNALLING},
		{"nocommon-media", P2P_CANDIDATE_SESSION_NOCOMMON_MEDIA},
		{"refused", P2P_CANDIDATE_SESSION_REFUSED},
	};
	size_t len = strcspn(r->str, " "), i;

	c->session = P2P_CANDIDATE_SESSION_NONE;
	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (len == strlen(words[i].word) && memcmp(r->str, words[i].word, len) == 0)
			c->session = (uint8_t)words[i].session;
	if (len < r->len)
		text_take(c->why, sizeof(c->why), r->str + len + 1, r->len - len - 1);
}

static bool session_read(struct p2p_candidate *c, const redisReply *r, pul_session_h *found)
{
	struct p2p_session s;

	if (r->type == REDIS_REPLY_STRING) {
		session_none(c, r);
		return true;
	}
	if (!pul_answer_session(&s, r) || p2p_hit_cmp(&s.hit, &c->hit) != 0)
		return false;
	c->session = P2P_CANDIDATE_SESSION_OPEN;
	if (found != NULL)
		found(&s);
	return true;
}

/* [hit, order, ttl_ms, flags, session, n_uris, uri..., instance-hash...] */
static bool candidate_read(struct p2p_candidate *c, const redisReply *r, pul_session_h *found)
{
	uint64_t ttl, flags, n_uris, i;
	uint8_t h[4];

	memset(c, 0, sizeof(*c));
	if (r->type != REDIS_REPLY_ARRAY || r->elements < 7 ||
	    r->element[0]->type != REDIS_REPLY_STRING ||
	    p2p_hit_parse(&c->hit, r->element[0]->str, r->element[0]->len) != 0 ||
	    !number(r->element[1], &c->order) || !number(r->element[2], &ttl) ||
	    !number(r->element[3], &flags) || !number(r->element[5], &n_uris) || n_uris == 0 ||
	    n_uris > r->elements - 6 || !uris_read(c, r->element + 6, n_uris) ||
	    !session_read(c, r->element[4], found))
		return false;
	c->ttl_ms = ttl > UINT32_MAX ? UINT32_MAX : (uint32_t)ttl;
	c->flags = (uint32_t)flags;
	for (i = 6 + n_uris; i < r->elements && c->n_instances < P2P_CANDIDATE_INSTANCES_MAX; i++) {
		if (r->element[i]->type != REDIS_REPLY_STRING ||
		    p2p_hex_parse(h, sizeof(h), r->element[i]->str, r->element[i]->len) != 0)
			return false;
		c->instance[c->n_instances++] = p2p_be32(h);
	}
	return true;
}

bool pul_answer_route(struct p2p_candidate_set *set, const redisReply *r, pul_session_h *found)
{
	size_t i;

	set->n = 0;
	if (r->type != REDIS_REPLY_ARRAY || r->elements == 0)
		return false;
	for (i = 0; i < r->elements && set->n < P2P_CANDIDATES_MAX; i++) {
		if (!candidate_read(&set->c[set->n], r->element[i], found))
			return false;
		set->n++;
	}
	return true;
}

/* [hit, epoch, lease_ms_left, n_uris, uri...] */
bool pul_answer_peer(struct p2p_candidate_set *set, const redisReply *r, const struct p2p_hit *hit)
{
	struct p2p_candidate *c = &set->c[0];
	uint64_t ttl, n_uris;

	memset(c, 0, sizeof(*c));
	set->n = 1;
	if (r->type != REDIS_REPLY_ARRAY || r->elements < 5 ||
	    r->element[0]->type != REDIS_REPLY_STRING ||
	    p2p_hit_parse(&c->hit, r->element[0]->str, r->element[0]->len) != 0 ||
	    p2p_hit_cmp(&c->hit, hit) != 0 || !number(r->element[1], &c->order) ||
	    !number(r->element[2], &ttl) || !number(r->element[3], &n_uris) || n_uris == 0 ||
	    n_uris > r->elements - 4 || !uris_read(c, r->element + 4, n_uris))
		return false;
	c->ttl_ms = ttl > UINT32_MAX ? UINT32_MAX : (uint32_t)ttl;
	return true;
}

bool pul_answer_session_ids(const redisReply *r, uint64_t *cursor,
			    void (*found)(const struct p2p_session_id *id))
{
	struct p2p_session_id id;
	size_t i;

	if (r->type != REDIS_REPLY_ARRAY || r->elements == 0 || !number(r->element[0], cursor))
		return false;
	for (i = 1; i < r->elements; i++) {
		if (r->element[i]->type != REDIS_REPLY_STRING ||
		    p2p_session_id_parse(&id, r->element[i]->str, r->element[i]->len) != 0)
			return false;
		found(&id);
	}
	return true;
}

bool pul_answer_session(struct p2p_session *s, const redisReply *r)
{
	redisReply *const *e = r->element;
	uint64_t ttl;
	size_t i;

	memset(s, 0, sizeof(*s));
	/* more elements may follow in later versions */
	if (r->type != REDIS_REPLY_ARRAY || r->elements < 11)
		return false;
	for (i = 0; i < 11; i++)
		if (i != 3 && e[i]->type != REDIS_REPLY_STRING)
			return false;
	if (p2p_session_id_parse(&s->id, e[0]->str, e[0]->len) != 0 ||
	    p2p_hit_parse(&s->hit, e[1]->str, e[1]->len) != 0 || !number(e[3], &ttl) ||
	    p2p_hex_parse(s->key_out, sizeof(s->key_out), e[4]->str, e[4]->len) != 0 ||
	    p2p_hex_parse(s->key_in, sizeof(s->key_in), e[5]->str, e[5]->len) != 0)
		return false;
	s->initiator = is_word(e[2], "initiator");
	if (!s->initiator && !is_word(e[2], "responder"))
		return false;
	s->ttl_ms = ttl > UINT32_MAX ? UINT32_MAX : (uint32_t)ttl;
	s->signalling = p2p_signalling_parse(e[6]->str, e[6]->len);
	s->media = p2p_media_parse(e[8]->str, e[8]->len);
	if (s->signalling == 0 || s->media == 0 || e[7]->len != 1 ||
	    (e[7]->str[0] != '4' && e[7]->str[0] != '6'))
		return false;
	s->family = (uint8_t)(e[7]->str[0] - '0');
	if (!uri_valid(e[9]) || (e[10]->len > 0 && !uri_valid(e[10])))
		return false;
	memcpy(s->uri, e[9]->str, e[9]->len);
	memcpy(s->stream_uri, e[10]->str, e[10]->len);
	s->retiring = r->elements > 11 && e[11]->type == REDIS_REPLY_STRING && is_word(e[11], "1");
	return true;
}

static void info_take(char *to, size_t room, const redisReply *value)
{
	text_take(to, room, value->str, value->len);
}

bool pul_answer_handshake(struct pul_gateway_info *info, const redisReply *r)
{
	const redisReply *key, *value;
	bool has_hit = false;
	size_t i;

	memset(info, 0, sizeof(*info));
	if (r->type != REDIS_REPLY_ARRAY || r->elements % 2 != 0)
		return false;
	for (i = 0; i < r->elements; i += 2) {
		key = r->element[i];
		value = r->element[i + 1];
		if (key->type != REDIS_REPLY_STRING)
			return false;
		if (value->type != REDIS_REPLY_STRING)
			continue;
		if (strcmp(key->str, "hit") == 0)
			has_hit = p2p_hit_parse(&info->hit, value->str, value->len) == 0;
		else if (strcmp(key->str, "server") == 0)
			info_take(info->server, sizeof(info->server), value);
		else if (strcmp(key->str, "version") == 0)
			info_take(info->version, sizeof(info->version), value);
		else if (strcmp(key->str, "overlay") == 0)
			info_take(info->overlay, sizeof(info->overlay), value);
		else if (strcmp(key->str, "epoch") == 0)
			info_take(info->epoch, sizeof(info->epoch), value);
		else if (strcmp(key->str, "run") == 0 && value->len <= PUL_RUN_MAX)
			info_take(info->run, sizeof(info->run), value);
		else if (strcmp(key->str, "resumed") == 0)
			info->resumed =
				p2p_u64_parse(&info->resumed_seq, value->str, value->len) == 0;
	}
	info->known = has_hit;
	return has_hit;
}

static bool is_string(const redisReply *r)
{
	return r->type == REDIS_REPLY_STRING;
}

static bool realm_take(char realm[P2P_REALM_MAX + 1], const redisReply *r)
{
	if (!is_string(r) || !p2p_realm_valid(r->str, r->len))
		return false;
	memcpy(realm, r->str, r->len);
	realm[r->len] = '\0';
	return true;
}

bool pul_answer_auth(struct p2p_auth *out, uint64_t *ttl_ms, const redisReply *r)
{
	uint8_t ha1[P2P_HA1_MAX];
	struct p2p_auth auth;
	bool good = false;
	size_t i, at, len;

	memset(&auth, 0, sizeof(auth));
	if (r->type != REDIS_REPLY_ARRAY || r->elements < 4 || r->elements % 2 != 0 ||
	    !realm_take(auth.realm, r->element[0]) || !number(r->element[1], ttl_ms))
		return false;
	auth.enrolled = true;
	for (i = 2; i < r->elements; i += 2) {
		const redisReply *name = r->element[i], *hex = r->element[i + 1];
		uint8_t which;

		if (!is_string(name) || !is_string(hex))
			goto out;
		/* of a later version */
		if (p2p_digests_parse(&which, name->str, name->len) != 0)
			continue;
		if ((auth.digests & which) != 0 ||
		    p2p_digests_find(P2P_DIGEST_MD5 | P2P_DIGEST_SHA256, which, &at, &len) != 0 ||
		    p2p_hex_parse(ha1 + at, len, hex->str, hex->len) != 0)
			goto out;
		auth.digests |= which;
	}
	good = auth.digests != 0;
	if (good) {
		memcpy(auth.ha1, ha1 + (auth.digests == P2P_DIGEST_SHA256 ? P2P_HA1_MD5_LEN : 0),
		       p2p_digests_len(auth.digests));
		*out = auth;
	}
out:
	explicit_bzero(ha1, sizeof(ha1));
	explicit_bzero(&auth, sizeof(auth));
	return good;
}

bool pul_answer_rules(struct pul_rules *out, const redisReply *r)
{
	struct pul_rules rules;
	size_t i;

	memset(&rules, 0, sizeof(rules));
	if (r->type != REDIS_REPLY_ARRAY || r->elements % 2 != 0)
		return false;
	for (i = 0; i < r->elements; i += 2) {
		const redisReply *value = r->element[i + 1];

		if (is_word(r->element[i], "realm")) {
			if (!realm_take(rules.realm, value))
				return false;
		} else if (is_word(r->element[i], "digests")) {
			if (!is_string(value) ||
			    p2p_digests_parse(&rules.digests, value->str, value->len) != 0)
				return false;
		}
	}
	rules.known = rules.realm[0] != '\0' && rules.digests != 0;
	if (rules.known)
		*out = rules;
	return rules.known;
}

bool pul_answer_move(struct pul_move *move, const char *s, size_t len)
{
	const char *end = s + len, *space = memchr(s, ' ', len);
	uint8_t raw[4];

	memset(move, 0, sizeof(*move));
	if (space == NULL || p2p_hit_parse(&move->hit, s, (size_t)(space - s)) != 0)
		return false;
	do {
		s = space + 1;
		if (end - s < 9 || move->n_instances == P2P_CANDIDATE_INSTANCES_MAX ||
		    p2p_hex_parse(raw, sizeof(raw), s, 8) != 0 || p2p_be32(raw) == 0)
			return false;
		move->instance[move->n_instances++] = p2p_be32(raw);
		space = s + 8;
	} while (*space == ',');
	if (*space != ' ')
		return false;
	move->name = space + 1;
	move->name_len = (size_t)(end - move->name);
	return p2p_name_valid(move->name, move->name_len);
}
