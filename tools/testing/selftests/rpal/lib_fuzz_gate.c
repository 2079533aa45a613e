// SPDX-License-Identifier: GPL-2.0
/* Hostile operations on the gate, control blocks, and RPAL's system calls. */
#include <time.h>

#include "rpal_fuzz.h"

#define X32_BIT		0x40000000UL

typedef long (*call_fn)(struct rpal_ctl *peer, struct rpal_ctl *self,
			unsigned long a0, unsigned long a1, unsigned long a2,
			unsigned long a3);
typedef long (*wait_fn)(struct rpal_ctl *self, void *entry, void *cookie,
			unsigned long timeout_ns, unsigned long fd);

static unsigned long gate_entry(unsigned long own, unsigned long other)
{
	/* The same for all services; an ordinary process has no gate at all. */
	return own ? own : other;
}

long fz_register(struct fz *f)
{
	struct rpal_thread th = {};
	long ret = rpal_thread(0, &th);

	if (!ret)
		f->ctl = (struct rpal_ctl *)th.ctl;
	/* Maybe it has been for long. */
	if (!ret || ret == -EEXIST)
		f->registered = true;
	return ret;
}

/* Those that are not can do little. */
static void register_mostly(struct fz *f)
{
	if (!f->registered && !f->child && !fz_one_in(f, 4))
		fz_register(f);
}

static long fz_park(struct fz *f)
{
	static const unsigned long timeouts[] = {
		0, 1000, 1000000, 4000000, 20000000, -2UL, 1UL << 63,
	};
	wait_fn wait = (wait_fn)gate_entry(rpal_me.gate_wait,
					   fz_world->role[0].service.gate_wait);
	unsigned long timeout = RPAL_WAIT_FOREVER;
	unsigned long fd = RPAL_WAIT_NO_FD;
	void *entry = fz_entry, *cookie = f;
	struct rpal_ctl *self;

	register_mostly(f);
	self = f->ctl;
	if (!fz_one_in(f, 8))
		timeout = timeouts[fz_below(f, ARRAY_SIZE(timeouts))];
	switch (fz_below(f, 32)) {
	case 0:
		entry = (void *)fz_value(f);
		break;
	case 1:
		self = fz_ctl(f);
		break;
	case 2:
		cookie = (void *)fz_value(f);
		break;
	}
	/* Some are there: files, sockets, those of services. */
	if (fz_one_in(f, 3))
		fd = fz_below(f, 24);
	else if (fz_one_in(f, 16))
		fd = fz_value(f);
	return wait(self, entry, cookie, timeout, fd);
}

/* Mostly as it should be: what is hostile comes before and in between. */
static long fz_call(struct fz *f)
{
	call_fn call = (call_fn)gate_entry(rpal_me.gate_call,
					   fz_world->role[0].service.gate_call);
	struct rpal_ctl *self, *peer;

	register_mostly(f);
	self = f->ctl;
	peer = (void *)(fz_peer(f)->service.ctl_start +
			RPAL_CTL_SIZE * fz_below(f, FZ_THREADS));
	if (fz_one_in(f, 8))
		peer = (void *)fz_value(f);
	if (fz_one_in(f, 16))
		self = (void *)fz_value(f);
	return call(peer, self, fz_value(f), fz_value(f), fz_value(f),
		    fz_value(f));
}

static long fz_scribble(struct fz *f)
{
	int i, nr = 1 + fz_below(f, 4);

	for (i = 0; i < nr; i++) {
		unsigned long *field = (unsigned long *)fz_ctl(f);

		/* The word more often than others. */
		if (!fz_one_in(f, 3))
			field += fz_below(f, 14);
		if (fz_one_in(f, 4))
			__atomic_fetch_xor(field, 1UL << fz_below(f, 64),
					   __ATOMIC_RELAXED);
		else
			__atomic_store_n(field, fz_value(f), __ATOMIC_RELAXED);
	}
	return 0;
}

