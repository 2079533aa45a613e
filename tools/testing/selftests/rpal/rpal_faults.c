// SPDX-License-Identifier: GPL-2.0
/*
 * Faults of a receiver's code inside a call are its own: its memory grows, its
 * handlers run, and it is the one that dies of them. The caller then gets an
 * error and goes on.
 *
 * To see these fail: do not latch forced signals (all that end in a signal:
 * the caller dies of it); do not set ip back (int3); let a window fault that
 * fails be the caller's SIGBUS (main_stack, segv); let tickets of a dead
 * receiver wait (dies_*: they hang); leave the lease with a caller whose context
 * is lost (dies_of_lost_*: its next call is answered), or hand that over all the
 * same (the same: the receiver dies of SIGILL).
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "rpal_test.h"

#define MIB	(1024 * 1024UL)

static struct rpal_proc peer;

static void setup(void)
{
	rpal_partner(&peer);
}

/* Before and after it, what never needs the kernel works. */
static long call(rpal_fn fn, unsigned long a1, unsigned long a2)
{
	long ret;

	CHECK_EQ(6, rpal_call(&peer, do_add, 1, 2, 3));
	ret = rpal_call(&peer, fn, a1, a2, 0);
	CHECK_EQ(7, rpal_call(&peer, do_add, 1, 2, 4));
	return ret;
}

/* ---- page faults ---- */

static long touch(unsigned long addr, unsigned long len, unsigned long a3,
		  unsigned long a4)
{
	unsigned long i;
	long sum = 0;

	for (i = 0; i < len; i += RPAL_PAGE) {
		do_poke(addr + i, i + 1, 0, 0);
		sum += do_peek(addr + i, 0, 0, 0);
	}
	return sum;
}

RPAL_TEST(lazy_pages)
{
	long want = 0;
	unsigned long addr, i;

	setup();
	for (i = 0; i < MIB; i += RPAL_PAGE)
		want += i + 1;
	addr = rpal_mmap(&peer, MIB, PROT_READ | PROT_WRITE);
	CHECK_EQ(want, call(touch, addr, MIB));
	CHECK_EQ(1, rpal_run(&peer, do_peek, addr, 0, 0, 0));
	CHECK_EQ(MIB - RPAL_PAGE + 1,
		 rpal_run(&peer, do_peek, addr + MIB - RPAL_PAGE, 0, 0, 0));
}

/* The caller's memory, from the receiver: by the window, or natively. */
RPAL_TEST(lazy_pages_of_caller)
{
	unsigned long addr, i;
	long want = 0;

	setup();
	for (i = 0; i < MIB; i += RPAL_PAGE)
		want += i + 1;
	addr = do_mmap(0, MIB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS);
	CHECK_EQ(want, call(touch, addr, MIB));
	for (i = 0; i < MIB; i += RPAL_PAGE)
		CHECK_EQ(i + 1, do_peek(addr + i, 0, 0, 0));
}

static long natively_touch(unsigned long addr, unsigned long len,
			   unsigned long a3, unsigned long a4)
{
	getpid();
	return touch(addr, len, 0, 0);
}

RPAL_TEST(lazy_pages_of_caller_natively)
{
	unsigned long addr;

	setup();
	addr = do_mmap(0, RPAL_PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS);
	CHECK_EQ(1, call(natively_touch, addr, RPAL_PAGE));
	CHECK_EQ(1, do_peek(addr, 0, 0, 0));
}

static long recurse(unsigned long bytes, unsigned long a2, unsigned long a3,
		    unsigned long a4)
{
	char here[2000];
	long depth = 0;

	memset(here, 1, sizeof(here));
	if (bytes > sizeof(here))
		depth = recurse(bytes - sizeof(here), 0, 0, 0);
	/* Keeps the frame alive over the call. */
	asm volatile("" : : "r" (here) : "memory");
	return depth + 1;
}

RPAL_TEST(thread_stack)
{
	setup();
	CHECK_EQ(MIB / 2000 + 1, call(recurse, MIB, 0));
}

static long park_here(unsigned long a0, unsigned long a1, unsigned long a2,
		      unsigned long a3)
{
	rpal_register();
	return rpal_wait(RPAL_WAIT_FOREVER);
}

