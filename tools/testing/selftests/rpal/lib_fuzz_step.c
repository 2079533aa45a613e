// SPDX-License-Identifier: GPL-2.0
/* A hostile thread: from one operation to the next, whatever happens. */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "rpal_fuzz.h"

struct fz_world *fz_world;
unsigned char *fz_scratch;
unsigned char *fz_low;
unsigned char *fz_spare;

static const struct fz_kind *kinds[FZ_KINDS];
static unsigned int nr_kinds, all_weights;

static void kinds_add(const struct fz_kind *k)
{
	for (; k->name; k++) {
		CHECK(nr_kinds < FZ_KINDS);
		kinds[nr_kinds++] = k;
		all_weights += k->weight;
	}
}

static void kinds_init(void)
{
	if (nr_kinds)
		return;
	kinds_add(fz_gate_kinds);
	kinds_add(fz_jump_kinds);
	kinds_add(fz_mem_kinds);
	kinds_add(fz_proc_kinds);
	kinds_add(fz_task_kinds);
}

const char *fz_kind_name(unsigned int kind)
{
	kinds_init();
	return kind < nr_kinds ? kinds[kind]->name : NULL;
}

unsigned long fz_rand(struct fz *f)
{
	/* xorshift64*: the state must not be 0. */
	f->rng ^= f->rng >> 12;
	f->rng ^= f->rng << 25;
	f->rng ^= f->rng >> 27;
	return f->rng * 0x2545f4914f6cdd1dUL;
}

static enum fz_outcome outcome_of(int sig)
{
	switch (sig) {
	case SIGSEGV:
		return FZ_SEGV;
	case SIGBUS:
		return FZ_BUS;
	case SIGILL:
		return FZ_ILL;
	case SIGTRAP:
		return FZ_TRAP;
	case SIGUSR1:
	case SIGALRM:
		return FZ_NUDGED;
	default:
		return FZ_OTHER;
	}
}

static void count(unsigned int kind, enum fz_outcome outcome)
{
	__atomic_add_fetch(&fz_world->count[kind][outcome], 1,
			   __ATOMIC_RELAXED);
}

static unsigned int pick(struct fz *f)
{
	unsigned int i, at = fz_below(f, all_weights);

	for (i = 0; at >= kinds[i]->weight; i++)
		at -= kinds[i]->weight;
	return i;
}

static void mark(struct fz *f, unsigned int kind)
{
	struct fz_thread *t;

	if (f->index < 0)
		return;
	t = &fz_world->role[f->role].thread[f->index];
	WRITE_ONCE(t->kind, kind);
	WRITE_ONCE(t->steps, t->steps + 1);
}

long fz_step(struct fz *f)
{
	/* None of these changes once the buffer is set. */
	int armed = f->armed, soft = f->soft;
	unsigned int kind;
	void *outer[5];
	long ret;

	if (armed > 6)
		return -1;
	if (__atomic_sub_fetch(&fz_world->left, 1, __ATOMIC_RELAXED) < 0)
		return -1;
	/* The third thread is there to be called. */
	kind = f->index == 2 && !armed && !fz_one_in(f, 3) ? 0 : pick(f);
	mark(f, kind);
	memcpy(outer, f->jmp, sizeof(outer));
	if (!__builtin_setjmp(f->jmp)) {
		f->armed = armed + 1;
		ret = kinds[kind]->run(f);
		fz_normal(f);
		count(kind, ret < 0 && ret > -4096 ? FZ_ERROR : FZ_OK);
	} else {
		ret = -EFAULT;
		count(kind, outcome_of(f->sig));
	}
	memcpy(f->jmp, outer, sizeof(outer));
	f->armed = armed;
	f->soft = soft;
	mark(f, kind);
	return ret;
}

void fz_run(struct fz *f)
{
	while (READ_ONCE(fz_world->left) > 0)
		fz_step(f);
}

long fz_entry(void *cookie, unsigned long a0, unsigned long a1,
	      unsigned long a2, unsigned long a3)
{
	struct fz *f = cookie;
	int nr = fz_below(f, 3);

	while (nr--)
		fz_step(f);
	return fz_one_in(f, 8) ? (long)fz_value(f) : (long)(a0 >> 1);
}

struct fz *fz_init(void *room, unsigned long seed, int role, int index)
{
	stack_t stack = {
		.ss_sp = room + 1024, .ss_size = FZ_STACK - 1024,
	};
	struct fz *f = room;

	memset(f, 0, sizeof(*f));
	f->magic = FZ_MAGIC;
	f->rng = (seed * FZ_ROLES + role) * FZ_THREADS + index + 1;
	f->rng *= 0x9e3779b97f4a7c15UL;
	f->rng |= 1;
	f->role = role;
	f->index = index;
	f->fsbase = get_fsbase();
	f->pkru = rdpkru();
	/* A block for those who have not registered: somebody else's. */
	f->ctl = (struct rpal_ctl *)rpal_me.ctl_start;
	fz_call2(__NR_sigaltstack, &stack, NULL);
	return f;
}

