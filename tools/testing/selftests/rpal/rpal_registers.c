// SPDX-License-Identifier: GPL-2.0
/*
 * What the two sides of a call keep in registers.
 *
 * To see these fail: leave a callee-saved register, MXCSR or the x87 control
 * word out of the gate (callee_saved, fp_control*) or out of what the kernel
 * puts back (the same, with a hand-over); do not put back PKRU (pkru); leave
 * the FPU state with the caller at a hand-over (vector_registers); leave it the
 * receiver's GS base then (gs_base); take a CLD out of the gate (direction_flag).
 */
#include <asm/prctl.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "rpal_test.h"

static struct rpal_proc peer;

static void setup(void)
{
	rpal_partner(&peer);
}

static long get_pkru(unsigned long a1, unsigned long a2, unsigned long a3,
		     unsigned long a4)
{
	return rdpkru();
}

RPAL_TEST(pkru)
{
	unsigned int mine = rpal_me.pkru & ~pkru_mask(1);

	setup();
	CHECK_EQ(peer.service.pkru & rpal_me.pkru,
		 rpal_call(&peer, get_pkru, 0, 0, 0));
	CHECK_EQ(rpal_me.pkru, rdpkru());
	/* What was recorded counts, and not what was changed since. */
	wrpkru(mine);
	CHECK_EQ(peer.service.pkru & rpal_me.pkru,
		 rpal_call(&peer, get_pkru, 0, 0, 0));
	CHECK_EQ(rpal_me.pkru, rdpkru());
	rpal_unregister();
	wrpkru(mine);
	rpal_register();
	CHECK_EQ(peer.service.pkru & mine,
		 rpal_call(&peer, get_pkru, 0, 0, 0));
	CHECK_EQ(mine, rdpkru());
	/* The same when the kernel puts it back. */
	CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
	CHECK_EQ(mine, rdpkru());
}

/*
 * rbx, rbp and r12 to r15 hold patterns over the call. Returns a bit for each
 * that came back changed; the call's result goes to *ret.
 */
static long call_with_patterns(unsigned long gate, struct rpal_ctl *ctl,
			       unsigned long fn, long *ret)
{
	unsigned long in[4] = {
		gate, (unsigned long)ctl, (unsigned long)rpal_self, fn,
	};
	unsigned long *in_p = in;
	long bad, result;

	/* First past the red zone, which may hold in[]. */
	asm volatile("sub $128, %%rsp\n\t"
		     "push %%rbp\n\t"
		     "push %%rbx\n\t"
		     "mov (%[in]), %%rax\n\t"
		     "mov 8(%[in]), %%rdi\n\t"
		     "mov 24(%[in]), %%rdx\n\t"
		     "mov 16(%[in]), %%rsi\n\t"
		     "mov $0x1111111111111111, %%rbx\n\t"
		     "mov $0x2222222222222222, %%rbp\n\t"
		     "mov $0x3333333333333333, %%r12\n\t"
		     "mov $0x4444444444444444, %%r13\n\t"
		     "mov $0x5555555555555555, %%r14\n\t"
		     "mov $0x6666666666666666, %%r15\n\t"
		     "mov $1, %%ecx\n\t"
		     "mov $2, %%r8d\n\t"
		     "mov $3, %%r9d\n\t"
		     /* The stack pointer as well, by what lies on it. */
		     "push $0x7777\n\t"
		     "push $0x7777\n\t"
		     "call *%%rax\n\t"
		     "xor %%edx, %%edx\n\t"
		     "pop %%rcx\n\t"
		     "pop %%rsi\n\t"
		     "cmp $0x7777, %%rcx\n\t"
		     "je 1f\n\t"
		     "or $64, %%edx\n"
		     "1:\n\t"
		     "mov $0x1111111111111111, %%rcx\n\t"
		     "cmp %%rcx, %%rbx\n\t"
		     "je 1f\n\t"
		     "or $1, %%edx\n"
		     "1:\n\t"
		     "mov $0x2222222222222222, %%rcx\n\t"
		     "cmp %%rcx, %%rbp\n\t"
		     "je 1f\n\t"
		     "or $2, %%edx\n"
		     "1:\n\t"
		     "mov $0x3333333333333333, %%rcx\n\t"
		     "cmp %%rcx, %%r12\n\t"
		     "je 1f\n\t"
		     "or $4, %%edx\n"
		     "1:\n\t"
		     "mov $0x4444444444444444, %%rcx\n\t"
		     "cmp %%rcx, %%r13\n\t"
		     "je 1f\n\t"
		     "or $8, %%edx\n"
		     "1:\n\t"
		     "mov $0x5555555555555555, %%rcx\n\t"
		     "cmp %%rcx, %%r14\n\t"
		     "je 1f\n\t"
		     "or $16, %%edx\n"
		     "1:\n\t"
		     "mov $0x6666666666666666, %%rcx\n\t"
		     "cmp %%rcx, %%r15\n\t"
		     "je 1f\n\t"
		     "or $32, %%edx\n"
		     "1:\n\t"
		     "pop %%rbx\n\t"
		     "pop %%rbp\n\t"
		     "add $128, %%rsp\n\t"
		     : "=a" (result), "=&d" (bad), [in] "+S" (in_p)
		     :
		     : "rcx", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
		       "r14", "r15", "cc", "memory");
	*ret = result;
	return bad;
}

