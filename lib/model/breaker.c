/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lib/model/breaker.h"

static void open_for(struct p2p_breaker *b, uint64_t now_ms, uint32_t random)
{
	uint32_t wait = b->wait_ms * 2;

	if (wait < P2P_BREAKER_WAIT_MIN_MS)
		wait = P2P_BREAKER_WAIT_MIN_MS;
	if (wait > P2P_BREAKER_WAIT_MAX_MS)
		wait = P2P_BREAKER_WAIT_MAX_MS;
	b->wait_ms = wait;
	b->state = P2P_BREAKER_OPEN;
	b->due_ms = now_ms + wait - random % (wait / 4);
	if (b->failures < UINT32_MAX)
		b->failures++;
}

bool p2p_breaker_allows(const struct p2p_breaker *b)
{
	return b->state == P2P_BREAKER_CLOSED;
}

bool p2p_breaker_ok(struct p2p_breaker *b)
{
	bool was_open = b->state != P2P_BREAKER_CLOSED;

	*b = (struct p2p_breaker){.state = P2P_BREAKER_CLOSED, .sign_ms = b->sign_ms};
	return was_open;
}

bool p2p_breaker_sign(struct p2p_breaker *b, uint64_t now_ms)
{
	if (b->state == P2P_BREAKER_CLOSED)
		return false;
	if (now_ms < b->sign_ms) {
		if (b->state == P2P_BREAKER_OPEN)
			b->due_ms = now_ms;
		return false;
	}
	b->sign_ms = now_ms + P2P_BREAKER_SIGN_MS;
	b->state = P2P_BREAKER_CLOSED;
	return true;
}

bool p2p_breaker_fail(struct p2p_breaker *b, uint64_t now_ms, uint32_t random)
{
	if (b->state != P2P_BREAKER_CLOSED)
		return false;
	open_for(b, now_ms, random);
	return true;
}

uint64_t p2p_breaker_due(const struct p2p_breaker *b)
{
	return b->state == P2P_BREAKER_OPEN ? b->due_ms : UINT64_MAX;
}

bool p2p_breaker_probe(struct p2p_breaker *b, uint64_t now_ms)
{
	if (b->state != P2P_BREAKER_OPEN || now_ms < b->due_ms)
		return false;
	b->state = P2P_BREAKER_PROBING;
	return true;
}

void p2p_breaker_probe_fail(struct p2p_breaker *b, uint64_t now_ms, uint32_t random)
{
	if (b->state == P2P_BREAKER_PROBING)
		open_for(b, now_ms, random);
}

void p2p_breaker_probe_void(struct p2p_breaker *b, uint64_t now_ms)
{
	if (b->state != P2P_BREAKER_PROBING)
		return;
	b->state = P2P_BREAKER_OPEN;
	b->due_ms = now_ms + P2P_BREAKER_WAIT_MIN_MS;
}

const char *p2p_breaker_text(enum p2p_breaker_state state)
{
	switch (state) {
	case P2P_BREAKER_CLOSED:
		return "closed";
	case P2P_BREAKER_OPEN:
		return "open";
	case P2P_BREAKER_PROBING:
		return "probing";
	}
	return "?";
}