/* System calls that do no harm, whatever is in the registers. */
unsigned long fz_harmless(struct fz *f)
{
	static const unsigned short nr[] = {
		__NR_getpid, __NR_gettid, __NR_sched_yield, __NR_rt_sigreturn,
		__NR_arch_prctl, __NR_rseq, __NR_modify_ldt, __NR_munmap,
		__NR_madvise, __NR_restart_syscall, __NR_set_robust_list,
		__NR_membarrier, 600, 1023,
	};
	unsigned long n = __NR_rpal_arm + fz_below(f, 10);

	if (fz_one_in(f, 3))
		n = nr[fz_below(f, ARRAY_SIZE(nr))];
	return fz_one_in(f, 16) ? n | X32_BIT : n;
}

/* Have FS base and claim say that the context is a receiver's. */
void fz_pretend(struct fz *f)
{
	struct rpal_ctl *ctl = fz_ctl(f);
	unsigned long base = fz_value(f);

	if (!fz_one_in(f, 3))
		base = READ_ONCE(ctl->fsbase);
	if (!fz_one_in(f, 3))
		WRITE_ONCE(f->ctl->claim, (unsigned long)ctl);
	if (fz_one_in(f, 4))
		WRITE_ONCE(f->ctl->saved_sp, fz_value(f));
	if (fz_one_in(f, 8))
		set_gsbase(fz_value(f));
	set_fsbase(base);
}

static long fz_forge(struct fz *f)
{
	unsigned long i;

	fz_pretend(f);
	switch (fz_below(f, 6)) {
	case 0:
		/* Until something happens. */
		for (i = fz_below(f, 300000); i; i--)
			asm volatile("");
		return 0;
	case 1:
		return fz_call0(__NR_sched_yield);
	case 2:
		return READ_ONCE(*(long *)fz_value(f));
	case 3:
		return fz_call(f);
	case 4:
		return fz_park(f);
	default:
		return rpal_syscall(fz_harmless(f), fz_value(f), fz_value(f),
				    fz_value(f), fz_value(f), fz_value(f), 0);
	}
}

static long fz_wrpkru(struct fz *f)
{
	unsigned int pkru = fz_rand(f);
	struct fz_role *peer = fz_peer(f);

	if (fz_one_in(f, 2))
		pkru = fz_one_in(f, 2) ? 0 : 0x55555554;
	/* Otherwise there is a fault at once. */
	if (!fz_one_in(f, 8))
		pkru &= ~(3 | pkru_mask(rpal_me.pkey));
	wrpkru(pkru);
	if (fz_one_in(f, 2))
		return READ_ONCE(*(long *)peer->scratch);
	if (fz_one_in(f, 2))
		return fz_call(f);
	return fz_call0(__NR_getpid);
}

/* A structure that is right, or nearly, or not at all. */
static void *record(struct fz *f, unsigned long *size)
{
	static const unsigned long sizes[] = {
		RPAL_ARM_SIZE_VER0, RPAL_THREAD_SIZE_VER0,
		RPAL_ATTACH_SIZE_VER0, RPAL_SERVICE_SIZE_VER0, 128, 4096,
	};
	unsigned long *p = fz_one_in(f, 2) ? (void *)fz_scratch : fz_buffer(f);

	*size = fz_one_in(f, 4) ? fz_value(f) :
				  sizes[fz_below(f, ARRAY_SIZE(sizes))];
	if (p == (void *)fz_scratch) {
		memset(p, 0, 4200);
		if (fz_one_in(f, 2))
			p[0] = 1UL << fz_below(f, fz_one_in(f, 4) ? 64 : 2);
		if (fz_one_in(f, 8))
			p[fz_below(f, 20)] = fz_value(f);
	}
	return p;
}

static int some_fd(struct fz *f)
{
	return fz_one_in(f, 16) ? (int)fz_value(f) : (int)fz_below(f, 16);
}

