// SPDX-License-Identifier: GPL-2.0
/*
 * Threads that run a virtual CPU. One may be in KVM_RUN for hours, and the work
 * that comes for it is done in there: what RPAL has to see of a thread it has to
 * see there as well.
 *
 * To see these fail: do not call rpal_exit_worked() in kernel/entry/virt.c
 * (former_peer: the peer executes what it is told, or dies of it); have the caller
 * make the system calls of a borrowed context (called: EBADF).
 */
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "rpal_machine.h"
#include "rpal_test.h"

static struct rpal_proc peer;
static struct machine machine;

/* In the receiver's process: a machine of its own. */
static long prepare(unsigned long a0, unsigned long a1, unsigned long a2,
		    unsigned long a3)
{
	machine_make(&machine);
	machine_check(&machine);
	machine_set_program(&machine, &machine_leaves);
	return 0;
}

static long run_prepared(unsigned long a1, unsigned long a2, unsigned long a3,
			 unsigned long a4)
{
	return machine_run(&machine);
}

/* A virtual CPU is run by whose it is, whoever has called. */
RPAL_TEST(called)
{
	machine_need();
	rpal_partner(&peer);
	CHECK_EQ(0, rpal_run(&peer, prepare, 0, 0, 0, 0));
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
	CHECK_EQ(0x77, rpal_call(&peer, run_prepared, 0, 0, 0));
	CHECK_EQ(3, rpal_call(&peer, do_add, 1, 2, 0));
}

/* In the peer: what nobody has any business to make it execute. */
static long reached;

static __attribute__((naked)) void reach(void)
{
	asm("lock incq %0\n"
	    "1:\n\t"
	    "pause\n\t"
	    "jmp 1b"
	    : "+m" (reached));
}

/*
 * As the gate leaves a caller behind that runs a receiver's context at @ip, and
 * with no instruction to spare behind KVM_RUN:
 * long run_and_pretend(saved_sp, claim, peer's block, its FS base, ip, vcpu).
 * Comes back as gate_call() does.
 */
static __attribute__((naked)) long run_and_pretend(unsigned long *saved_sp,
						   unsigned long *claim,
						   unsigned long ctl,
						   unsigned long fsbase,
						   unsigned long ip, int vcpu)
{
	asm("push %%rbp\n\t"
	    "push %%rbx\n\t"
	    "push %%r12\n\t"
	    "push %%r13\n\t"
	    "push %%r14\n\t"
	    "push %%r15\n\t"
	    "sub $8, %%rsp\n\t"
	    "stmxcsr (%%rsp)\n\t"
	    "fnstcw 4(%%rsp)\n\t"
	    "mov %%rdi, %%r12\n\t"
	    "mov %%rsi, %%r13\n\t"
	    "mov %%rdx, %%r14\n\t"
	    "mov %%rcx, %%r15\n\t"
	    "mov %%r8, %%rbx\n\t"
	    "mov %%r9d, %%edi\n\t"
	    "mov %0, %%esi\n\t"
	    "xor %%edx, %%edx\n\t"
	    "mov %1, %%eax\n\t"
	    "syscall\n\t"
	    "mov %%rsp, (%%r12)\n\t"
	    "mov %%r14, (%%r13)\n\t"
	    "wrfsbase %%r15\n\t"
	    "jmp *%%rbx"
	    : : "i" (KVM_RUN), "i" (__NR_ioctl));
}

/* In another service: a thread that is in KVM_RUN until it is told to leave. */
static struct {
	unsigned long ctl, base, ip;
	struct machine machine;
	int event;
	unsigned char *stop;
	long ret;
	pthread_t thread;
} guest;

static void *run_guest(void *arg)
{
	rpal_register();
	/* It has been inside, as it may. */
	CHECK_EQ(3, rpal_gate((struct rpal_ctl *)guest.ctl,
			      (unsigned long)arg, 1, 2, 0));
	guest.ret = run_and_pretend((unsigned long *)&rpal_self->saved_sp,
				    (unsigned long *)&rpal_self->claim,
				    guest.ctl, guest.base, guest.ip,
				    guest.machine.vcpu);
	return NULL;
}

/* Wait until it has been out of the guest and in again. */
static void await_turn(void)
{
	unsigned long count;
	int i;

	/* The first may have been there before. */
	for (i = 0; i < 3; i++)
		CHECK_EQ(8, read(guest.event, &count, 8));
}

static long start_guest(unsigned long ctl, unsigned long base, unsigned long ip,
			unsigned long add)
{
	struct kvm_ioeventfd event = {
		.addr = MACHINE_EVENT, .len = 1, .flags = KVM_IOEVENTFD_FLAG_PIO,
	};

	guest.ctl = ctl;
	guest.base = base;
	guest.ip = ip;
	machine_make(&guest.machine);
	guest.stop = machine_page();
	machine_set_data(&guest.machine, (unsigned long)guest.stop);
	machine_set_program(&guest.machine, &machine_loops);
	guest.event = eventfd(0, EFD_CLOEXEC);
	CHECK(guest.event >= 0);
	event.fd = guest.event;
	CHECK_EQ(0, ioctl(guest.machine.vm, KVM_IOEVENTFD, &event));
	CHECK(!pthread_create(&guest.thread, NULL, run_guest, (void *)add));
	await_turn();
	return 0;
}

/* What the kick asks for is done before the guest is entered the next time. */
static long detach_and_await(unsigned long fd, unsigned long a1,
			     unsigned long a2, unsigned long a3)
{
	CHECK_EQ(0, rpal_detach(fd));
	await_turn();
	return 0;
}

static long stop_guest(unsigned long a0, unsigned long a1, unsigned long a2,
		       unsigned long a3)
{
	WRITE_ONCE(*guest.stop, 1);
	CHECK(!pthread_join(guest.thread, NULL));
	close(guest.event);
	machine_end(&guest.machine);
	return guest.ret;
}

/*
 * Who detaches while one of its threads is in KVM_RUN has no way back through that
 * thread: the kick came and went there, and it was seen.
 */
RPAL_TEST(former_peer)
{
	unsigned long count;
	struct rpal_proc other;
	struct pollfd answer;
	long base, ret;
	int fd, i;

	machine_need();
	rpal_spawn(&peer);
	rpal_serve(&peer);
	rpal_spawn(&other);
	fd = rpal_give(&other, peer.fd);
	count = rpal_there(&peer, &reached);
	base = rpal_run(&peer, do_peek, (unsigned long)&peer.ctl->fsbase, 0, 0,
			0);
	answer = (struct pollfd){ .fd = other.sock, .events = POLLIN };
	for (i = 0; i < 10; i++) {
		CHECK_EQ(0, rpal_run(&other, do_attach, fd, 0, 0, 0));
		CHECK_EQ(0, rpal_run(&other, start_guest,
				     (unsigned long)peer.ctl, base,
				     rpal_there(&peer, reach),
				     rpal_there(&peer, do_add)));
		CHECK_EQ(0, rpal_run(&other, detach_and_await, fd, 0, 0, 0));
		rpal_post(&other, stop_guest, 0, 0, 0, 0);
		do {
			CHECK_EQ(0, rpal_run(&peer, do_peek, count, 0, 0, 0));
		} while (!poll(&answer, 1, 1));
		CHECK(rpal_result(&other, &ret));
		CHECK_EQ(-EFAULT, ret);
		CHECK_EQ(0, rpal_run(&peer, do_peek, count, 0, 0, 0));
	}
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
