// SPDX-License-Identifier: GPL-2.0
/*
 * The end of services, in every order.
 *
 * To see these fail: let a dead peer's window keep its p4d (peer_first: reads
 * what is no longer there, or worse; use the debug kernel); make the
 * tombstone a reason for -EBUSY (restarts); free slot and key only when the
 * window is gone (restarts); leave the service alive over an exec (exec);
 * mmput() instead of mmput_async() behind a fault (last_user).
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "rpal_test.h"

#define VALUE	4711

/* Both attached to each other, a receiver in each, one call each way made. */
static void linked(struct rpal_proc *p, struct rpal_proc *q)
{
	rpal_spawn(p);
	rpal_spawn(q);
	rpal_link(p, q);
	rpal_serve(p);
	rpal_serve(q);
	CHECK_EQ(3, rpal_call_from(p, q, do_add, 1, 2));
	CHECK_EQ(7, rpal_call_from(q, p, do_add, 3, 4));
}

/* What is left of a pair can be linked to a third. */
static void goes_on(struct rpal_proc *p)
{
	struct rpal_proc fresh;

	rpal_spawn(&fresh);
	rpal_link(p, &fresh);
	rpal_serve(&fresh);
	CHECK_EQ(11, rpal_call_from(p, &fresh, do_add, 5, 6));
	CHECK_EQ(15, rpal_call_from(&fresh, p, do_add, 7, 8));
	rpal_end(&fresh);
	rpal_end(p);
}

RPAL_PLAIN_TEST(exit_one)
{
	struct rpal_proc p, q;

	linked(&p, &q);
	rpal_end(&p);
	goes_on(&q);
	linked(&p, &q);
	rpal_end(&q);
	goes_on(&p);
}

RPAL_PLAIN_TEST(kill_one)
{
	struct rpal_proc p, q;

	linked(&p, &q);
	rpal_kill(&p);
	goes_on(&q);
	linked(&p, &q);
	rpal_kill(&q);
	goes_on(&p);
}

RPAL_PLAIN_TEST(kill_both)
{
	struct rpal_proc p, q;
	int i;

	for (i = 0; i < 10; i++) {
		linked(&p, &q);
		ASSERT_EQ(0, kill(p.pid, SIGKILL));
		ASSERT_EQ(0, kill(q.pid, SIGKILL));
		EXPECT_EQ(SIGKILL, rpal_reap(&p));
		EXPECT_EQ(SIGKILL, rpal_reap(&q));
	}
}

/* In a ring, no two of them attached both ways. */
RPAL_PLAIN_TEST(ring)
{
	struct rpal_proc p[5];
	int i;

	for (i = 0; i < 5; i++)
		rpal_spawn(&p[i]);
	for (i = 0; i < 5; i++)
		ASSERT_EQ(0, rpal_run(&p[i], do_attach,
				      rpal_give(&p[i], p[(i + 1) % 5].fd), 0,
				      0, 0));
	for (i = 0; i < 5; i++)
		kill(p[(i * 2) % 5].pid, SIGKILL);
	for (i = 0; i < 5; i++)
		EXPECT_EQ(SIGKILL, rpal_reap(&p[i]));
}

static void until_gone(unsigned long addr, struct rpal_fault *f)
{
	/* The last reference to the memory may go a little later. */
	do {
		rpal_try(f, do_peek, addr, 0, 0, 0);
		if (!f->sig)
			usleep(1000);
	} while (!f->sig);
}