static long fz_rpal(struct fz *f)
{
	long nr = __NR_rpal_arm + fz_below(f, 10);
	unsigned long size;
	void *p;

	p = record(f, &size);
	if (fz_one_in(f, 16))
		nr |= X32_BIT;
	switch (nr & ~X32_BIT) {
	case __NR_rpal_arm:
	case __NR_rpal_service:
	case __NR_rpal_thread:
		return fz_call2(nr, p, size);
	case __NR_rpal_attach:
		return fz_call3(nr, some_fd(f), p, size);
	case __NR_rpal_detach:
		return fz_call1(nr, some_fd(f));
	default:
		return rpal_syscall(nr, fz_value(f), fz_value(f), fz_value(f),
				    fz_value(f), fz_value(f), fz_value(f));
	}
}

/* What keeps things going: services attach, threads register. */
static long fz_set_up(struct fz *f)
{
	if (fz_one_in(f, 2))
		return fz_one_in(f, 8) ? rpal_detach(some_fd(f)) :
					 rpal_attach(some_fd(f), NULL);
	if (f->registered && fz_one_in(f, 4)) {
		f->registered = false;
		return rpal_thread(RPAL_THREAD_UNREGISTER, NULL);
	}
	return fz_register(f);
}

/* Calls that are to end at once, soon, or that have been too late for long. */
static long fz_deadline(struct fz *f)
{
	struct rpal_thread th = { .flags = RPAL_THREAD_WATCH };
	struct rpal_ctl *ctl = fz_one_in(f, 8) ? fz_ctl(f) : f->ctl;
	unsigned long when[2] = {};
	long ret;

	fz_call2(__NR_clock_gettime, CLOCK_MONOTONIC, when);
	when[0] = when[0] * 1000000000 + when[1] + fz_below(f, 20000000);
	if (fz_one_in(f, 4))
		when[0] = fz_value(f);
	WRITE_ONCE(ctl->deadline, when[0]);
	if (fz_one_in(f, 8))
		WRITE_ONCE(ctl->watch, fz_below(f, 3));
	if (!fz_one_in(f, 4))
		fz_call2(__NR_rpal_thread, &th, sizeof(th));
	ret = fz_call(f);
	if (fz_one_in(f, 2))
		WRITE_ONCE(f->ctl->deadline, 0);
	return ret;
}

static long fz_copy(struct fz *f)
{
	unsigned long len, from = fz_range(f, &len), to = fz_range(f, &len);

	if (!rpal_me.gate_copy)
		return -EAGAIN;
	/* Not over one's own code and stack, all the time. */
	len %= 3 * RPAL_PAGE;
	if (fz_one_in(f, 2))
		pkru_open(fz_peer(f)->service.pkey);
	return rpal_gate_copy((void *)to, (void *)from, len);
}

/* A peer's memory, with its key open or not. */
static long fz_poke(struct fz *f)
{
	unsigned long len, addr = fz_range(f, &len);

	if (!fz_one_in(f, 4))
		pkru_open(fz_peer(f)->service.pkey);
	if (fz_one_in(f, 8))
		addr += fz_below(f, RPAL_PAGE);
	if (fz_one_in(f, 2))
		return READ_ONCE(*(long *)addr) >> 12;
	if (fz_one_in(f, 16))
		return ((long (*)(void))addr)();
	WRITE_ONCE(*(long *)addr, fz_value(f));
	return 0;
}

const struct fz_kind fz_gate_kinds[] = {
	/* First: the third thread's own. */
	{ "park", fz_park, 8 },
	{ "call", fz_call, 24 },
	{ "scribble", fz_scribble, 16 },
	{ "forge", fz_forge, 12 },
	{ "pkru", fz_wrpkru, 6 },
	{ "rpal", fz_rpal, 20 },
	{ "set_up", fz_set_up, 10 },
	{ "deadline", fz_deadline, 6 },
	{ "copy", fz_copy, 6 },
	{ "poke", fz_poke, 6 },
	{}
};
