// SPDX-License-Identifier: GPL-2.0
/*
 * What programs seldom do, and machines seldom meet.
 *
 * To see these fail: judge by the instruction's address whose system call it
 * is (text_of_peer); let rpal_child_pkru() answer its argument (threads_key);
 * serve the peer's special mappings, and not as a stranger (time_namespace);
 * leave evict() out (robust_mutex); take the line out of unhandled_signal()
 * (log); keep TRAP_HWBKPT from the caller (hardware_breakpoint); let nobody
 * wait for a peer's page (userfault hangs); leave the control area without the
 * right to have rights (forced_fault: the kernel warns).
 */
#include <fcntl.h>
#include <linux/user_events.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "rpal_test.h"

static struct rpal_proc peer;

/* ---- code ---- */

/* It needs no memory but its text. */
static __attribute__((naked)) long getpid_by_hand(void)
{
	asm("movl $39, %eax\n\t"
	    "syscall\n\t"
	    "ret");
}

/* Keys stop no jumps. With its own FS base it is as if in a library. */
RPAL_TEST(text_of_peer)
{
	long (*fn)(void);
	int i;

	rpal_partner(&peer);
	fn = (long (*)(void))rpal_there(&peer, getpid_by_hand);
	for (i = 0; i < 20; i++) {
		CHECK_EQ(getpid(), fn());
		CHECK_EQ(peer.pid, rpal_call(&peer, do_getpid, 0, 0, 0));
	}
}

static unsigned long regs_of(pid_t pid)
{
	struct user_regs_struct regs;

	CHECK(!ptrace(PTRACE_GETREGS, pid, 0, &regs));
	return regs.rip;
}

static void debug_register(pid_t pid, int nr, unsigned long value)
{
	CHECK(!ptrace(PTRACE_POKEUSER, pid,
		      offsetof(struct user, u_debugreg[nr]), value));
}

/* A debugger's, at the receiver's code, for the caller: he is told, once. */
RPAL_TEST(hardware_breakpoint)
{
	struct rpal_proc c;
	siginfo_t info;
	long ret;

	rpal_spawn(&peer);
	rpal_serve(&peer);
	rpal_spawn(&c);
	rpal_link(&c, &peer);
	CHECK_EQ(3, rpal_call_from(&c, &peer, do_add, 1, 2));
	CHECK(!ptrace(PTRACE_SEIZE, c.pid, 0, 0));
	CHECK(!ptrace(PTRACE_INTERRUPT, c.pid, 0, 0));
	rpal_stopped(c.pid);
	debug_register(c.pid, 0, rpal_there(&peer, do_add));
	debug_register(c.pid, 7, 1);
	CHECK(!ptrace(PTRACE_CONT, c.pid, 0, 0));
	rpal_post(&c, do_call, (unsigned long)peer.ctl,
		  rpal_there(&peer, do_add), 1, 2);
	CHECK_EQ(SIGTRAP, rpal_stopped(c.pid));
	CHECK(!ptrace(PTRACE_GETSIGINFO, c.pid, 0, &info));
	CHECK_EQ(TRAP_HWBKPT, info.si_code);
	/* Where it waits for the receiver, and not in its code. */
	CHECK_EQ(GATE_SLOT, regs_of(c.pid) >> RPAL_SLOT_SHIFT);
	debug_register(c.pid, 7, 0);
	CHECK(!ptrace(PTRACE_CONT, c.pid, 0, 0));
	CHECK(rpal_result(&c, &ret));
	CHECK_EQ(3, ret);
	CHECK(!ptrace(PTRACE_INTERRUPT, c.pid, 0, 0));
	rpal_stopped(c.pid);
	CHECK(!ptrace(PTRACE_DETACH, c.pid, 0, 0));
	CHECK_EQ(3, rpal_call_from(&c, &peer, do_add, 1, 2));
}

/* ---- what a call leaves ---- */

static void *note_pkru(void *arg)
{
	*(unsigned int *)arg = rdpkru();
	return NULL;
}

static long pkru_of_thread(unsigned long a1, unsigned long a2,
			   unsigned long a3, unsigned long a4)
{
	unsigned int pkru = 0;
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, note_pkru, &pkru));
	CHECK(!pthread_join(thread, NULL));
	/* It has the caller's memory open itself. */
	CHECK(!(rdpkru() & pkru_mask(a1)));
	return pkru;
}

/* What a receiver starts for a caller outlives the call. */
RPAL_TEST(threads_key)
{
	/* No access; what that leaves of writing does not matter. */
	unsigned int denied = 1U << (2 * rpal_me.pkey);
	unsigned int pkru;
	int i;

	rpal_partner(&peer);
	for (i = 0; i < 5; i++) {
		pkru = rpal_call(&peer, pkru_of_thread, rpal_me.pkey, 0, 0);
		CHECK(pkru & denied);
	}
}

