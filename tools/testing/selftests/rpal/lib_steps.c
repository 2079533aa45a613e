// SPDX-License-Identifier: GPL-2.0
/*
 * Threads that stop at one instruction of the gate.
 *
 * A breakpoint of perf's raises an interrupt in the thread that meets it, and
 * that is served before the instruction is executed. It wakes the monitor,
 * which has the highest priority on the only CPU that all use, so that it goes
 * on at once. The thread that was stopped has seen no signal and no tracer: it
 * was preempted in user mode, no more. Registers of the CPU tell where a
 * breakpoint is, so that the code is as it always is; and as they are the
 * thread's, they work in a context that it has borrowed.
 */
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "rpal_steps.h"

/* Only against hangs. */
#define HANG_MS		(120 * 1000)

const char *const steps_names[STEPS_REGIONS] = {
	"call", "A", "G0", "G1", "finish", "G2", "G3", "done", "modes",
	"nested", "release", "slow", "slow-end", "await", "await-end", "wait",
	"reply", "reply-end", "copy", "copied", "blocks", "fault",
};

/*
 * How each region begins: with these bytes, or with a system call; or, if
 * behind is set, after that.
 */
static const struct landmark {
	int length;
	unsigned char bytes[8];
	bool behind;
	int nr;
} landmarks[STEPS_REGIONS] = {
	/* mov %rbx, claim(%rbp) */
	[AT_A] = { 4, { 0x48, 0x89, 0x5d, 0x08 } },
	/* mov %rbp, caller(%rbx) */
	[AT_G0] = { 4, { 0x48, 0x89, 0x6b, 0x58 } },
	/* wrfsbase %rdx */
	[AT_G1] = { 5, { 0xf3, 0x48, 0x0f, 0xae, 0xd2 }, .behind = true },
	/* ldmxcsr fpcw(%rbx) */
	[AT_FINISH] = { 4, { 0x0f, 0xae, 0x53, 0x30 } },
	/* mov (%rsp), %rbx */
	[AT_G2] = { 4, { 0x48, 0x8b, 0x1c, 0x24 } },
	[AT_G3] = { 5, { 0xf3, 0x48, 0x0f, 0xae, 0xd2 }, .behind = true },
	/* stmxcsr -8(%rsp) */
	[AT_DONE] = { 5, { 0x0f, 0xae, 0x5c, 0x24, 0xf8 } },
	/* ldmxcsr (%rsp) */
	[AT_MODES] = { 4, { 0x0f, 0xae, 0x14, 0x24 } },
	[AT_NESTED] = { .nr = __NR_rpal_release },
	[AT_RELEASE] = { .nr = __NR_rpal_release },
	/* mov %rbx, %rdi */
	[AT_SLOW] = { 3, { 0x48, 0x89, 0xdf } },
	/* syscall */
	[AT_SLOW_END] = { 2, { 0x0f, 0x05 }, .behind = true },
	[AT_AWAIT] = { .nr = __NR_rpal_await },
	[AT_AWAIT_END] = { 2, { 0x0f, 0x05 }, .behind = true },
	/* push %rbp; push %rbx */
	[AT_WAIT] = { 2, { 0x55, 0x53 } },
	/* lea rpal_gate_ret(%rip), %rdi */
	[AT_REPLY] = { 3, { 0x48, 0x8d, 0x3d } },
	[AT_REPLY_END] = { 2, { 0x0f, 0x05 }, .behind = true },
	/* cmp $32, %rdx */
	[AT_COPY] = { 4, { 0x48, 0x83, 0xfa, 0x20 } },
	/* movups %xmm1, -16(%rdi, %rdx) */
	[AT_COPIED] = { 5, { 0x0f, 0x11, 0x4c, 0x17, 0xf0 }, .behind = true },
	/* cmp $256, %rdx */
	[AT_BLOCKS] = { 7, { 0x48, 0x81, 0xfa, 0x00, 0x01, 0x00, 0x00 } },
	/* mov $-EFAULT, %rax; ret */
	[AT_FAULT] = { 8, { 0x48, 0xc7, 0xc0, 0xf2, 0xff, 0xff, 0xff, 0xc3 } },
};

unsigned int steps_gate_size(const unsigned int *starts)
{
	return starts[AT_FAULT] + landmarks[AT_FAULT].length;
}

