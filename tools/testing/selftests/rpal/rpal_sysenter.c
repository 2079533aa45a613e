// SPDX-License-Identifier: GPL-2.0
/*
 * SYSENTER, with which 32-bit code enters the kernel: from 64-bit code, by itself
 * and in a borrowed context. What it does there is the CPU's to say. Those of AMD
 * have no such instruction in long mode. On those of Intel the kernel is entered,
 * does not learn from where, looks for an argument at EBP, makes a 32-bit system
 * call if there is something, and resumes at the low half of an address of the
 * vDSO, where nothing is. Whose code it is meets the signal, and nothing was done
 * in somebody else's name.
 *
 * To see these fail, on a CPU of Intel's: let Regs::save() give the address of
 * code in other segments (borrowed: it is not 0); dispatch 32-bit system calls of
 * a borrowed context (borrowed_call, dies_of_call: ENOSYS); on any: send the
 * signal to who executes the instruction (all but by_itself).
 */
#include <cpuid.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "rpal_test.h"

/* A 32-bit system call that leaves a trace: its number there, and what for. */
#define UMASK_32	60
#define MASK		0123

/* Where EBP may point: nothing is at the one, a page at the other. */
#define NOWHERE		8UL
#define LOW		0x10000000UL

static struct rpal_proc peer;

/* ---- the CPU ---- */

/* Does SYSENTER enter the kernel from 64-bit code? It is undefined otherwise. */
static bool enters_here(void)
{
	unsigned int max, id[3];

	CHECK(__get_cpuid(0, &max, &id[0], &id[2], &id[1]));
	if (!memcmp(id, "AuthenticAMD", sizeof(id)))
		return false;
	if (memcmp(id, "GenuineIntel", sizeof(id)))
		rpal_skip("neither a CPU of AMD's nor of Intel's");
	if (!rpal_has_int80())
		rpal_skip("no 32-bit system calls in this kernel");
	return true;
}

/* ---- the instruction ---- */

__attribute__((visibility("hidden"))) extern const char at_sysenter[];
__attribute__((visibility("hidden")))
void sysenter(unsigned long nr, unsigned long arg, unsigned long bp);

asm(".pushsection .text\n"
	"sysenter:\n\t"
	"mov %edi, %eax\n\t"
	"mov %esi, %ebx\n\t"
	"mov %rdx, %rbp\n"
	"at_sysenter:\n\t"
	"sysenter\n\t"
	"hlt\n"
	".popsection");

/* What came of it. */
static struct {
	int sig;
	unsigned long ip, addr;
	long ax;
} seen;

static sigjmp_buf out;

static void on_signal(int sig, siginfo_t *si, void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;

	seen.sig = sig;
	seen.ip = regs[REG_RIP];
	seen.addr = (unsigned long)si->si_addr;
	seen.ax = regs[REG_RAX];
	siglongjmp(out, 1);
}

/* On a stack of its own: the instruction takes the stack pointer from EBP. */
static long catch_signals(unsigned long a1, unsigned long a2, unsigned long a3,
			  unsigned long a4)
{
	static char stack[16 * RPAL_PAGE];
	const stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	const struct sigaction sa = {
		.sa_sigaction = on_signal,
		.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER,
	};

	CHECK(!sigaltstack(&ss, NULL));
	CHECK(!sigaction(SIGILL, &sa, NULL));
	CHECK(!sigaction(SIGSEGV, &sa, NULL));
	return 0;
}

/* No system call before the instruction: it is executed by who has borrowed. */
static long try_sysenter(unsigned long bp, unsigned long a2, unsigned long a3,
			 unsigned long a4)
{
	unsigned int pkru = rdpkru();

	memset(&seen, 0, sizeof(seen));
	if (!sigsetjmp(out, 0))
		sysenter(UMASK_32, MASK, bp);
	/* Signals start with another one. */
	wrpkru(pkru);
	return seen.sig;
}

static void map_low(void)
{
	CHECK(mmap((void *)LOW, RPAL_PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		   0) == (void *)LOW);
}

/* ---- by itself ---- */