/* On the main thread, the stack has to grow: a window can't do that. */
RPAL_TEST(main_stack)
{
	setup();
	rpal_post(&peer, park_here, 0, 0, 0, 0);
	peer.ctl++;		/* the next one to be registered */
	rpal_wait_ready(peer.ctl);
	CHECK_EQ(MIB / 2000 + 1, call(recurse, MIB, 0));
	CHECK_EQ(2 * MIB / 2000 + 1, call(recurse, 2 * MIB, 0));
	rpal_kill(&peer);
}

/* ---- faults that signals tell of ---- */

static long fault_code(rpal_fn fn, unsigned long arg)
{
	struct rpal_fault f;

	rpal_try(&f, fn, arg, 1, 0, 0);
	/* All signal numbers and codes are small, and none is 0. */
	return (long)f.sig << 32 | (unsigned int)f.code;
}

static long bad_read(unsigned long addr, unsigned long a2, unsigned long a3,
		     unsigned long a4)
{
	return fault_code(do_peek, addr);
}

static long bad_write(unsigned long addr, unsigned long a2, unsigned long a3,
		      unsigned long a4)
{
	return fault_code(do_poke, addr);
}

#define FAULT(sig, code)	((long)(sig) << 32 | (unsigned int)(code))

RPAL_TEST(segv)
{
	unsigned long ro;
	int i;

	setup();
	ro = rpal_mmap(&peer, RPAL_PAGE, PROT_READ);
	for (i = 0; i < 20; i++) {
		CHECK_EQ(FAULT(SIGSEGV, SEGV_MAPERR), call(bad_read, 8, 0));
		CHECK_EQ(FAULT(SIGSEGV, SEGV_MAPERR),
			 call(bad_read, peer.service.slot_start +
			      RPAL_SLOT_SIZE / 2, 0));
		CHECK_EQ(FAULT(SIGSEGV, SEGV_ACCERR), call(bad_write, ro, 0));
	}
}

static long do_int3(unsigned long a1, unsigned long a2, unsigned long a3,
		    unsigned long a4)
{
	asm volatile("int3");
	return 3;
}

static long do_ud2(unsigned long a1, unsigned long a2, unsigned long a3,
		   unsigned long a4)
{
	asm volatile("ud2");
	return 2;
}

static long do_div0(unsigned long a1, unsigned long a2, unsigned long a3,
		    unsigned long a4)
{
	unsigned int lo = 1, hi = 0;

	asm volatile("div %2" : "+a" (lo), "+d" (hi) : "r" (0) : "cc");
	return lo;
}

static long do_hlt(unsigned long a1, unsigned long a2, unsigned long a3,
		   unsigned long a4)
{
	asm volatile("hlt");
	return 4;
}

/* The same trap as int3, and twice as long. */
static long do_long_int3(unsigned long a1, unsigned long a2, unsigned long a3,
			 unsigned long a4)
{
	asm volatile(".byte 0xcd, 0x03");
	return 5;
}

static long do_into(unsigned long a1, unsigned long a2, unsigned long a3,
		    unsigned long a4)
{
	asm volatile("int $4");
	return 6;
}

static long do_icebp(unsigned long a1, unsigned long a2, unsigned long a3,
		     unsigned long a4)
{
	asm volatile(".byte 0xf1");
	return 7;
}

static long do_step(unsigned long a1, unsigned long a2, unsigned long a3,
		    unsigned long a4)
{
	asm volatile("lea -128(%%rsp), %%rsp\n\t"
		     "pushf\n\t"
		     "orl $0x100, (%%rsp)\n\t"
		     "popf\n\t"
		     "nop\n\t"
		     "lea 128(%%rsp), %%rsp" : : : "cc", "memory");
	return 8;
}

static long bad_code(unsigned long which, unsigned long a2, unsigned long a3,
		     unsigned long a4)
{
	static const rpal_fn fn[] = {
		do_int3, do_ud2, do_div0, do_hlt, do_long_int3, do_into,
		do_icebp, do_step
	};

	return fault_code(fn[which], 0);
}

