/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of rpal_stress share: one memory object, mapped by the
 * program that reports, by the director that it starts, and by all services.
 *
 * A service has NR_LEVELS receivers and NR_CALLERS callers. A receiver calls
 * receivers of lower levels only, so that nobody waits in a circle.
 */
#ifndef RPAL_STRESS_H
#define RPAL_STRESS_H

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "rpal_lib.h"
#include "rpal_lives.h"

#define MAX_SERVICES	16
#define NR_LEVELS	3
#define NR_CALLERS	3
#define NR_THREADS	(NR_LEVELS + NR_CALLERS)
#define MAX_WORDS	1024		/* of a message's data */
#define LEDGER		512		/* calls of one thread that it knows */
#define SCRATCH_PAGES	4		/* of each receiver */
#define GATE_BYTES	2048		/* more than the gate has */
#define NR_REGIONS	6		/* of the gate, as the kernel counts them */

/* What must hold; each is one test. */
enum property {
	P_LOST, P_DOUBLED, P_TORN, P_CAUSE, P_EVENT, P_CONTEXT, P_DIED, P_HUNG,
	P_LEFT, NR_PROPERTIES
};

/* What is counted in user mode. */
enum {
	C_calls, C_nested, C_from_handlers, C_late, C_epipe, C_enotconn,
	C_unreachable, C_unnested, C_begun_borrowed, C_begun_native,
	C_ended_borrowed, C_ended_native, C_moved, C_kills, C_kills_frozen,
	C_execs, C_attaches, C_detaches, C_same_key, C_freezes, C_signals,
	C_breakpoints, C_jumps, C_affinity, C_forks, C_maps, C_faults, C_traps,
	C_timeouts, C_interrupted, C_unregistered, C_rings, C_heard,
	C_lives, C_lives_lent,
	NR_COUNTS
};

/* What a call makes the receiver do, besides checking and answering. */
enum kind {
	K_NOTHING, K_SPIN, K_LINGER, K_RING, K_SYSCALL, K_YIELD, K_SLEEP, K_MAP,
	K_PAGES, K_TRAP, K_ILL, K_FORK, K_NEST,
	NR_KINDS
};

/*
 * The result of a call that was carried out: its number, and in the low bits
 * 0 or one of these. The receiver could not reach the buffers; could not do
 * the call that it was to nest, for a good reason.
 */
#define R_UNREACHABLE	1
#define R_UNNESTED	2
#define R_BITS		4

struct stress_msg {
	uint64_t seq;
	uint32_t id;		/* of the calling thread */
	uint32_t kind;
	uint64_t arg;
	uint32_t words;
	uint32_t reply;
	uint64_t sum;		/* over all the rest */
	uint64_t data[];
};

#define MSG_SIZE(words)	(sizeof(struct stress_msg) + 8UL * (words))
/* A message on the stack: for nested calls, and those of handlers. */
#define SMALL_WORDS	6

/* One call in the ledger. */
struct stress_entry {
	uint64_t seq;
	int64_t failed;		/* with what result, if it did */
	uint32_t begun;		/* how often, by receivers */
	uint32_t ended;
};

/*
 * Counters of lives are odd while what they are about is there. Whoever takes
 * it away makes them even first. So an error has a cause if the counter is
 * not what it was before the call.
 */
struct stress_thread_dir {
	uint64_t ctl;
	uint32_t life;		/* receivers: registered */
	int32_t tid;
};

struct stress_service_dir {
	uint32_t life;
	int32_t pid;
	uint32_t active;	/* callers and pest that have not stopped yet */
	uint32_t exec;		/* exec asked of: 1 + thread, 2nd byte: how */
	uint32_t link[MAX_SERVICES];
	struct stress_thread_dir thread[NR_THREADS];
};

struct stress_shared {
	uint64_t seed;
	uint32_t services;
	uint32_t seconds;
	uint32_t ready;		/* the gate is known, the time runs */
	uint32_t stop;
	uint32_t ended;		/* the director came to its end */
	uint32_t hot;		/* the service that is called most */
	uint32_t lives;		/* of services, so far */
	uint32_t bad[NR_PROPERTIES];
	uint32_t nr_ips;	/* instructions of the gate that were met */
	uint16_t ips[GATE_BYTES];
	/* Those that the kernel counts as in one region, by region. */
	uint32_t nr_in[NR_REGIONS];
	uint16_t in[NR_REGIONS][GATE_BYTES];
	uint64_t landed[GATE_BYTES];
	uint64_t count[NR_COUNTS];
	uint64_t next_seq[MAX_SERVICES * NR_THREADS];
	struct stress_service_dir service[MAX_SERVICES];
	struct stress_entry ledger[MAX_SERVICES * NR_THREADS][LEDGER];
};

