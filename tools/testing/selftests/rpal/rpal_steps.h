/* SPDX-License-Identifier: GPL-2.0 */
/* For rpal_steps: threads that stop at one instruction of the gate. */
#ifndef RPAL_STEPS_H
#define RPAL_STEPS_H

#include "rpal_lib.h"

/* The parts of the gate, in the order of their addresses. */
enum steps_region {
	AT_CALL,	/* the frame is made */
	AT_A,		/* A: a claim is tried */
	AT_G0,		/* G0: claimed */
	AT_G1,		/* G1: the receiver's FS base */
	AT_FINISH,	/* the receiver's floating-point modes */
	AT_G2,		/* G2: the receiver's function has returned */
	AT_G3,		/* G3: the caller's FS base again */
	AT_DONE,	/* the frame is taken down */
	AT_MODES,	/* the caller's floating-point modes */
	AT_NESTED,	/* the caller is lent itself */
	AT_RELEASE,	/* the release needs the kernel */
	AT_SLOW,	/* rpal_call(2) */
	AT_SLOW_END,
	AT_AWAIT,	/* rpal_await(2) */
	AT_AWAIT_END,
	AT_WAIT,	/* rpal_wait(2) */
	AT_REPLY,	/* rpal_reply(2) */
	AT_REPLY_END,
	AT_COPY,	/* gate_copy(), and its copy of 16 to 32 bytes */
	AT_COPIED,	/* the way out of that */
	AT_BLOCKS,	/* the copy of more, or less */
	AT_FAULT,	/* the way out after a fault */
	STEPS_REGIONS
};

extern const char *const steps_names[STEPS_REGIONS];

/* Finds the regions, by what their first instructions are. */
void steps_find_regions(unsigned int *starts);
/* Bytes of the gate that are of any use. */
unsigned int steps_gate_size(const unsigned int *starts);
enum steps_region steps_region(const unsigned int *starts,
			       unsigned int offset);

/* ---- breakpoints ---- */

/**
 * struct steps_break - a breakpoint of a thread that stops it just once
 * @fd: the event
 * @ring: where the event is reported
 */
struct steps_break {
	int fd;
	void *ring;
};

/* Why that can't be had here, or NULL. */
const char *steps_missing(void);

/*
 * Nobody has a higher priority than the monitor: it goes on as soon as a
 * breakpoint is hit, in place of the thread that hit it.
 */
#define PRIO_MONITOR	50
#define PRIO_HELPER	40
#define PRIO_RECEIVER	30
#define PRIO_CALLER	20
#define PRIO_LATE	10

void steps_schedule(pid_t tid, int priority);

/* At the nth time that this thread is about to execute this instruction. */
void steps_arm(struct steps_break *b, pid_t tid, unsigned long addr, int nth);
void steps_disarm(struct steps_break *b);

enum { STEPS_HIT, STEPS_MISSED, STEPS_HUNG };
/* Until the breakpoint is hit, or there is something to read on the socket. */
int steps_wait(struct steps_break *b, int sock);
/* The same for the socket alone. */
int steps_wait_end(int sock);

/* How often that thread executes an instruction: a descriptor, and so far. */
int steps_count(pid_t tid, unsigned long addr);
unsigned long steps_counted(int fd);

/* A counter of the kernel's, by name; -1 if there is none. */
long steps_statistic(const char *name);

/* ---- what has to be kept ---- */

enum {
	BAD_RBX		= 0x1,
	BAD_RBP		= 0x2,
	BAD_R12		= 0x4,
	BAD_R13		= 0x8,
	BAD_R14		= 0x10,
	BAD_R15		= 0x20,
	BAD_RSP		= 0x40,
	BAD_DF		= 0x80,
	BAD_FSBASE	= 0x100,
	BAD_GSBASE	= 0x200,
	BAD_PKRU	= 0x400,
	BAD_MXCSR	= 0x800,
	BAD_FPCW	= 0x1000,
	BAD_SELF	= 0x2000,	/* another thread's variables */
	BAD_STACK	= 0x4000,	/* not a stack of this service */
	BAD_IP		= 0x8000,	/* neither its code nor the gate */
	BAD_CALL	= 0x10000,	/* from a handler */
	BAD_COPY	= 0x20000,	/* gate_copy()'s bytes, or its result */
};

/*
 * gate_call() with these EFLAGS besides the usual ones, and a look at the
 * registers that it has to keep; BAD_*.
 */
unsigned long steps_call(struct rpal_ctl *peer, unsigned long fn,
			 const unsigned long *args, unsigned long flags,
			 long *ret);
/* What is wrong with this thread, but for what only steps_call() can see. */
unsigned long steps_look(unsigned int pkru, unsigned int mxcsr,
			 unsigned int fpcw);

#define FLAG_DF		0x400
#define MXCSR_CONTROL	0xffc0	/* all but the exception flags */
#define MXCSR_DEFAULT	0x1f80
#define MXCSR_ZERO	0x7f80	/* round towards zero */
#define FPCW_DEFAULT	0x037f
#define FPCW_SINGLE	0x007f	/* round to single precision */

void steps_set_modes(unsigned int mxcsr, unsigned int fpcw);

/* ---- caller, receiver, and a third one that the receiver calls ---- */

