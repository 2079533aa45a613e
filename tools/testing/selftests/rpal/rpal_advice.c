// SPDX-License-Identifier: GPL-2.0
/*
 * What a process tells the kernel about memory in a window is not done: it is
 * another process's memory. Nor does a question about it tell anything.
 *
 * To see these fail: leave VM_PFNMAP out of a window (pages), and all else that
 * is VM_SPECIAL (mapping, merged, locked; userfault with
 * CONFIG_PTE_MARKER_UFFD_WP only, without which a window is refused for its
 * operations as well); leave out the __walk_page_range() line (policy, on two
 * nodes); take what has no file for memory of the process's own in
 * can_do_mincore() (resident); do not count windows (locked).
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "rpal_test.h"

#define PATTERN		0x1122334455667788L
#define HUGE_PAGE	(512 * RPAL_PAGE)
#define PAGES		64

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL	102
#endif

/* A peer with a window here, the window, and a page of the peer's own. */
static struct rpal_proc peer;
static unsigned long start, page;

static void setup(void)
{
	rpal_spawn(&peer);
	CHECK_EQ(0, rpal_attach(peer.fd, NULL));
	start = peer.service.slot_start;
	page = rpal_mmap(&peer, 2 * HUGE_PAGE, PROT_READ | PROT_WRITE);
	page = (page + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	rpal_run(&peer, do_poke, page, PATTERN, 0, 0);
	pkru_open(peer.service.pkey);
	CHECK_EQ(PATTERN, do_peek(page, 0, 0, 0));
}

static bool has_flag(const char *flag)
{
	const struct rpal_map *m = rpal_own_map(page);

	CHECK(m);
	CHECK_EQ(start, m->start);
	CHECK_EQ(start + RPAL_SLOT_SIZE, m->end);
	return strstr(m->flags, flag);
}

static void unharmed(void)
{
	CHECK_EQ(PATTERN, do_peek(page, 0, 0, 0));
	CHECK_EQ(PATTERN, rpal_run(&peer, do_peek, page, 0, 0, 0));
}

/* What would be done to pages, or to their entries in the tables. */
RPAL_TEST(pages)
{
	static const struct {
		int advice, error;
	} asked[] = {
		{ MADV_COLD, -EINVAL },
		{ MADV_PAGEOUT, -EINVAL },
		{ MADV_FREE, -EINVAL },
		{ MADV_DONTNEED, -EINVAL },
		{ MADV_REMOVE, -EINVAL },
		{ MADV_COLLAPSE, -EINVAL },
		{ MADV_GUARD_INSTALL, -EINVAL },
		{ MADV_POPULATE_READ, -EINVAL },
		{ MADV_POPULATE_WRITE, -EINVAL },
	};
	size_t i;

	setup();
	for (i = 0; i < ARRAY_SIZE(asked); i++) {
		long ret = do_madvise(page, HUGE_PAGE, asked[i].advice, 0);

		if (ret != asked[i].error)
			FAIL("advice %d: %ld", asked[i].advice, ret);
	}
	/* What was not there is not there now. */
	CHECK_EQ(-EINVAL, do_madvise(start + RPAL_SLOT_SIZE / 2, RPAL_PAGE,
				     MADV_POPULATE_READ, 0));
	unharmed();
}

/* What is a property of the mapping: children would have it, or core files. */
RPAL_TEST(mapping)
{
	setup();
	CHECK_EQ(-EINVAL, do_madvise(start, RPAL_SLOT_SIZE, MADV_DOFORK, 0));
	CHECK_EQ(-EINVAL, do_madvise(start, RPAL_SLOT_SIZE, MADV_DODUMP, 0));
	CHECK(has_flag(" dc") && has_flag(" dd"));
	unharmed();
}

RPAL_TEST(merged)
{
	unsigned long own = do_mmap(0, RPAL_PAGE, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS);

	if (do_madvise(own, RPAL_PAGE, MADV_MERGEABLE, 0))
		rpal_skip("pages are not merged in this kernel");
	CHECK(strstr(rpal_own_map(own)->flags, " mg"));
	setup();
	/* Is ignored where it can't be done, for a part of a mapping as well. */
	CHECK_EQ(0, do_madvise(start, RPAL_SLOT_SIZE, MADV_MERGEABLE, 0));
	CHECK_EQ(0, do_madvise(page, RPAL_PAGE, MADV_MERGEABLE, 0));
	CHECK(!has_flag(" mg"));
	unharmed();
}

static long watch(int fd, unsigned long addr, unsigned long len, int mode)
{
	struct uffdio_register range = {
		.range = { addr, len },
		.mode = mode,
	};

	return rpal_err(ioctl(fd, UFFDIO_REGISTER, &range));
}

/* Returns false if there is no userfaultfd with these features. */
static bool watch_window(__u64 features, int mode)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC);
	unsigned long own;

	if (fd < 0)
		return false;
	if (ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		return false;
	}
	own = do_mmap(0, RPAL_PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS);
	CHECK_EQ(0, watch(fd, own, RPAL_PAGE, mode));
	CHECK_EQ(-EINVAL, watch(fd, page, RPAL_PAGE, mode));
	CHECK_EQ(-EINVAL, watch(fd, start, RPAL_SLOT_SIZE, mode));
	close(fd);
	return true;
}