/* One thread of a service. */
struct stress_thread {
	struct rpal_ctl *ctl;
	uint64_t rng;
	int nr;			/* receivers first; its level, or more */
	int tid;
	bool callable;		/* registered; handlers may call */
	bool in_handler;
	bool in_call;		/* one that a handler may jump out of */
	sigjmp_buf out_of_call;
	int event;		/* perf: the breakpoint, or -1 */
	unsigned int ip;	/* where it is, from the gate's start */
	unsigned int csr;	/* MXCSR that its calls are made with */
	struct stress_msg *in, *out;	/* callers: request and reply */
	void *pages;		/* scratch memory that receivers drop */
	int bell;		/* receivers: an eventfd, or -1 */
	int awaits;		/* that, or an epoll descriptor that has it */
	uint64_t rung, heard;
	bool lingers;		/* it runs a long call, borrowed */
};

extern struct stress_shared *sh;
extern int my_service;			/* -1: not in one */
extern __thread struct stress_thread *me;

static inline void count(int what)
{
	__atomic_fetch_add(&sh->count[what], 1, __ATOMIC_RELAXED);
}

static inline uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static inline unsigned int pick(uint64_t *state, unsigned int n)
{
	return next_random(state) % n;
}

static inline unsigned int my_id(void)
{
	return my_service * NR_THREADS + me->nr;
}

static inline int stress_tgkill(int pid, int tid, int sig)
{
	return rpal_syscall(__NR_tgkill, pid, tid, sig, 0, 0, 0);
}

/* Says what is wrong, and goes on: the director ends the run. */
__printf(2, 3) void stress_bad(enum property p, const char *fmt, ...);
void *stress_map(int fd);

/* lib_stress_call.c */
struct stress_target {
	int service;
	int level;
	uint32_t life, receiver, there, back;	/* as they were */
	struct rpal_ctl *ctl;
};

/* A receiver of a level below @below that can be called now. */
bool stress_target(struct stress_target *to, int below);
/* One call; false if it failed, for a good reason. */
bool stress_call(const struct stress_target *to, enum kind kind,
		 unsigned int words, struct stress_msg *in,
		 struct stress_msg *out);
/* The same with buffers on the stack. */
bool stress_small_call(int below, uint64_t *rng);
uint64_t stress_sum(const struct stress_msg *m);
void stress_reply(struct stress_msg *m);
struct stress_entry *stress_entry(unsigned int id, uint64_t seq);

/* lib_stress_serve.c */
long stress_serve(void *cookie, unsigned long a0, unsigned long a1,
		  unsigned long a2, unsigned long a3);

/* lib_stress_bell.c */
void stress_bells(struct stress_thread *threads);
void stress_ring(unsigned int receiver, uint64_t n);
/* Often a receiver that is in a long call, else seldom any. */
void stress_ring_maybe(uint64_t *rng);
void stress_hear(void);
/* When all is quiet: each ring must be heard. */
void stress_last_rings(void);

/* lib_stress_events.c */
void stress_handlers(void);
void stress_event_open(void);
void stress_event_set(unsigned int ip, unsigned int period);
/* At an instruction that is picked, of a region that is. */
void stress_event_pick(void);
void stress_event_off(void);
void stress_learn_gate(void);
void *stress_pest(void *arg);

/* lib_stress_service.c: functions for rpal_run() */
long do_stress_map(unsigned long fd, unsigned long service,
		   unsigned long a2, unsigned long a3);
long do_stress_start(unsigned long learn, unsigned long a1, unsigned long a2,
		     unsigned long a3);
long do_stress_attach(unsigned long fd, unsigned long service,
		      unsigned long a2, unsigned long a3);
long do_stress_detach(unsigned long service, unsigned long a1,
		      unsigned long a2, unsigned long a3);
/* Detach some that are attached, and attach them again. */
long do_stress_renew(unsigned long seed, unsigned long times,
		     unsigned long a2, unsigned long a3);
__noreturn void stress_exec(bool arm);
void stress_await_ready(void);

/* lib_stress_direct.c */
__noreturn void stress_direct(int fd);

/* lib_stress_report.c */
#define MAX_STATS	64
struct stress_stats {
	int nr;
	char name[MAX_STATS][32];
	long value[MAX_STATS];
};

void stress_read_stats(struct stress_stats *s);
/* How much a counter of the kernel's has grown; -1: there is none. */
long stress_grown(const struct stress_stats *before,
		  const struct stress_stats *after, const char *name);
void stress_report(const struct stress_stats *before,
		   const struct stress_stats *after);

#endif /* RPAL_STRESS_H */
