// SPDX-License-Identifier: GPL-2.0
/*
 * Walks of page tables stop where another process's tables begin: in a window.
 *
 * To see these fail: leave out the __walk_page_range() line (asked_for: Rss),
 * or VM_PFNMAP of a window (asked_for, pagemap, reaped; balanced counts its
 * pages), or of what the reaper passes over (reaped).
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/mempolicy.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "rpal_test.h"

#define PATTERN		0x1122334455667788L

/* A peer with a window here, and a page of its own. */
static struct rpal_proc peer;
static unsigned long page;

static void setup(void)
{
	rpal_spawn(&peer);
	CHECK_EQ(0, rpal_attach(peer.fd, NULL));
	page = rpal_mmap(&peer, RPAL_PAGE, PROT_READ | PROT_WRITE);
	rpal_run(&peer, do_poke, page, PATTERN, 0, 0);
}

/* Those that a process asks for. */
RPAL_TEST(asked_for)
{
	const struct rpal_map *m;
	void *pages[1];
	int status[1];
	char line[600];
	long ret;
	FILE *f;

	setup();
	pkru_open(peer.service.pkey);
	CHECK_EQ(PATTERN, do_peek(page, 0, 0, 0));
	m = rpal_own_map(page);
	CHECK(m);
	CHECK_EQ(peer.service.slot_start, m->start);
	CHECK_EQ(peer.service.slot_start + RPAL_SLOT_SIZE, m->end);
	CHECK_EQ(0, m->rss);
	CHECK_EQ(peer.service.pkey, m->pkey);
	CHECK(strstr(m->flags, " pf") && strstr(m->flags, " dd"));
	/* A flag that has no name shows as two question marks. */
	CHECK(!strstr(m->flags, "?"));

	f = fopen("/proc/self/numa_maps", "r");
	if (f) {
		while (fgets(line, sizeof(line), f))
			if (strtoul(line, NULL, 16) == m->start)
				CHECK(!strstr(line, "anon="));
		fclose(f);
	}
	pages[0] = (void *)page;
	ret = rpal_err(syscall(__NR_move_pages, 0, 1UL, pages, NULL, status,
			       0));
	/* Where there are no nodes, there is no such call. */
	if (!access("/proc/self/numa_maps", F_OK)) {
		CHECK_EQ(0, ret);
		CHECK(status[0] < 0);
	}
	madvise((void *)m->start, RPAL_SLOT_SIZE, MADV_WILLNEED);
	f = fopen("/proc/self/clear_refs", "w");
	if (f) {
		fputs("4", f);
		fclose(f);
	}
	CHECK_EQ(PATTERN, do_peek(page, 0, 0, 0));
}

#define PM_SOFT_DIRTY	0x0080000000000000ULL	/* also of what is not there */
#define PM_PRESENT	0x8000000000000000ULL

/* Where the page frames are: they are told in both ways. */
RPAL_TEST(pagemap)
{
	struct page_region found[4];
	struct pm_scan_arg scan = {
		.size = sizeof(scan),
		.vec = (unsigned long)found,
		.vec_len = ARRAY_SIZE(found),
		.category_mask = PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_PRESENT,
	};
	unsigned long own;
	__u64 entry;
	int fd, ret;

	fd = open("/proc/self/pagemap", O_RDONLY);
	if (fd < 0)
		rpal_skip("no pagemap (errno %d)", errno);
	setup();
	pkru_open(peer.service.pkey);
	CHECK_EQ(PATTERN, do_peek(page, 0, 0, 0));
	own = do_mmap(0, RPAL_PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS);
	do_poke(own, 1, 0, 0);
	CHECK_EQ(8, pread(fd, &entry, 8, own / RPAL_PAGE * 8));
	CHECK(entry & PM_PRESENT);
	CHECK_EQ(8, pread(fd, &entry, 8, page / RPAL_PAGE * 8));
	CHECK_EQ(0, entry & ~PM_SOFT_DIRTY);

	scan.start = own;
	scan.end = own + RPAL_PAGE;
	ret = rpal_err(ioctl(fd, PAGEMAP_SCAN, &scan));
	if (ret == -ENOTTY)
		rpal_skip("no scan of pages in this kernel");
	CHECK_EQ(1, ret);
	scan.start = peer.service.slot_start;
	scan.end = scan.start + RPAL_SLOT_SIZE;
	CHECK_EQ(0, rpal_err(ioctl(fd, PAGEMAP_SCAN, &scan)));
	CHECK_EQ(PATTERN, do_peek(page, 0, 0, 0));
}

/* KiB that are there of a process's mapping. */
static unsigned long rss_of(pid_t pid, unsigned long addr)
{
	static struct rpal_map maps[RPAL_MAX_MAPS];
	const struct rpal_map *m;

	m = rpal_map_at(maps, rpal_maps(pid, maps, RPAL_MAX_MAPS), addr);
	CHECK(m);
	return m->rss;
}