/* The window on a dead service: nothing in it, and none is attached. */
RPAL_TEST(peer_first)
{
	struct rpal_fault f;
	struct rpal_proc p;
	unsigned long page;
	unsigned int old;
	int fd;

	rpal_spawn(&p);
	CHECK_EQ(0, rpal_attach(p.fd, NULL));
	page = rpal_mmap(&p, RPAL_PAGE, PROT_READ | PROT_WRITE);
	rpal_run(&p, do_poke, page, VALUE, 0, 0);
	old = pkru_open(p.service.pkey);
	CHECK_EQ(VALUE, do_peek(page, 0, 0, 0));
	fd = dup(p.fd);
	rpal_kill(&p);
	until_gone(page, &f);
	CHECK_EQ(SIGBUS, f.sig);
	wrpkru(old);
	rpal_try(&f, do_peek, page, 0, 0, 0);
	CHECK(f.sig == SIGSEGV || f.sig == SIGBUS);
	CHECK_EQ(-EFAULT, rpal_err(write(memfd_create("rpal", 0),
					 (void *)page, 8)));
	CHECK_EQ(-ENOTCONN, rpal_detach(fd));
}

struct read_from {
	struct rpal_proc p;
	unsigned long page;
};

static void *reader(void *arg)
{
	struct read_from *from = arg;
	struct rpal_fault f;

	pkru_open(from->p.service.pkey);
	until_gone(from->page, &f);
	CHECK_EQ(SIGBUS, f.sig);
	return NULL;
}

/* It dies while another CPU reads it and faults its pages in. */
RPAL_TEST(peer_dies_under_reader)
{
	struct read_from from;
	pthread_t thread;
	int i;

	for (i = 0; i < 20; i++) {
		rpal_spawn(&from.p);
		CHECK_EQ(0, rpal_attach(from.p.fd, NULL));
		from.page = rpal_mmap(&from.p, RPAL_PAGE,
				      PROT_READ | PROT_WRITE);
		CHECK(!pthread_create(&thread, NULL, reader, &from));
		if (i % 2)
			usleep(i * 1000);
		rpal_kill(&from.p);
		CHECK(!pthread_join(thread, NULL));
	}
}

/*
 * One client of a server that is restarted again and again, and that the
 * client never detaches from: there are fewer keys than restarts.
 */
RPAL_TEST(restarts)
{
	struct rpal_proc p;
	int i;

	rpal_register();
	for (i = 0; i < 40; i++) {
		rpal_spawn(&p);
		rpal_connect(&p);
		rpal_serve(&p);
		CHECK_EQ(i + 1, rpal_call(&p, do_add, i, 1, 0));
		rpal_kill(&p);
	}
}

static long exec_shell(unsigned long a0, unsigned long a1, unsigned long a2,
		       unsigned long a3)
{
	execl("/bin/sh", "sh", "-c", "read x", NULL);
	return -errno;
}

/* Exec ends a service as exit does, though the process goes on. */
RPAL_TEST(exec)
{
	struct rpal_fault f;
	struct rpal_proc p;
	unsigned long page;
	long ret;
	int fd;

	rpal_spawn(&p);
	rpal_connect(&p);
	rpal_serve(&p);
	rpal_register();
	CHECK_EQ(p.pid, rpal_call(&p, do_getpid, 0, 0, 0));
	page = rpal_mmap(&p, RPAL_PAGE, PROT_READ | PROT_WRITE);
	fd = dup(p.fd);
	rpal_post(&p, exec_shell, 0, 0, 0, 0);
	if (rpal_result(&p, &ret))
		rpal_skip("no /bin/sh: errno %ld", -ret);
	pkru_open(p.service.pkey);
	until_gone(page, &f);
	CHECK_EQ(SIGBUS, f.sig);
	CHECK_EQ(-EPIPE, rpal_call(&p, do_getpid, 0, 0, 0));
	CHECK_EQ(-ENOTCONN, rpal_detach(fd));
	CHECK_EQ(-EOWNERDEAD, rpal_attach(fd, NULL));
	kill(p.pid, SIGKILL);
	rpal_reap(&p);
}

#define TRACING		"/sys/kernel/tracing/"
#define INSTANCE	TRACING "instances/rpal_death/"

