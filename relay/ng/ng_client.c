/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include "lib/base/clock.h"
#include "relay/ng/ng_client.h"

/* Datagrams read before other events get their turn. */
#define READ_BURST 64

/* One request. Free ones form a list through next. */
struct slot {
	struct ng_client *client;
	struct event *timer;
	ng_done_h *done;
	void *arg;
	char *packet; /* kept for repetition; NULL: slot is free */
	size_t len;
	uint64_t deadline_ms;
	unsigned int wait_ms; /* until the next repetition */
	char cookie[NG_COOKIE_MAX + 1];
	struct slot *next;
};

struct ng_client {
	struct event_base *base;
	struct event *readable;
	int fd;
	unsigned int max, pending;
	unsigned int retransmit_ms;
	uint64_t nonce, serial;
	struct slot *slots, *free_slots;
	struct ng_client_stats stats;
	char *in;
	bool closing;
};

static uint64_t now_ms(void)
{
	return p2p_clock_mono(&p2p_clock_system);
}

/* The one end of a request. */
static void finish(struct slot *slot, int err, const struct ng_reply *reply)
{
	struct ng_client *c = slot->client;
	ng_done_h *done = slot->done;
	void *arg = slot->arg;

	evtimer_del(slot->timer);
	free(slot->packet);
	slot->packet = NULL;
	slot->next = c->free_slots;
	c->free_slots = slot;
	c->pending--;
	if (done != NULL)
		done(err, reply, arg);
}

static void fail_all(struct ng_client *c, int err)
{
	unsigned int i;

	for (i = 0; i < c->max; i++)
		if (c->slots[i].packet != NULL)
			finish(&c->slots[i], err, NULL);
}