/* What is taken from one who dies for want of memory is not the peer's. */
RPAL_TEST(reaped)
{
	struct rpal_proc dying;
	unsigned long own;
	int pidfd;

	rpal_spawn(&peer);
	rpal_spawn(&dying);
	rpal_link(&dying, &peer);
	page = rpal_mmap(&peer, RPAL_PAGE, PROT_READ | PROT_WRITE);
	rpal_run(&peer, do_poke, page, PATTERN, 0, 0);
	CHECK_EQ(PATTERN, rpal_run(&dying, do_peek_opened, page,
				   peer.service.pkey, 0, 0));
	/* Shared, it would be left alone. */
	own = rpal_mmap(&dying, RPAL_PAGE, PROT_READ | PROT_WRITE);
	rpal_run(&dying, do_poke, own, 1, 0, 0);
	pidfd = syscall(__NR_pidfd_open, dying.pid, 0);
	CHECK(pidfd >= 0);
	/* It stops on its way out, with all its memory. */
	CHECK(!ptrace(PTRACE_SEIZE, dying.pid, NULL, PTRACE_O_TRACEEXIT));
	rpal_post(&dying, do_exit, 0, 0, 0, 0);
	CHECK_EQ(SIGTRAP, rpal_stopped(dying.pid));
	CHECK(rss_of(dying.pid, own));
	CHECK_EQ(0, rpal_err(syscall(__NR_process_mrelease, pidfd, 0)));
	CHECK_EQ(0, rss_of(dying.pid, own));
	CHECK_EQ(PATTERN, rpal_run(&peer, do_peek, page, 0, 0, 0));
	CHECK(!ptrace(PTRACE_DETACH, dying.pid, NULL, NULL));
	CHECK_EQ(0, rpal_reap(&dying));
	CHECK_EQ(PATTERN, rpal_run(&peer, do_peek, page, 0, 0, 0));
	rpal_end(&peer);
}

/* Walks while the peer takes its tables down and builds them anew. */
static long churn(unsigned long rounds, unsigned long a1, unsigned long a2,
		  unsigned long a3)
{
	/* So much that a table of each level goes. */
	unsigned long len = 2UL << 30, at, i;
	char *p;

	while (rounds--) {
		p = mmap(NULL, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		CHECK(p != MAP_FAILED);
		at = (unsigned long)p;
		for (i = 0; i < len; i += 32UL << 20)
			do_poke(at + i, i, 0, 0);
		CHECK(!munmap(p, len));
	}
	return 0;
}

RPAL_TEST(in_a_storm)
{
	void *pages[1];
	int status[1];
	long ret;
	int i;

	setup();
	rpal_post(&peer, churn, 300, 0, 0, 0);
	for (i = 0; i < 100; i++) {
		const struct rpal_map *m = rpal_own_map(page);

		CHECK(m && !m->rss);
		pages[0] = (void *)(page - RPAL_PAGE * (i + 1));
		syscall(__NR_move_pages, 0, 1UL, pages, NULL, status, 0);
		madvise((void *)peer.service.slot_start, RPAL_SLOT_SIZE,
			MADV_WILLNEED);
	}
	CHECK(rpal_result(&peer, &ret));
	CHECK_EQ(0, ret);
}

/*
 * Sets one of the kernel's switches: 0, or an error. None of these is longer
 * than the old value's buffer.
 */
static int setting(const char *path, char *old, const char *new)
{
	ssize_t len;
	int fd;

	if (old) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		len = read(fd, old, 31);
		old[len < 0 ? 0 : len] = 0;
		close(fd);
	}
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	len = write(fd, new, strlen(new));
	close(fd);
	return len < 0 ? -errno : 0;
}

#define LRU_GEN		"/sys/kernel/debug/lru_gen"

/* Looks at all that every process has used: for each group of them, and node. */
static int age_all(void)
{
	unsigned long group = 0, node = 0, seq, newest = 0;
	char line[200], order[100];
	int orders = 0;
	FILE *f;

	f = fopen(LRU_GEN, "r");
	if (!f)
		return -errno;
	/* "memcg 1 /", " node 0", and a line for each generation. */
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, "memcg ", 6)) {
			group = strtoul(line + 6, NULL, 10);
			continue;
		}
		if (!strncmp(line, " node ", 6)) {
			node = strtoul(line + 6, NULL, 10);
			newest = 0;
			continue;
		}
		seq = strtoul(line, NULL, 10);
		if (seq < newest)
			continue;
		newest = seq;
		/* Is taken for the newest one only, which is the last. */
		snprintf(order, sizeof(order), "+ %lu %lu %lu 200 1", group,
			 node, newest);
		if (!setting(LRU_GEN, NULL, order))
			orders++;
	}
	fclose(f);
	return orders;
}

/* The search for pages that nobody uses, of all processes. */
RPAL_TEST(aged)
{
	const struct rpal_map *m;
	int i, orders = 0;

	rpal_debugfs();
	if (access(LRU_GEN, W_OK))
		rpal_skip("no generations of pages");
	setup();
	pkru_open(peer.service.pkey);
	for (i = 0; i < 20; i++) {
		CHECK_EQ(PATTERN, do_peek(page, 0, 0, 0));
		orders += age_all();
		CHECK_EQ(PATTERN, rpal_run(&peer, do_peek, page, 0, 0, 0));
	}
	CHECK(orders > 0);
	m = rpal_own_map(page);
	CHECK(m && !m->rss);
}

