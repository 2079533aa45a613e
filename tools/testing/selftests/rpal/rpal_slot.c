// SPDX-License-Identifier: GPL-2.0
/*
 * The edges of a slot: what is not in it, does not fit, or is thrown away; and
 * an execve() that is disturbed on the way into one.
 *
 * To see these fail: leave the range of MAP_32BIT as it was (below_4g); search
 * below the slot, or beyond it (too_large); answer EINTR as it is
 * (exec_in_a_storm).
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "rpal_test.h"
#include "rpal_image.h"

static struct rpal_proc peer;

RPAL_TEST(below_4g)
{
	void *p = mmap(NULL, RPAL_PAGE, PROT_READ,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	CHECK(p == MAP_FAILED && errno == ENOMEM);
}

RPAL_TEST(too_large)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	void *p = mmap(NULL, RPAL_SLOT_SIZE, PROT_NONE, flags, -1, 0);

	CHECK(p == MAP_FAILED && errno == ENOMEM);
	p = mmap(NULL, RPAL_SLOT_SIZE / 4, PROT_NONE, flags, -1, 0);
	CHECK(p != MAP_FAILED);
	CHECK_EQ(rpal_me.slot, (unsigned long)p >> RPAL_SLOT_SHIFT);
}

/* Unmaps two ranges, in rdi and rsi, rdx and r10, and needs none of them. */
static __attribute__((naked)) void unmap_both(void)
{
	asm("mov %rdx, %r12\n\t"
	    "mov %r10, %r13\n\t"
	    "mov $11, %eax\n\t"
	    "syscall\n\t"
	    "mov %r12, %rdi\n\t"
	    "mov %r13, %rsi\n\t"
	    "mov $11, %eax\n\t"
	    "syscall\n"
	    "1:\n\t"
	    "mov $34, %eax\n\t"
	    "syscall\n\t"
	    "jmp 1b");
}

/* Enough for all of it. */
#define CODE_LEN	64

/* Outside the slot there is still room for code, at fixed addresses. */
#define OUTSIDE		0x10000000UL

static long unmap_slot(unsigned long a0, unsigned long a1, unsigned long a2,
		       unsigned long a3)
{
	unsigned long start = rpal_me.slot_start, end = start + RPAL_SLOT_SIZE;
	unsigned long area_end = rpal_me.ctl_start + RPAL_CTL_PAGES * RPAL_PAGE;
	void *code = mmap((void *)OUTSIDE, RPAL_PAGE,
			  PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
			  -1, 0);

	CHECK(code == (void *)OUTSIDE);
	memcpy(code, unmap_both, CODE_LEN);
	/* So that no restartable sequence is written to any more. */
	rpal_register();
	asm volatile("mov %1, %%r10\n\t"
		     "jmp *%0"
		     : : "a" (code), "c" (end - area_end), "D" (start),
		     "S" (rpal_me.ctl_start - start), "d" (area_end)
		     : "r10", "memory");
	return 1;
}

/*
 * A service that throws all its memory away still has the table that its peers
 * look at.
 */
RPAL_TEST(empty_slot)
{
	struct rpal_fault f;

	rpal_spawn(&peer);
	rpal_connect(&peer);
	rpal_serve(&peer);
	rpal_post(&peer, unmap_slot, 0, 0, 0, 0);
	do {
		rpal_try(&f, do_peek_opened, peer.base, peer.service.pkey, 0, 0);
		sched_yield();
	} while (!f.sig);
	CHECK_EQ(SIGBUS, f.sig);
	/* Its control blocks are there as before. */
	CHECK(READ_ONCE(peer.ctl->fsbase) != 0);
	rpal_kill(&peer);
}

static void on_signal(int sig)
{
}

static void storm(void)
{
	struct sigaction act = { .sa_handler = on_signal };
	int status, i;
	pid_t pid;

	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		/* The new image ignores it. */
		CHECK(!sigaction(SIGURG, &act, NULL));
		CHECK_EQ(0, rpal_arm(0));
		execl("/bin/true", "true", NULL);
		_exit(errno);
	}
	for (i = 0; i < 60; i++) {
		kill(pid, SIGURG);
		usleep(rand() % 200);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(0, status);
}

/* Registering a notifier gives up at any signal. execve() does not. */
RPAL_PLAIN_TEST(exec_in_a_storm)
{
	int i;

	for (i = 0; i < 40; i++)
		storm();
}

/* The end of an image that is larger than a slot, and of the same unarmed. */
RPAL_PLAIN_TEST(huge_image)
{
	const char *path = image_path("rpal_image_huge");
	int services = rpal_listed("services");
	struct image im;
	int plain;

	EXPECT_FALSE(image_start(&im, 0, path, NULL));
	plain = image_stop(&im);
	EXPECT_NE(0, plain);
	EXPECT_FALSE(image_start(&im, IMAGE_ARMED, path, NULL));
	EXPECT_EQ(plain, image_stop(&im));
	/* What it took is given back. */
	while (rpal_listed("services") > services)
		usleep(1000);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
