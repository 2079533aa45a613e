// SPDX-License-Identifier: GPL-2.0
/*
 * What disturbs the threads of rpal_stress: signals, breakpoints in the gate,
 * and a thread of each service that is a pest to the others.
 *
 * The gate has some 100 instructions, which signals from elsewhere meet
 * seldom, and under emulation only between blocks. A hardware breakpoint
 * whose perf event signals the thread that runs into it meets any one at will.
 */
#include <fcntl.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "rpal_stress.h"

/* ---- handlers ---- */

static bool in_own_slot(unsigned long addr)
{
	return addr >> RPAL_SLOT_SHIFT == rpal_me.slot;
}

/* The context that a handler interrupts is its own thread's, and whole. */
static void check_context(int sig, ucontext_t *uc)
{
	unsigned long ip = uc->uc_mcontext.gregs[REG_RIP];
	unsigned long sp = uc->uc_mcontext.gregs[REG_RSP];
	long tid = rpal_syscall(__NR_gettid, 0, 0, 0, 0, 0, 0);

	if (tid != me->tid || !in_own_slot((unsigned long)&sp))
		stress_bad(P_CONTEXT, "signal %d: handler of thread %d runs as %ld on stack %p",
			   sig, me->tid, tid, &sp);
	if (rdpkru() != rpal_me.pkru)
		stress_bad(P_CONTEXT, "signal %d: PKRU %#x in a handler", sig,
			   rdpkru());
	/* The gate's page is the only code outside the slot. */
	if (!in_own_slot(sp) ||
	    (!in_own_slot(ip) && ip / RPAL_PAGE != rpal_me.gate_call / RPAL_PAGE))
		stress_bad(P_CONTEXT, "signal %d: frame with ip %#lx, sp %#lx in slot %u",
			   sig, ip, sp, rpal_me.slot);
}

static void on_signal(int sig, siginfo_t *si, void *uc)
{
	int saved = errno;

	check_context(sig, uc);
	if (sig == SIGIO) {
		count(C_breakpoints);
		__atomic_fetch_add(&sh->landed[me->ip], 1, __ATOMIC_RELAXED);
	} else {
		count(C_signals);
	}
	if (me->in_call && !me->in_handler && !pick(&me->rng, 6)) {
		me->in_call = false;
		count(C_jumps);
		siglongjmp(me->out_of_call, 1);
	}
	/* A handler may call, in the middle of a call, too. */
	if (me->callable && !me->in_handler && !pick(&me->rng, 16) &&
	    me->nr > 0) {
		me->in_handler = true;
		count(C_from_handlers);
		stress_small_call(me->nr < NR_LEVELS ? me->nr : NR_LEVELS,
				  &me->rng);
		me->in_handler = false;
	}
	errno = saved;
}

static void on_trap(int sig, siginfo_t *si, void *context)
{
	ucontext_t *uc = context;

	check_context(sig, uc);
	count(C_traps);
	/* UD2 would be executed again; INT3 has been passed. */
	if (sig == SIGILL)
		uc->uc_mcontext.gregs[REG_RIP] += 2;
}

/* Pages that the pest has made read-only for a moment: try again. */
static bool is_scratch(const void *addr)
{
	return me && me->pages && addr >= me->pages &&
	       addr < me->pages + SCRATCH_PAGES * RPAL_PAGE;
}

static void on_crash(int sig, siginfo_t *si, void *context)
{
	ucontext_t *uc = context;
	long ip;

	if (sig == SIGSEGV && is_scratch(si->si_addr)) {
		check_context(sig, uc);
		count(C_faults);
		rpal_syscall(__NR_sched_yield, 0, 0, 0, 0, 0, 0);
		return;
	}
	ip = uc->uc_mcontext.gregs[REG_RIP];
	stress_bad(P_DIED, "service %d, thread %d: signal %d, code %d, address %p",
		   my_service, me ? me->nr : -1, sig, si->si_code,
		   si->si_addr);
	stress_bad(P_DIED, "ip %#lx is gate%+ld and image%+ld, sp %#llx", ip,
		   ip - (long)rpal_me.gate_call, ip - (long)RPAL_BASE,
		   uc->uc_mcontext.gregs[REG_RSP]);
	_exit(1);
}

