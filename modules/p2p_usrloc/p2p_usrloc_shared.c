/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: the state that all processes share, waking the client process, and the clock. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "core/dprint.h"
#include "core/mem/shm_mem.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"

#define LOG_INTERVAL_MS 60000

struct pul_shared *pul_shared;
struct p2p_hash_key pul_hash_key;
int pul_wake_fd = -1;

int pul_shared_init(void)
{
	if (getrandom(&pul_hash_key, sizeof(pul_hash_key), 0) != sizeof(pul_hash_key)) {
		LM_ERR("no random bytes: %s\n", strerror(errno));
		return EIO;
	}
	pul_shared = shm_malloc(sizeof(*pul_shared));
	if (pul_shared == NULL) {
		SHM_MEM_ERROR;
		return ENOMEM;
	}
	memset(pul_shared, 0, sizeof(*pul_shared));
	lock_init(&pul_shared->ask_lock);
	lock_init(&pul_shared->info_lock);
	lock_init(&pul_shared->log_lock);
	p2p_limit_init(&pul_shared->log_limit, LOG_INTERVAL_MS, &pul_hash_key);
	pul_shared->gateway_changed_ms = pul_now_ms();
	strcpy(pul_shared->info.error, "not tried yet");
	pul_wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (pul_wake_fd < 0) {
		LM_ERR("eventfd: %s\n", strerror(errno));
		shm_free(pul_shared);
		pul_shared = NULL;
		return EIO;
	}
	return 0;
}

void pul_shared_destroy(void)
{
	struct pul_box *box;

	if (pul_shared == NULL)
		return;
	for (box = pul_shared->ask_head; box != NULL; box = pul_shared->ask_head) {
		pul_shared->ask_head = box->next;
		shm_free(box);
	}
	lock_destroy(&pul_shared->ask_lock);
	lock_destroy(&pul_shared->info_lock);
	lock_destroy(&pul_shared->log_lock);
	shm_free(pul_shared);
	pul_shared = NULL;
	close(pul_wake_fd);
	pul_wake_fd = -1;
}

static void wake(atomic_int *flag)
{
	uint64_t one = 1;

	/* Whoever sets the flag writes: one system call for all that comes before the client
	 * process looks. It clears the flag first and looks then, so nothing is overlooked. */
	if (atomic_load(flag) || atomic_exchange(flag, 1))
		return;
	while (write(pul_wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void pul_wake_now(void)
{
	wake(&pul_shared->wake_now);
}

void pul_wake_soon(void)
{
	wake(&pul_shared->wake_soon);
}

uint64_t pul_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t pul_now_ms(void)
{
	return pul_now_us() / 1000;
}

void pul_info_get(struct pul_gateway_info *info)
{
	lock_get(&pul_shared->info_lock);
	*info = pul_shared->info;
	lock_release(&pul_shared->info_lock);
}

void pul_rules_get(struct pul_rules *rules)
{
	lock_get(&pul_shared->info_lock);
	*rules = pul_shared->rules;
	lock_release(&pul_shared->info_lock);
}

bool pul_log_ok(const void *source, size_t len)
{
	uint64_t now = pul_now_ms();
	bool ok;

	lock_get(&pul_shared->log_lock);
	ok = p2p_limit_ok(&pul_shared->log_limit, source, len, now, NULL);
	lock_release(&pul_shared->log_lock);
	return ok;
}