struct start {
	int role;
	int index;
};

static unsigned char *rooms;

static void *thread_main(void *arg)
{
	struct start *s = arg;
	struct fz_role *role = &fz_world->role[s->role];
	struct fz *f;

	f = fz_init(rooms + s->index * FZ_STACK, fz_world->seed, s->role,
		    s->index);
	role->thread[s->index].tid = fz_call0(__NR_gettid);
	if (!fz_one_in(f, 8))
		fz_register(f);
	while (!READ_ONCE(fz_world->go))
		fz_call0(__NR_sched_yield);
	fz_run(f);
	WRITE_ONCE(role->thread[s->index].done, true);
	if (!__atomic_sub_fetch(&role->threads, 1, __ATOMIC_RELAXED))
		fz_call1(__NR_exit_group, 0);
	for (;;)
		fz_call0(__NR_pause);
	return NULL;
}

#define FZ_LOW		0x20000000UL

static void memory_init(struct fz_role *role)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS, prot = PROT_READ | PROT_WRITE;
	unsigned char *p;

	fz_scratch = mmap(NULL, FZ_SCRATCH, prot, flags, -1, 0);
	CHECK(fz_scratch != MAP_FAILED);
	CHECK(!mprotect(fz_scratch + FZ_READONLY * RPAL_PAGE, RPAL_PAGE,
			PROT_READ));
	CHECK(!munmap(fz_scratch + FZ_HOLE * RPAL_PAGE, RPAL_PAGE));
	role->scratch = (unsigned long)fz_scratch;

	/* Reached by 32-bit code as well; peers do not see it. */
	p = mmap((void *)FZ_LOW, RPAL_PAGE, prot, flags | MAP_FIXED, -1, 0);
	CHECK(p == (void *)FZ_LOW);
	memcpy(p, fz_pieces, fz_pieces_size);
	CHECK(!mprotect(p, RPAL_PAGE, PROT_READ | PROT_EXEC));
	fz_low = p;

	p = mmap(NULL, (FZ_THREADS + 2) * FZ_STACK, prot, flags, -1, 0);
	CHECK(p != MAP_FAILED);
	rooms = (void *)(((unsigned long)p + FZ_STACK - 1) & ~(FZ_STACK - 1));
	fz_spare = rooms + FZ_THREADS * FZ_STACK;
}

static void world_open(int fd)
{
	fz_world = mmap(NULL, sizeof(*fz_world), PROT_READ | PROT_WRITE,
			MAP_SHARED, fd, 0);
	CHECK(fz_world != MAP_FAILED);
	CHECK(dup2(fd, FZ_WORLD_FD) == FZ_WORLD_FD);
}

static void process_init(struct fz_role *role)
{
	const struct rlimit core = { .rlim_cur = 1 << 20, .rlim_max = 1 << 20 };

	kinds_init();
	/* Now and then a core file, small, over the last one. */
	setrlimit(RLIMIT_CORE, &core);
	CHECK(!chdir("/tmp"));
	memory_init(role);
	fz_handlers();
}

long fz_hostile(unsigned long role, unsigned long fd, unsigned long a2,
		unsigned long a3)
{
	static struct start start[FZ_THREADS];
	int i, nr = role == FZ_ROLES - 1 ? 2 : FZ_THREADS;
	pthread_t thread;
	sigset_t all;

	/* Children too are found by it, and ended. */
	CHECK(!setpgid(0, 0));
	world_open(fd);
	if (role == FZ_ROLES - 1 && fz_world->loner == FZ_REFUSED)
		CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	process_init(&fz_world->role[role]);
	fz_world->role[role].threads = nr;
	for (i = 0; i < nr; i++) {
		start[i] = (struct start){ role, i };
		CHECK(!pthread_create(&thread, NULL, thread_main, &start[i]));
	}
	/* This thread has no alternate stack, and goes on serving. */
	sigfillset(&all);
	CHECK(!sigprocmask(SIG_SETMASK, &all, NULL));
	return nr;
}

void fz_again(void)
{
	struct fz_role own = {};
	struct fz *f;
	int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	rpal_me.flags = 0;
	fz_call2(__NR_rpal_service, &rpal_me, sizeof(rpal_me));
	world_open(FZ_WORLD_FD);
	process_init(&own);
	f = fz_init(rooms, fz_world->seed + getpid(), FZ_ROLES - 1, -1);
	f->child = true;
	for (i = 0; i < 30; i++)
		fz_step(f);
	_exit(0);
}