void stress_handlers(void)
{
	static const int sigs[] = { SIGUSR1, SIGUSR2, SIGIO };
	static const int traps[] = { SIGTRAP, SIGILL };
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGFPE };
	struct sigaction sa = { .sa_sigaction = on_signal };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sigs); i++) {
		sa.sa_flags = SA_SIGINFO;
		if (sigs[i] != SIGUSR2)
			sa.sa_flags |= SA_RESTART;
		CHECK(!sigaction(sigs[i], &sa, NULL));
	}
	sa.sa_flags = SA_SIGINFO | SA_RESTART;
	sa.sa_sigaction = on_trap;
	for (i = 0; i < ARRAY_SIZE(traps); i++)
		CHECK(!sigaction(traps[i], &sa, NULL));
	sa.sa_sigaction = on_crash;
	for (i = 0; i < ARRAY_SIZE(crashes); i++)
		CHECK(!sigaction(crashes[i], &sa, NULL));
}

/* ---- breakpoints in the gate ---- */

static __thread struct perf_event_attr attr;

void stress_event_open(void)
{
	struct f_owner_ex owner = { .type = F_OWNER_TID, .pid = me->tid };

	memset(&attr, 0, sizeof(attr));
	attr.type = PERF_TYPE_BREAKPOINT;
	attr.size = sizeof(attr);
	attr.sample_period = 1;
	attr.wakeup_events = 1;
	attr.disabled = 1;
	attr.exclude_kernel = 1;
	attr.exclude_hv = 1;
	attr.bp_type = HW_BREAKPOINT_X;
	attr.bp_addr = rpal_me.gate_call;
	attr.bp_len = sizeof(long);
	me->event = rpal_syscall(__NR_perf_event_open, (unsigned long)&attr, 0,
				 -1, -1, PERF_FLAG_FD_CLOEXEC, 0);
	/* Not allowed, or no such thing here: signals alone have to do. */
	if (me->event < 0) {
		me->event = -1;
		return;
	}
	CHECK(!fcntl(me->event, F_SETOWN_EX, &owner));
	CHECK(!fcntl(me->event, F_SETSIG, SIGIO));
	CHECK(!fcntl(me->event, F_SETFL, O_ASYNC));
}

void stress_event_set(unsigned int ip, unsigned int period)
{
	__u64 value = period;

	if (me->event < 0)
		return;
	me->ip = ip;
	attr.bp_addr = rpal_me.gate_call + ip;
	CHECK(!ioctl(me->event, PERF_EVENT_IOC_MODIFY_ATTRIBUTES, &attr));
	CHECK(!ioctl(me->event, PERF_EVENT_IOC_PERIOD, &value));
	attr.sample_period = period;
	CHECK(!ioctl(me->event, PERF_EVENT_IOC_ENABLE, 0));
}

void stress_event_off(void)
{
	if (me->event >= 0)
		CHECK(!ioctl(me->event, PERF_EVENT_IOC_DISABLE, 0));
}

static void try_way(enum kind kind, unsigned int csr)
{
	struct {
		struct stress_msg m;
		uint64_t data[40];
	} in, out;
	struct stress_target to;

	while (!stress_target(&to, 1))
		sched_yield();
	__builtin_ia32_ldmxcsr(csr);
	stress_call(&to, kind, kind == K_NOTHING ? 40 : 1, &in.m, &out.m);
	__builtin_ia32_ldmxcsr(0x1f80);
}

void stress_event_pick(void)
{
	unsigned int region = pick(&me->rng, NR_REGIONS + 2);

	/* A region of few instructions is met as often as a large one. */
	if (region < NR_REGIONS && sh->nr_in[region])
		stress_event_set(sh->in[region][pick(&me->rng,
						     sh->nr_in[region])], 1);
	else if (sh->nr_ips)
		stress_event_set(sh->ips[pick(&me->rng, sh->nr_ips)],
				 1 + pick(&me->rng, 4));
}

static bool is_met(unsigned int ip, bool fast)
{
	stress_event_set(ip, 1);
	try_way(fast ? K_NOTHING : K_SYSCALL, 0x1f80);
	if (fast && !READ_ONCE(sh->landed[ip]))
		try_way(K_NOTHING, 0x3f80);
	stress_event_off();
	return READ_ONCE(sh->landed[ip]);
}

/* Nobody else is at it yet. */
static void note_region(unsigned int ip, const struct stress_stats *before,
			const struct stress_stats *after)
{
	static const char *const names[NR_REGIONS] = {
		"abort_a", "abort_g0", "start_g1", "return_g2", "forward_g3",
		"copy",
	};
	int i;

	for (i = 0; i < NR_REGIONS; i++) {
		if (stress_grown(before, after, names[i]) <= 0)
			continue;
		sh->in[i][sh->nr_in[i]++] = ip;
		break;
	}
}

/*
 * Where the gate's instructions begin: what a breakpoint is met at. Those of
 * calls that need the kernel are looked for in what the others leave blank,
 * as hand-overs cost a hundred times as much.
 */