/* Uses them all for something else. */
static long clobber(unsigned long a1, unsigned long a2, unsigned long a3,
		    unsigned long a4)
{
	asm volatile("mov $-1, %%rbx\n\t"
		     "mov $-1, %%r12\n\t"
		     "mov $-1, %%r13\n\t"
		     "mov $-1, %%r14\n\t"
		     "mov $-1, %%r15\n\t"
		     : : : "rbx", "r12", "r13", "r14", "r15");
	return a1 + 10 * a2 + 100 * a3;
}

static long clobber_slowly(unsigned long a1, unsigned long a2,
			   unsigned long a3, unsigned long a4)
{
	rpal_syscall(__NR_getpid, 0, 0, 0, 0, 0, 0);
	return clobber(a1, a2, a3, a4);
}

RPAL_TEST(callee_saved)
{
	long ret;
	int i;

	setup();
	for (i = 0; i < 100; i++) {
		CHECK_EQ(0, call_with_patterns(rpal_me.gate_call, peer.ctl,
					       rpal_there(&peer, clobber),
					       &ret));
		CHECK_EQ(321, ret);
		/* The same when the kernel brings them back. */
		CHECK_EQ(0, call_with_patterns(rpal_me.gate_call, peer.ctl,
					       rpal_there(&peer,
							  clobber_slowly),
					       &ret));
		CHECK_EQ(321, ret);
	}
}

static unsigned int get_mxcsr(void)
{
	unsigned int value;

	asm volatile("stmxcsr %0" : "=m" (value));
	return value;
}

static void set_mxcsr(unsigned int value)
{
	asm volatile("ldmxcsr %0" : : "m" (value));
}

static unsigned short get_fpcw(void)
{
	unsigned short value;

	asm volatile("fnstcw %0" : "=m" (value));
	return value;
}

static void set_fpcw(unsigned short value)
{
	asm volatile("fldcw %0" : : "m" (value));
}

#define MXCSR_CONTROL	0xffc0	/* all but the exception flags */
#define MXCSR_DEFAULT	0x1f80
#define MXCSR_UP	0x5f80	/* round towards +infinity */
#define MXCSR_ZERO	0x7f80	/* round towards zero */
#define FPCW_DEFAULT	0x037f
#define FPCW_SINGLE	0x007f	/* round to single precision */

static long fp_modes(unsigned long hand_over, unsigned long a2,
		     unsigned long a3, unsigned long a4)
{
	if (hand_over)
		rpal_syscall(__NR_getpid, 0, 0, 0, 0, 0, 0);
	return (get_mxcsr() & MXCSR_CONTROL) | (long)get_fpcw() << 16;
}

