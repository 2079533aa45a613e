/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the RPAL selftests share.
 *
 * The harness process itself is never a service. It starts services with
 * rpal_spawn(): each is this same program, executed once more with an armed
 * exec, where it serves requests to run one of its functions (rpal_run()). A
 * test's own body usually runs in such a service too (RPAL_TEST() in
 * rpal_test.h) and starts the peers that it needs in the same way.
 *
 * A function that finds something wrong prints where and leaves its process
 * with a failure code. Whoever waits for that process fails in turn, up to
 * the harness.
 */
#ifndef RPAL_LIB_H
#define RPAL_LIB_H

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <linux/rpal.h>

#include "kselftest.h"

#ifndef __NR_rpal_arm
#define __NR_rpal_arm		473
#define __NR_rpal_service	474
#define __NR_rpal_attach	475
#define __NR_rpal_detach	476
#define __NR_rpal_thread	477
#define __NR_rpal_wait		478
#define __NR_rpal_call		479
#define __NR_rpal_await		480
#define __NR_rpal_reply		481
#define __NR_rpal_release	482
#endif

#define RPAL_PAGE		4096UL
#define RPAL_CTL_PAGES		16	/* the control area of a service */
#define RPAL_KEY_FIRST		8	/* the keys that services get */
#define RPAL_KEY_LAST		15
#define GATE_SLOT		255UL	/* where the gate is, in every service */

#define READ_ONCE(x)		__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v)	__atomic_store_n(&(x), v, __ATOMIC_RELAXED)

/* ---- checks, for code that the harness's own macros do not reach ---- */

__noreturn __printf(3, 4)
void rpal_fail(const char *file, int line, const char *fmt, ...);

