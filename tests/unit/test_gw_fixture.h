/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For the gateway's tests: a gateway over a scripted DHT that lives in this process, and another
 * peer's hand that signs records. */
#ifndef P2PSIP_TEST_GW_FIXTURE_H
#define P2PSIP_TEST_GW_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "dht-gateway/gateway_core.h"
#include "dht-gateway/keys/gateway_identity.h"

/* How the scripted DHT behaves; change it at any time. */
struct fake_dht {
	/* gets */
	unsigned int get_delay_ms; /* until the values come, and 1 ms later the verdict */
	bool get_silent;	   /* values come, the verdict never does */
	bool get_mute;		   /* nothing comes */
	bool get_busy;		   /* the call fails with EBUSY */
	unsigned int incomplete;   /* so many of the next verdicts are DHT_INCOMPLETE */
	/* puts */
	int put_err;		/* told by done */
	int put_err_now;	/* what the call itself fails with */
	const uint8_t *put_bad; /* this key's fail with EIO, whatever others do */
	bool put_silent;	/* done never comes */
	bool put_refuse;	/* done says 0, nothing is stored */
	bool disconnected;
	bool alone;
	/* what was done */
	unsigned int gets, puts, puts_bad, bells, watches, cancels;
	unsigned int puts_open; /* puts whose done is to come */
};
extern struct fake_dht fake;

struct gw_fixture {
	char dir[64];
	struct gw_settings settings;
	struct p2p_log log;
	struct event_base *base;
	struct gw_core *core;
	struct gw *gw;
	/* another peer of the overlay */
	struct gw_identity *other;
	/* and a clock that can be turned */
	struct p2p_clock clock;
	int64_t wall_shift_ms;
	uint64_t mono_shift_ms; /* timers of the loop do not see it */
	unsigned int log_lines[4];
	char last_warn[1024];
};

/* A new gateway with nothing stored; cmocka's setup and teardown. */
int gw_fixture_setup(void **state);
int gw_fixture_teardown(void **state);
/* Stop it, and start one with the same files. */
void gw_fixture_restart(struct gw_fixture *f);

/* Run the loop until *done, at most ms; false: it was not. */
bool gw_fixture_wait(struct gw_fixture *f, const bool *done, unsigned int ms);
void gw_fixture_run(struct gw_fixture *f, unsigned int ms);

/* A user record of `who` for name, encoded into buf; returns its length. shift_ms: its date is so
 * much off now. */
size_t gw_fixture_record(struct gw_fixture *f, struct gw_identity *who, const char *name,
			 const char *uri, bool tombstone, int64_t shift_ms, uint64_t epoch,
			 uint8_t *buf);
/* Its peer record. */
size_t gw_fixture_peer_record(struct gw_fixture *f, struct gw_identity *who, uint64_t epoch,
			      int64_t lease_ms, uint8_t *buf);
/* Put bytes under a name's or a peer's key, whatever they are. */
void fake_store_name(struct gw_fixture *f, const char *name, uint64_t id, const void *data,
		     size_t len);
void fake_store_peer(struct gw_fixture *f, const struct p2p_hit *hit, uint64_t id, const void *data,
		     size_t len);
/* The same under any key. */
void fake_store_key(const uint8_t key[20], uint64_t id, const void *data, size_t len);
const uint8_t *fake_find_key(const uint8_t key[20], uint64_t id, size_t *len);
/* The value of a name with that id, or NULL. */
const uint8_t *fake_find_name(struct gw_fixture *f, const char *name, uint64_t id, size_t *len);
/* Tell those who watch a name of a value. */
void fake_ring_name(struct gw_fixture *f, const char *name, const void *data, size_t len);
void fake_clear(void);
/* The connection changed. */
void fake_status(void);

#endif
