// SPDX-License-Identifier: GPL-2.0
/*
 * The sides of calls for rpal_steps: what the caller, the receiver, and a
 * third service that the receiver calls do in their own processes.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "rpal_steps.h"

struct steps_shared *steps;

/* Which of the two sides this process is. */
static struct steps_party *me;

static long map_shared(unsigned long fd, unsigned long a1, unsigned long a2,
		       unsigned long a3)
{
	steps = mmap(NULL, sizeof(*steps), PROT_READ | PROT_WRITE, MAP_SHARED,
		     fd, 0);
	CHECK(steps != MAP_FAILED);
	return 0;
}

static sigjmp_buf out;

static void on_signal(int sig, siginfo_t *si, void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
	unsigned long slot = regs[REG_RIP] >> RPAL_SLOT_SHIFT;
	bool caller = me == &steps->caller;
	unsigned int pkru = rpal_me.pkru;

	/* First of all: a system call would give a claim up. */
	if (caller && steps->handler == CALLS) {
		if (rpal_gate(steps->inner, steps->inner_fn, 1, 20, 300) != 321)
			me->handler_bad |= BAD_CALL;
		/* The gate puts back what was registered. */
		pkru = me->pkru;
	}
	me->handler_bad |= steps_look(pkru, MXCSR_DEFAULT, FPCW_DEFAULT);
	if (syscall(__NR_gettid) != me->tid || rpal_self != me->ctl)
		me->handler_bad |= BAD_SELF;
	if (slot != rpal_me.slot && slot != GATE_SLOT)
		me->handler_bad |= BAD_IP;
	if (regs[REG_RSP] >> RPAL_SLOT_SHIFT != rpal_me.slot)
		me->handler_bad |= BAD_RSP;
	me->handled++;
	if (caller && steps->handler == JUMPS)
		siglongjmp(out, 1);
}

static void install(int sig, int flags)
{
	struct sigaction sa = {
		.sa_sigaction = on_signal,
		.sa_flags = SA_SIGINFO | flags,
	};

	CHECK(!sigaction(sig, &sa, NULL));
}

/*
 * With a PKRU that no thread starts with, so that it makes a difference who
 * puts back which: a key is open that nobody uses.
 */
static void join(struct steps_party *side, unsigned int key)
{
	me = side;
	me->pkru = rpal_me.pkru & ~pkru_mask(key);
	wrpkru(me->pkru);
	rpal_register();
	me->tid = syscall(__NR_gettid);
	me->ctl = rpal_self;
}

/* ---- the receiver ---- */

static void on_trap(int sig)
{
}

static void *receiver_main(void *arg)
{
	long ret;

	join(&steps->receiver, 1);
	WRITE_ONCE(*(int *)arg, 1);
	do {
		ret = rpal_wait(READ_ONCE(steps->timeout));
	} while (ret == -EINTR || ret == -ETIMEDOUT);
	FAIL("gate_wait() gave %ld", ret);
}

static long serve(unsigned long a0, unsigned long a1, unsigned long a2,
		  unsigned long a3)
{
	pthread_t thread;
	int there = 0;

	install(SIGUSR1, 0);
	install(SIGUSR2, SA_RESTART);
	signal(SIGTRAP, on_trap);
	CHECK(!pthread_create(&thread, NULL, receiver_main, &there));
	while (!READ_ONCE(there))
		sched_yield();
	rpal_wait_ready(me->ctl);
	return 0;
}

static void look_around(void)
{
	steps->fn_bad |= steps_look(steps->pkru, MXCSR_DEFAULT, FPCW_DEFAULT);
	if (rpal_self != steps->receiver.ctl)
		steps->fn_bad |= BAD_SELF;
}

/* Copies of three lengths, since the gate has a way for each. True: refused. */
static bool copy(struct steps_buffer *theirs)
{
	long some[5], back[3], first;
	int i;

	if (rpal_gate_copy(&first, theirs->in, sizeof(first)) ||
	    rpal_gate_copy(some, theirs->in, sizeof(some)))
		return true;
	for (i = 0; i < 5; i++)
		if (some[i] != first + i)
			steps->fn_bad |= BAD_COPY;
	for (i = 0; i < 3; i++)
		back[i] = first + 1;
	return rpal_gate_copy(theirs->back, back, sizeof(back));
}

/* The function that is called. */
static long work(unsigned long nr, unsigned long buffer, unsigned long kind,
		 unsigned long a4)
{
	long mine;

	steps->runs++;
	look_around();
	switch (kind) {
	case HANDOVER:
		syscall(__NR_getpid);
		break;
	case AWAIT:
	case ANSWERED:
		asm volatile("int3");
		break;
	case RELEASE:
		/* As a second caller's rpal_call(2) does. */
		__atomic_fetch_or(&rpal_self->word, RPAL_WORD_EVENT,
				  __ATOMIC_SEQ_CST);
		break;
	case NESTED:
		CHECK_EQ(nr + 5, rpal_gate(steps->inner, steps->inner_fn, nr,
					   2, 3));
		break;
	case FAULTING:
		if (rpal_gate_copy(&mine, NULL, sizeof(mine)) != -EFAULT)
			steps->fn_bad |= BAD_COPY;
		break;
	}
	look_around();
	if (kind == ALONE)
		return 2 * nr + 1;
	if (copy((void *)buffer))
		return STEPS_REFUSED;
	steps->copied = true;
	asm volatile("mov $-1, %%rbx\n\t"
		     "mov $-1, %%r12\n\t"
		     "mov $-1, %%r13\n\t"
		     "mov $-1, %%r14\n\t"
		     "mov $-1, %%r15\n\t"
		     : : : "rbx", "r12", "r13", "r14", "r15");
	return 2 * nr + 1;
}

