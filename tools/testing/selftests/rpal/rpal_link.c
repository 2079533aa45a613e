// SPDX-License-Identifier: GPL-2.0
/*
 * A window that is opened and closed all the time while its peer changes what it
 * shows: nobody sees old memory by a translation that no flush has reached.
 *
 * To see this fail: link a new window before it is on the list of those that
 * flushes are repeated for; or take a window off the list before its last flush.
 * Each of these is a few instructions between two of a CPU's: the mutants sleep
 * there.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include "rpal_test.h"

#define ROUNDS		200

/* In both processes, whatever windows there are. */
struct shared {
	long done;		/* the oldest value that may be seen */
	long looks;
	long stale;
	int stop;
};

static struct rpal_proc peer;
static struct shared *shared;
static unsigned long page;

static long share(unsigned long fd, unsigned long a1, unsigned long a2,
		  unsigned long a3)
{
	void *p = mmap(NULL, RPAL_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		       0);

	CHECK(p != MAP_FAILED);
	shared = p;
	return 0;
}

/*
 * The peer: another page in that place, again and again. The one that was there
 * stays what it is, elsewhere, so that who still sees it can be told.
 */
static long change(unsigned long at, unsigned long elsewhere, unsigned long a2,
		   unsigned long a3)
{
	long value = 1;

	rpal_pin(0);
	while (!READ_ONCE(shared->stop)) {
		CHECK(mremap((void *)at, RPAL_PAGE, RPAL_PAGE,
			     MREMAP_MAYMOVE | MREMAP_FIXED,
			     (void *)elsewhere) == (void *)elsewhere);
		CHECK_EQ(at, do_mmap(at, RPAL_PAGE, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED));
		do_poke(at, ++value, 0, 0);
		__atomic_store_n(&shared->done, value, __ATOMIC_RELEASE);
	}
	return 0;
}

static void *look(void *arg)
{
	struct rpal_fault f;
	long done, seen;

	rpal_pin(1);
	pkru_open(peer.service.pkey);
	/*
	 * No system call in here as long as it sees anything, and PKRU is not
	 * written: either might flush.
	 */
	while (!READ_ONCE(shared->stop)) {
		done = __atomic_load_n(&shared->done, __ATOMIC_ACQUIRE);
		seen = rpal_try(&f, do_peek, page, 0, 0, 0);
		if (f.sig) {
			/* The window is closed, or the place is empty. */
			CHECK_EQ(SIGBUS, f.sig);
			continue;
		}
		/* A new page is empty at first. */
		if (seen && seen < done)
			shared->stale++;
		WRITE_ONCE(shared->looks, shared->looks + 1);
	}
	return NULL;
}

/* Both sides have got somewhere since. */
static void let_them(void)
{
	long looks = READ_ONCE(shared->looks), done = READ_ONCE(shared->done);

	while (READ_ONCE(shared->looks) < looks + 3 ||
	       READ_ONCE(shared->done) < done + 2)
		sched_yield();
}

RPAL_TEST(comes_and_goes)
{
	int i, fd = memfd_create("link", 0), rounds = rpal_part_of(ROUNDS);
	unsigned long elsewhere;
	pthread_t thread;
	long ret;

	if (rpal_cpus() < 2)
		rpal_skip("needs two CPUs");
	CHECK(fd >= 0);
	CHECK(!ftruncate(fd, RPAL_PAGE));
	share(fd, 0, 0, 0);
	rpal_spawn(&peer);
	CHECK_EQ(0, rpal_run(&peer, share, rpal_give(&peer, fd), 0, 0, 0));
	page = rpal_mmap(&peer, RPAL_PAGE, PROT_READ | PROT_WRITE);
	elsewhere = rpal_mmap(&peer, RPAL_PAGE, PROT_READ | PROT_WRITE);
	CHECK_EQ(0, rpal_attach(peer.fd, NULL));
	rpal_post(&peer, change, page, elsewhere, 0, 0);
	CHECK(!pthread_create(&thread, NULL, look, NULL));
	rpal_pin(0);
	for (i = 0; i < rounds; i++) {
		let_them();
		CHECK_EQ(0, rpal_detach(peer.fd));
		CHECK_EQ(0, rpal_attach(peer.fd, NULL));
	}
	let_them();
	WRITE_ONCE(shared->stop, 1);
	CHECK(!pthread_join(thread, NULL));
	CHECK(rpal_result(&peer, &ret));
	CHECK_EQ(0, ret);
	fprintf(stderr, "# %ld stale of %ld looks\n", shared->stale,
		shared->looks);
	CHECK_EQ(0, shared->stale);
	rpal_end(&peer);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
