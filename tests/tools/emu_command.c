/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands: words, and what they do to the hub. */
#include "tests/tools/emu_command.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 16

struct context {
	struct emu_hub *hub;
	const struct emu_command_handlers *handlers;
	uint64_t now;
	char **words; /* [0] is the command */
	unsigned int n;
	char *reply;
	size_t size;
};

/* 0 <= value <= max */
static int number_read(const char *text, double max, double *out)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end != '\0' || !(v >= 0 && v <= max))
		return EINVAL;
	*out = v;
	return 0;
}

static int node_cmd(struct context *c)
{
	uint8_t addr4[4], addr6[16];
	unsigned int id, removed;
	bool has4, has6;
	int err;

	if (c->n != 6)
		return EINVAL;
	has4 = strcmp(c->words[4], "-") != 0;
	has6 = strcmp(c->words[5], "-") != 0;
	if ((has4 && inet_pton(AF_INET, c->words[4], addr4) != 1) ||
	    (has6 && inet_pton(AF_INET6, c->words[5], addr6) != 1))
		return EINVAL;
	err = emu_hub_node_add(c->hub, c->words[1], has4 ? addr4 : NULL, has6 ? addr6 : NULL, &id);
	if (err)
		return err;
	err = c->handlers->open(c->handlers->arg, id, c->words[2], c->words[3]);
	if (err)
		emu_hub_node_remove(c->hub, c->words[1], &removed);
	return err;
}

static int remove_cmd(struct context *c)
{
	unsigned int id;
	int err;

	if (c->n != 2)
		return EINVAL;
	err = emu_hub_node_remove(c->hub, c->words[1], &id);
	if (!err)
		c->handlers->close(c->handlers->arg, id);
	return err;
}

/* Calls f for every link that the words FROM TO mean, never for a node to itself. */
static int links_each(struct context *c, int (*f)(struct context *, struct emu_link *, void *),
		      void *arg)
{
	unsigned int from, to, low[2] = {0, 0}, high[2] = {EMU_NODES_MAX - 1, EMU_NODES_MAX - 1};
	int err, i;

	if (c->n < 3)
		return EINVAL;
	for (i = 0; i < 2; i++) {
		if (strcmp(c->words[1 + i], "*") == 0)
			continue;
		err = emu_hub_node_find(c->hub, c->words[1 + i], &low[i]);
		if (err)
			return err;
		high[i] = low[i];
	}
	for (from = low[0]; from <= high[0]; from++) {
		for (to = low[1]; to <= high[1]; to++) {
			if (from == to || !emu_hub_node_exists(c->hub, from) ||
			    !emu_hub_node_exists(c->hub, to))
				continue;
			err = f(c, emu_hub_link(c->hub, from, to), arg);
			if (err)
				return err;
		}
	}
	return 0;
}

static int param_take(struct emu_link_params *p, const char *key, const char *text)
{
	struct {
		const char *key;
		double *to;
	} shares[] = {
		{"loss_pct", &p->loss},
		{"burst_enter_pct", &p->burst_enter},
		{"burst_leave_pct", &p->burst_leave},
		{"burst_loss_pct", &p->burst_loss},
	};
	struct {
		const char *key;
		uint32_t *to;
	} times[] = {
		{"delay_ms", &p->delay_us},
		{"jitter_ms", &p->jitter_us},
		{"queue_ms", &p->queue_us},
	};
	double v;
	size_t i;

	for (i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
		if (strcmp(key, shares[i].key) != 0)
			continue;
		if (number_read(text, 100, &v))
			return EINVAL;
		*shares[i].to = v / 100;
		return 0;
	}
	for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		if (strcmp(key, times[i].key) != 0)
			continue;
		if (number_read(text, EMU_LINK_DELAY_MAX_US / 1000.0, &v))
			return EINVAL;
		*times[i].to = (uint32_t)(v * 1000 + 0.5);
		return 0;
	}
	if (strcmp(key, "rate_kbps") == 0) {
		if (number_read(text, 1e8, &v))
			return EINVAL;
		p->rate_bps = (uint64_t)(v * 1000);
		return 0;
	}
	if (strcmp(key, "reorder") == 0) {
		if (number_read(text, 1, &v))
			return EINVAL;
		p->reorder = v > 0;
		return 0;
	}
	return EINVAL;
}

