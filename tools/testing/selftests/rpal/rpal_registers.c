// SPDX-License-Identifier: GPL-2.0
/*
 * What the two sides of a call keep in registers.
 *
 * To see these fail: leave a callee-saved register, MXCSR or the x87 control
 * word out of the gate (callee_saved, fp_control*) or out of what the kernel
 * puts back (the same, with a hand-over); do not put back PKRU (pkru); leave
 * the FPU state with the caller at a hand-over (vector_registers), or the upper
 * halves of it (wide_vector_registers); leave it the receiver's GS base then
 * (gs_base); take a CLD out of the gate (direction_flag).
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

#define EACH_8	"0,1,2,3,4,5,6,7"
#define EACH_16	EACH_8 ",8,9,10,11,12,13,14,15"
#define EACH_32	EACH_16 ",16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31"

/* An instruction for each of those registers, whose number is \r there. */
#define FOR(each, insn)	".irp r," each "\n\t" insn "\n\t.endr\n\t"

/* Loads registers from @v, makes a system call, and stores what is then in them. */
#define OVER_SYSCALL(v, load, store)					\
do {									\
	long nr = __NR_getpid;						\
									\
	asm volatile(load "syscall\n\t" store				\
		     : "+a" (nr)					\
		     : "r" (v)						\
		     : "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2",	\
		       "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",	\
		       "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",	\
		       "xmm14", "xmm15");				\
} while (0)

enum { XMM, YMM, ZMM, OPMASK };

static long vectors(unsigned long seed, unsigned long kind, unsigned long a3,
		    unsigned long a4)
{
	unsigned char in[32 * 64], out[sizeof(in)];
	size_t i;

	for (i = 0; i < sizeof(in); i++)
		in[i] = seed + i * 7 + i / 256;
	memcpy(out, in, sizeof(in));
	switch (kind) {
	case XMM:
		OVER_SYSCALL(out,
			     FOR(EACH_16, "movdqu \\r*16(%1), %%xmm\\r"),
			     FOR(EACH_16, "movdqu %%xmm\\r, \\r*16(%1)"));
		break;
	case YMM:
		OVER_SYSCALL(out,
			     FOR(EACH_16, "vmovdqu \\r*32(%1), %%ymm\\r"),
			     FOR(EACH_16, "vmovdqu %%ymm\\r, \\r*32(%1)"));
		break;
	case ZMM:
		OVER_SYSCALL(out,
			     FOR(EACH_32, "vmovdqu64 \\r*64(%1), %%zmm\\r"),
			     FOR(EACH_32, "vmovdqu64 %%zmm\\r, \\r*64(%1)"));
		break;
	case OPMASK:
		OVER_SYSCALL(out,
			     FOR(EACH_8, "kmovw \\r*2(%1), %%k\\r"),
			     FOR(EACH_8, "kmovw %%k\\r, \\r*2(%1)"));
		break;
	}
	return memcmp(in, out, sizeof(in)) ? 1 : 0;
}

static void vectors_survive(unsigned long kind)
{
	int i;

	for (i = 0; i < 100; i++)
		CHECK_EQ(0, rpal_call(&peer, vectors, i, kind, 0));
}

RPAL_TEST(vector_registers)
{
	setup();
	vectors_survive(XMM);
}

RPAL_TEST(wide_vector_registers)
{
	if (!__builtin_cpu_supports("avx"))
		rpal_skip("no AVX here");
	setup();
	vectors_survive(YMM);
	if (!__builtin_cpu_supports("avx512f"))
		return;
	vectors_survive(ZMM);
	vectors_survive(OPMASK);
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