/* What calls differ in, so that each instruction is reached by some. */
enum steps_kind {
	FAST,
	MODES,		/* the caller has other floating-point modes, and DF */
	SLOW,		/* the receiver's word sends callers to the kernel */
	HANDOVER,	/* the function makes a system call */
	AWAIT,		/* it traps, and ends after the caller waits for it */
	ANSWERED,	/* it traps, and ends before the caller waits */
	RELEASE,	/* somebody waits for the release */
	NESTED,		/* it makes a call itself */
	FAULTING,	/* it copies from where nothing is */
	ALONE,		/* the receiver has no window onto the caller */
	STEPS_KINDS
};

enum steps_handler {
	JUST_LOOKS,
	JUMPS,		/* out of the call, for good */
	CALLS,		/* somebody else */
};

/* The caller's buffer: what the function copies there, and back. */
struct steps_buffer {
	long in[5], back[3];
};

/* What the function gives if it can't reach the caller's memory. */
#define STEPS_REFUSED	0x10000000000L

struct steps_party {
	pid_t tid;
	unsigned int pkru;	/* as registered */
	struct rpal_ctl *ctl;
	int handled;
	unsigned long handler_bad;
};

/**
 * struct steps_shared - memory of all the processes, by a file and not by RPAL
 * @caller: of calls, with what its signal handlers saw
 * @receiver: the same
 * @helper: thread of the caller's process that does what it is told
 * @fn: the function that is called, in the receiver
 * @sum: do_add() there
 * @inner_fn: what the function calls
 * @inner: and whose that is
 * @buffer: memory of the caller's that the function reads and writes
 * @timeout: of the receiver's waiting
 * @pkru: while the function runs
 * @window: the caller's descriptor of the receiver's service
 * @back: the receiver's one of the caller's service
 * @apart: the latter's window is closed
 * @starts: where the gate's regions begin
 * @kind: of this call, and the rest is this call's, too
 * @handler: what the caller's signal handler does
 * @unmapped: the buffer is not there
 * @gone: nor is the receiver's control block
 * @jumped: it has left
 * @copied: the function is through with the buffer
 * @runs: how often it was started
 * @fn_bad: what it found wrong
 * @bad: what the caller found wrong
 * @word: the lease word after it, if that is there
 * @ret: what the call gave
 * @memory: what it left in the buffer
 */
struct steps_shared {
	struct steps_party caller, receiver;
	pid_t helper;
	unsigned long fn, sum, inner_fn;
	struct rpal_ctl *inner;
	unsigned long buffer, timeout;
	unsigned int pkru;
	int window, back;
	bool apart;
	unsigned int starts[STEPS_REGIONS];
	enum steps_kind kind;
	enum steps_handler handler;
	bool unmapped, gone, jumped, copied;
	int runs;
	unsigned long fn_bad, bad;
	unsigned int word;
	long ret, memory;
};

extern struct steps_shared *steps;
extern struct rpal_proc steps_caller, steps_receiver, steps_third;

void steps_start_all(unsigned long timeout);
void steps_kill_all(void);
/* After rpal_kill() or rpal_reap() of the last one. */
void steps_replace_caller(void);
void steps_replace_receiver(void);

/* What the helper does. */
#define HELP_MUNMAP	'm'	/* the buffer goes */
#define HELP_DETACH	'd'	/* the window onto the receiver is closed */
void steps_help(char what);

/* Forgets the last call and sets the next one up. */
void steps_prepare(enum steps_kind kind, enum steps_handler handler);

/* ---- what happens in the middle of a call ---- */

enum steps_event {
	SIGNAL, LONGJMP, CALL, KILL_CALLER, KILL_RECEIVER, RECEIVER_DIES,
	PTRACE_CALLER, PTRACE_RECEIVER, MUNMAP, DETACH, RECEIVER_SIGNAL,
	RECEIVER_RESTART, RECEIVER_TIMEOUT, STOP_CALLER, STOP_RECEIVER,
	STEPS_EVENTS
};

extern const char *const steps_events[STEPS_EVENTS];

/* Returns BAD_*, as a tracer has seen it. */
unsigned long steps_happen(enum steps_event event);

/* ---- for rpal_run() ---- */

/* In the caller: a call with this number. */
long do_steps_call(unsigned long nr, unsigned long a1, unsigned long a2,
		   unsigned long a3);
/* Fills in starts. */
long do_steps_regions(unsigned long a0, unsigned long a1, unsigned long a2,
		      unsigned long a3);
/*
 * Three calls of that receiver, for another reason than theirs: 0, a call's
 * error, or a number for what is wrong. The last one has to be a fast one.
 */
long do_steps_after(unsigned long ctl, unsigned long fast, unsigned long a2,
		    unsigned long a3);
/* The same for a dead receiver. */
long do_steps_after_death(unsigned long ctl, unsigned long a1,
			  unsigned long a2, unsigned long a3);
/* In the third service: until it can be called again. */
long do_steps_wait_ready(unsigned long a0, unsigned long a1, unsigned long a2,
			 unsigned long a3);
/* Opens the window again. */
long do_steps_attach(unsigned long a0, unsigned long a1, unsigned long a2,
		     unsigned long a3);

#endif /* RPAL_STEPS_H */
