// SPDX-License-Identifier: GPL-2.0
/*
 * Callers and receivers under ptrace. A tracer sees its tracee's own state and
 * never a context that the tracee borrowed, and whole system calls only.
 *
 * To see these fail: return false from the system call hook after a hand-over
 * (syscall_stops: exits without entries); leave on_dispatch alone
 * (skipped_syscalls: the same); stop a task before its borrowed
 * context is handed over (interrupts: registers of the peer); leave out the
 * slow path (single_steps: no call ever ends); let receivers lend that are
 * traced (traced_receiver).
 */
#include <asm/prctl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>

#include "rpal_test.h"

/* A system call by which a tracee says where it is: no such process. */
#define MARK_BEGIN	0x7ffffff1UL
#define MARK_END	0x7ffffff2UL

static void mark(unsigned long which)
{
	rpal_syscall(__NR_getpgid, which, 0, 0, 0, 0, 0);
}

static long spin_a_little(unsigned long nr, unsigned long a2, unsigned long a3,
			  unsigned long a4)
{
	unsigned long i, live = nr;

	for (i = 0; i < 5000; i++)
		live = live * 3 + 1;
	asm volatile("" : : "r" (live));
	return nr;
}

/* For the traced caller, with addresses in the receiver's process. */
static struct {
	unsigned long ctl, add, getpid, spin;
	pid_t peer;
} target;

static long set_target(unsigned long ctl, unsigned long add,
		       unsigned long getpid, unsigned long spin)
{
	target.ctl = ctl;
	target.add = add;
	target.getpid = getpid;
	target.spin = spin;
	return 0;
}

static long set_peer(unsigned long pid, unsigned long a1, unsigned long a2,
		     unsigned long a3)
{
	target.peer = pid;
	rpal_register();
	return syscall(__NR_gettid);
}

static long calls(unsigned long nr, unsigned long a1, unsigned long a2,
		  unsigned long a3)
{
	struct rpal_ctl *ctl = (struct rpal_ctl *)target.ctl;
	unsigned long i;

	mark(MARK_BEGIN);
	for (i = 0; i < nr; i++) {
		CHECK_EQ(i + 3, rpal_gate(ctl, target.add, i, 1, 2));
		CHECK_EQ(target.peer, rpal_gate(ctl, target.getpid, 0, 0, 0));
		CHECK_EQ(i, rpal_gate(ctl, target.spin, i, 0, 0));
	}
	mark(MARK_END);
	return nr;
}

static struct rpal_proc c, r;

static void setup(void)
{
	rpal_spawn(&r);
	rpal_serve(&r);
	rpal_spawn(&c);
	rpal_link(&c, &r);
	rpal_run(&c, set_target, (unsigned long)r.ctl, rpal_there(&r, do_add),
		 rpal_there(&r, do_getpid), rpal_there(&r, spin_a_little));
	rpal_run(&c, set_peer, r.pid, 0, 0, 0);
	CHECK_EQ(5, rpal_run(&c, calls, 5, 0, 0, 0));
}

static void finish(unsigned long nr)
{
	long ret;

	CHECK(rpal_result(&c, &ret));
	CHECK_EQ(nr, ret);
	CHECK_EQ(10, rpal_run(&c, calls, 10, 0, 0, 0));
	rpal_end(&c);
	rpal_end(&r);
}

static void seize(pid_t pid)
{
	CHECK(!ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD));
}

static void interrupt(pid_t pid)
{
	CHECK(!ptrace(PTRACE_INTERRUPT, pid, 0, 0));
}

static void detach(pid_t pid)
{
	CHECK(!ptrace(PTRACE_DETACH, pid, 0, 0));
}

/* All that a debugger sees is the tracee's own. */
static void check_registers(struct rpal_proc *p, unsigned long *fsbase)
{
	struct user_regs_struct regs;
	unsigned long slot;

	CHECK(!ptrace(PTRACE_GETREGS, p->pid, 0, &regs));
	slot = regs.rip >> RPAL_SLOT_SHIFT;
	if (slot != p->service.slot && slot != GATE_SLOT)
		FAIL("rip %llx is not its own", regs.rip);
	CHECK_EQ(p->service.slot, regs.rsp >> RPAL_SLOT_SHIFT);
	CHECK_EQ(p->service.slot, regs.fs_base >> RPAL_SLOT_SHIFT);
	if (!*fsbase)
		*fsbase = regs.fs_base;
	CHECK_EQ(*fsbase, regs.fs_base);
}

