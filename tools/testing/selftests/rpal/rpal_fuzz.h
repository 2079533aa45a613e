/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The fuzzer of hostile neighbours: what its files share.
 *
 * Hostile code uses raw system calls and no thread-local variable, since its
 * FS base may be anything. A thread's own data is found by way of its
 * alternate signal stack, at whose start it lies.
 */
#ifndef RPAL_FUZZ_H
#define RPAL_FUZZ_H

#include <signal.h>
#include <sys/syscall.h>

#include "rpal_lib.h"

/* ---- what runner and hostile processes share ---- */

#define FZ_ROLES	3	/* two that are attached to each other, a loner */
#define FZ_THREADS	3
#define FZ_KINDS	40	/* room for kinds of operations */
#define FZ_WORLD_FD	201	/* where a hostile process has it */

enum fz_outcome {
	FZ_OK, FZ_ERROR, FZ_SEGV, FZ_BUS, FZ_ILL, FZ_TRAP, FZ_OTHER,
	FZ_NUDGED, FZ_OUTCOMES
};

enum fz_loner {
	FZ_REFUSED,	/* has descriptors, but may not attach */
	FZ_ONE_WAY,	/* has descriptors, and may attach those two */
	FZ_ALONE,	/* a service that has nothing */
	FZ_NO_SERVICE,	/* an ordinary process with descriptors */
	FZ_LONERS
};

struct fz_thread {
	pid_t tid;
	bool done;
	unsigned int kind;	/* the operation that it is in */
	unsigned long steps;
};

struct fz_role {
	pid_t pid;
	struct rpal_service service;
	unsigned long scratch;
	int threads;		/* those that are not done */
	struct fz_thread thread[FZ_THREADS];
};

struct fz_world {
	unsigned long seed;	/* of this round */
	bool go;		/* all are ready */
	long left;		/* operations that are left in this round */
	enum fz_loner loner;
	struct rpal_service third;	/* a service that nobody here knows */
	struct fz_role role[FZ_ROLES];
	unsigned long count[FZ_KINDS][FZ_OUTCOMES];
};

/* ---- a hostile thread ---- */

/*
 * Also the size of its alternate stack. The kernel's frames are 3 KiB each,
 * and handlers nest.
 */
#define FZ_STACK	(64 * 1024UL)
#define FZ_MAGIC	0x66757a7aUL

struct fz {
	unsigned long magic;
	unsigned long rng;
	unsigned long fsbase;
	unsigned int pkru;
	int role;
	int index;		/* -1: a child or an extra thread */
	int sig;		/* that ended the operation */
	int armed;		/* how many operations are nested */
	int soft;		/* in a handler that returns */
	int children;
	bool child;		/* ended by its own timer, too */
	bool registered;
	struct rpal_ctl *ctl;
	void *jmp[5];
};

struct fz_kind {
	const char *name;
	long (*run)(struct fz *f);
	unsigned int weight;
};

extern const struct fz_kind fz_gate_kinds[], fz_jump_kinds[], fz_mem_kinds[],
			    fz_proc_kinds[], fz_task_kinds[];
extern struct fz_world *fz_world;
extern unsigned char *fz_scratch;	/* 2 MiB, page 16 is read-only */
extern unsigned char *fz_low;		/* below 4 GiB: pieces of code */
extern unsigned char *fz_spare;		/* room for one more thread */

#define FZ_SCRATCH	(2 * 1024 * 1024UL)
#define FZ_READONLY	16		/* page of the scratch memory */
#define FZ_HOLE		17		/* the page behind it: not mapped */
#define FZ_PIECE	16UL		/* bytes of a piece of code in fz_low */

/* Names for the table that is printed; NULL at the end. */
const char *fz_kind_name(unsigned int kind);

/* One operation. Comes back whatever happens, or the process dies. */
long fz_step(struct fz *f);
/* Operations until the round has none left. */
void fz_run(struct fz *f);
/* Makes the calling thread a hostile one, with @room for its data. */
struct fz *fz_init(void *room, unsigned long seed, int role, int index);
/* Undo what an operation did to FS base, PKRU and floating-point modes. */
void fz_normal(struct fz *f);
/* The process's signal handlers. */
void fz_handlers(void);
/* The function that receivers offer: some operations. */
long fz_entry(void *cookie, unsigned long a0, unsigned long a1,
	      unsigned long a2, unsigned long a3);
