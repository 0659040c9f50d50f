/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Circuit breaker of one peer: who may be asked, and when one that failed is tried again. A probe
 * of one's own finds out, never a caller's request. No I/O, no clock, no allocation.
 *
 *   CLOSED  -- a request failed ---------------> OPEN (wait, doubled each time up to a limit)
 *   OPEN    -- the wait is over, probe begun --> PROBING
 *   PROBING -- the probe failed ---------------> OPEN (waits longer)
 *   PROBING, OPEN -- anything succeeded -------> CLOSED
 *   PROBING, OPEN -- a sign of life -----------> CLOSED, once in a while; else OPEN, and due */
#ifndef P2PSIP_MODEL_BREAKER_H
#define P2PSIP_MODEL_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

/* The first wait, and the longest. */
#define P2P_BREAKER_WAIT_MIN_MS 1000
#define P2P_BREAKER_WAIT_MAX_MS 60000
/* A sign of life is not taken for more any sooner: a peer that hears us and cannot be asked would
 * cost requests all the time. */
#define P2P_BREAKER_SIGN_MS 5000

enum p2p_breaker_state {
	P2P_BREAKER_CLOSED = 0, /* requests may be sent */
	P2P_BREAKER_OPEN,	/* none */
	P2P_BREAKER_PROBING,	/* none but the probe that is under way */
};

/* Plain data; zeroed is closed. All times: a monotonic clock, in ms. */
struct p2p_breaker {
	enum p2p_breaker_state state;
	uint32_t failures; /* since the last success */
	uint32_t wait_ms;  /* the last wait, before jitter */
	uint64_t due_ms;   /* OPEN: when to probe */
	uint64_t sign_ms;  /* a sign of life is not taken for more before */
};

/* May a request be sent? */
bool p2p_breaker_allows(const struct p2p_breaker *b);

/* A request or a probe was answered. true: that closed it. */
bool p2p_breaker_ok(struct p2p_breaker *b);

/* A request failed or was not answered in time. random: any number, for the jitter (the wait is cut
 * by up to a quarter, so that peers do not probe in step). true: that opened it; those that were
 * under way at the time and fail later change nothing. */
bool p2p_breaker_fail(struct p2p_breaker *b, uint64_t now_ms, uint32_t random);

/* It, or what belongs to it, was heard of, which does not say that it can be asked. true: that
 * closed it, and should it fail now the wait goes on where it was. false: it was closed; or the
 * last time was less than P2P_BREAKER_SIGN_MS ago, and then it is to be probed now. */
bool p2p_breaker_sign(struct p2p_breaker *b, uint64_t now_ms);

/* When to begin a probe; UINT64_MAX: none is wanted. */
uint64_t p2p_breaker_due(const struct p2p_breaker *b);
/* Begin it, if it is time: true, and then p2p_breaker_ok, _probe_fail or _probe_void must
 * follow. */
bool p2p_breaker_probe(struct p2p_breaker *b, uint64_t now_ms);
void p2p_breaker_probe_fail(struct p2p_breaker *b, uint64_t now_ms, uint32_t random);
/* It ended, and that says nothing: the next one is soon. */
void p2p_breaker_probe_void(struct p2p_breaker *b, uint64_t now_ms);

/* "closed", "open", "probing" */
const char *p2p_breaker_text(enum p2p_breaker_state state);

#endif