RPAL_TEST(traps)
{
	int i;

	setup();
	for (i = 0; i < 20; i++) {
		CHECK_EQ(FAULT(SIGTRAP, SI_KERNEL), call(bad_code, 0, 0));
		CHECK_EQ(FAULT(SIGILL, ILL_ILLOPN), call(bad_code, 1, 0));
		CHECK_EQ(FAULT(SIGFPE, FPE_INTDIV), call(bad_code, 2, 0));
		CHECK_EQ(FAULT(SIGSEGV, SI_KERNEL), call(bad_code, 3, 0));
		CHECK_EQ(FAULT(SIGTRAP, SI_KERNEL), call(bad_code, 4, 0));
		CHECK_EQ(FAULT(SIGSEGV, SI_KERNEL), call(bad_code, 5, 0));
		CHECK_EQ(FAULT(SIGTRAP, TRAP_BRKPT), call(bad_code, 6, 0));
		CHECK_EQ(FAULT(SIGTRAP, TRAP_TRACE), call(bad_code, 7, 0));
	}
}

static long passed;

static void note_trap(int sig)
{
	WRITE_ONCE(passed, READ_ONCE(passed) + 1);
}

static long go_on_after_traps(unsigned long a1, unsigned long a2,
			      unsigned long a3, unsigned long a4)
{
	long before = READ_ONCE(passed);

	signal(SIGTRAP, note_trap);
	/* Behind each is an instruction that a wrong address would skip. */
	asm volatile("int3; inc %0; .byte 0xcd, 0x03; inc %0; .byte 0xf1; inc %0"
		     : "+r" (a1) : : "cc");
	return a1 + (READ_ONCE(passed) - before) * 100;
}

/* In user mode when it meets the first, and in the kernel's hands afterwards. */
static long traps_without_calls(unsigned long a1, unsigned long a2,
				unsigned long a3, unsigned long a4)
{
	long before = READ_ONCE(passed);

	asm volatile(".byte 0xcd, 0x03; inc %0" : "+r" (a1) : : "cc");
	return a1 + (READ_ONCE(passed) - before) * 100;
}

RPAL_TEST(traps_are_passed)
{
	long i;

	setup();
	for (i = 0; i < 20; i++) {
		CHECK_EQ(i + 303, call(go_on_after_traps, i, 0));
		CHECK_EQ(i + 101, call(traps_without_calls, i, 0));
	}
}

/* Handlers that come back to where they were. */
static struct {
	unsigned long addr;	/* the page that is to be made writable */
	long traps, faults;
	pid_t pid, tid;
} fixed;

static void fix(int sig, siginfo_t *si, void *uc)
{
	fixed.pid = getpid();
	fixed.tid = syscall(__NR_gettid);
	if (sig == SIGTRAP) {
		fixed.traps++;
		return;
	}
	fixed.faults++;
	CHECK_EQ(fixed.addr, (unsigned long)si->si_addr);
	CHECK(!mprotect((void *)fixed.addr, RPAL_PAGE,
			PROT_READ | PROT_WRITE));
}

static long prepare_fix(unsigned long addr, unsigned long a1, unsigned long a2,
			unsigned long a3)
{
	struct sigaction sa = { .sa_sigaction = fix, .sa_flags = SA_SIGINFO };

	fixed.addr = addr;
	CHECK(!sigaction(SIGSEGV, &sa, NULL));
	CHECK(!sigaction(SIGTRAP, &sa, NULL));
	return rpal_err(mprotect((void *)addr, RPAL_PAGE, PROT_READ));
}

/* Live values over the fault: they must be there when it goes on. */
static long needs_fix(unsigned long addr, unsigned long seed, unsigned long a3,
		      unsigned long a4)
{
	long a = seed * 3, b = seed * 5, c = seed * 7;
	double d = seed * 1.5;

	asm volatile("int3" : "+r" (a), "+r" (b), "+r" (c), "+x" (d));
	do_poke(addr, a + b, 0, 0);
	CHECK_EQ(a + b, do_peek(addr, 0, 0, 0));
	CHECK_EQ(getpid(), fixed.pid);
	CHECK_EQ(syscall(__NR_gettid), fixed.tid);
	return a + b + c + (long)(d * 2);
}

RPAL_TEST(handlers_that_return)
{
	unsigned long page;
	long i;

	setup();
	page = rpal_mmap(&peer, RPAL_PAGE, PROT_READ | PROT_WRITE);
	for (i = 1; i < 50; i++) {
		CHECK_EQ(0, rpal_run(&peer, prepare_fix, page, 0, 0, 0));
		CHECK_EQ(i * 18, call(needs_fix, page, i));
	}
	CHECK_EQ(49, rpal_run(&peer, do_peek, rpal_there(&peer, &fixed.traps),
			      0, 0, 0));
	CHECK_EQ(49, rpal_run(&peer, do_peek, rpal_there(&peer, &fixed.faults),
			      0, 0, 0));
	CHECK_EQ(0, fixed.traps);
	CHECK_EQ(0, fixed.faults);
}