/* strace: as many exits as entries, and one after the other. */
static void follow_syscalls(struct rpal_proc *p, unsigned long *pairs)
{
	struct __ptrace_syscall_info info;
	bool inside = false, ends = false;
	unsigned long fsbase = 0;

	for (;;) {
		int sig;

		CHECK(!ptrace(PTRACE_SYSCALL, p->pid, 0, 0));
		sig = rpal_stopped(p->pid);
		if (sig == (SIGTRAP | 0x80)) {
			CHECK(ptrace(PTRACE_GET_SYSCALL_INFO, p->pid,
				     sizeof(info), &info) > 0);
			if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
				CHECK(!inside);
				inside = true;
				(*pairs)++;
				ends = info.entry.nr == __NR_getpgid &&
				       info.entry.args[0] == MARK_END;
			} else {
				/* Interrupted in one that began untraced. */
				CHECK(inside || *pairs == 0);
				inside = false;
				if (ends)
					break;
			}
			check_registers(p, &fsbase);
		}
	}
	detach(p->pid);
}

RPAL_PLAIN_TEST(syscall_stops)
{
	unsigned long pairs = 0;

	setup();
	seize(c.pid);
	interrupt(c.pid);
	rpal_stopped(c.pid);
	rpal_post(&c, calls, 300, 0, 0, 0);
	follow_syscalls(&c, &pairs);
	/* The marks, and one for each call that is handed over. */
	EXPECT_LE(302, pairs);
	finish(300);
}

/* System calls that are not made, in their own way, and a whole one each. */
static long skipped_calls(unsigned long nr, unsigned long fn, unsigned long a2,
			  unsigned long a3)
{
	unsigned long i;

	mark(MARK_BEGIN);
	for (i = 0; i < nr; i++) {
		CHECK_EQ(-EBUSY, rpal_syscall(__NR_arch_prctl, ARCH_SET_GS, 0,
					      0, 0, 0, 0));
		mark(MARK_BEGIN);
		if (fn)
			CHECK_EQ(target.peer,
				 rpal_gate((void *)target.ctl, fn,
					   INT80_GETPID, 0, 0));
	}
	mark(MARK_END);
	return nr;
}

/* What was not seen to begin is not seen to end. */
RPAL_PLAIN_TEST(skipped_syscalls)
{
	unsigned long pairs = 0, fn = 0;
	long ret;

	setup();
	if (rpal_has_int80())
		fn = rpal_there(&r, do_int80);
	seize(c.pid);
	interrupt(c.pid);
	rpal_stopped(c.pid);
	rpal_post(&c, skipped_calls, 50, fn, 0, 0);
	follow_syscalls(&c, &pairs);
	EXPECT_LE(52, pairs);
	EXPECT_TRUE(rpal_result(&c, &ret));
	EXPECT_EQ(50, ret);
	rpal_end(&c);
	rpal_end(&r);
}

/* Attached and detached in the middle of calls, and looked at. */
RPAL_PLAIN_TEST(interrupts)
{
	unsigned long fsbase = 0;
	struct timespec ts = { .tv_nsec = 300000 };
	int i;

	setup();
	rpal_post(&c, calls, 3000, 0, 0, 0);
	for (i = 0; i < 200; i++) {
		seize(c.pid);
		nanosleep(&ts, NULL);
		interrupt(c.pid);
		rpal_stopped(c.pid);
		check_registers(&c, &fsbase);
		detach(c.pid);
		ts.tv_nsec = 100000 + i * 7919 % 900000;
		nanosleep(&ts, NULL);
	}
	finish(3000);
}

/* A seized task is not stopped: its calls are as before, or slower. */
RPAL_PLAIN_TEST(seized)
{
	setup();
	seize(c.pid);
	EXPECT_EQ(500, rpal_run(&c, calls, 500, 0, 0, 0));
	interrupt(c.pid);
	rpal_stopped(c.pid);
	detach(c.pid);
	EXPECT_EQ(500, rpal_run(&c, calls, 500, 0, 0, 0));
	rpal_end(&c);
	rpal_end(&r);
}

