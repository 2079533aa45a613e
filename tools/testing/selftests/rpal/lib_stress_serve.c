// SPDX-License-Identifier: GPL-2.0
/* The function that rpal_stress's receivers lend. */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "rpal_stress.h"

/* Vector state belongs to the context, wherever it is disturbed. */
static void spin(unsigned long turns, uint64_t pattern)
{
	uint64_t after;

	asm volatile("movq %2, %%xmm9\n\t"
		     "1: subq $1, %0\n\t"
		     "jns 1b\n\t"
		     "movq %%xmm9, %1"
		     : "+r" (turns), "=r" (after)
		     : "r" (pattern) : "xmm9", "cc");
	if (after != pattern)
		stress_bad(P_CONTEXT, "a register changed in a loop");
}

static unsigned long now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000UL + ts.tv_nsec;
}

/*
 * Longer than the kernel leaves an event waiting, or until somebody waits for
 * the release; and no longer than the context is lent.
 */
static void linger(struct stress_thread *t, uint64_t arg)
{
	bool stays = arg >> 63;
	unsigned long end = now_ns() + arg % 10000000 + (stays ? 12000000 : 0);
	unsigned long word;

	WRITE_ONCE(t->lingers, true);
	do {
		word = READ_ONCE(rpal_self->word);
	} while (word & RPAL_WORD_LENT && now_ns() < end &&
		 (stays || !(word & RPAL_WORD_EVENT)));
	WRITE_ONCE(t->lingers, false);
}

static void make_syscall(uint64_t pattern)
{
	uint64_t after, gpr = pattern;
	long ret = __NR_getppid;

	asm volatile("movq %3, %%xmm9\n\t"
		     "syscall\n\t"
		     "movq %%xmm9, %1"
		     : "+a" (ret), "=r" (after), "+r" (gpr)
		     : "r" (pattern) : "rcx", "r11", "xmm9", "memory");
	if (after != pattern || gpr != pattern || ret <= 0)
		stress_bad(P_CONTEXT, "a register changed in a system call");
}

static void make_child(void)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(0);
	if (pid < 0)
		return;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	count(C_forks);
}

static void make_mapping(uint64_t arg)
{
	size_t len = RPAL_PAGE * (1 + arg % 8);
	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return;
	p[len - 1] = p[0] + 1;
	if (arg & 0x100)
		mprotect(p, len, PROT_READ);
	munmap(p, len);
	count(C_maps);
}

/* False: a nested call failed. */
static bool do_kind(struct stress_thread *t, enum kind kind, uint64_t arg)
{
	struct timespec ts = { .tv_nsec = arg % 2000000 };
	unsigned long i;

	switch (kind) {
	case K_SPIN:
		spin(arg % (arg >> 60 ? 30000 : 500000), arg);
		break;
	case K_LINGER:
		linger(t, arg);
		break;
	case K_RING:
		stress_ring(arg % NR_LEVELS, 1 + (arg >> 8) % 3);
		break;
	case K_SYSCALL:
		make_syscall(arg);
		break;
	case K_YIELD:
		for (i = 0; i <= arg % 3; i++)
			rpal_syscall(__NR_sched_yield, 0, 0, 0, 0, 0, 0);
		break;
	case K_SLEEP:
		nanosleep(&ts, NULL);
		break;
	case K_MAP:
		make_mapping(arg);
		break;
	case K_PAGES:
		/* The pest drops these: the caller has them brought in. */
		for (i = 0; i < SCRATCH_PAGES; i++)
			WRITE_ONCE(((char *)t->pages)[i * RPAL_PAGE], 1);
		break;
	case K_TRAP:
		asm volatile("int3");
		break;
	case K_ILL:
		asm volatile("ud2");
		break;
	case K_FORK:
		make_child();
		break;
	case K_NEST:
		if (t->nr == 0)
			break;
		count(C_nested);
		return stress_small_call(t->nr, &t->rng);
	default:
		break;
	}
	return true;
}

/* Borrowed, and by whom, says the own word: nobody else may change it. */
static bool is_borrowed(unsigned long caller, bool first)
{
	unsigned long word = READ_ONCE(rpal_self->word);

	if (!(word & RPAL_WORD_LENT))
		return false;
	if (((word >> RPAL_WORD_SLOT_SHIFT) & 0xff) !=
	    caller >> RPAL_SLOT_SHIFT)
		stress_bad(P_CONTEXT, "lease word %#lx during a call of slot %lu, %s",
			   word, caller >> RPAL_SLOT_SHIFT,
			   first ? "at its start" : "at its end");
	return true;
}

long stress_serve(void *cookie, unsigned long a0, unsigned long a1,
		  unsigned long a2, unsigned long a3)
{
	struct stress_thread *t = cookie;
	unsigned int id = a2 >> 48, words = a1;
	uint64_t seq = a2 & ((1UL << 48) - 1);
	struct stress_entry *e = stress_entry(id, seq);
	struct stress_msg *m = t->in;
	bool borrowed, answered = true;
	long ret = seq << R_BITS;
	bool known;

	if (t != me || rpal_self != t->ctl || words > MAX_WORDS) {
		stress_bad(P_CONTEXT, "a receiver's thread variables are another's");
		return ret | R_UNREACHABLE;
	}
	borrowed = is_borrowed(a0, true);
	count(borrowed ? C_begun_borrowed : C_begun_native);
	/* The caller may be dead, and its successor far ahead. */
	known = __atomic_load_n(&e->seq, __ATOMIC_ACQUIRE) == seq;
	if (!known)
		count(C_late);
	else if (__atomic_fetch_add(&e->begun, 1, __ATOMIC_ACQ_REL))
		stress_bad(P_DOUBLED, "call %u/%lu is begun again", id, seq);
	if ((__builtin_ia32_stmxcsr() & ~0x3f) != 0x1f80)
		stress_bad(P_CONTEXT, "receiver's MXCSR is %#x",
			   __builtin_ia32_stmxcsr());

	if (rpal_gate_copy(m, (void *)a0, MSG_SIZE(words)))
		return ret | R_UNREACHABLE;
	if (m->seq != seq || m->id != id || m->words != words || m->reply ||
	    m->sum != stress_sum(m)) {
		stress_bad(P_TORN, "request %u/%lu of %u words is %u/%lu of %u, sum %#lx",
			   id, seq, words, m->id, m->seq, m->words, m->sum);
		stress_bad(P_TORN, "it is run %s, and its caller got %ld",
			   borrowed ? "borrowed" : "natively",
			   known ? e->failed : 0);
		return ret | R_UNREACHABLE;
	}
	answered = do_kind(t, m->kind, m->arg);
	if (rpal_self != t->ctl)
		stress_bad(P_CONTEXT, "thread variables changed in a call");
	stress_reply(m);
	if (rpal_gate_copy((void *)a3, m, MSG_SIZE(words)))
		return ret | R_UNREACHABLE;
	if (known)
		__atomic_fetch_add(&e->ended, 1, __ATOMIC_ACQ_REL);
	if (!is_borrowed(a0, false)) {
		count(C_ended_native);
		if (borrowed)
			count(C_moved);
	} else {
		count(C_ended_borrowed);
		if (!borrowed)
			stress_bad(P_CONTEXT, "a call was lent half way");
	}
	return answered ? ret : ret | R_UNNESTED;
}