RPAL_TEST(fp_control)
{
	long theirs = MXCSR_DEFAULT | (long)FPCW_DEFAULT << 16;
	int hand_over, i;

	setup();
	for (i = 0; i < 50; i++) {
		for (hand_over = 0; hand_over < 2; hand_over++) {
			set_mxcsr(MXCSR_ZERO);
			set_fpcw(FPCW_SINGLE);
			CHECK_EQ(theirs, rpal_call(&peer, fp_modes, hand_over,
						   0, 0));
			CHECK_EQ(MXCSR_ZERO, get_mxcsr() & MXCSR_CONTROL);
			CHECK_EQ(FPCW_SINGLE, get_fpcw());
			set_mxcsr(MXCSR_DEFAULT);
			set_fpcw(FPCW_DEFAULT);
			CHECK_EQ(theirs, rpal_call(&peer, fp_modes, hand_over,
						   0, 0));
			CHECK_EQ(MXCSR_DEFAULT, get_mxcsr() & MXCSR_CONTROL);
			CHECK_EQ(FPCW_DEFAULT, get_fpcw());
		}
	}
}

static void *receiver_with_modes(void *arg)
{
	set_mxcsr(MXCSR_UP);
	set_fpcw(FPCW_SINGLE);
	rpal_register();
	WRITE_ONCE(*(struct rpal_ctl **)arg, rpal_self);
	for (;;)
		rpal_wait(RPAL_WAIT_FOREVER);
	return NULL;
}

static long serve_with_modes(unsigned long a0, unsigned long a1,
			     unsigned long a2, unsigned long a3)
{
	static struct rpal_ctl *ctl;
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, receiver_with_modes, &ctl));
	while (!READ_ONCE(ctl))
		sched_yield();
	rpal_wait_ready(ctl);
	return (long)ctl;
}

/* A receiver that parked with modes of its own has them in each call. */
RPAL_TEST(fp_control_of_receiver)
{
	long theirs = MXCSR_UP | (long)FPCW_SINGLE << 16;
	int i;

	setup();
	peer.ctl = (void *)rpal_run(&peer, serve_with_modes, 0, 0, 0, 0);
	for (i = 0; i < 50; i++) {
		CHECK_EQ(theirs, rpal_call(&peer, fp_modes, i % 2, 0, 0));
		CHECK_EQ(MXCSR_DEFAULT, get_mxcsr() & MXCSR_CONTROL);
		CHECK_EQ(FPCW_DEFAULT, get_fpcw());
	}
}

struct vectors {
	unsigned long long xmm[16][2];
};

