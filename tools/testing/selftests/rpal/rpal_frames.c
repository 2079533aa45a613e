// SPDX-License-Identifier: GPL-2.0
/*
 * Handlers that interrupt a receiver's code in a call: it goes on where it was,
 * as it was, whatever its task and the borrower's had been doing.
 *
 * To see these fail: leave the number of the receiver's wait with the context
 * that it gets back (restart_codes: what is in RAX is taken for the result of
 * that, and the code goes on two bytes before); let the trap flag come along with a
 * hand-over (trap_flag: 7 steps for 1).
 */
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "rpal_test.h"

static struct rpal_proc peer;

static void setup(void)
{
	rpal_partner(&peer);
}

/* ---- registers that look like a system call's ---- */

/* In the receiver: what the handler has found, and the end of the code. */
static struct {
	unsigned long end, ax, ip;
} held;

/*
 * Holds @code in RAX until a handler has run; 0 if that is still there. Two bytes
 * before each instruction that has a name is either none, or one that counts.
 */
static __attribute__((naked)) long hold(unsigned long started,
					unsigned long code, unsigned long a3,
					unsigned long a4)
{
	asm("mov %%rsi, %%rax\n\t"
	    "xor %%ecx, %%ecx\n\t"
	    "movq $1, (%%rdi)\n"
	    "held_count:\n\t"
	    "inc %%ecx\n"
	    "held_look:\n\t"
	    "cmpq $0, %0\n"
	    "held_jump:\n\t"
	    "je held_look\n\t"
	    "sub %%rsi, %%rax\n\t"
	    "dec %%ecx\n\t"
	    "or %%rcx, %%rax\n\t"
	    "ret"
	    : : "m" (held.end));
}

/* Is that one of them, in the receiver? Nowhere else can a signal meet it. */
static bool is_held_at(unsigned long ip)
{
	unsigned long count, look, jump;

	asm("lea held_count(%%rip), %0\n\t"
	    "lea held_look(%%rip), %1\n\t"
	    "lea held_jump(%%rip), %2"
	    : "=r" (count), "=r" (look), "=r" (jump));
	ip -= peer.base - RPAL_BASE;
	return ip == count || ip == look || ip == jump;
}

static void on_usr1(int sig, siginfo_t *si, void *uc)
{
	const greg_t *regs = ((ucontext_t *)uc)->uc_mcontext.gregs;

	held.ax = regs[REG_RAX];
	held.ip = regs[REG_RIP];
	WRITE_ONCE(held.end, 1);
}

static long prepare_hold(unsigned long flags, unsigned long a1,
			 unsigned long a2, unsigned long a3)
{
	struct sigaction sa = {
		.sa_sigaction = on_usr1,
		.sa_flags = SA_SIGINFO | flags,
	};

	memset(&held, 0, sizeof(held));
	return rpal_err(sigaction(SIGUSR1, &sa, NULL));
}

static unsigned long held_there(const unsigned long *field)
{
	return rpal_run(&peer, do_peek, rpal_there(&peer, field), 0, 0, 0);
}

static long started;

static void *signal_receiver(void *arg)
{
	while (!READ_ONCE(started))
		sched_yield();
	CHECK(!syscall(__NR_tgkill, peer.pid, peer.tid, SIGUSR1));
	return NULL;
}

RPAL_TEST(restart_codes)
{
	/* ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK */
	static const long codes[] = { -512, -513, -514, -516 };
	pthread_t thread;
	long code;
	int i;

	setup();
	for (i = 0; i < 24; i++) {
		code = codes[i % 4];
		CHECK_EQ(0, rpal_run(&peer, prepare_hold,
				     i / 4 % 2 ? SA_RESTART : 0, 0, 0, 0));
		WRITE_ONCE(started, 0);
		CHECK(!pthread_create(&thread, NULL, signal_receiver, NULL));
		CHECK_EQ(0, rpal_call(&peer, hold, (long)&started, code, 0));
		CHECK(!pthread_join(thread, NULL));
		CHECK_EQ(code, held_there(&held.ax));
		CHECK(is_held_at(held_there(&held.ip)));
	}
}

/* ---- the trap flag ---- */

static long traps;

static void count_trap(int sig, siginfo_t *si, void *uc)
{
	CHECK_EQ(TRAP_TRACE, si->si_code);
	WRITE_ONCE(traps, READ_ONCE(traps) + 1);
}

static long catch_traps(unsigned long a0, unsigned long a1, unsigned long a2,
			unsigned long a3)
{
	struct sigaction sa = {
		.sa_sigaction = count_trap,
		.sa_flags = SA_SIGINFO,
	};

	return rpal_err(sigaction(SIGTRAP, &sa, NULL));
}

#define STEPS	7

/* Steps itself through that many instructions; how often it was told. */
static long step(unsigned long natively, unsigned long a2, unsigned long a3,
		 unsigned long a4)
{
	long before = READ_ONCE(traps);

	if (natively)
		rpal_syscall(__NR_getpid, 0, 0, 0, 0, 0, 0);
	/* First past the red zone. */
	asm volatile("lea -128(%%rsp), %%rsp\n\t"
		     "pushf\n\t"
		     "orl $0x100, (%%rsp)\n\t"
		     "popf\n\t"
		     /* Here they begin. */
		     "nop\n\t"
		     "nop\n\t"
		     "nop\n\t"
		     "nop\n\t"
		     "pushf\n\t"
		     "andl $~0x100, (%%rsp)\n\t"
		     "popf\n\t"
		     "lea 128(%%rsp), %%rsp" : : : "cc", "memory");
	return READ_ONCE(traps) - before;
}

/*
 * The flag is a debugger's, or the code's own. Which, nobody can tell, so that
 * it stays behind: of its own steps, code that is borrowed is told of the first,
 * which makes it go on in its own task.
 */
RPAL_TEST(trap_flag)
{
	int i;

	setup();
	/* As the CPU and the kernel do it without a hand-over. */
	CHECK_EQ(0, catch_traps(0, 0, 0, 0));
	CHECK_EQ(STEPS, step(0, 0, 0, 0));
	CHECK_EQ(STEPS, step(1, 0, 0, 0));
	CHECK_EQ(0, rpal_run(&peer, catch_traps, 0, 0, 0, 0));
	for (i = 0; i < 20; i++) {
		CHECK_EQ(STEPS, rpal_call(&peer, step, 1, 0, 0));
		CHECK_EQ(1, rpal_call(&peer, step, 0, 0, 0));
	}
	CHECK_EQ(2 * STEPS, traps);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
