// SPDX-License-Identifier: GPL-2.0
/*
 * The vDSO's unlock of a robust mutex, in a borrowed context, and a signal for the
 * receiver in the middle of it. From where the lock is free to where that is
 * noted, its holder's list names it as pending; a handler that runs in between must
 * not see this, and whoever dies there would give up what somebody else has by
 * now. So the kernel does the rest before it lets a signal in.
 *
 * To see this fail: let Regs::load() not say that the context was interrupted.
 */
#include <dlfcn.h>
#include <signal.h>
#include <sys/syscall.h>

#include "rpal_test.h"
#include "rpal_steps.h"

#define VDSO_UNLOCK	"__vdso_futex_robust_list64_try_unlock"

typedef unsigned int (*unlock_fn)(unsigned int *lock, unsigned int tid,
				  unsigned long *pending);

/* ---- the receiver ---- */

static unlock_fn try_unlock;
static unsigned int lock;
static unsigned long pending;

/* What its handler has seen. */
static struct {
	long handled, pending, lock;
	unsigned long ip;
} seen;

static void on_signal(int sig, siginfo_t *si, void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;

	seen.handled++;
	seen.pending = pending;
	seen.lock = lock;
	seen.ip = regs[REG_RIP];
}

/* Where the unlock is done; 0: there is none. */
static long find_unlock(unsigned long a0, unsigned long a1, unsigned long a2,
			unsigned long a3)
{
	static const unsigned char cmpxchg[] = { 0xf0, 0x0f, 0xb1 };
	const struct sigaction sa = {
		.sa_sigaction = on_signal,
		.sa_flags = SA_SIGINFO,
	};
	void *vdso = dlopen("linux-vdso.so.1", RTLD_LAZY | RTLD_NOLOAD);

	CHECK(!sigaction(SIGUSR1, &sa, NULL));
	try_unlock = vdso ? (unlock_fn)dlsym(vdso, VDSO_UNLOCK) : NULL;
	if (!try_unlock)
		return 0;
	return (long)memmem((void *)try_unlock, 64, cmpxchg, sizeof(cmpxchg));
}

#define LOCKED_BY	77U
#define PENDING		0x1234L

/* By who holds the lock, or by somebody else. */
static long unlock(unsigned long tid, unsigned long a2, unsigned long a3,
		   unsigned long a4)
{
	memset(&seen, 0, sizeof(seen));
	lock = LOCKED_BY;
	pending = PENDING;
	return try_unlock(&lock, tid, &pending);
}

static long result(unsigned long what, unsigned long a1, unsigned long a2,
		   unsigned long a3)
{
	const long all[] = {
		seen.handled, seen.pending, seen.lock, seen.ip, pending, lock,
	};

	return all[what];
}

enum { HANDLED, SEEN_PENDING, SEEN_LOCK, SEEN_IP, PENDING_AFTER, LOCK_AFTER };

/* ---- this process ---- */

static struct rpal_proc c, r;
static unsigned long at;

static long of_receiver(int what)
{
	return rpal_run(&r, result, what, 0, 0, 0);
}

static bool start(void)
{
	rpal_pin(0);
	rpal_spawn(&r);
	at = rpal_run(&r, find_unlock, 0, 0, 0, 0);
	if (!at)
		return false;
	rpal_serve(&r);
	rpal_spawn(&c);
	rpal_link(&c, &r);
	steps_schedule(c.pid, PRIO_CALLER);
	steps_schedule(r.tid, PRIO_RECEIVER);
	return true;
}

static void finish(void)
{
	CHECK_EQ(3, rpal_call_from(&c, &r, do_add, 1, 2));
	rpal_end(&c);
	rpal_end(&r);
}

/* A call that unlocks, and a signal before one of its instructions. */
static void signal_at(unsigned long ip, unsigned int tid, long before,
		      unsigned int free)
{
	bool frees = tid == LOCKED_BY;
	struct steps_break b;
	long ret;

	/* Lent by the last one, so that it is the caller who gets there. */
	CHECK_EQ(3, rpal_call_from(&c, &r, do_add, 1, 2));
	steps_arm(&b, c.pid, ip, 1);
	rpal_post(&c, do_call, (unsigned long)r.ctl, rpal_there(&r, unlock),
		  tid, 0);
	CHECK_EQ(STEPS_HIT, steps_wait(&b, c.sock));
	CHECK(!syscall(__NR_tgkill, r.pid, r.tid, SIGUSR1));
	steps_disarm(&b);
	CHECK(rpal_result(&c, &ret));
	CHECK_EQ(LOCKED_BY, ret);
	CHECK_EQ(1, of_receiver(HANDLED));
	CHECK_EQ(ip, of_receiver(SEEN_IP));
	CHECK_EQ(before, of_receiver(SEEN_PENDING));
	CHECK_EQ(free ? 0 : LOCKED_BY, of_receiver(SEEN_LOCK));
	CHECK_EQ(frees ? 0 : PENDING, of_receiver(PENDING_AFTER));
	CHECK_EQ(frees ? 0 : LOCKED_BY, of_receiver(LOCK_AFTER));
}

/* lock cmpxchg %r, (%rdi); jnz past; mov %r, (%rdx) */
#define BRANCH		4
#define STORE		6
#define PAST		9

#define UNLOCK_TEST(name)						\
	static void name##_steps(void);					\
	RPAL_PLAIN_TEST(name)						\
	{								\
		const char *why = steps_missing();			\
									\
		if (!why && !start())					\
			why = "no robust unlock in this kernel's vDSO";	\
		if (why)						\
			SKIP(return, "%s", why);			\
		name##_steps();						\
		finish();						\
	}								\
	static void name##_steps(void)

UNLOCK_TEST(unlocks)
{
	signal_at(at, LOCKED_BY, PENDING, 0);
	signal_at(at + BRANCH, LOCKED_BY, 0, 1);
	signal_at(at + STORE, LOCKED_BY, 0, 1);
	signal_at(at + PAST, LOCKED_BY, 0, 1);
}

/* Nothing was freed, and what is pending is left to who knows why. */
UNLOCK_TEST(does_not)
{
	signal_at(at, LOCKED_BY + 1, PENDING, 0);
	signal_at(at + BRANCH, LOCKED_BY + 1, PENDING, 0);
	signal_at(at + PAST, LOCKED_BY + 1, PENDING, 0);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
