/* SPDX-License-Identifier: GPL-2.0-or-later */
/* OpenSSL as the lib wants it (lib/proto/crypto.h), for tests: an implementation that shares
 * nothing with the gateway's. */
#ifndef P2PSIP_TESTS_CRYPTO_H
#define P2PSIP_TESTS_CRYPTO_H

#include "lib/proto/crypto.h"

struct test_key;

/* A key from its 32-byte private number; its own compressed public key in pubkey. Aborts the test
 * when OpenSSL does not want it. Ended by test_key_free. */
struct test_key *test_key_new(const uint8_t scalar[32], uint8_t pubkey[P2P_PUBKEY_LEN]);
/* From a seed, for tests that need just any keys. */
struct test_key *test_key_seed(uint32_t seed, uint8_t pubkey[P2P_PUBKEY_LEN]);
void test_key_free(struct test_key *key);

/* key may be NULL: then there is no sign. */
void test_crypto(struct p2p_crypto *crypto, struct test_key *key);

#endif