static struct {
	pthread_mutex_t mutex;
	unsigned long count;
} *shared;

static long map_shared(unsigned long fd, unsigned long a1, unsigned long a2,
		       unsigned long a3)
{
	shared = mmap(NULL, RPAL_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		      0);
	CHECK(shared != MAP_FAILED);
	return 0;
}

static long count_under_mutex(unsigned long a1, unsigned long a2,
			      unsigned long a3, unsigned long a4)
{
	CHECK(!pthread_mutex_lock(&shared->mutex));
	for (;;)
		WRITE_ONCE(shared->count, shared->count + 1);
}

/*
 * The receiver dies in a critical section, which somebody else executes. Who
 * gets the mutex next must be alone.
 */
RPAL_TEST(robust_mutex)
{
	int fd = memfd_create("shared", 0);
	pthread_mutexattr_t attr;
	struct rpal_proc c;
	unsigned long count;
	int i, j;
	long ret;

	CHECK(!ftruncate(fd, RPAL_PAGE));
	map_shared(fd, 0, 0, 0);
	CHECK(!pthread_mutexattr_init(&attr));
	CHECK(!pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED));
	CHECK(!pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST));
	rpal_spawn(&c);
	for (i = 0; i < 5; i++) {
		CHECK(!pthread_mutex_init(&shared->mutex, &attr));
		WRITE_ONCE(shared->count, 0);
		rpal_spawn(&peer);
		rpal_run(&peer, map_shared, rpal_give(&peer, fd), 0, 0, 0);
		rpal_serve(&peer);
		rpal_link(&c, &peer);
		/* By itself once, so that all of it is there. */
		CHECK_EQ(3, rpal_call_from(&c, &peer, do_add, 1, 2));
		rpal_post(&c, do_call, (unsigned long)peer.ctl,
			  rpal_there(&peer, count_under_mutex), 0, 0);
		while (READ_ONCE(shared->count) < 1000)
			sched_yield();
		CHECK(!kill(peer.pid, SIGKILL));
		CHECK_EQ(EOWNERDEAD, pthread_mutex_lock(&shared->mutex));
		count = READ_ONCE(shared->count);
		for (j = 0; j < 1000; j++) {
			CHECK_EQ(count, READ_ONCE(shared->count));
			sched_yield();
		}
		CHECK(rpal_result(&c, &ret));
		CHECK_EQ(-EPIPE, ret);
		CHECK_EQ(count, READ_ONCE(shared->count));
		CHECK_EQ(SIGKILL, rpal_reap(&peer));
		CHECK(!pthread_mutex_consistent(&shared->mutex));
		CHECK(!pthread_mutex_unlock(&shared->mutex));
	}
}

/* ---- clocks ---- */

/* The receiver's code has the receiver's clock, whoever executes it. */
RPAL_TEST(time_namespace)
{
	static const char offset[] = "monotonic 1000000 0";
	const long ahead = 1000000L * 1000000000;
	long before, inside, after;
	int fd, i;

	if (unshare(CLONE_NEWTIME))
		rpal_skip("no time namespaces: %s", strerror(errno));
	fd = open("/proc/self/timens_offsets", O_WRONLY);
	CHECK(fd >= 0);
	CHECK(write(fd, offset, sizeof(offset) - 1) > 0);
	rpal_partner(&peer);
	for (i = 0; i < 200; i++) {
		do_clock((long)&before, 0, 0, 0);
		CHECK_EQ(0, rpal_call(&peer, do_clock, (long)&inside, 0, 0));
		do_clock((long)&after, 0, 0, 0);
		CHECK(before + ahead <= inside && inside <= after + ahead);
	}
}

/* ---- the log ---- */

static long fault(unsigned long a1, unsigned long a2, unsigned long a3,
		  unsigned long a4)
{
	struct rpal_fault f;

	rpal_try(&f, do_peek, 8, 0, 0, 0);
	return f.sig;
}

/* Is there a line of a crash of that task? */
static bool logged(int fd, pid_t tid)
{
	char record[2048], crash[40];
	bool found = false;
	ssize_t len;

	snprintf(crash, sizeof(crash), "[%d]: segfault", tid);
	for (;;) {
		len = read(fd, record, sizeof(record) - 1);
		if (len < 0 && errno == EPIPE)
			continue;
		if (len <= 0)
			return found;
		record[len] = '\0';
		if (strstr(record, crash))
			found = true;
	}
}

