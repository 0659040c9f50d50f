/* SPDX-License-Identifier: GPL-2.0-or-later */
/* p2p_usrloc: free memory in pieces of the size that a request wants.
 *
 * Kamailio's default allocator (q_malloc) has a list of free pieces for each size, and looks
 * through them from the wanted size on upwards. What was never used is one piece at the end of some
 * two thousand lists, and what is freed beside it joins it: nearly each allocation walks over all
 * list heads, 200 kB, some thirty times for a REGISTER, seven of them under the lock that all
 * processes share. So some memory is kept free in pieces that are met early in that walk. They are
 * nobody's: whoever allocates may have one.
 *
 * What is freed side by side becomes one: a piece stays one while what is beside it is in use. */
#include <stdbool.h>
#include <string.h>

#include "core/mem/mem.h"
#include "core/mem/shm_mem.h"
#include "modules/p2p_usrloc/p2p_usrloc.h"

/* In shared memory contacts use them up: every second one is held back until then, for the next
 * cut. */
#define SHARED_PIECE 4096
#define SHARED_PIECES 64
/* In a process' own memory a request gives all back: they are cut once, at the start, with
 * something small between them, though not so small that it would fit elsewhere. */
#define PRIVATE_SMALL 1024
#define PRIVATE_SMALLS 48
#define PRIVATE_LARGE 4096
#define PRIVATE_LARGES 16
#define PRIVATE_BETWEEN 256
#define PRIVATE_MIN (1024 * 1024) /* bytes that are free */
/* So much of all memory is left whole. */
#define WHOLE_PART 4

/* the client process' own */
static struct {
	unsigned long whole;  /* no cuts when less is left; 0: never */
	unsigned long cut_at; /* when so much is left */
	void *held[SHARED_PIECES];
} shared;

static bool is_q_malloc(const char *name)
{
	/* the others find what they want at once */
	return pul_settings.memory_pieces && name != NULL && strcmp(name, "q_malloc") == 0;
}

static void shared_cut(void)
{
	void *piece[SHARED_PIECES], *held[SHARED_PIECES];
	unsigned int i;

	for (i = 0; i < SHARED_PIECES; i++) {
		piece[i] = shm_malloc(SHARED_PIECE);
		held[i] = shm_malloc(SHARED_PIECE);
	}
	for (i = 0; i < SHARED_PIECES; i++) {
		if (piece[i] != NULL)
			shm_free(piece[i]);
		if (shared.held[i] != NULL)
			shm_free(shared.held[i]);
		shared.held[i] = held[i];
	}
}

void pul_pieces_shared_run(void)
{
	unsigned long left;

	if (shared.whole == 0)
		return;
	left = shm_available();
	if (left > shared.cut_at || left < shared.whole)
		return;
	shared_cut();
	shared.cut_at = left - SHARED_PIECES * SHARED_PIECE;
}

void pul_pieces_shared_init(void)
{
	struct mem_info info;

	if (!is_q_malloc(_shm_root.mname))
		return;
	shm_info(&info);
	/* once cut there is more than enough for what is held, and for cut_at */
	if (info.total_size / WHOLE_PART < 4 * SHARED_PIECES * SHARED_PIECE)
		return;
	shared.whole = info.total_size / WHOLE_PART;
	shared.cut_at = info.total_size;
	pul_pieces_shared_run();
}

void pul_pieces_private(void)
{
	void *piece[PRIVATE_SMALLS + PRIVATE_LARGES];
	unsigned int i;

	if (!is_q_malloc(_pkg_root.mname) || pkg_available() < PRIVATE_MIN)
		return;
	for (i = 0; i < PRIVATE_SMALLS + PRIVATE_LARGES; i++) {
		piece[i] = pkg_malloc(i < PRIVATE_LARGES ? PRIVATE_LARGE : PRIVATE_SMALL);
		pkg_malloc(PRIVATE_BETWEEN); /* stays as long as the process */
	}
	for (i = 0; i < PRIVATE_SMALLS + PRIVATE_LARGES; i++) {
		if (piece[i] != NULL)
			pkg_free(piece[i]);
	}
}