/* ---- receivers that do not come back ---- */

static long no_core(unsigned long a0, unsigned long a1, unsigned long a2,
		    unsigned long a3)
{
	struct rlimit none = {};

	return rpal_err(setrlimit(RLIMIT_CORE, &none));
}

static long plain_peek(unsigned long addr, unsigned long a2, unsigned long a3,
		       unsigned long a4)
{
	return do_peek(addr, 0, 0, 0);
}

static long raise_in_call(unsigned long sig, unsigned long a2,
			  unsigned long a3, unsigned long a4)
{
	raise(sig);
	return 1;
}

static long exec_in_call(unsigned long a1, unsigned long a2, unsigned long a3,
			 unsigned long a4)
{
	/* Without its socket it ends, with status 1. */
	execl("/proc/self/exe", "rpal", "--rpal-peer", NULL);
	return 1;
}

/* With an FS base with which nobody has parked, to the kernel. */
static long lose_by_syscall(unsigned long base, unsigned long a2,
			    unsigned long a3, unsigned long a4)
{
	asm volatile("wrfsbase %0\n\t"
		     "syscall\n\t"
		     "ud2"
		     : : "r" (base), "a" (__NR_getpid)
		     : "rcx", "r11", "memory");
	__builtin_unreachable();
}

static long lose_by_fault(unsigned long off, unsigned long a2,
			  unsigned long a3, unsigned long a4)
{
	unsigned long base = rpal_self->fsbase + off;

	asm volatile("wrfsbase %0\n\t"
		     "ud2"
		     : : "r" (base) : "memory");
	__builtin_unreachable();
}

static void dies(rpal_fn fn, unsigned long arg, int status)
{
	setup();
	CHECK_EQ(0, rpal_run(&peer, no_core, 0, 0, 0, 0));
	CHECK_EQ(6, rpal_call(&peer, do_add, 1, 2, 3));
	CHECK_EQ(-EPIPE, rpal_call(&peer, fn, arg, 0, 0));
	/* Perhaps while it is still at it. */
	CHECK_EQ(-EPIPE, rpal_call(&peer, do_add, 1, 2, 3));
	/* A core dump, by whatever pattern, makes no difference. */
	CHECK_EQ(status, rpal_reap(&peer) & ~0x80);
	CHECK_EQ(-EPIPE, rpal_call(&peer, do_add, 1, 2, 3));

	/* This side goes on, with another. */
	rpal_unregister();
	setup();
	CHECK_EQ(6, rpal_call(&peer, do_add, 1, 2, 3));
	CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
}

RPAL_TEST(dies_of_segv)
{
	dies(plain_peek, 8, SIGSEGV);
}

RPAL_TEST(dies_of_int3)
{
	dies(do_int3, 0, SIGTRAP);
}

RPAL_TEST(dies_of_kill)
{
	dies(raise_in_call, SIGKILL, SIGKILL);
}

RPAL_TEST(dies_of_exit)
{
	dies(do_exit, 5, 5 << 8);
}

RPAL_TEST(dies_of_lost_syscall)
{
	dies(lose_by_syscall, 0, SIGSEGV);
}

RPAL_TEST(dies_of_lost_fault)
{
	dies(lose_by_fault, 64, SIGSEGV);
}

RPAL_TEST(execs)
{
	dies(exec_in_call, 0, 1 << 8);
}

static long thread_exits(unsigned long a1, unsigned long a2, unsigned long a3,
			 unsigned long a4)
{
	syscall(__NR_exit, 0);
	return 1;
}

/* Only that thread; the service lives, and its other receivers serve. */
RPAL_TEST(thread_dies)
{
	setup();
	CHECK_EQ(-EPIPE, rpal_call(&peer, thread_exits, 0, 0, 0));
	CHECK_EQ(-EPIPE, rpal_call(&peer, do_add, 1, 2, 3));
	rpal_serve(&peer);
	CHECK_EQ(6, rpal_call(&peer, do_add, 1, 2, 3));
	CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
