// SPDX-License-Identifier: GPL-2.0
/* What happens to a side of a call, for rpal_steps. */
#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "rpal_steps.h"

static struct rpal_proc *const c = &steps_caller, *const r = &steps_receiver;

const char *const steps_events[STEPS_EVENTS] = {
	[SIGNAL] = "caller_signal",
	[LONGJMP] = "caller_jumps",
	[CALL] = "caller_calls",
	[KILL_CALLER] = "caller_killed",
	[KILL_RECEIVER] = "receiver_killed",
	[RECEIVER_DIES] = "receiver_dies",
	[PTRACE_CALLER] = "caller_traced",
	[PTRACE_RECEIVER] = "receiver_traced",
	[MUNMAP] = "buffer_unmapped",
	[DETACH] = "window_closed",
	[RECEIVER_SIGNAL] = "receiver_signal",
	[RECEIVER_RESTART] = "receiver_restarts",
	[RECEIVER_TIMEOUT] = "receiver_timeout",
	[STOP_CALLER] = "caller_stops",
	[STOP_RECEIVER] = "receiver_stops",
};

static void send(struct rpal_proc *p, pid_t tid, int sig)
{
	CHECK(!syscall(__NR_tgkill, p->pid, tid, sig));
}

static void wait_for(pid_t pid, int flags, int *status)
{
	pid_t got;

	do {
		got = waitpid(pid, status, flags);
	} while (got < 0 && errno == EINTR);
	CHECK_EQ(pid, got);
}

/* A debugger comes, looks, and goes. Returns BAD_*. */
static unsigned long trace(struct rpal_proc *p, pid_t tid)
{
	struct user_regs_struct regs;
	unsigned long slot, bad = 0;
	int status;

	CHECK(!ptrace(PTRACE_SEIZE, tid, 0, 0));
	CHECK(!ptrace(PTRACE_INTERRUPT, tid, 0, 0));
	wait_for(tid, __WALL, &status);
	CHECK(WIFSTOPPED(status));
	CHECK(!ptrace(PTRACE_GETREGS, tid, 0, &regs));
	slot = regs.rip >> RPAL_SLOT_SHIFT;
	if (slot != p->service.slot && slot != GATE_SLOT)
		bad |= BAD_IP;
	if (regs.rsp >> RPAL_SLOT_SHIFT != p->service.slot)
		bad |= BAD_RSP;
	if (regs.fs_base >> RPAL_SLOT_SHIFT != p->service.slot)
		bad |= BAD_FSBASE;
	if (regs.gs_base)
		bad |= BAD_GSBASE;
	CHECK(!ptrace(PTRACE_DETACH, tid, 0, 0));
	return bad;
}

/* This thread meets the signal first, and right where it is. */
static void stop(struct rpal_proc *p, pid_t tid)
{
	int status;

	send(p, tid, SIGSTOP);
	wait_for(p->pid, WUNTRACED, &status);
	CHECK(WIFSTOPPED(status));
	CHECK(!kill(p->pid, SIGCONT));
	wait_for(p->pid, WCONTINUED, &status);
	CHECK(WIFCONTINUED(status));
}

/*
 * A receiver's time is up when its timer wakes it; but it does not go on as
 * long as this thread keeps the CPU.
 */
static void wait_awake(struct rpal_proc *p)
{
	char path[60], line[200];
	const char *state;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", p->pid, p->tid);
	do {
		fd = open(path, O_RDONLY);
		CHECK(fd >= 0);
		n = read(fd, line, sizeof(line) - 1);
		CHECK(n > 0);
		close(fd);
		line[n] = 0;
		state = strrchr(line, ')');
		CHECK(state);
	} while (state[2] != 'R');
}

unsigned long steps_happen(enum steps_event event)
{
	switch (event) {
	case SIGNAL:
	case LONGJMP:
	case CALL:
		send(c, c->pid, SIGUSR1);
		break;
	case KILL_CALLER:
		rpal_kill(c);
		c->pid = 0;
		break;
	case KILL_RECEIVER:
		/* Before the caller goes on, its last thread is gone. */
		steps->gone = true;
		steps_schedule(r->pid, PRIO_RECEIVER);
		rpal_kill(r);
		r->pid = 0;
		break;
	case RECEIVER_DIES:
		steps->gone = true;
		CHECK(!kill(r->pid, SIGKILL));
		break;
	case PTRACE_CALLER:
		return trace(c, c->pid);
	case PTRACE_RECEIVER:
		return trace(r, r->tid);
	case MUNMAP:
		steps_help(HELP_MUNMAP);
		break;
	case DETACH:
		steps_help(HELP_DETACH);
		break;
	case RECEIVER_SIGNAL:
		send(r, r->tid, SIGUSR1);
		break;
	case RECEIVER_RESTART:
		send(r, r->tid, SIGUSR2);
		break;
	case RECEIVER_TIMEOUT:
		wait_awake(r);
		break;
	case STOP_CALLER:
		stop(c, c->pid);
		break;
	case STOP_RECEIVER:
		stop(r, r->tid);
		break;
	case STEPS_EVENTS:
		break;
	}
	return 0;
}