static void transmit(struct slot *slot)
{
	/* What the socket does not take is lost like a datagram on the way: it is repeated, or the
	 * read side learns of the reason. */
	if (send(slot->client->fd, slot->packet, slot->len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
	    errno == ECONNREFUSED)
		event_active(slot->client->readable, EV_READ, 0);
}

static void arm(struct slot *slot, uint64_t now)
{
	uint64_t left = slot->deadline_ms > now ? slot->deadline_ms - now : 0;
	uint64_t ms = slot->wait_ms < left ? slot->wait_ms : left;
	struct timeval tv = {.tv_sec = (time_t)(ms / 1000),
			     .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	evtimer_add(slot->timer, &tv);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct slot *slot = arg;
	uint64_t now = now_ms();

	(void)fd;
	(void)what;
	if (slot->packet == NULL)
		return;
	if (now >= slot->deadline_ms) {
		slot->client->stats.timeouts++;
		finish(slot, ETIMEDOUT, NULL);
		return;
	}
	slot->client->stats.retransmissions++;
	slot->wait_ms *= 2;
	transmit(slot);
	arm(slot, now);
}

/* The cookie carries the slot's number: nonce_serial_slot, all in hex. */
static struct slot *slot_find(struct ng_client *c, const char *cookie, size_t len)
{
	const char *p = memrchr(cookie, '_', len);
	unsigned long i = 0;
	size_t n;

	if (p == NULL)
		return NULL;
	p++;
	n = len - (size_t)(p - cookie);
	if (n == 0 || n > 4)
		return NULL;
	for (; n > 0; n--, p++) {
		if (*p >= '0' && *p <= '9')
			i = i * 16 + (unsigned long)(*p - '0');
		else if (*p >= 'a' && *p <= 'f')
			i = i * 16 + (unsigned long)(*p - 'a' + 10);
		else
			return NULL;
	}
	if (i >= c->max || c->slots[i].packet == NULL || strlen(c->slots[i].cookie) != len ||
	    memcmp(c->slots[i].cookie, cookie, len) != 0)
		return NULL;
	return &c->slots[i];
}

static void receive(struct ng_client *c, size_t len)
{
	struct ng_reply reply;
	size_t clen, off;
	struct slot *slot;
	int err;

	if (ng_datagram_split(c->in, len, &clen, &off) != 0) {
		c->stats.malformed++;
		return;
	}
	slot = slot_find(c, c->in, clen);
	if (slot == NULL) {
		c->stats.strays++;
		return;
	}
	err = ng_reply_parse(&reply, c->in + off, len - off);
	if (err != 0) {
		c->stats.malformed++;
		finish(slot, err, NULL);
		return;
	}
	c->stats.replies++;
	finish(slot, 0, &reply);
	ng_reply_free(&reply);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct ng_client *c = arg;
	ssize_t n;
	int i;

	(void)what;
	/* with nobody waiting, what else has come is a stray and can wait for the next turn */
	for (i = 0; i < READ_BURST && (i == 0 || c->pending > 0); i++) {
		n = recv(fd, c->in, NG_DATAGRAM_MAX, MSG_DONTWAIT);
		if (n >= 0) {
			receive(c, (size_t)n);
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == ECONNREFUSED || errno == EHOSTUNREACH || errno == ENETUNREACH) {
			/* the kernel does not say which datagram it was about; nobody is there for
			 * any of them */
			c->stats.refused++;
			fail_all(c, ECONNREFUSED);
			continue;
		}
		return;
	}
}

int ng_client_new(struct ng_client **cp, struct event_base *base,
		  const struct ng_client_config *config)
{
	struct ng_client *c;
	unsigned int i;
	int err = ENOMEM;

	if (config->max_pending < 1 || config->max_pending > 65535 || config->retransmit_ms < 1)
		return EINVAL;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return ENOMEM;
	c->fd = -1;
	c->base = base;
	c->max = config->max_pending;
	c->retransmit_ms = config->retransmit_ms;
	c->slots = calloc(c->max, sizeof(*c->slots));
	c->in = malloc(NG_DATAGRAM_MAX + 1);
	if (c->slots == NULL || c->in == NULL)
		goto out;
	for (i = c->max; i-- > 0;) {
		c->slots[i].client = c;
		c->slots[i].timer = evtimer_new(base, on_timer, &c->slots[i]);
		if (c->slots[i].timer == NULL)
			goto out;
		c->slots[i].next = c->free_slots;
		c->free_slots = &c->slots[i];
	}
	if (getrandom(&c->nonce, sizeof(c->nonce), 0) != sizeof(c->nonce)) {
		err = errno;
		goto out;
	}
	c->fd = socket(config->addr.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0 ||
	    connect(c->fd, (const struct sockaddr *)&config->addr, config->addr_len) != 0) {
		err = errno;
		goto out;
	}
	c->readable = event_new(base, c->fd, EV_READ | EV_PERSIST, on_readable, c);
	if (c->readable == NULL || event_add(c->readable, NULL) != 0)
		goto out;
	*cp = c;
	return 0;
out:
	ng_client_free(c);
	return err;
}

void ng_client_free(struct ng_client *c)
{
	unsigned int i;

	if (c == NULL)
		return;
	c->closing = true;
	if (c->slots != NULL) {
		fail_all(c, ECANCELED);
		for (i = 0; i < c->max; i++)
			if (c->slots[i].timer != NULL)
				event_free(c->slots[i].timer);
	}
	if (c->readable != NULL)
		event_free(c->readable);
	if (c->fd >= 0)
		close(c->fd);
	free(c->slots);
	free(c->in);
	free(c);
}

int ng_client_send(struct ng_client *c, const struct ng_request *request, unsigned int deadline_ms,
		   ng_done_h *done, void *arg)
{
	struct slot *slot = c->free_slots;
	int err;

	if (c->closing)
		return ECANCELED;
	if (slot == NULL) {
		c->stats.busy++;
		return EBUSY;
	}
	snprintf(slot->cookie, sizeof(slot->cookie), "%" PRIx64 "_%" PRIx64 "_%x", c->nonce,
		 ++c->serial & 0xffffffff, (unsigned int)(slot - c->slots));
	err = ng_request_datagram(request, slot->cookie, &slot->packet, &slot->len);
	if (err != 0)
		return err;
	slot->done = done;
	slot->arg = arg;
	slot->wait_ms = c->retransmit_ms;
	slot->deadline_ms = now_ms() + deadline_ms;
	c->free_slots = slot->next;
	c->pending++;
	c->stats.requests++;
	transmit(slot);
	arm(slot, now_ms());
	return 0;
}

unsigned int ng_client_pending(const struct ng_client *c)
{
	return c->pending;
}

void ng_client_stats(const struct ng_client *c, struct ng_client_stats *stats)
{
	*stats = c->stats;
}