/*
 * A step at a time through whole calls. The steps are bounded: a gate that
 * starts again at every trap would go on for ever.
 */
RPAL_PLAIN_TEST(single_steps)
{
	struct __ptrace_syscall_info info;
	unsigned long steps = 0, in_gate = 0, fsbase = 0;
	struct user_regs_struct regs;

	setup();
	seize(c.pid);
	interrupt(c.pid);
	rpal_stopped(c.pid);
	CHECK(!ptrace(PTRACE_SYSCALL, c.pid, 0, 0));
	rpal_post(&c, calls, 20, 0, 0, 0);
	/* To the first mark at full speed. */
	for (;;) {
		int sig = rpal_stopped(c.pid);

		if (sig == (SIGTRAP | 0x80) &&
		    ptrace(PTRACE_GET_SYSCALL_INFO, c.pid, sizeof(info),
			   &info) > 0 &&
		    info.op == PTRACE_SYSCALL_INFO_ENTRY &&
		    info.entry.nr == __NR_getpgid &&
		    info.entry.args[0] == MARK_BEGIN)
			break;
		CHECK(!ptrace(PTRACE_SYSCALL, c.pid, 0, 0));
	}
	for (steps = 0; steps < 200000; steps++) {
		CHECK(!ptrace(PTRACE_SINGLESTEP, c.pid, 0, 0));
		rpal_stopped(c.pid);
		check_registers(&c, &fsbase);
		CHECK(!ptrace(PTRACE_GETREGS, c.pid, 0, &regs));
		if (regs.rip >> RPAL_SLOT_SHIFT == GATE_SLOT)
			in_gate++;
		if (regs.orig_rax == __NR_getpgid && regs.rdi == MARK_END)
			break;
		/* After a step there is no system call to name. */
		if (regs.rax == __NR_getpgid && regs.rdi == MARK_END)
			break;
	}
	EXPECT_GT(200000, steps);
	EXPECT_LT(60, in_gate);
	detach(c.pid);
	finish(20);
}

/* May it be borrowed? As it was parked last. */
static bool is_withheld(void)
{
	unsigned long word = (unsigned long)&r.ctl->word;

	return rpal_run(&c, do_peek, word, 0, 0, 0) & RPAL_WORD_EVENT;
}

/* A receiver that is traced runs its calls, as itself, under its tracer. */
RPAL_PLAIN_TEST(traced_receiver)
{
	int status;
	long ret;

	setup();
	EXPECT_FALSE(is_withheld());
	CHECK(!ptrace(PTRACE_SEIZE, r.tid, 0, PTRACE_O_TRACESYSGOOD));
	rpal_post(&c, calls, 200, 0, 0, 0);
	EXPECT_TRUE(rpal_result(&c, &ret));
	EXPECT_EQ(200, ret);
	/* Whoever ran it for the receiver would run past the debugger. */
	EXPECT_TRUE(is_withheld());
	interrupt(r.tid);
	ASSERT_EQ(r.tid, waitpid(r.tid, &status, __WALL));
	ASSERT_TRUE(WIFSTOPPED(status));
	rpal_post(&c, calls, 50, 0, 0, 0);
	/* It can't answer what needs itself while it is stopped. */
	detach(r.tid);
	EXPECT_TRUE(rpal_result(&c, &ret));
	EXPECT_EQ(50, ret);
	/* What came last is parked by one who is traced no more. */
	EXPECT_FALSE(is_withheld());
	rpal_post(&c, calls, 10, 0, 0, 0);
	finish(10);
}

/* The tracer dies, and its tracee is let go in the middle of a call. */
RPAL_PLAIN_TEST(tracer_dies)
{
	int i, status;
	pid_t pid;
	long ret;

	setup();
	for (i = 0; i < 10; i++) {
		rpal_post(&c, calls, 100, 0, 0, 0);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			seize(c.pid);
			interrupt(c.pid);
			/* Our child it is not; __WALL waits for it anyway. */
			rpal_stopped(c.pid);
			CHECK(!ptrace(PTRACE_SYSCALL, c.pid, 0, 0));
			rpal_stopped(c.pid);
			_exit(0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
		ASSERT_TRUE(rpal_result(&c, &ret));
		EXPECT_EQ(100, ret);
	}
	rpal_end(&c);
	rpal_end(&r);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
