/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Members over restarts: a line for each, "+" or "-" (nobody reached it any more) and its record;
 * before them the time. Records are verified again when they are read. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "dht-gateway/keys/gateway_file.h"
#include "dht-gateway/members/gateway_gossip_impl.h"
#include "dht-gateway/gateway_state.h"
#include "lib/base/bytes.h"

#define FILE_NAME "members"
/* Written so soon after somebody came or went, and so often in any case. */
#define SAVE_SOON_MS 5000
#define SAVE_MS 300000
#define LINE_MAX_LEN (P2P_BASE64URL_LEN(P2P_RECORD_MAX) + 3)
/* Of those of the last life so many are tried at once. */
#define TRY_MAX 32

static bool line_read(struct gw_gossip *g, char *line, bool recent)
{
	uint8_t bytes[P2P_RECORD_MAX];
	size_t len = strlen(line), n = len ? (len - 1) * 3 / 4 : 0;
	enum p2p_record_fault fault;
	struct p2p_record rec;
	struct p2p_hit hit;

	if ((*line != '+' && *line != '-') || !n || n > sizeof(bytes) ||
	    p2p_base64url_parse(bytes, n, line + 1, len - 1) ||
	    !gossip_read(g, bytes, n, &rec, &hit, &fault) || !p2p_hit_cmp(&hit, &g->gw->hit))
		return false;
	gossip_learn(g, &hit, &rec, bytes, n, recent && *line == '+');
	return true;
}

void gossip_file_load(struct gw_gossip *g)
{
	struct gw *gw = g->gw;
	const char *path = gw_state_path(gw->state, FILE_NAME);
	size_t cap = (size_t)gw->settings->members_max * LINE_MAX_LEN + 64, len;
	struct p2p_gossip_info info;
	uint64_t saved = 0, wall = gw_wall(gw);
	char *text = malloc(cap), *line, *save = NULL;
	unsigned int n = 0;
	int err = text ? gw_file_read(path, text, cap, &len) : ENOMEM;

	if (err && err != ENOENT)
		p2p_log(gw->log, P2P_LOG_WARN, "%s: %s: members are found anew", path,
			strerror(err));
	if (!err) {
		line = strtok_r(text, "\n", &save);
		if (line)
			p2p_u64_parse(&saved, line, strlen(line));
		while ((line = strtok_r(NULL, "\n", &save)))
			n += line_read(g, line, wall - saved < P2P_GOSSIP_SEEN_MS);
	}
	free(text);
	for (size_t i = 0; i < TRY_MAX && !p2p_gossip_at(g->model, i, &info); i++)
		p2p_gossip_try(g->model, &info.hit);
	if (n)
		p2p_log(gw->log, P2P_LOG_INFO, "%u members are known from before", n);
	g->saved_ms = gw_mono(gw);
	g->dirty = false;
}

void gossip_file_save(struct gw_gossip *g)
{
	struct gw *gw = g->gw;
	const char *path = gw_state_path(gw->state, FILE_NAME);
	struct p2p_gossip_info info;
	char b64[LINE_MAX_LEN], *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int err = 0;

	g->saved_ms = gw_mono(gw);
	g->dirty = false;
	if (!f)
		return;
	fprintf(f, "%" PRIu64 "\n", gw_wall(gw));
	for (size_t i = 0; !p2p_gossip_at(g->model, i, &info); i++) {
		if (!info.len || info.state == P2P_GOSSIP_LEFT || !p2p_hit_cmp(&info.hit, &gw->hit))
			continue;
		p2p_base64url_print(b64, info.bytes, info.len);
		fprintf(f, "%c%s\n", info.state == P2P_GOSSIP_DEAD ? '-' : '+', b64);
	}
	if (fclose(f))
		err = ENOMEM;
	if (!err)
		err = gw_file_replace(path, text, len);
	if (err)
		gw_warn_source(gw, "members", 7, "%s: %s", path, strerror(err));
	free(text);
}

void gossip_file_tick(struct gw_gossip *g, uint64_t now)
{
	if (now - g->saved_ms > (g->dirty ? SAVE_SOON_MS : SAVE_MS))
		gossip_file_save(g);
}