#define FAIL(fmt, ...) \
	rpal_fail(__FILE__, __LINE__, fmt, ##__VA_ARGS__)

#define CHECK(cond)							\
do {									\
	if (!(cond))							\
		FAIL("not so: %s (errno %d)", #cond, errno);		\
} while (0)

#define CHECK_EQ(want, got)						\
do {									\
	long long __want = (long long)(want);				\
	long long __got = (long long)(got);				\
									\
	if (__want != __got)						\
		FAIL("%s is %lld (%#llx), not %s = %lld (%#llx)", #got,	\
		     __got, __got, #want, __want, __want);		\
} while (0)

/* ---- system calls: the result, or the negative error number ---- */

long rpal_syscall(long nr, unsigned long a0, unsigned long a1,
		  unsigned long a2, unsigned long a3, unsigned long a4,
		  unsigned long a5);

long rpal_arm(unsigned long flags);
long rpal_attach(int fd, struct rpal_attach *at);
long rpal_detach(int fd);
long rpal_thread(unsigned long flags, struct rpal_thread *th);

/* The result of a libc call as the functions above give it. */
static inline long rpal_err(long ret)
{
	return ret == -1 ? -errno : ret;
}

/* ---- this process ---- */

extern struct rpal_service rpal_me;		/* of a service: its facts */
extern __thread struct rpal_ctl *rpal_self;	/* registered thread: its block */

/* Why RPAL can't be tested here, or NULL. */
const char *rpal_missing(void);

void rpal_register(void);
void rpal_unregister(void);

int rpal_cpus(void);		/* how many CPUs this process may use */
void rpal_pin(int nth);		/* this thread to the nth of them */

static inline unsigned int rdpkru(void)
{
	unsigned int eax, edx;

	asm volatile("rdpkru" : "=a" (eax), "=d" (edx) : "c" (0));
	return eax;
}

static inline void wrpkru(unsigned int pkru)
{
	asm volatile("wrpkru" : : "a" (pkru), "c" (0), "d" (0) : "memory");
}

/* Both bits of one key: neither reading nor writing. */
static inline unsigned int pkru_mask(unsigned int key)
{
	return 3U << (2 * key);
}

/* Opens another service's memory to this thread; returns the old PKRU. */
static inline unsigned int pkru_open(unsigned int key)
{
	unsigned int old = rdpkru();

	wrpkru(old & ~pkru_mask(key));
	return old;
}

/* Leaves the test if this kernel has no seccomp filters. */
void rpal_need_filters(void);
/* All threads of this process: the system call nr gets that errno. */
long rpal_filter(int nr, int error);

/* ---- other processes ---- */

typedef long (*rpal_fn)(unsigned long a0, unsigned long a1, unsigned long a2,
			unsigned long a3);

/**
 * struct rpal_proc - a process that this one started
 * @pid: its process
 * @tid: its receiver thread, after rpal_serve()
 * @sock: requests go out here, answers come back
 * @fd: its service descriptor, or -1
 * @base: where it has this program's image
 * @service: what rpal_service(2) told it
 * @ctl: control block of its receiver, after rpal_serve()
 */
struct rpal_proc {
	pid_t pid;
	pid_t tid;
	int sock;
	int fd;
	unsigned long base;
	struct rpal_service service;
	struct rpal_ctl *ctl;
};

/* Where the linker puts the start of this program's image. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
#define RPAL_BASE		((unsigned long)__ehdr_start)

/* Where a process that was started here finds its socket. */
#define RPAL_PEER_SOCK		200

/* main(): serves rpal_run(), or else runs the harness. */
int rpal_main(int argc, char **argv, int (*harness)(int argc, char **argv));

#define RPAL_PLAIN		1	/* do not arm: an ordinary process */
#define RPAL_UNPROTECTED	2

void rpal_spawn_as(struct rpal_proc *p, int how);
static inline void rpal_spawn(struct rpal_proc *p)
{
	rpal_spawn_as(p, 0);
}

/* Run a function of this program in that process. */
void rpal_post(struct rpal_proc *p, rpal_fn fn, unsigned long a0,
	       unsigned long a1, unsigned long a2, unsigned long a3);
/* Its result; false if the process is gone instead. */
bool rpal_result(struct rpal_proc *p, long *ret);
/* Both; it must not die over it. */
long rpal_run(struct rpal_proc *p, rpal_fn fn, unsigned long a0,
	      unsigned long a1, unsigned long a2, unsigned long a3);

/* Duplicate a descriptor into that process; its number there. */
int rpal_give(struct rpal_proc *p, int fd);

/* Where that process has an object of this program. */
static inline unsigned long rpal_there(struct rpal_proc *p, const void *here)
{
	return p->base + ((unsigned long)here - RPAL_BASE);
}

/* Wait for its end; the status is as of waitpid(2). */
int rpal_reap(struct rpal_proc *p);
/* Wait until a tracee, child or not, has stopped; by which signal. */
int rpal_stopped(pid_t pid);
/* End it by closing its socket; it must leave in peace. */
void rpal_end(struct rpal_proc *p);
/* SIGKILL and reap. */
void rpal_kill(struct rpal_proc *p);

/*
 * For the harness: run a test's body in a service of its own. A KSFT_* code;
 * for a skipped test, why holds the reason.
 */
#define RPAL_WHY_LEN		120
int rpal_run_test(rpal_fn fn, int how, char *why);

/* Leaves the service of a test's body: the test can't run here. */
__noreturn __printf(1, 2) void rpal_skip(const char *fmt, ...);

/*
 * How many rounds of a test that repeats itself are to be run: one in RPAL_PART,
 * if that is set, where most of the time is the kernel's own checks.
 */
int rpal_part_of(int rounds);

/*
 * Divide rounds among processes, as many as there are CPUs but not more than
 * that there are keys for: fn(first, stride) runs every stride'th of them.
 */
#define RPAL_WORKERS		2
void rpal_divide(void (*fn)(int first, int stride));

/* Functions for rpal_run() */
long do_attach(unsigned long fd, unsigned long a1, unsigned long a2,
	       unsigned long a3);
long do_detach(unsigned long fd, unsigned long a1, unsigned long a2,
	       unsigned long a3);
long do_mmap(unsigned long addr, unsigned long len, unsigned long prot,
	     unsigned long flags);
long do_munmap(unsigned long addr, unsigned long len, unsigned long a2,
	       unsigned long a3);
long do_mprotect(unsigned long addr, unsigned long len, unsigned long prot,
		 unsigned long a3);
long do_madvise(unsigned long addr, unsigned long len, unsigned long advice,
		unsigned long a3);
long do_peek(unsigned long addr, unsigned long a1, unsigned long a2,
	     unsigned long a3);
/* Of memory that has that key. */
long do_peek_opened(unsigned long addr, unsigned long key, unsigned long a2,
		    unsigned long a3);
long do_poke(unsigned long addr, unsigned long val, unsigned long a2,
	     unsigned long a3);
long do_fill(unsigned long addr, unsigned long len, unsigned long byte,
	     unsigned long a3);
long do_exit(unsigned long code, unsigned long a1, unsigned long a2,
	     unsigned long a3);
/* fn(a0, a1, a2, 0) == 0 by a further registered thread, which then stays. */
long do_on_thread(unsigned long fn, unsigned long a0, unsigned long a1,
		  unsigned long a2);

/* New anonymous memory in that process. */
unsigned long rpal_mmap(struct rpal_proc *p, unsigned long len, int prot);

/* Attach this process and that one to each other, or that one and another. */
void rpal_connect(struct rpal_proc *p);
void rpal_link(struct rpal_proc *p, struct rpal_proc *q);

/* ---- calls ---- */

typedef long (*rpal_entry)(void *cookie, unsigned long a0, unsigned long a1,
			   unsigned long a2, unsigned long a3);

/*
 * The entry that all receivers here use: runs the function of the receiver at
 * address a0 with the arguments a1 to a3.
 */
long rpal_dispatch(void *cookie, unsigned long a0, unsigned long a1,
		   unsigned long a2, unsigned long a3);

/* Park the calling, registered thread; what gate_wait() gives. */
long rpal_wait(unsigned long timeout_ns);
/* The same, or until that descriptor is readable: 0. */
long rpal_wait_fd(unsigned long timeout_ns, int fd);

/* Start one more receiver thread there; fills in p->ctl and p->tid. */
void rpal_serve(struct rpal_proc *p);
/* The same in this process: its control block. */
struct rpal_ctl *rpal_serve_here(pid_t *tid);

/*
 * A new service with a receiver, attached to this one and this one to it, and
 * this thread registered: ready for calls.
 */
void rpal_partner(struct rpal_proc *p);

/* A bare gate_call(). */
long rpal_gate(struct rpal_ctl *peer, unsigned long a0, unsigned long a1,
	       unsigned long a2, unsigned long a3);
/* Call a function of this program in the receiver of that process. */
long rpal_call(struct rpal_proc *p, rpal_fn fn, unsigned long a1,
	       unsigned long a2, unsigned long a3);

/*
 * For rpal_run(): a process other than this one makes a call; registers its
 * main thread when it does so for the first time.
 */
long do_call(unsigned long ctl, unsigned long fn, unsigned long a1,
	     unsigned long a2);
/* Have @p call a function of the receiver of @q. */
long rpal_call_from(struct rpal_proc *p, struct rpal_proc *q, rpal_fn fn,
		    unsigned long a1, unsigned long a2);

/* Functions to be called: the sum of the arguments; the process's number. */
long do_add(unsigned long a1, unsigned long a2, unsigned long a3,
	    unsigned long a4);
long do_getpid(unsigned long a1, unsigned long a2, unsigned long a3,
	       unsigned long a4);
/* The monotonic clock, in nanoseconds, to the caller's long at @out. */
long do_clock(unsigned long out, unsigned long a2, unsigned long a3,
	      unsigned long a4);
/* A system call by the entry for 32-bit ones, with its number there. */
long do_int80(unsigned long nr, unsigned long bx, unsigned long a3,
	      unsigned long a4);
#define INT80_GETPID		20
/* Are there any? */
bool rpal_has_int80(void);

long rpal_gate_copy(void *dst, const void *src, unsigned long len);

/* Wait until the thread of that block is parked and may be called. */
void rpal_wait_ready(const struct rpal_ctl *ctl);
/* Wait until it is parked; is it not to be claimed in user mode? */
bool rpal_withheld(const struct rpal_ctl *ctl);

/* ---- faults ---- */

struct rpal_fault {
	int sig;		/* 0: there was none */
	int code;
	unsigned int pkey;
	unsigned long addr;
};

/*
 * Run a function and catch a synchronous signal in it. PKRU is afterwards
 * what it was before.
 */
long rpal_try(struct rpal_fault *f, rpal_fn fn, unsigned long a0,
	      unsigned long a1, unsigned long a2, unsigned long a3);

/*
 * Pages at @addr that a userfaultfd serves, which is returned (a negative errno:
 * there are none here); wait for a fault, its address; serve it.
 */
long do_make_userfault(unsigned long addr, unsigned long len, unsigned long a2,
		       unsigned long a3);
long do_wait_userfault(unsigned long fd, unsigned long a1, unsigned long a2,
		       unsigned long a3);
long do_serve_userfault(unsigned long fd, unsigned long addr, unsigned long a2,
			unsigned long a3);

/* ---- maps ---- */

struct rpal_map {
	unsigned long start;
	unsigned long end;
	unsigned long rss;	/* KiB, from smaps */
	int pkey;		/* -1: not shown */
	char prot[5];
	char flags[160];	/* VmFlags, from smaps */
	char name[200];
};

/* Reads /proc/PID/smaps (0: own); how many it filled in. */
int rpal_maps(pid_t pid, struct rpal_map *maps, int max);
/* The mapping that holds addr, or NULL. */
const struct rpal_map *rpal_map_at(const struct rpal_map *maps, int nr,
				   unsigned long addr);
#define RPAL_MAX_MAPS		600
/* The own one that does, until the next call. */
const struct rpal_map *rpal_own_map(unsigned long addr);

/* ---- the kernel's own lists ---- */

/* Mounts debugfs, if need be and it can. */
void rpal_debugfs(void);

/* Lines below the header of /sys/kernel/debug/rpal/NAME; -1: not there. */
int rpal_listed(const char *name);

#endif /* RPAL_LIB_H */