void stress_learn_gate(void)
{
	static struct stress_stats before, after;
	unsigned int wait = rpal_me.gate_wait - rpal_me.gate_call;
	unsigned int end = rpal_me.gate_copy - rpal_me.gate_call + 0x80;
	static bool met[GATE_BYTES];
	unsigned int ip, last = 0;

	if (me->event < 0 || end > GATE_BYTES)
		return;
	for (ip = 0; ip < end; ip++) {
		stress_read_stats(&before);
		met[ip] = is_met(ip, true);
		stress_read_stats(&after);
		if (met[ip])
			note_region(ip, &before, &after);
	}
	for (ip = 0; ip < wait; ip++) {
		if (!met[ip] && ip - last > 7)
			met[ip] = is_met(ip, false);
		if (met[ip])
			last = ip;
	}
	for (ip = 0; ip < end; ip++)
		if (met[ip])
			sh->ips[sh->nr_ips++] = ip;
}

/* ---- the pest ---- */

/* A receiver whose context is lent now, if there is one before long. */
static unsigned int somebody_lent(const struct stress_service_dir *own)
{
	const struct stress_thread_dir *r;
	struct rpal_ctl *ctl;
	int i;

	for (i = 0; i < 200; i++) {
		r = &own->thread[i % NR_LEVELS];
		ctl = (struct rpal_ctl *)READ_ONCE(r->ctl);
		if (ctl && READ_ONCE(ctl->word) & RPAL_WORD_LENT)
			return i % NR_LEVELS;
		if (i % NR_LEVELS == 0)
			sched_yield();
	}
	return 0;
}

static void signal_somebody(void)
{
	struct stress_service_dir *own = &sh->service[my_service];
	unsigned int nr = pick(&me->rng, 2) ? somebody_lent(own) :
			  pick(&me->rng, NR_THREADS);
	int tid = own->thread[nr].tid;
	int sig = pick(&me->rng, 2) ? SIGUSR1 : SIGUSR2;
	int n = 1 + pick(&me->rng, 8);

	while (n--) {
		stress_tgkill(own->pid, tid, sig);
		if (!pick(&me->rng, 3))
			sched_yield();
	}
}

static void ring_somebody(void)
{
	struct stress_service_dir *own = &sh->service[my_service];
	int n = 1 + pick(&me->rng, 8);
	unsigned int nr;

	while (n--) {
		nr = pick(&me->rng, 4) ? somebody_lent(own) :
		     pick(&me->rng, NR_LEVELS);
		stress_ring(nr, 1 + pick(&me->rng, 3));
	}
}

static void move_somebody(void)
{
	struct stress_service_dir *own = &sh->service[my_service];
	int tid = own->thread[pick(&me->rng, NR_THREADS)].tid;
	unsigned long mask = 1 + pick(&me->rng, 255);

	/* CPUs that are not there are left out, or it fails. */
	if (!rpal_syscall(__NR_sched_setaffinity, tid, sizeof(mask),
			  (unsigned long)&mask, 0, 0, 0))
		count(C_affinity);
}

void *stress_pest(void *arg)
{
	struct stress_thread *threads = arg;
	struct stress_service_dir *own = &sh->service[my_service];
	struct stress_thread pest = {
		.rng = threads->rng ^ 0x5eed, .nr = NR_THREADS, .event = -1,
		.tid = rpal_syscall(__NR_gettid, 0, 0, 0, 0, 0, 0),
	};
	unsigned int exec;
	void *pages;

	me = &pest;
	stress_await_ready();
	while (!READ_ONCE(sh->stop)) {
		exec = READ_ONCE(own->exec);
		if ((exec & 0xff) == NR_THREADS + 1)
			stress_exec(exec >> 8);
		pages = threads[pick(&me->rng, NR_LEVELS)].pages;
		/* What flushes TLBs costs most: of all with a window, each. */
		switch (pick(&me->rng, 32)) {
		case 0 ... 17:
			signal_somebody();
			break;
		case 18 ... 21:
			move_somebody();
			break;
		case 22:
			madvise(pages, SCRATCH_PAGES * RPAL_PAGE, MADV_DONTNEED);
			break;
		case 23:
			/* The ledger is everybody's; this drops its mapping. */
			madvise(sh, sizeof(*sh), MADV_DONTNEED);
			break;
		case 24:
			mprotect(pages, SCRATCH_PAGES * RPAL_PAGE, PROT_READ);
			sched_yield();
			mprotect(pages, SCRATCH_PAGES * RPAL_PAGE,
				 PROT_READ | PROT_WRITE);
			break;
		default:
			ring_somebody();
			break;
		}
		usleep(pick(&me->rng, 12000));
	}
	stress_last_rings();
	__atomic_sub_fetch(&own->active, 1, __ATOMIC_RELEASE);
	return NULL;
}