void steps_find_regions(unsigned int *starts)
{
	const unsigned char *gate = (void *)rpal_me.gate_call;
	/* Of its page. */
	const unsigned char *end = (void *)((rpal_me.gate_call | (RPAL_PAGE - 1)) + 1);
	const unsigned char *from = gate, *at;
	/* mov $nr, %eax; syscall */
	unsigned char enter[7] = { 0xb8, 0, 0, 0, 0, 0x0f, 0x05 };
	const unsigned char *bytes;
	int i, length;

	starts[AT_CALL] = 0;
	for (i = AT_CALL + 1; i < STEPS_REGIONS; i++) {
		const struct landmark *l = &landmarks[i];

		memcpy(enter + 1, &l->nr, sizeof(l->nr));
		bytes = l->nr ? enter : l->bytes;
		length = l->nr ? (int)sizeof(enter) : l->length;
		at = memmem(from, end - from, bytes, length);
		/* The table above is to be brought up to date then. */
		if (!at)
			FAIL("no region %s in the gate", steps_names[i]);
		if (l->behind)
			at += length;
		starts[i] = at - gate;
		from = at + 1;
	}
}

enum steps_region steps_region(const unsigned int *starts, unsigned int offset)
{
	int i = STEPS_REGIONS - 1;

	while (i && offset < starts[i])
		i--;
	return i;
}

/* ---- breakpoints ---- */

static int open_break(pid_t tid, unsigned long addr, int nth)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT,
		.size = sizeof(attr),
		.bp_type = HW_BREAKPOINT_X,
		.bp_addr = addr,
		.bp_len = sizeof(long),
		.sample_period = nth,
		.wakeup_events = 1,
		.disabled = nth != 0,
		.exclude_kernel = 1,
		.exclude_hv = 1,
	};

	return rpal_err(syscall(__NR_perf_event_open, &attr, tid, -1, -1,
				PERF_FLAG_FD_CLOEXEC));
}

const char *steps_missing(void)
{
	struct sched_param param = { .sched_priority = PRIO_MONITOR };
	int fd = open_break(0, (unsigned long)steps_missing, 0);

	if (fd < 0)
		return "no hardware breakpoints to be had";
	close(fd);
	if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param))
		return "no real-time priority to be had";
	return NULL;
}

void steps_schedule(pid_t tid, int priority)
{
	struct sched_param param = { .sched_priority = priority };

	CHECK(!sched_setscheduler(tid, SCHED_FIFO, &param));
}

#define RING	(2 * RPAL_PAGE)

void steps_arm(struct steps_break *b, pid_t tid, unsigned long addr, int nth)
{
	b->fd = open_break(tid, addr, nth);
	if (b->fd < 0)
		FAIL("breakpoint of %d: %d", tid, b->fd);
	b->ring = mmap(NULL, RING, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd,
		       0);
	CHECK(b->ring != MAP_FAILED);
	CHECK(!ioctl(b->fd, PERF_EVENT_IOC_REFRESH, 1));
}

void steps_disarm(struct steps_break *b)
{
	CHECK(!munmap(b->ring, RING));
	close(b->fd);
}

static int wait_either(int fd, int sock)
{
	struct pollfd p[2] = {
		{ .fd = sock, .events = POLLIN },
		{ .fd = fd, .events = POLLIN },
	};

	if (poll(p, 2, HANG_MS) <= 0)
		return STEPS_HUNG;
	return p[1].revents ? STEPS_HIT : STEPS_MISSED;
}

int steps_wait(struct steps_break *b, int sock)
{
	return wait_either(b->fd, sock);
}

int steps_wait_end(int sock)
{
	return wait_either(-1, sock);
}

int steps_count(pid_t tid, unsigned long addr)
{
	int fd = open_break(tid, addr, 0);

	if (fd < 0)
		FAIL("breakpoint of %d: %d", tid, fd);
	return fd;
}

unsigned long steps_counted(int fd)
{
	unsigned long count;

	CHECK_EQ(sizeof(count), read(fd, &count, sizeof(count)));
	return count;
}

long steps_statistic(const char *name)
{
	char line[60];
	long value = -1, found;
	size_t n = strlen(name);
	FILE *f;

	/* Mounts debugfs if need be. */
	if (rpal_listed("stats") < 0)
		return -1;
	f = fopen("/sys/kernel/debug/rpal/stats", "r");
	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, name, n) &&
		    sscanf(line + n, " %ld", &found) == 1)
			value = found;
	fclose(f);
	return value;
}

/* ---- a call, and a look at what it has to keep ---- */

struct regs {
	unsigned long gate, args[6], rsp;	/* 0, 8, 56 */
	unsigned long kept[6];			/* 64: rbx rbp r12 r13 r14 r15 */
	unsigned long after[6], after_rsp;	/* 112, 160 */
	unsigned long flags;			/* 168: before and after */
	long ret;				/* 176 */
};

__attribute__((visibility("hidden"))) struct regs steps_regs;
__attribute__((visibility("hidden"))) void steps_call_regs(void);