/* ---- the caller ---- */

static struct { int go, done; } pipes;

static void *helper_main(void *arg)
{
	char what;

	WRITE_ONCE(steps->helper, syscall(__NR_gettid));
	while (read(pipes.go, &what, 1) == 1) {
		if (what == HELP_DETACH) {
			CHECK_EQ(0, rpal_detach(steps->window));
			steps->gone = true;
		} else {
			CHECK(!munmap((void *)steps->buffer, RPAL_PAGE));
			steps->unmapped = true;
		}
		CHECK_EQ(1, write(pipes.done, &what, 1));
	}
	return NULL;
}

static void map_buffer(void)
{
	int fixed = steps->buffer ? MAP_FIXED : 0;

	steps->buffer = do_mmap(steps->buffer, RPAL_PAGE,
				PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | fixed);
	steps->unmapped = false;
}

static long start_calling(unsigned long go, unsigned long done,
			  unsigned long a2, unsigned long a3)
{
	pthread_t thread;

	join(&steps->caller, 2);
	install(SIGUSR1, 0);
	pipes.go = go;
	pipes.done = done;
	steps->buffer = 0;
	steps->helper = 0;
	map_buffer();
	CHECK(!pthread_create(&thread, NULL, helper_main, NULL));
	while (!READ_ONCE(steps->helper))
		sched_yield();
	return 0;
}

long do_steps_call(unsigned long nr, unsigned long a1, unsigned long a2,
		   unsigned long a3)
{
	unsigned int mxcsr = MXCSR_DEFAULT, fpcw = FPCW_DEFAULT;
	unsigned long args[3] = { nr, steps->buffer, steps->kind };
	struct steps_buffer *buffer = (void *)steps->buffer;
	unsigned long flags = 0;
	int i;

	if (steps->unmapped)
		map_buffer();
	for (i = 0; i < 5; i++)
		buffer->in[i] = nr + i;
	memset(buffer->back, 0, sizeof(buffer->back));
	if (steps->kind == SLOW)
		__atomic_fetch_or(&steps->receiver.ctl->word, RPAL_WORD_EVENT,
				  __ATOMIC_SEQ_CST);
	if (!sigsetjmp(out, 1)) {
		if (steps->kind == MODES) {
			mxcsr = MXCSR_ZERO;
			fpcw = FPCW_SINGLE;
			flags = FLAG_DF;
			steps_set_modes(mxcsr, fpcw);
		}
		steps->bad = steps_call(steps->receiver.ctl, steps->fn, args,
					flags, &steps->ret);
		steps->bad |= steps_look(me->pkru, mxcsr, fpcw);
		if (steps->ret >= 0 && !steps->gone)
			steps->word = READ_ONCE(steps->receiver.ctl->word);
	} else {
		/* A handler starts with the default PKRU and modes. */
		steps->bad |= steps_look(rpal_me.pkru, MXCSR_DEFAULT,
					 FPCW_DEFAULT);
		wrpkru(me->pkru);
		steps->jumped = true;
	}
	if (rpal_self != me->ctl)
		steps->bad |= BAD_SELF;
	steps_set_modes(MXCSR_DEFAULT, FPCW_DEFAULT);
	if (steps->unmapped)
		return 0;
	steps->memory = buffer->back[0];
	for (i = 0; i < 3; i++)
		if (buffer->back[i] != steps->memory)
			steps->memory = -1;
	return 0;
}

long do_steps_after(unsigned long ctl, unsigned long fast, unsigned long a2,
		    unsigned long a3)
{
	struct rpal_ctl *receiver = (void *)ctl;
	long i, ret;

	if (!rpal_self)
		rpal_register();
	for (i = 0; i < 3; i++) {
		/* The gate says who calls; the kernel does not. */
		if (i == 2 && fast)
			WRITE_ONCE(receiver->caller, 0);
		ret = rpal_gate(receiver, steps->sum, i, 20, 300);
		if (ret != i + 320)
			return ret < 0 ? ret : 1;
	}
	if (rpal_self->claim)
		return 2;
	if (!fast)
		return 0;
	if (READ_ONCE(receiver->caller) != (unsigned long)rpal_self)
		return 3;
	if ((unsigned int)READ_ONCE(receiver->word) != RPAL_WORD_READY)
		return 4;
	return 0;
}