RPAL_TEST(userfault)
{
	setup();
	if (!watch_window(0, UFFDIO_REGISTER_MODE_MISSING))
		rpal_skip("no userfaultfd here");
	watch_window(UFFD_FEATURE_PAGEFAULT_FLAG_WP, UFFDIO_REGISTER_MODE_WP);
	/* Which other mappings may have, whatever they are of. */
	watch_window(UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED,
		     UFFDIO_REGISTER_MODE_WP);
	unharmed();
}

/* "There" is what is said of memory that one may not know about. */
RPAL_TEST(resident)
{
	unsigned long own, fresh, len = PAGES * RPAL_PAGE;
	unsigned char vec[PAGES];
	int i;

	setup();
	own = do_mmap(0, len, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS);
	fresh = rpal_mmap(&peer, len, PROT_READ | PROT_WRITE);
	/* Also what is in the buffer in which the kernel puts it together. */
	memset(vec, 1, sizeof(vec));
	CHECK_EQ(0, mincore((void *)own, len, vec));
	for (i = 0; i < PAGES; i++)
		CHECK_EQ(0, vec[i]);
	CHECK_EQ(0, mincore((void *)fresh, len, vec));
	for (i = 0; i < PAGES; i++)
		CHECK_EQ(1, vec[i]);
	unharmed();
}

/* The node that a page of this process is on. */
static long node_of(unsigned long addr, unsigned long a1, unsigned long a2,
		    unsigned long a3)
{
	void *pages[1] = { (void *)addr };
	int status[1];

	CHECK_EQ(0, syscall(__NR_move_pages, 0, 1UL, pages, NULL, status, 0));
	return status[0];
}

static long mbind(unsigned long addr, unsigned long len, int mode, int node,
		  int flags)
{
	unsigned long nodes = 1UL << node;

	return rpal_err(syscall(__NR_mbind, addr, len, mode,
				mode == MPOL_DEFAULT ? NULL : &nodes, 8UL,
				flags));
}

/* Whether a page lies on another node than it should is not found out. */
RPAL_TEST(policy)
{
	unsigned long own;
	int node;

	if (access("/sys/devices/system/node/node1", F_OK))
		rpal_skip("needs two NUMA nodes");
	setup();
	own = do_mmap(0, RPAL_PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS);
	do_poke(own, 1, 0, 0);
	node = node_of(own, 0, 0, 0);
	CHECK(node == 0 || node == 1);
	CHECK_EQ(-EIO, mbind(own, RPAL_PAGE, MPOL_BIND, !node,
			     MPOL_MF_STRICT));

	node = rpal_run(&peer, node_of, page, 0, 0, 0);
	CHECK(node == 0 || node == 1);
	/* All of it, which needs no split. */
	CHECK_EQ(0, mbind(start, RPAL_SLOT_SIZE, MPOL_BIND, !node,
			  MPOL_MF_STRICT));
	CHECK_EQ(0, mbind(start, RPAL_SLOT_SIZE, MPOL_BIND, !node,
			  MPOL_MF_STRICT | MPOL_MF_MOVE));
	CHECK_EQ(node, rpal_run(&peer, node_of, page, 0, 0, 0));
	CHECK_EQ(0, mbind(start, RPAL_SLOT_SIZE, MPOL_DEFAULT, 0, 0));
	/* A part of it does. */
	CHECK_EQ(-EINVAL, mbind(page, RPAL_PAGE, MPOL_BIND, !node,
				MPOL_MF_STRICT));
	unharmed();
}

/* May this process lock as much memory as it likes? */
static void lock_freely(bool on)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];
	__u32 bit = 1U << CAP_IPC_LOCK;

	CHECK(!syscall(__NR_capget, &header, data));
	data[0].effective &= ~bit;
	if (on)
		data[0].effective |= data[0].permitted & bit;
	CHECK(!syscall(__NR_capset, &header, data));
}

static void limit_locked(unsigned long bytes)
{
	struct rlimit limit = { bytes, bytes };

	if (setrlimit(RLIMIT_MEMLOCK, &limit))
		rpal_skip("can't set a limit (errno %d)", errno);
}

/* A window counts for mlockall() with all its size, and is not locked. */
RPAL_TEST(locked)
{
	limit_locked(2 * RPAL_SLOT_SIZE);
	lock_freely(false);
	CHECK_EQ(0, rpal_err(mlockall(MCL_CURRENT)));
	CHECK_EQ(0, rpal_err(munlockall()));
	lock_freely(true);
	setup();
	CHECK_EQ(0, rpal_err(mlock((void *)page, RPAL_PAGE)));
	CHECK_EQ(0, rpal_err(mlockall(MCL_CURRENT)));
	CHECK(!has_flag(" lo"));
	CHECK_EQ(0, rpal_err(munlockall()));
	lock_freely(false);
	CHECK_EQ(0, rpal_err(mlockall(MCL_CURRENT)));
	CHECK_EQ(0, rpal_err(munlockall()));
	limit_locked(RPAL_SLOT_SIZE / 2);
	CHECK_EQ(-ENOMEM, rpal_err(mlockall(MCL_CURRENT)));
	/* What comes later is not what is there now. */
	CHECK_EQ(0, rpal_err(mlockall(MCL_FUTURE)));
	CHECK_EQ(0, rpal_err(munlockall()));
	unharmed();
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