/* rpal_thread(2), noted. */
long fz_register(struct fz *f);
/* In a spawned process: become hostile, by rpal_run(). */
long fz_hostile(unsigned long role, unsigned long fd, unsigned long a2,
		unsigned long a3);
/* The same after an exec of its own. */
__noreturn void fz_again(void);
#define FZ_AGAIN	"--hostile"

/* ---- random things ---- */

unsigned long fz_rand(struct fz *f);
static inline unsigned long fz_below(struct fz *f, unsigned long n)
{
	return (fz_rand(f) >> 20) % n;
}

static inline bool fz_one_in(struct fz *f, unsigned long n)
{
	return !fz_below(f, n);
}

/* An interesting number, perhaps an address. */
unsigned long fz_value(struct fz *f);
/* The block of somebody: own, peer's, or one that is out of reach. */
struct rpal_ctl *fz_ctl(struct fz *f);
/* Where a system call may be told to read or write. */
void *fz_buffer(struct fz *f);
/* A range of addresses for memory calls. */
unsigned long fz_range(struct fz *f, unsigned long *len);
/* A service of this round; the own one now and then. */
struct fz_role *fz_peer(struct fz *f);
/* The gate's page, or 0. */
unsigned long fz_gate(void);
/* One of this round's threads, as a process and a thread. */
pid_t fz_victim(struct fz *f, pid_t *tgid);

/* ---- registers ---- */

/* As fz_go() pops them. */
struct fz_regs {
	unsigned long ax, bx, cx, dx, si, bp, r8, r9, r10, r11, r12, r13, r14,
		      r15, di;
	unsigned long ip, cs, flags, sp, ss;
};

#define FZ_CS		0x33UL
#define FZ_CS32		0x23UL
#define FZ_DS		0x2bUL

/*
 * clone(2) on a stack of its own; the child runs fn(arg). Its thread-local
 * storage is at @tls, and *@clear becomes 0 at its end, if the flags say so.
 */
long fz_clone(unsigned long flags, void *stack, void (*fn)(void *arg),
	      void *arg, unsigned long tls, int *clear);

/* Load all of them. Leaves by a signal, or never. */
__noreturn void fz_go(const struct fz_regs *regs);
/* An illegal instruction: where forged code comes back to. */
extern const char fz_landing[];

/* Pieces of code, each with a landing behind it. */
extern const unsigned char fz_pieces[][FZ_PIECE];
extern const unsigned long fz_pieces_size;

/* A system call that does no harm, whatever its arguments are. */
unsigned long fz_harmless(struct fz *f);
/* Have FS base and claim say that the context is a receiver's. */
void fz_pretend(struct fz *f);

#define fz_call0(nr)		rpal_syscall(nr, 0, 0, 0, 0, 0, 0)
#define fz_call1(nr, a)		rpal_syscall(nr, (unsigned long)(a), 0, 0, 0, 0, 0)
#define fz_call2(nr, a, b)	rpal_syscall(nr, (unsigned long)(a), \
					     (unsigned long)(b), 0, 0, 0, 0)
#define fz_call3(nr, a, b, c)	rpal_syscall(nr, (unsigned long)(a), \
					     (unsigned long)(b), \
					     (unsigned long)(c), 0, 0, 0)
#define fz_call4(nr, a, b, c, d) rpal_syscall(nr, (unsigned long)(a), \
					      (unsigned long)(b), \
					      (unsigned long)(c), \
					      (unsigned long)(d), 0, 0)

static inline void set_fsbase(unsigned long base)
{
	asm volatile("wrfsbase %0" : : "r" (base) : "memory");
}

static inline unsigned long get_fsbase(void)
{
	unsigned long base;

	asm volatile("rdfsbase %0" : "=r" (base));
	return base;
}

static inline void set_gsbase(unsigned long base)
{
	asm volatile("wrgsbase %0" : : "r" (base) : "memory");
}

/* ---- those that must not be disturbed ---- */

struct fz_neighbours {
	unsigned long stop;
	unsigned long messages;	/* of a pair of services */
	unsigned long checks;	/* of an ordinary process */
};

extern struct fz_neighbours *fz_neighbours;

void fz_neighbours_start(void);
struct rpal_service *fz_neighbours_service(void);
/* Wait until each has got something done; they must not have died. */
void fz_neighbours_alive(void);
void fz_neighbours_stop(void);
void fz_print_process(pid_t pid);

#endif /* RPAL_FUZZ_H */