static void child(bool enters)
{
	static const unsigned long bps[] = { NOWHERE, LOW };
	mode_t before = umask(022);
	size_t i;

	umask(before);
	catch_signals(0, 0, 0, 0);
	map_low();
	for (i = 0; i < ARRAY_SIZE(bps); i++) {
		bool made = enters && bps[i] == LOW;

		CHECK_EQ(enters ? SIGSEGV : SIGILL,
			 try_sysenter(bps[i], 0, 0, 0));
		if (!enters)
			CHECK_EQ(seen.ip, at_sysenter);
		else
			CHECK_EQ(made ? (long)before : -EFAULT, seen.ax);
		/* Some emulators leave the upper half of the pointer there. */
		if (enters)
			CHECK_EQ(seen.addr, (unsigned int)seen.ip);
		CHECK_EQ(made ? MASK : before, umask(before));
	}
	_exit(0);
}

/* So that it is known what a borrowed one is to be compared with. */
RPAL_TEST(by_itself)
{
	bool enters = enters_here();
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (!pid)
		child(enters);
	CHECK_EQ(pid, waitpid(pid, &status, 0));
	CHECK_EQ(0, status);
}

/* ---- borrowed ---- */

static long set_umask(unsigned long mask, unsigned long a1, unsigned long a2,
		      unsigned long a3)
{
	return umask(mask);
}

static long get_seen(unsigned long ip, unsigned long addr, unsigned long ax,
		     unsigned long a4)
{
	*(unsigned long *)ip = seen.ip;
	*(unsigned long *)addr = seen.addr;
	*(long *)ax = seen.ax;
	return 0;
}

/* The receiver's code has it at EBP what this process has there. */
static void borrowed_with(unsigned long bp)
{
	bool enters = enters_here();
	unsigned long ip, addr;
	long ax;
	int i;

	umask(022);
	rpal_partner(&peer);
	rpal_run(&peer, set_umask, 027, 0, 0, 0);
	CHECK_EQ(0, rpal_call(&peer, catch_signals, 0, 0, 0));
	for (i = 0; i < 10; i++) {
		/* It is lent: the instruction is executed by this thread. */
		CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
		CHECK_EQ(enters ? SIGSEGV : SIGILL,
			 rpal_call(&peer, try_sysenter, bp, 0, 0));
		CHECK_EQ(0, rpal_call(&peer, get_seen, (long)&ip, (long)&addr,
				      (long)&ax));
		if (!enters) {
			CHECK_EQ(rpal_there(&peer, at_sysenter), ip);
		} else {
			/* Or as far before as is for a system call. */
			CHECK(ip + 2 <= 2 && addr == ip);
			CHECK_EQ(bp == LOW ? UMASK_32 : -EFAULT, ax);
		}
		/* Nobody has made the system call. */
		CHECK_EQ(022, umask(022));
		CHECK_EQ(027, rpal_run(&peer, set_umask, 027, 0, 0, 0));
		CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
	}
}

/* The argument is nowhere, and there is no system call. */
RPAL_TEST(borrowed)
{
	borrowed_with(NOWHERE);
}

/* It is there, and there would be one. */
RPAL_TEST(borrowed_call)
{
	map_low();
	borrowed_with(LOW);
}

static long just_sysenter(unsigned long bp, unsigned long a2, unsigned long a3,
			  unsigned long a4)
{
	sysenter(UMASK_32, MASK, bp);
	return 0;
}

/* Without a handler: whose it is dies of it, and its caller goes on. */
static void dies_with(unsigned long bp)
{
	bool enters = enters_here();

	umask(022);
	rpal_partner(&peer);
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
	CHECK_EQ(-EPIPE, rpal_call(&peer, just_sysenter, bp, 0, 0));
	CHECK_EQ(enters ? SIGSEGV : SIGILL, rpal_reap(&peer) & ~0x80);
	CHECK_EQ(022, umask(022));
	rpal_unregister();
	rpal_partner(&peer);
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
}

RPAL_TEST(dies)
{
	dies_with(NOWHERE);
}

RPAL_TEST(dies_of_call)
{
	map_low();
	dies_with(LOW);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
