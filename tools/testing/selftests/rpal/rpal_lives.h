/* SPDX-License-Identifier: GPL-2.0 */
/* What rpal_lives tells each life, and what both know. */
#ifndef RPAL_LIVES_H
#define RPAL_LIVES_H

#include <stdbool.h>

#include <linux/rpal.h>

/* Descriptors of a life, open when it begins. */
#define LIFE_PEER_FD	190	/* its peer's service */
#define LIFE_ORDERS_FD	191	/* holds struct life_orders */
#define LIFE_IMAGE_FD	192	/* what it executes */

/* How a life ends, in the order of how far it comes. */
enum life_end {
	END_EXIT,		/* at once */
	END_KILL_ATTACHED,	/* by itself */
	END_KILL_CALLING,	/* by its peer, which it calls */
	END_KILL_BORROWER,	/* by a timer, in its peer's code */
	END_SEGV,		/* before it parks */
	END_DETACHED,		/* killed when its peer has detached it */
	END_KILL_PARKED,
	END_KILL_LENT,		/* by its peer, its context being lent */
	END_SEGV_LENT,
	END_EXIT_LENT,
	END_KILL_HANDED,	/* by itself, in a call */
	END_SEGV_TIMED_OUT,	/* after its wait */
	END_EXEC_LENT,		/* the next life is in the same process */
	NR_ENDS
};

struct life_orders {
	__u64 end;
	__u64 calls;		/* how many it makes */
	__u64 nonce;		/* part of their arguments */
	__u64 timer_ns;		/* SIGKILL then, unless 0 */
	__u64 ctl;		/* whom it calls */
	__u64 add, spin, kill, ready;	/* functions there */
};

/* What a life that comes to an end by itself has to say. */
#define LIFE_SAME_KEY	3
#define LIFE_WRONG	10	/* and more: something was */

/* What is called in a life. */
enum life_call {
	LIFE_ADD, LIFE_SYSCALL, LIFE_SPIN, LIFE_SEGV, LIFE_EXIT, LIFE_KILL,
	LIFE_EXEC
};

/* So that a wrong one is seen as such. */
static inline unsigned long life_sum(unsigned long a, unsigned long b)
{
	return (a * 3 + b) & 0xffffffff;
}

/* What the workers have done so far. */
struct lives_progress {
	bool stop;			/* begin no more of them */
	unsigned long done;		/* lives */
	unsigned long same_key;		/* that could not attach for that */
	unsigned long calls_in, calls_out;
	unsigned long ended[NR_ENDS];
};

extern const char *const life_ends[NR_ENDS];

#define LIVES_MOVE	1	/* the worker is not pinned to a CPU */
#define LIVES_LENT	2	/* most lives are killed while lent */

/* lib_lives.c, for rpal_run(): the seed, and LIVES_* */
long do_lives_prepare(unsigned long seed, unsigned long how,
		      unsigned long a2, unsigned long a3);
/* Lives @first to @end, one in @stride; struct lives_progress is in @fd. */
long do_lives_work(unsigned long fd, unsigned long first, unsigned long stride,
		   unsigned long end);

#endif /* RPAL_LIVES_H */