static long counted(const char *name)
{
	char line[100], word[64];
	long value, ret = -1;
	FILE *f = fopen("/proc/vmstat", "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %ld", word, &value) == 2 &&
		    !strcmp(word, name))
			ret = value;
	fclose(f);
	return ret;
}

#define BALANCING	"/sys/kernel/debug/sched/numa_balancing/"
#define PAGES		64

static const struct tunable {
	const char *path, *value;
} tunables[] = {
	{ BALANCING "scan_delay_ms", "1" },
	{ BALANCING "scan_period_min_ms", "1" },
	{ BALANCING "scan_period_max_ms", "10" },
	{ "/proc/sys/kernel/numa_balancing", "1" },
};

static char before[ARRAY_SIZE(tunables)][32];

static void tune(bool back)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(tunables); i++)
		if (setting(tunables[i].path, back ? NULL : before[i],
			    back ? before[i] : tunables[i].value) && !back)
			rpal_skip("pages are not moved to those who use them");
}

/* Pages of a process with one thread are let be, on the node where it runs. */
static void away(unsigned long addr)
{
	void *pages[PAGES];
	int nodes[PAGES], status[PAGES], i;

	for (i = 0; i < PAGES; i++) {
		pages[i] = (void *)(addr + i * RPAL_PAGE);
		nodes[i] = 1;
	}
	CHECK_EQ(0, syscall(__NR_move_pages, 0, (long)PAGES, pages, nodes,
			    status, MPOL_MF_MOVE));
	for (i = 0; i < PAGES; i++)
		CHECK_EQ(1, status[i]);
}

/* Takes time, and looks at none of the pages that the other one looks at. */
static long spin(unsigned long many, unsigned long stop, unsigned long a2,
		 unsigned long a3)
{
	rpal_pin(0);
	away(many);
	while (!READ_ONCE(*(long *)stop))
		asm volatile("pause");
	return 0;
}

/* With a policy, the own pages are not taken away. */
static void let_own_pages_be(bool be)
{
	unsigned long nodes = 3;

	CHECK_EQ(0, syscall(__NR_set_mempolicy, be ? MPOL_BIND : MPOL_DEFAULT,
			    be ? &nodes : NULL, be ? 8UL : 0UL));
}

static int fault_counter(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_PAGE_FAULTS,
	};

	return syscall(__NR_perf_event_open, &attr, 0, -1, -1, 0UL);
}

static long faults_of(int counter)
{
	__u64 value;

	CHECK_EQ(sizeof(value), read(counter, &value, sizeof(value)));
	return value;
}

static void touch(unsigned long many)
{
	unsigned long at;
	int i;

	for (i = 0; i < PAGES; i++) {
		at = many + i * RPAL_PAGE;
		CHECK_EQ(PATTERN + i, do_peek(at, 0, 0, 0));
		do_poke(at, PATTERN + i, 0, 0);
	}
}

/*
 * Pages are taken away to see who uses them. Those of the peer this one uses,
 * through the window: what it then meets is the peer's fault to have served.
 */
RPAL_TEST(balanced)
{
	unsigned long many, stop, own;
	const struct rpal_map *m;
	long seen, updates, ret;
	int counter, i;

	rpal_debugfs();
	if (access("/sys/devices/system/node/node1", F_OK))
		rpal_skip("needs two NUMA nodes");
	counter = fault_counter();
	if (counter < 0)
		rpal_skip("nobody counts faults");
	tune(false);
	setup();
	many = rpal_mmap(&peer, PAGES * RPAL_PAGE, PROT_READ | PROT_WRITE);
	stop = rpal_mmap(&peer, RPAL_PAGE, PROT_READ | PROT_WRITE);
	pkru_open(peer.service.pkey);
	for (i = 0; i < PAGES; i++)
		do_poke(many + i * RPAL_PAGE, PATTERN + i, 0, 0);
	do_poke(stop, 0, 0, 0);
	let_own_pages_be(true);
	touch(many);
	rpal_post(&peer, spin, many, stop, 0, 0);
	/* The limit against hangs is the test's own. */
	for (seen = 0; seen < 2 * PAGES; seen += faults_of(counter) - ret) {
		ret = faults_of(counter);
		touch(many);
	}
	let_own_pages_be(false);
	/* Here too, now: but not what is seen through the window. */
	updates = counted("numa_pte_updates");
	own = do_mmap(0, PAGES * RPAL_PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS);
	memset((void *)own, 1, PAGES * RPAL_PAGE);
	rpal_pin(0);
	away(own);
	while (counted("numa_pte_updates") < updates + PAGES / 2)
		touch(many);
	do_poke(stop, 1, 0, 0);
	CHECK(rpal_result(&peer, &ret));
	tune(true);
	for (i = 0; i < PAGES; i++)
		CHECK_EQ(PATTERN + i, rpal_run(&peer, do_peek,
					       many + i * RPAL_PAGE, 0, 0, 0));
	m = rpal_own_map(page);
	CHECK(m && !m->rss);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
