// SPDX-License-Identifier: GPL-2.0
/* Faults: synchronous signals, caught, and pages that user space serves. */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "rpal_lib.h"

static __thread struct {
	struct rpal_fault *fault;
	sigjmp_buf env;
} trying;

static void on_fault(int sig, siginfo_t *si, void *uc)
{
	struct rpal_fault *f = trying.fault;

	if (!f) {
		/* Not expected here: let it kill, at the same instruction. */
		signal(sig, SIG_DFL);
		return;
	}
	trying.fault = NULL;
	f->sig = sig;
	f->code = si->si_code;
	f->addr = (unsigned long)si->si_addr;
	f->pkey = sig == SIGSEGV && si->si_code == SEGV_PKUERR ?
		  si->si_pkey : 0;
	siglongjmp(trying.env, 1);
}

long rpal_try(struct rpal_fault *f, rpal_fn fn, unsigned long a0,
	      unsigned long a1, unsigned long a2, unsigned long a3)
{
	static const int sigs[] = { SIGSEGV, SIGBUS, SIGTRAP, SIGFPE, SIGILL };
	static bool installed;
	struct sigaction sa = {
		.sa_sigaction = on_fault,
		/* Leaves by longjmp: the signal must not stay blocked. */
		.sa_flags = SA_SIGINFO | SA_NODEFER,
	};
	unsigned int pkru = rdpkru();
	long ret = -1;
	size_t i;

	if (!READ_ONCE(installed)) {
		for (i = 0; i < ARRAY_SIZE(sigs); i++)
			CHECK(!sigaction(sigs[i], &sa, NULL));
		WRITE_ONCE(installed, true);
	}
	memset(f, 0, sizeof(*f));
	/* No mask is saved: without a fault, this makes no system call. */
	if (!sigsetjmp(trying.env, 0)) {
		trying.fault = f;
		ret = fn(a0, a1, a2, a3);
	} else {
		/*
		 * The handler ran with the PKRU that signals start with. Not
		 * written otherwise: an emulator may drop its TLB for it.
		 */
		wrpkru(pkru);
	}
	trying.fault = NULL;
	return ret;
}

long do_make_userfault(unsigned long addr, unsigned long len,
		       unsigned long a2, unsigned long a3)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = {
		.range = { addr, len },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC);

	if (fd < 0)
		return -errno;
	CHECK(!ioctl(fd, UFFDIO_API, &api));
	CHECK(!ioctl(fd, UFFDIO_REGISTER, &range));
	return fd;
}

long do_wait_userfault(unsigned long fd, unsigned long a1,
		       unsigned long a2, unsigned long a3)
{
	struct uffd_msg msg;

	CHECK_EQ(sizeof(msg), read(fd, &msg, sizeof(msg)));
	return msg.arg.pagefault.address;
}

long do_serve_userfault(unsigned long fd, unsigned long addr,
			unsigned long a2, unsigned long a3)
{
	struct uffdio_zeropage zero = { .range = { addr, RPAL_PAGE } };

	return rpal_err(ioctl(fd, UFFDIO_ZEROPAGE, &zero));
}
