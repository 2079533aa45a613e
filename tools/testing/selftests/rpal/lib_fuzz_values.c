// SPDX-License-Identifier: GPL-2.0
/* What hostile threads use for numbers, addresses and ranges. */
#include <sys/auxv.h>

#include "rpal_fuzz.h"

unsigned long fz_gate(void)
{
	unsigned long call = rpal_me.gate_call;

	if (!call)
		call = fz_world->role[0].service.gate_call;
	return call & ~(RPAL_PAGE - 1);
}

struct fz_role *fz_peer(struct fz *f)
{
	int role = f->role;

	/* The two of the pair mean each other; the loner means either. */
	if (role == FZ_ROLES - 1)
		role = fz_below(f, 2);
	else if (!fz_one_in(f, 8))
		role ^= 1;
	if (fz_one_in(f, 32))
		role = fz_below(f, FZ_ROLES);
	return &fz_world->role[role];
}

struct rpal_ctl *fz_ctl(struct fz *f)
{
	unsigned long start;

	switch (fz_below(f, 20)) {
	case 0 ... 4:
		return f->ctl;
	case 5:
		start = rpal_me.ctl_start;
		break;
	case 6:
		/* Of a service that nobody has attached. */
		start = fz_world->third.ctl_start;
		break;
	default:
		start = fz_peer(f)->service.ctl_start;
	}
	/* Most blocks are never used. */
	if (fz_one_in(f, 16))
		return (void *)start + RPAL_CTL_SIZE * fz_below(f, 256);
	return (void *)start + RPAL_CTL_SIZE * fz_below(f, FZ_THREADS + 1);
}

static unsigned long word(struct fz *f)
{
	static const unsigned long bits[] = {
		0, 0, RPAL_WORD_READY, RPAL_WORD_READY, RPAL_WORD_READY,
		RPAL_WORD_LENT, RPAL_WORD_LENT, RPAL_WORD_WANTED,
		RPAL_WORD_EVENT, 0xf, RPAL_WORD_READY | RPAL_WORD_LENT,
	};
	unsigned long w = bits[fz_below(f, ARRAY_SIZE(bits))];

	if (w & RPAL_WORD_LENT) {
		w |= fz_below(f, FZ_THREADS) << RPAL_WORD_INDEX_SHIFT;
		w |= (unsigned long)fz_peer(f)->service.slot <<
		     RPAL_WORD_SLOT_SHIFT;
	}
	return w | fz_below(f, 4) << RPAL_WORD_SEQ_SHIFT;
}

unsigned long fz_value(struct fz *f)
{
	static const unsigned long edges[] = {
		0, 0, 0, 1, 2, 3, 4, 7, 8, 16, 24, 32, 72, 255, 256, 257,
		4095, 4096, 4097, -1UL, -2UL, -4095UL, -4096UL, -512UL, -516UL,
		1UL << 31, (1UL << 31) - 1, 1UL << 32, (1UL << 32) - 1,
		1UL << 63, (1UL << 63) - 1, RPAL_SLOT_SIZE,
		(1UL << 47) - 1, (1UL << 47) - 4096, 1UL << 47, 1UL << 48,
		-1UL << 47, 0xffff888000000000UL, 0xffffffff81000000UL,
		0xffffffffff600000UL, 0x8000000000000UL,
	};
	struct fz_role *peer = fz_peer(f);

	switch (fz_below(f, 16)) {
	case 0:
	case 1:
		return edges[fz_below(f, ARRAY_SIZE(edges))];
	case 2:
		return fz_rand(f);
	case 3:
		return fz_rand(f) & (1UL << fz_below(f, 64));
	case 4:
	case 5:
		return (unsigned long)fz_ctl(f) +
		       (fz_one_in(f, 4) ? fz_below(f, RPAL_CTL_SIZE) : 0);
	case 6:
		return fz_gate() + fz_below(f, fz_one_in(f, 8) ? 4096 : 1024);
	case 7:
		return word(f);
	case 8:
		/* As a receiver's FS base is, or was. */
		return READ_ONCE(fz_world->role[fz_below(f, 2)].service.slot_start) +
		       (fz_rand(f) & (RPAL_SLOT_SIZE - 1) & ~63UL);
	case 9:
		return (unsigned long)fz_entry;
	case 10:
		return (unsigned long)fz_landing;
	case 11:
		return f->fsbase;
	case 12:
		return (unsigned long)f;
	case 13:
		return peer->scratch + fz_below(f, 20) * RPAL_PAGE;
	case 14:
		return (unsigned long)fz_low +
		       FZ_PIECE * fz_below(f, 24);
	default:
		return (unsigned long)fz_buffer(f);
	}
}