long do_steps_after_death(unsigned long ctl, unsigned long a1,
			  unsigned long a2, unsigned long a3)
{
	int i;

	for (i = 0; i < 3; i++)
		if (rpal_gate((void *)ctl, 0, 0, 0, 0) != -EPIPE)
			return 1;
	return rpal_self->claim ? 2 : 0;
}

long do_steps_wait_ready(unsigned long a0, unsigned long a1, unsigned long a2,
			 unsigned long a3)
{
	rpal_wait_ready(steps->inner);
	return 0;
}

long do_steps_attach(unsigned long a0, unsigned long a1, unsigned long a2,
		     unsigned long a3)
{
	return rpal_attach(steps->window, NULL);
}

long do_steps_regions(unsigned long a0, unsigned long a1, unsigned long a2,
		      unsigned long a3)
{
	steps_find_regions(steps->starts);
	return 0;
}

/* ---- all of them ---- */

struct rpal_proc steps_caller, steps_receiver, steps_third;

static int shared_fd, go, done;

static void share(struct rpal_proc *p)
{
	rpal_run(p, map_shared, rpal_give(p, shared_fd), 0, 0, 0);
}

static void start_receiver(void)
{
	struct rpal_proc *r = &steps_receiver;

	rpal_spawn(r);
	share(r);
	rpal_run(r, serve, 0, 0, 0, 0);
	r->ctl = steps->receiver.ctl;
	r->tid = steps->receiver.tid;
	steps->fn = rpal_there(r, work);
	steps->sum = rpal_there(r, do_add);
	rpal_link(&steps_third, r);
	steps_schedule(r->tid, PRIO_RECEIVER);
}

static void start_caller(void)
{
	struct rpal_proc *c = &steps_caller;
	int in[2], back[2];

	CHECK(!pipe2(in, O_CLOEXEC) && !pipe2(back, O_CLOEXEC));
	rpal_spawn(c);
	share(c);
	rpal_run(c, start_calling, rpal_give(c, in[0]), rpal_give(c, back[1]),
		 0, 0);
	close(in[0]);
	close(back[1]);
	go = in[1];
	done = back[0];
	rpal_link(c, &steps_third);
	steps_schedule(c->pid, PRIO_CALLER);
	steps_schedule(steps->helper, PRIO_HELPER);
}

static void link_both(void)
{
	struct rpal_proc *c = &steps_caller, *r = &steps_receiver;

	steps->window = rpal_give(c, r->fd);
	CHECK_EQ(0, rpal_run(c, do_steps_attach, 0, 0, 0, 0));
	steps->back = rpal_give(r, c->fd);
	CHECK_EQ(0, rpal_run(r, do_attach, steps->back, 0, 0, 0));
	steps->apart = false;
	steps->pkru = steps->caller.pkru & steps->receiver.pkru;
}

void steps_start_all(unsigned long timeout)
{
	struct rpal_proc *third = &steps_third;

	shared_fd = memfd_create("steps", MFD_CLOEXEC);
	CHECK(!ftruncate(shared_fd, sizeof(*steps)));
	map_shared(shared_fd, 0, 0, 0);
	steps->timeout = timeout;
	rpal_spawn(third);
	share(third);
	rpal_serve(third);
	steps->inner = third->ctl;
	steps->inner_fn = rpal_there(third, do_add);
	start_receiver();
	start_caller();
	link_both();
	/* This process is no service, and is told where the gate is. */
	rpal_me.gate_call = steps_caller.service.gate_call;
}

static void forget_caller(void)
{
	close(go);
	close(done);
}

void steps_replace_caller(void)
{
	forget_caller();
	start_caller();
	link_both();
}

void steps_replace_receiver(void)
{
	start_receiver();
	link_both();
}

void steps_kill_all(void)
{
	struct rpal_proc *p[] = {
		&steps_caller, &steps_receiver, &steps_third,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(p); i++) {
		if (!p[i]->pid)
			continue;
		kill(p[i]->pid, SIGKILL);
		rpal_reap(p[i]);
	}
	forget_caller();
	munmap(steps, sizeof(*steps));
	close(shared_fd);
}

void steps_help(char what)
{
	CHECK_EQ(1, write(go, &what, 1));
	CHECK_EQ(1, read(done, &what, 1));
}

void steps_prepare(enum steps_kind kind, enum steps_handler handler)
{
	bool apart = kind == ALONE;

	if (apart != steps->apart)
		CHECK_EQ(0, rpal_run(&steps_receiver,
				     apart ? do_detach : do_attach,
				     steps->back, 0, 0, 0));
	steps->apart = apart;
	memset((char *)steps + offsetof(struct steps_shared, kind), 0,
	       sizeof(*steps) - offsetof(struct steps_shared, kind));
	steps->unmapped = true;
	steps->caller.handled = 0;
	steps->caller.handler_bad = 0;
	steps->receiver.handled = 0;
	steps->receiver.handler_bad = 0;
	steps->kind = kind;
	steps->handler = handler;
	steps_schedule(steps->receiver.tid,
		       kind == AWAIT ? PRIO_LATE : PRIO_RECEIVER);
}
