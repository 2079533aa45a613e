// SPDX-License-Identifier: GPL-2.0
/*
 * What a service does to its page tables is seen through the windows on it at
 * once, on all CPUs.
 *
 * To see these fail: CONFIG_RPAL_TEST_NO_FLUSH=y leaves out the flush that
 * the window's notifier makes. Every *_elsewhere test must then find stale
 * translations; a run in which they pass proves nothing and is an error of
 * its own. (The *_here tests need a CPU that keeps translations over a
 * context switch, with PCIDs, and an emulator may not.)
 *
 * One thread of the service changes a page's mapping while threads of the
 * other one, the holders, each on a CPU of its own, read or write that page
 * in a loop, so that the translation is in use to the last. When the change
 * has returned, each holder looks once more. The holders open PKRU once, in
 * front of all rounds: emulators drop their TLB when PKRU is written, and
 * with it what this looks for.
 */
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "rpal_test.h"

#define ROUNDS		60
#define MAX_HOLDERS	3

#define OLD(round)	(0x1000000L + (round))
#define NEW(round)	(0x2000000L + (round))

enum change {
	UNMAP, UNMAP_PART_OF_HUGE, PROTECT_NONE, PROTECT_READ, DONTNEED, MAP_OVER, MOVE,
	FORK_THEN_OWNER_WRITES, FORK_THEN_HOLDER_WRITES,
	UNMAP_HUGETLB, UNMAP_SHARED_TABLE, TO_OTHER_NODE,
};

/*
 * In the owner's memory; the holders see it through the window. It is a
 * shared mapping, which a fork leaves as it is: a holder that waits for a
 * word in a page that it sees no longer would wait for ever.
 */
struct shared {
	long *page;
	int ready;		/* round in which the page may be used */
	int done;		/* round in which its change is over */
	int hot[MAX_HOLDERS];	/* round in which that holder uses it */
	int judged[MAX_HOLDERS];
	long stale;
};

static void await_round(int *word, int round)
{
	while (READ_ONCE(*word) != round)
		sched_yield();
}

/* Whether the holder's last look is an access that writes. */
static bool by_write(enum change change)
{
	return change == PROTECT_READ || change == FORK_THEN_HOLDER_WRITES;
}

/* ---- the owner ---- */

static long *new_page(long *at, long value)
{
	long *page = mmap(at, RPAL_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0),
			  -1, 0);

	CHECK(page != MAP_FAILED);
	WRITE_ONCE(*page, value);
	return page;
}

#define HUGE_PAGE	(512 * RPAL_PAGE)

