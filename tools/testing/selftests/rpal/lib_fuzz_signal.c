// SPDX-License-Identifier: GPL-2.0
/*
 * Hostile threads: how operations end by signals. Apart from fz_step(), since
 * the function that jumps may not be the one that has set the buffer, not
 * even by inlining.
 */
#include "rpal_fuzz.h"

void fz_normal(struct fz *f)
{
	const unsigned int mxcsr = 0x1f80;

	/* Below the red zone: no alignment checks, no single steps. */
	asm volatile("lea -128(%%rsp), %%rsp; pushq $0x202; popfq;"
		     "lea 128(%%rsp), %%rsp; fninit; ldmxcsr %0"
		     : : "m" (mxcsr) : "memory", "cc");
	set_fsbase(f->fsbase);
	set_gsbase(0);
	wrpkru(f->pkru);
}

static struct fz *fz_of_stack(void)
{
	unsigned long sp = (unsigned long)__builtin_frame_address(0);

	return (struct fz *)(sp & ~(FZ_STACK - 1));
}

static __noreturn void fz_leave(struct fz *f, int sig)
{
	f->sig = sig;
	fz_normal(f);
	__builtin_longjmp(f->jmp, 1);
}

static void fz_signal(int sig, siginfo_t *si, void *uc)
{
	struct fz *f = fz_of_stack();
	bool soft = sig == SIGALRM || sig == SIGPROF || sig == SIGUSR2;

	if (f->magic != FZ_MAGIC)
		fz_call1(__NR_exit_group, 3);
	if (soft && !f->child) {
		/* In the middle of whatever it was, and back into that. */
		if (f->armed && !f->soft && fz_one_in(f, 8)) {
			f->soft++;
			fz_step(f);
			f->soft--;
		}
		return;
	}
	if (f->armed)
		fz_leave(f, sig);
	if (sig != SIGUSR1 && !soft)
		fz_call1(__NR_exit_group, 4);
}

void fz_handlers(void)
{
	static const int sigs[] = {
		SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGSYS,
		SIGUSR1, SIGUSR2, SIGALRM, SIGPROF,
	};
	struct sigaction sa = { .sa_sigaction = fz_signal };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sigs); i++) {
		sa.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
		if (sigs[i] != SIGPROF)
			sa.sa_flags |= SA_RESTART;
		CHECK(!sigaction(sigs[i], &sa, NULL));
	}
}