/* Loads all of them, makes a system call, and stores what is then in them. */
static void over_syscall(struct vectors *v)
{
	long nr = __NR_getpid;

	asm volatile("movdqu (%1), %%xmm0\n\t"
		     "movdqu 16(%1), %%xmm1\n\t"
		     "movdqu 32(%1), %%xmm2\n\t"
		     "movdqu 48(%1), %%xmm3\n\t"
		     "movdqu 64(%1), %%xmm4\n\t"
		     "movdqu 80(%1), %%xmm5\n\t"
		     "movdqu 96(%1), %%xmm6\n\t"
		     "movdqu 112(%1), %%xmm7\n\t"
		     "movdqu 128(%1), %%xmm8\n\t"
		     "movdqu 144(%1), %%xmm9\n\t"
		     "movdqu 160(%1), %%xmm10\n\t"
		     "movdqu 176(%1), %%xmm11\n\t"
		     "movdqu 192(%1), %%xmm12\n\t"
		     "movdqu 208(%1), %%xmm13\n\t"
		     "movdqu 224(%1), %%xmm14\n\t"
		     "movdqu 240(%1), %%xmm15\n\t"
		     "syscall\n\t"
		     "movdqu %%xmm0, (%1)\n\t"
		     "movdqu %%xmm1, 16(%1)\n\t"
		     "movdqu %%xmm2, 32(%1)\n\t"
		     "movdqu %%xmm3, 48(%1)\n\t"
		     "movdqu %%xmm4, 64(%1)\n\t"
		     "movdqu %%xmm5, 80(%1)\n\t"
		     "movdqu %%xmm6, 96(%1)\n\t"
		     "movdqu %%xmm7, 112(%1)\n\t"
		     "movdqu %%xmm8, 128(%1)\n\t"
		     "movdqu %%xmm9, 144(%1)\n\t"
		     "movdqu %%xmm10, 160(%1)\n\t"
		     "movdqu %%xmm11, 176(%1)\n\t"
		     "movdqu %%xmm12, 192(%1)\n\t"
		     "movdqu %%xmm13, 208(%1)\n\t"
		     "movdqu %%xmm14, 224(%1)\n\t"
		     "movdqu %%xmm15, 240(%1)\n\t"
		     : "+a" (nr)
		     : "r" (v)
		     : "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3",
		       "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
		       "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

static long vectors(unsigned long seed, unsigned long a2, unsigned long a3,
		    unsigned long a4)
{
	struct vectors in, out;
	size_t i;

	for (i = 0; i < sizeof(in); i++)
		((unsigned char *)&in)[i] = seed + i * 7;
	out = in;
	over_syscall(&out);
	return memcmp(&in, &out, sizeof(in)) ? 1 : 0;
}

RPAL_TEST(vector_registers)
{
	int i;

	setup();
	for (i = 0; i < 100; i++)
		CHECK_EQ(0, rpal_call(&peer, vectors, i, 0, 0));
}

static long has_df(void *cookie, unsigned long a0, unsigned long a1,
		   unsigned long a2, unsigned long a3)
{
	unsigned long value;

	asm volatile("pushf\n\tpop %0" : "=r" (value));
	return value & 0x400;
}

static void *receiver_for_df(void *arg)
{
	long (*gate_wait)(struct rpal_ctl *self, rpal_entry entry, void *cookie,
			  unsigned long timeout_ns, int fd) =
		(void *)rpal_me.gate_wait;

	rpal_register();
	WRITE_ONCE(*(struct rpal_ctl **)arg, rpal_self);
	for (;;)
		gate_wait(rpal_self, has_df, NULL, RPAL_WAIT_FOREVER,
			  RPAL_WAIT_NO_FD);
	return NULL;
}

static long serve_df(unsigned long a0, unsigned long a1, unsigned long a2,
		     unsigned long a3)
{
	static struct rpal_ctl *ctl;
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, receiver_for_df, &ctl));
	while (!READ_ONCE(ctl))
		sched_yield();
	rpal_wait_ready(ctl);
	return (long)ctl;
}

/* A call with the direction flag set, which no compiler's code would make. */
static long call_backwards(struct rpal_ctl *ctl)
{
	unsigned long to = (unsigned long)ctl, self = (unsigned long)rpal_self;
	long ret;

	/* First past the red zone. */
	asm volatile("sub $128, %%rsp\n\t"
		     "std\n\t"
		     "call *%[gate]\n\t"
		     "cld\n\t"
		     "add $128, %%rsp"
		     : "=a" (ret), "+D" (to), "+S" (self)
		     : [gate] "b" (rpal_me.gate_call)
		     : "rcx", "rdx", "r8", "r9", "r10", "r11", "cc", "memory");
	return ret;
}

static long set_gsbase(unsigned long base, unsigned long a2, unsigned long a3,
		       unsigned long a4)
{
	asm volatile("wrgsbase %0" : : "r" (base));
	return getpid();
}

/* What the gate does not switch does not get stuck with the caller. */
RPAL_TEST(gs_base)
{
	unsigned long base = 1;

	rpal_partner(&peer);
	CHECK_EQ(peer.pid, rpal_call(&peer, set_gsbase, 0x1000, 0, 0));
	CHECK_EQ(0, syscall(__NR_arch_prctl, ARCH_GET_GS, &base));
	CHECK_EQ(0, base);
}

/* The receiver finds it clear, whatever its caller had. */
RPAL_TEST(direction_flag)
{
	int i;

	setup();
	peer.ctl = (void *)rpal_run(&peer, serve_df, 0, 0, 0, 0);
	for (i = 0; i < 20; i++) {
		/* By both ways through the gate: with other modes, and not. */
		set_mxcsr(i % 2 ? MXCSR_ZERO : MXCSR_DEFAULT);
		CHECK_EQ(0, call_backwards(peer.ctl));
	}
	set_mxcsr(MXCSR_DEFAULT);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