/* A page in the middle of what is one huge page, where there are such. */
static long *new_page_of_huge(char **area, long value)
{
	unsigned long at;
	long *page;

	*area = mmap(NULL, 2 * HUGE_PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(*area != MAP_FAILED);
	at = ((unsigned long)*area + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	madvise((void *)at, HUGE_PAGE, MADV_HUGEPAGE);
	page = (long *)(at + 5 * RPAL_PAGE);
	WRITE_ONCE(*page, value);
	return page;
}

/* From the pool of huge pages: what is a page there is an entry one level up. */
static long *new_page_of_pool(char **area, long value)
{
	long *page;

	*area = mmap(NULL, HUGE_PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	CHECK(*area != MAP_FAILED);
	page = (long *)(*area + 5 * RPAL_PAGE);
	WRITE_ONCE(*page, value);
	return page;
}

#define SHARED_TABLE	(512 * HUGE_PAGE)

/*
 * Likewise, but of a file of which so much is mapped that a forked child uses
 * the same table of entries. Whoever leaves takes one entry out, of the level
 * above, and neither pages nor a table go.
 */
static long *new_page_of_table(char **area, long value)
{
	int fd = memfd_create("table", MFD_HUGETLB);
	unsigned long at;
	long *page;

	CHECK(fd >= 0);
	CHECK(!ftruncate(fd, SHARED_TABLE));
	*area = mmap(NULL, 2 * SHARED_TABLE, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(*area != MAP_FAILED);
	at = ((unsigned long)*area + SHARED_TABLE - 1) & ~(SHARED_TABLE - 1);
	CHECK(mmap((void *)at, SHARED_TABLE, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, 0) ==
	      (void *)at);
	close(fd);
	page = (long *)(at + 5 * RPAL_PAGE);
	WRITE_ONCE(*page, value);
	return page;
}

static void to_other_node(long *page)
{
	void *pages[1] = { page };
	int node = 0, status[1];

	/* Without a list of nodes it tells where the page is. */
	CHECK_EQ(0, syscall(__NR_move_pages, 0, 1UL, pages, NULL, status, 0));
	node = !status[0];
	CHECK_EQ(0, syscall(__NR_move_pages, 0, 1UL, pages, &node, status,
			    MPOL_MF_MOVE));
	CHECK_EQ(node, status[0]);
}

/* A child that shares the page until one of the two writes, or leaves. */
static pid_t fork_child(const long *page, int sock[2])
{
	long value;
	pid_t pid;
	char c;

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	pid = fork();
	CHECK(pid >= 0);
	if (pid) {
		close(sock[0]);
		return pid;
	}
	close(RPAL_PEER_SOCK);
	close(sock[1]);
	/* Look when told to, and go when the other end is closed. */
	while (read(sock[0], &c, 1) == 1) {
		value = READ_ONCE(*page);
		if (write(sock[0], &value, sizeof(value)) != sizeof(value))
			_exit(1);
	}
	_exit(0);
}

static long child_sees(int sock[2])
{
	long value;

	CHECK_EQ(1, write(sock[1], "", 1));
	CHECK_EQ(sizeof(value), read(sock[1], &value, sizeof(value)));
	return value;
}

static void end_child(pid_t pid, int sock[2])
{
	int status;

	close(sock[1]);
	CHECK(waitpid(pid, &status, 0) == pid && !status);
}

static long new_shared(unsigned long a0, unsigned long a1, unsigned long a2,
		       unsigned long a3)
{
	return do_mmap(0, sizeof(struct shared), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS);
}

static long owner(unsigned long change, unsigned long holders,
		  unsigned long addr, unsigned long rounds)
{
	struct shared *shared = (struct shared *)addr;
	long *page, *elsewhere;
	char *area = NULL;
	pid_t child = 0;
	unsigned long i, round;
	int sock[2];

	rpal_pin(0);
	elsewhere = new_page(NULL, 0);
	for (round = 1; round <= rounds; round++) {
		if (change == UNMAP_PART_OF_HUGE)
			page = new_page_of_huge(&area, OLD(round));
		else if (change == UNMAP_HUGETLB)
			page = new_page_of_pool(&area, OLD(round));
		else if (change == UNMAP_SHARED_TABLE)
			page = new_page_of_table(&area, OLD(round));
		else
			page = new_page(NULL, OLD(round));
		if (change == UNMAP_SHARED_TABLE) {
			child = fork_child(page, sock);
			/* Its first look is what makes it use the table. */
			CHECK_EQ(OLD(round), child_sees(sock));
		}
		WRITE_ONCE(shared->page, page);
		__atomic_store_n(&shared->ready, round, __ATOMIC_RELEASE);
		for (i = 0; i < holders; i++)
			await_round(&shared->hot[i], round);
		switch (change) {
		case UNMAP:
		case UNMAP_PART_OF_HUGE:
			CHECK(!munmap(page, RPAL_PAGE));
			break;
		case PROTECT_NONE:
			CHECK(!mprotect(page, RPAL_PAGE, PROT_NONE));
			break;
		case PROTECT_READ:
			CHECK(!mprotect(page, RPAL_PAGE, PROT_READ));
			break;
		case DONTNEED:
			CHECK(!madvise(page, RPAL_PAGE, MADV_DONTNEED));
			break;
		case MAP_OVER:
			new_page(page, NEW(round));
			break;
		case MOVE:
			CHECK(mremap(page, RPAL_PAGE, RPAL_PAGE,
				     MREMAP_MAYMOVE | MREMAP_FIXED,
				     elsewhere) == elsewhere);
			break;
		case FORK_THEN_OWNER_WRITES:
		case FORK_THEN_HOLDER_WRITES:
			child = fork_child(page, sock);
			if (change == FORK_THEN_OWNER_WRITES)
				WRITE_ONCE(*page, NEW(round));
			break;
		case UNMAP_HUGETLB:
			CHECK(!munmap(area, HUGE_PAGE));
			break;
		case UNMAP_SHARED_TABLE:
			CHECK(!munmap(area, 2 * SHARED_TABLE));
			break;
		case TO_OTHER_NODE:
			to_other_node(page);
			WRITE_ONCE(*page, NEW(round));
			break;
		}
		__atomic_store_n(&shared->done, round, __ATOMIC_RELEASE);
		for (i = 0; i < holders; i++)
			await_round(&shared->judged[i], round);
		if (child) {
			/* Nobody wrote this page but through the parent. */
			if (child_sees(sock) != OLD(round))
				shared->stale++;
			end_child(child, sock);
			child = 0;
		}
		if (change == UNMAP_PART_OF_HUGE)
			CHECK(!munmap(area, 2 * HUGE_PAGE));
		else if (!area && change != UNMAP && change != MOVE)
			CHECK(!munmap(page, RPAL_PAGE));
	}
	return 0;
}

/* ---- the holders ---- */

static struct rpal_proc peer;

struct holder {
	pthread_t thread;
	struct shared *there;
	enum change change;
	int nr;
	int rounds;
	bool elsewhere;		/* not on the owner's CPU */
};

/* The last look; true if it went by a translation that is gone. */
static bool is_stale(enum change change, long *page, int round)
{
	struct rpal_fault f;
	long seen;

	seen = rpal_try(&f, by_write(change) ? do_poke : do_peek,
			(unsigned long)page, NEW(round), 0, 0);
	switch (change) {
	case UNMAP:
	case UNMAP_PART_OF_HUGE:
	case PROTECT_NONE:
	case PROTECT_READ:
	case MOVE:
	case UNMAP_HUGETLB:
	case UNMAP_SHARED_TABLE:
		return !f.sig;
	case DONTNEED:
		return f.sig || seen;
	case FORK_THEN_OWNER_WRITES:
	case MAP_OVER:
	case TO_OTHER_NODE:
		return f.sig || seen != NEW(round);
	case FORK_THEN_HOLDER_WRITES:
		/* Where it went is the child's to tell. */
		return f.sig || READ_ONCE(*page) != NEW(round);
	}
	return true;
}

static void *holder_main(void *arg)
{
	struct holder *h = arg;
	struct shared *there = h->there;
	bool write = by_write(h->change);
	int round;

	rpal_pin(h->elsewhere ? h->nr + 1 : 0);
	pkru_open(peer.service.pkey);
	for (round = 1; round <= h->rounds; round++) {
		long *page;

		while (__atomic_load_n(&there->ready, __ATOMIC_ACQUIRE) !=
		       round)
			sched_yield();
		page = READ_ONCE(there->page);
		CHECK_EQ(OLD(round), READ_ONCE(*page));
		WRITE_ONCE(there->hot[h->nr], round);
		/*
		 * No system call in this loop, and no fault: none is needed
		 * for what it touches, and either might flush.
		 */
		while (__atomic_load_n(&there->done, __ATOMIC_ACQUIRE) !=
		       round) {
			struct rpal_fault f;

			if (!h->elsewhere) {
				sched_yield();
				continue;
			}
			/* The change may strike here, a little early. */
			rpal_try(&f, write ? do_poke : do_peek,
				 (unsigned long)(page + 1 + h->nr), round, 0,
				 0);
		}
		if (is_stale(h->change, page, round))
			__atomic_add_fetch(&there->stale, 1, __ATOMIC_RELAXED);
		WRITE_ONCE(there->judged[h->nr], round);
	}
	return NULL;
}

static void see(enum change change, bool elsewhere)
{
	struct holder holder[MAX_HOLDERS];
	int i, nr = rpal_cpus() - 1, rounds = rpal_part_of(ROUNDS);
	unsigned long there;
	long ret, stale;

	if (elsewhere && nr < 1)
		rpal_skip("needs two CPUs");
	if (!elsewhere)
		nr = 1;
	if (nr > MAX_HOLDERS)
		nr = MAX_HOLDERS;
	rpal_spawn(&peer);
	CHECK_EQ(0, rpal_attach(peer.fd, NULL));
	there = rpal_run(&peer, new_shared, 0, 0, 0, 0);
	rpal_post(&peer, owner, change, nr, there, rounds);
	for (i = 0; i < nr; i++) {
		holder[i].there = (struct shared *)there;
		holder[i].change = change;
		holder[i].nr = i;
		holder[i].rounds = rounds;
		holder[i].elsewhere = elsewhere;
		CHECK(!pthread_create(&holder[i].thread, NULL, holder_main,
				      &holder[i]));
	}
	for (i = 0; i < nr; i++)
		CHECK(!pthread_join(holder[i].thread, NULL));
	CHECK(rpal_result(&peer, &ret));
	CHECK_EQ(0, ret);
	stale = rpal_run(&peer, do_peek,
			 there + offsetof(struct shared, stale), 0, 0, 0);
	rpal_end(&peer);
	fprintf(stderr, "# %ld stale of %d looks\n", stale, rounds * nr);
	CHECK_EQ(0, stale);
}

RPAL_TEST(munmap_elsewhere)
{
	see(UNMAP, true);
}

RPAL_TEST(munmap_here)
{
	see(UNMAP, false);
}

RPAL_TEST(munmap_huge_elsewhere)
{
	see(UNMAP_PART_OF_HUGE, true);
}

RPAL_TEST(munmap_huge_here)
{
	see(UNMAP_PART_OF_HUGE, false);
}

RPAL_TEST(mprotect_none_elsewhere)
{
	see(PROTECT_NONE, true);
}

RPAL_TEST(mprotect_none_here)
{
	see(PROTECT_NONE, false);
}

RPAL_TEST(mprotect_read_elsewhere)
{
	see(PROTECT_READ, true);
}

RPAL_TEST(mprotect_read_here)
{
	see(PROTECT_READ, false);
}

RPAL_TEST(dontneed_elsewhere)
{
	see(DONTNEED, true);
}

RPAL_TEST(dontneed_here)
{
	see(DONTNEED, false);
}

RPAL_TEST(map_over_elsewhere)
{
	see(MAP_OVER, true);
}

RPAL_TEST(map_over_here)
{
	see(MAP_OVER, false);
}

RPAL_TEST(mremap_elsewhere)
{
	see(MOVE, true);
}

RPAL_TEST(mremap_here)
{
	see(MOVE, false);
}

RPAL_TEST(fork_owner_writes_elsewhere)
{
	see(FORK_THEN_OWNER_WRITES, true);
}

RPAL_TEST(fork_owner_writes_here)
{
	see(FORK_THEN_OWNER_WRITES, false);
}

RPAL_TEST(fork_holder_writes_elsewhere)
{
	see(FORK_THEN_HOLDER_WRITES, true);
}

RPAL_TEST(fork_holder_writes_here)
{
	see(FORK_THEN_HOLDER_WRITES, false);
}

/* What the pool is to hold: a page for each test, and one that is on its way back. */
static void need_pool(void)
{
	const char *path = "/proc/sys/vm/nr_hugepages";
	char nr[16] = "";
	int fd;

	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		rpal_skip("no pool of huge pages");
	if (read(fd, nr, sizeof(nr) - 1) > 0 && atoi(nr) < 4)
		pwrite(fd, "4", 1, 0);
	if (pread(fd, nr, sizeof(nr) - 1, 0) <= 0 || atoi(nr) < 2)
		rpal_skip("no huge pages for the pool");
	close(fd);
}

RPAL_TEST(munmap_hugetlb_elsewhere)
{
	need_pool();
	see(UNMAP_HUGETLB, true);
}

RPAL_TEST(munmap_hugetlb_here)
{
	need_pool();
	see(UNMAP_HUGETLB, false);
}

RPAL_TEST(munmap_shared_table_elsewhere)
{
	need_pool();
	see(UNMAP_SHARED_TABLE, true);
}

RPAL_TEST(munmap_shared_table_here)
{
	need_pool();
	see(UNMAP_SHARED_TABLE, false);
}

static void need_nodes(void)
{
	if (access("/sys/devices/system/node/node1", F_OK))
		rpal_skip("needs two NUMA nodes");
}

RPAL_TEST(other_node_elsewhere)
{
	need_nodes();
	see(TO_OTHER_NODE, true);
}

RPAL_TEST(other_node_here)
{
	need_nodes();
	see(TO_OTHER_NODE, false);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