void *fz_buffer(struct fz *f)
{
	void *page = fz_scratch;

	switch (fz_below(f, 12)) {
	case 0:
		return NULL;
	case 1:
		return fz_ctl(f);
	case 2:
		return (void *)fz_gate() + fz_below(f, 4096);
	case 3:
		return (void *)fz_peer(f)->scratch + fz_below(f, 4096);
	case 4:
		return page + FZ_READONLY * RPAL_PAGE + fz_below(f, 4096);
	case 5:
		return page + FZ_HOLE * RPAL_PAGE + fz_below(f, 4096);
	case 6:
		/* The end of the page before a hole. */
		return page + FZ_SCRATCH - fz_below(f, 100);
	case 7:
		return (void *)0xffff888000000000UL + fz_below(f, 4096);
	case 8:
		return (void *)fz_world->third.slot_start +
		       (fz_rand(f) & (RPAL_SLOT_SIZE - 1));
	default:
		return page + (fz_below(f, 15 * RPAL_PAGE) & ~7UL);
	}
}

/* Those after which little goes on are rare. */
static unsigned long fatal(struct fz *f)
{
	switch (fz_below(f, 6)) {
	case 0:
		return RPAL_BASE;
	case 1:
		return (unsigned long)__builtin_frame_address(0);
	case 2:
		return getauxval(AT_SYSINFO_EHDR);
	case 3:
		return (unsigned long)f;
	case 4:
		return f->fsbase;
	default:
		return rpal_me.slot_start;
	}
}

unsigned long fz_range(struct fz *f, unsigned long *len)
{
	static const unsigned long lens[] = {
		0, 1, RPAL_PAGE, RPAL_PAGE, RPAL_PAGE, 2 * RPAL_PAGE,
		4 * RPAL_PAGE, RPAL_CTL_PAGES * RPAL_PAGE, 1 << 20, 2 << 20,
	};
	static const unsigned long large[] = {
		RPAL_SLOT_SIZE, RPAL_SLOT_SIZE - RPAL_PAGE, 2 * RPAL_SLOT_SIZE,
		-1UL, -RPAL_PAGE, 1UL << 47, 1UL << 30,
	};
	unsigned long start, slot = fz_peer(f)->service.slot_start;

	*len = lens[fz_below(f, ARRAY_SIZE(lens))];
	switch (fz_below(f, 12)) {
	case 0:
		start = rpal_me.ctl_start + fz_below(f, 17) * RPAL_PAGE;
		break;
	case 1:
		start = fz_peer(f)->service.ctl_start +
			fz_below(f, 17) * RPAL_PAGE;
		break;
	case 2:
		start = fz_gate() + (fz_below(f, 3) - 1) * RPAL_PAGE;
		break;
	case 3:
	case 4:
		/* A window, or a part of one. */
		start = slot;
		if (fz_one_in(f, 2))
			start += (fz_rand(f) & (RPAL_SLOT_SIZE - 1)) &
				 ~(RPAL_PAGE - 1);
		if (fz_one_in(f, 2))
			*len = large[fz_below(f, ARRAY_SIZE(large))];
		break;
	case 5:
		start = fz_peer(f)->scratch + fz_below(f, 18) * RPAL_PAGE;
		break;
	case 6:
		/* Over the edge of a slot. */
		start = slot + (fz_one_in(f, 2) ? RPAL_SLOT_SIZE : 0) -
			RPAL_PAGE;
		break;
	case 7:
		start = fz_value(f);
		if (!fz_one_in(f, 4))
			start &= ~(RPAL_PAGE - 1);
		/* Not the whole of one's own, so often. */
		break;
	case 8:
		start = fz_one_in(f, 16) ? fatal(f) :
					   (unsigned long)fz_scratch;
		start &= ~(RPAL_PAGE - 1);
		break;
	default:
		start = (unsigned long)fz_scratch +
			fz_below(f, FZ_SCRATCH / RPAL_PAGE) * RPAL_PAGE;
	}
	return start;
}

pid_t fz_victim(struct fz *f, pid_t *tgid)
{
	struct fz_role *role = fz_peer(f);

	if (fz_one_in(f, 4))
		role = &fz_world->role[f->role];
	*tgid = READ_ONCE(role->pid);
	return READ_ONCE(role->thread[fz_below(f, FZ_THREADS)].tid);
}