/* Twice over all links: none is changed unless all can be. */
static int link_set(struct context *c, struct emu_link *link, void *arg)
{
	struct emu_link_params p = link->params;
	const bool *really = arg;
	struct emu_link trial;
	char *eq, key[32];
	unsigned int i;

	for (i = 3; i < c->n; i++) {
		eq = strchr(c->words[i], '=');
		if (!eq || (size_t)(eq - c->words[i]) >= sizeof(key))
			return EINVAL;
		memcpy(key, c->words[i], (size_t)(eq - c->words[i]));
		key[eq - c->words[i]] = '\0';
		if (param_take(&p, key, eq + 1))
			return EINVAL;
	}
	emu_link_init(&trial, 0);
	return emu_link_set(*really ? link : &trial, &p);
}

static int set_cmd(struct context *c)
{
	bool really = false;
	int err = links_each(c, link_set, &really);

	really = true;
	return err ? err : links_each(c, link_set, &really);
}

static int link_down(struct context *c, struct emu_link *link, void *arg)
{
	const uint64_t *us = arg;

	emu_link_down(link, c->now, *us);
	return 0;
}

static int down_cmd(struct context *c)
{
	uint64_t us = 0;
	double ms;

	if (c->n > 4 || (c->n == 4 && (number_read(c->words[3], 3600e3, &ms) || ms < 1)))
		return EINVAL;
	if (c->n == 4)
		us = (uint64_t)(ms * 1000);
	return links_each(c, link_down, &us);
}

static int link_up(struct context *c, struct emu_link *link, void *arg)
{
	(void)c;
	(void)arg;
	emu_link_up(link);
	return 0;
}

static int up_cmd(struct context *c)
{
	return c->n == 3 ? links_each(c, link_up, NULL) : EINVAL;
}

static int link_sum(struct context *c, struct emu_link *link, void *arg)
{
	struct emu_link_stats *sum = arg;

	(void)c;
	sum->packets += link->stats.packets;
	sum->bytes += link->stats.bytes;
	sum->lost += link->stats.lost;
	sum->burst_lost += link->stats.burst_lost;
	sum->outage_lost += link->stats.outage_lost;
	sum->queue_lost += link->stats.queue_lost;
	return 0;
}

static int stats_cmd(struct context *c)
{
	struct emu_link_stats s = {0};
	int err = c->n == 3 ? links_each(c, link_sum, &s) : EINVAL;

	if (!err) {
		snprintf(c->reply, c->size,
			 "ok packets %" PRIu64 " bytes %" PRIu64 " lost %" PRIu64
			 " burst_lost %" PRIu64 " outage_lost %" PRIu64 " queue_lost %" PRIu64,
			 s.packets, s.bytes, s.lost, s.burst_lost, s.outage_lost, s.queue_lost);
	}
	return err;
}

static int ping_cmd(struct context *c)
{
	return c->n == 1 ? 0 : EINVAL;
}

static const struct {
	const char *name;
	int (*run)(struct context *);
} commands[] = {
	{"node", node_cmd}, {"remove", remove_cmd}, {"set", set_cmd},	{"down", down_cmd},
	{"up", up_cmd},	    {"stats", stats_cmd},   {"ping", ping_cmd},
};

void emu_command_run(struct emu_hub *hub, const struct emu_command_handlers *h, uint64_t now,
		     char *text, char *reply, size_t size)
{
	char *words[WORDS_MAX + 1], *save, *w;
	struct context c = {hub, h, now, words, 0, reply, size};
	int err = EINVAL;
	size_t i;

	snprintf(reply, size, "ok");
	for (w = strtok_r(text, " \n", &save); w && c.n <= WORDS_MAX;
	     w = strtok_r(NULL, " \n", &save))
		words[c.n++] = w;
	for (i = 0; c.n && c.n <= WORDS_MAX && i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(words[0], commands[i].name) == 0)
			err = commands[i].run(&c);
	}
	if (err)
		snprintf(reply, size, "error %s", strerror(err));
}