static bool trace_ends(const char *on)
{
	int fd = open(INSTANCE "events/mmap/exit_mmap/enable", O_WRONLY);
	bool ok = fd >= 0 && write(fd, on, 1) == 1;

	close(fd);
	return ok;
}

/* Has anybody torn an address space down whose name, or number, is this? */
static bool traced(const char *who)
{
	FILE *f = fopen(INSTANCE "trace", "r");
	bool found = false;
	char line[300];

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		found |= strstr(line, " exit_mmap: ") && strstr(line, who);
	fclose(f);
	return found;
}

static long peek_once(unsigned long addr, unsigned long key, unsigned long a2,
		      unsigned long a3)
{
	struct rpal_fault f;

	rpal_try(&f, do_peek_opened, addr, key, 0, 0);
	return f.sig;
}

/*
 * Its memory's last user is a fault that somebody else waits in. That one must
 * not be who tears it all down.
 */
RPAL_TEST(last_user)
{
	struct rpal_proc p, q;
	unsigned long page;
	char number[20];
	long fd, ret;

	mount("none", TRACING, "tracefs", 0, NULL);
	rmdir(INSTANCE);
	if (mkdir(INSTANCE, 0700) || !trace_ends("0"))
		rpal_skip("no tracing of address spaces (errno %d)", errno);
	rpal_spawn(&p);
	rpal_spawn(&q);
	rpal_link(&q, &p);
	page = rpal_mmap(&p, RPAL_PAGE, PROT_READ | PROT_WRITE);
	fd = rpal_run(&p, do_make_userfault, page, RPAL_PAGE, 0, 0);
	if (fd < 0)
		rpal_skip("no userfaultfd: %s", strerror(-fd));
	rpal_post(&q, peek_once, page, p.service.pkey, 0, 0);
	CHECK_EQ(page, rpal_run(&p, do_wait_userfault, fd, 0, 0, 0));
	/* Not before: each of them began with another address space. */
	CHECK(trace_ends("1"));
	/* Its descriptor goes after its memory: that ends the wait. */
	rpal_kill(&p);
	CHECK(rpal_result(&q, &ret));
	CHECK(!ret || ret == SIGBUS);
	snprintf(number, sizeof(number), "-%d ", q.pid);
	do {
		CHECK(!traced(number));
		sched_yield();
	} while (!traced("kworker"));
	trace_ends("0");
	rpal_end(&q);
	rmdir(INSTANCE);
}

static void *leave_later(void *arg)
{
	usleep(10000);
	_exit(0);
}

/* The end of a process with callers and receivers in all kinds of states. */
static long crowd(unsigned long a0, unsigned long a1, unsigned long a2,
		  unsigned long a3)
{
	pthread_t thread;
	int i;

	for (i = 0; i < 8; i++)
		rpal_serve_here(NULL);
	rpal_register();
	CHECK(!pthread_create(&thread, NULL, leave_later, NULL));
	return rpal_wait(RPAL_WAIT_FOREVER);
}

RPAL_PLAIN_TEST(crowd_leaves)
{
	struct rpal_proc p;
	int i;

	for (i = 0; i < 10; i++) {
		rpal_spawn(&p);
		rpal_post(&p, crowd, 0, 0, 0, 0);
		EXPECT_EQ(0, rpal_reap(&p));
	}
}

/* After all of the above, and whatever failed in it. */
RPAL_PLAIN_TEST(nothing_left)
{
	static const char *const lists[] = { "services", "windows", "threads" };
	size_t i;
	int tries;

	for (i = 0; i < ARRAY_SIZE(lists); i++) {
		if (rpal_listed(lists[i]) < 0)
			SKIP(return, "no debugfs list of %s", lists[i]);
		for (tries = 0; tries < 600; tries++) {
			if (!rpal_listed(lists[i]))
				break;
			usleep(100000);
		}
		EXPECT_EQ(0, rpal_listed(lists[i])) {
			TH_LOG("%s", lists[i]);
		}
	}
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