/* Comes back by its own stack pointer, even if the gate had another one. */
asm(".pushsection .text\n"
	"steps_call_regs:\n\t"
	"push %rbx\n\tpush %rbp\n\tpush %r12\n\tpush %r13\n\tpush %r14\n\t"
	"push %r15\n\tsub $8, %rsp\n\t"
	"lea steps_regs(%rip), %rax\n\t"
	"mov %rsp, 56(%rax)\n\t"
	"mov 8(%rax), %rdi\n\tmov 16(%rax), %rsi\n\tmov 24(%rax), %rdx\n\t"
	"mov 32(%rax), %rcx\n\tmov 40(%rax), %r8\n\tmov 48(%rax), %r9\n\t"
	"mov 64(%rax), %rbx\n\tmov 72(%rax), %rbp\n\tmov 80(%rax), %r12\n\t"
	"mov 88(%rax), %r13\n\tmov 96(%rax), %r14\n\tmov 104(%rax), %r15\n\t"
	"push 168(%rax)\n\tpopf\n\t"
	"call *(%rax)\n\t"
	"lea steps_regs(%rip), %rcx\n\t"
	"mov %rbx, 112(%rcx)\n\tmov %rbp, 120(%rcx)\n\tmov %r12, 128(%rcx)\n\t"
	"mov %r13, 136(%rcx)\n\tmov %r14, 144(%rcx)\n\tmov %r15, 152(%rcx)\n\t"
	"mov %rsp, 160(%rcx)\n\tmov %rax, 176(%rcx)\n\t"
	"mov 56(%rcx), %rsp\n\t"
	"pushf\n\tpop 168(%rcx)\n\tcld\n\t"
	"add $8, %rsp\n\t"
	"pop %r15\n\tpop %r14\n\tpop %r13\n\tpop %r12\n\tpop %rbp\n\tpop %rbx\n\t"
	"ret\n"
	".popsection\n");

static unsigned long get_fsbase(void)
{
	unsigned long base;

	asm volatile("rdfsbase %0" : "=r" (base));
	return base;
}

static unsigned long get_gsbase(void)
{
	unsigned long base;

	asm volatile("rdgsbase %0" : "=r" (base));
	return base;
}

static unsigned int get_mxcsr(void)
{
	unsigned int value;

	asm volatile("stmxcsr %0" : "=m" (value));
	return value & MXCSR_CONTROL;
}

static unsigned short get_fpcw(void)
{
	unsigned short value;

	asm volatile("fnstcw %0" : "=m" (value));
	return value;
}

void steps_set_modes(unsigned int mxcsr, unsigned int fpcw)
{
	unsigned short cw = fpcw;

	asm volatile("ldmxcsr %0\n\tfldcw %1" : : "m" (mxcsr), "m" (cw));
}

unsigned long steps_look(unsigned int pkru, unsigned int mxcsr,
			 unsigned int fpcw)
{
	unsigned long flags, bad = 0;
	int here;

	/* Past the red zone. */
	asm volatile("lea -128(%%rsp), %%rsp\n\t"
		     "pushf\n\tpop %0\n\t"
		     "lea 128(%%rsp), %%rsp" : "=r" (flags));
	if (flags & FLAG_DF)
		bad |= BAD_DF;
	if (rdpkru() != pkru)
		bad |= BAD_PKRU;
	if (get_mxcsr() != mxcsr)
		bad |= BAD_MXCSR;
	if (get_fpcw() != fpcw)
		bad |= BAD_FPCW;
	if (get_gsbase())
		bad |= BAD_GSBASE;
	if (get_fsbase() >> RPAL_SLOT_SHIFT != rpal_me.slot)
		bad |= BAD_FSBASE;
	if ((unsigned long)&here >> RPAL_SLOT_SHIFT != rpal_me.slot)
		bad |= BAD_STACK;
	return bad;
}

unsigned long steps_call(struct rpal_ctl *peer, unsigned long fn,
			 const unsigned long *args, unsigned long flags,
			 long *ret)
{
	struct regs *r = &steps_regs;
	unsigned long fsbase = get_fsbase(), bad = 0;
	int i;

	r->gate = rpal_me.gate_call;
	r->args[0] = (unsigned long)peer;
	r->args[1] = (unsigned long)rpal_self;
	r->args[2] = fn;
	memcpy(&r->args[3], args, 3 * sizeof(*args));
	for (i = 0; i < 6; i++)
		r->kept[i] = 0x1111111111111111 * (i + 1);
	r->flags = 0x202 | flags;
	steps_call_regs();
	if (get_fsbase() != fsbase)
		bad |= BAD_FSBASE;
	for (i = 0; i < 6; i++)
		if (r->after[i] != r->kept[i])
			bad |= BAD_RBX << i;
	if (r->after_rsp != r->rsp)
		bad |= BAD_RSP;
	if (!flags && (r->flags & FLAG_DF))
		bad |= BAD_DF;
	*ret = r->ret;
	return bad;
}