/* A fault that a receiver handles is no crash, and its caller's least of all. */
RPAL_TEST(log)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	int i;

	if (fd < 0)
		rpal_skip("no /dev/kmsg: %s", strerror(errno));
	rpal_partner(&peer);
	CHECK(lseek(fd, 0, SEEK_END) >= 0);
	for (i = 0; i < 5; i++)
		CHECK_EQ(SIGSEGV, rpal_call(&peer, fault, 0, 0, 0));
	CHECK(!logged(fd, gettid()));
}

/* ---- memory ---- */

static long poison(unsigned long addr, unsigned long a1, unsigned long a2,
		   unsigned long a3)
{
	return rpal_err(madvise((void *)addr, RPAL_PAGE, MADV_HWPOISON));
}

/*
 * By a child, which has the page, too: who injects the failure is told of it by
 * a signal, and everybody else when it touches the page.
 */
static long poison_shared(unsigned long addr, unsigned long a1,
			  unsigned long a2, unsigned long a3)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid)
		_exit(-poison(addr, 0, 0, 0));
	CHECK_EQ(pid, waitpid(pid, &status, 0));
	return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

/* A page that the hardware gave up is as good as not there. */
RPAL_TEST(poisoned_page)
{
	struct rpal_fault f;
	unsigned long addr;
	long ret;

	rpal_partner(&peer);
	addr = rpal_mmap(&peer, 2 * RPAL_PAGE, PROT_READ | PROT_WRITE);
	CHECK_EQ(0, rpal_run(&peer, do_fill, addr, 2 * RPAL_PAGE, 7, 0));
	/* The window is not what has that memory. */
	CHECK(poison(addr + RPAL_PAGE, 0, 0, 0) < 0);
	ret = rpal_run(&peer, poison_shared, addr, 0, 0, 0);
	if (ret == -EINVAL)
		rpal_skip("no memory failures in this kernel");
	CHECK_EQ(SIGBUS, ret);
	rpal_try(&f, do_peek_opened, addr, peer.service.pkey, 0, 0);
	CHECK_EQ(SIGBUS, f.sig);
	rpal_try(&f, do_peek_opened, addr + RPAL_PAGE, peer.service.pkey, 0, 0);
	CHECK_EQ(0, f.sig);
	CHECK_EQ(-EPIPE, rpal_call(&peer, do_peek, addr, 0, 0));
	CHECK_EQ(SIGBUS, rpal_reap(&peer) & ~0x80);
}

static bool has_warned(void)
{
	FILE *f = fopen("/proc/sys/kernel/tainted", "r");
	unsigned long taint;

	CHECK(f && fscanf(f, "%lu", &taint) == 1);
	fclose(f);
	return taint & 1UL << 9;
}

/*
 * The kernel raises a fault of its own where it can't get at the page, which is
 * there: by user events, for one. The control area must be ready for that.
 */
RPAL_TEST(forced_fault)
{
	struct user_reg reg = {
		.size = sizeof(reg),
		.enable_size = sizeof(int),
		/* A block that nobody has. */
		.enable_addr = rpal_me.ctl_start +
			       (RPAL_MAX_THREADS - 1) * RPAL_CTL_SIZE,
		.name_args = (unsigned long)"rpal_forced_fault u32 unused",
	};
	bool before = has_warned();
	int fd;

	mount("none", "/sys/kernel/tracing", "tracefs", 0, NULL);
	fd = open("/sys/kernel/tracing/user_events_data", O_RDWR);
	if (fd < 0)
		rpal_skip("no user events in this kernel");
	/* It can't pin that page, raises a fault, tries again, and gives up. */
	CHECK(ioctl(fd, DIAG_IOCSREG, &reg) < 0);
	CHECK(has_warned() == before);
	close(fd);
}

/* Who waits for a page that its owner does not provide can be killed. */
RPAL_TEST(userfault)
{
	struct rpal_proc c;
	unsigned long addr;
	long fd;

	rpal_spawn(&peer);
	rpal_spawn(&c);
	rpal_link(&c, &peer);
	addr = rpal_mmap(&peer, RPAL_PAGE, PROT_READ | PROT_WRITE);
	fd = rpal_run(&peer, do_make_userfault, addr, RPAL_PAGE, 0, 0);
	if (fd < 0)
		rpal_skip("no userfaultfd: %s", strerror(-fd));
	rpal_post(&c, do_peek_opened, addr, peer.service.pkey, 0, 0);
	CHECK_EQ(addr, rpal_run(&peer, do_wait_userfault, fd, 0, 0, 0));
	rpal_kill(&c);
	CHECK_EQ(0, rpal_run(&peer, do_serve_userfault, fd, addr, 0, 0));
	CHECK_EQ(0, rpal_run(&peer, do_peek, addr, 0, 0, 0));
	rpal_end(&peer);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
