// SPDX-License-Identifier: GPL-2.0
/*
 * A peer's memory, seen through a window, outside calls.
 *
 * To see these fail: map the window without the peer's key (closed); answer
 * SIGBUS in the window fault without trying (not_present, shared_file); serve
 * kernel-mode faults with VM_FAULT_COMPLETED when the peer has no mapping
 * (hole_from_kernel: it spins); serve those that no CPU has met (futex: NULL is
 * written to); leave VM_PFNMAP out of rpal_is_special() (ring_buffer);
 * copy the p4d entry as the kernel half shows
 * it (execute, with pti=on and without LA57); leave out VM_SEALED (sealed),
 * may_split (sealed), VM_DONTCOPY (forked_child), the gup_fast_permitted() line
 * (pinning), VM_DONTDUMP (core_dump), the anchor's seal (own_slot).
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "rpal_test.h"

#define PATTERN		0x1122334455667788L

/* A peer with a window here, and a page of its own that is present or not. */
static struct rpal_proc peer;
static unsigned long page;
/* As what it is started. */
static int how;

static void setup(int prot, bool present)
{
	rpal_spawn_as(&peer, how);
	CHECK_EQ(0, rpal_attach(peer.fd, NULL));
	page = rpal_mmap(&peer, RPAL_PAGE, PROT_READ | PROT_WRITE);
	if (present)
		rpal_run(&peer, do_poke, page, PATTERN, 0, 0);
	if (prot != (PROT_READ | PROT_WRITE))
		CHECK_EQ(0, rpal_run(&peer, do_mprotect, page, RPAL_PAGE, prot,
				     0));
}

static void setup_rw(void)
{
	setup(PROT_READ | PROT_WRITE, true);
}

static void expect_pkuerr(rpal_fn fn, unsigned long addr)
{
	struct rpal_fault f;

	rpal_try(&f, fn, addr, 1, 0, 0);
	CHECK_EQ(SIGSEGV, f.sig);
	CHECK_EQ(SEGV_PKUERR, f.code);
	CHECK_EQ(addr, f.addr);
	CHECK_EQ(peer.service.pkey, f.pkey);
}

RPAL_TEST(closed)
{
	setup_rw();
	expect_pkuerr(do_peek, page);
	expect_pkuerr(do_poke, page);
	CHECK_EQ(PATTERN, rpal_run(&peer, do_peek, page, 0, 0, 0));
	/* A page that is not there, and a place where nothing is mapped. */
	CHECK_EQ(0, rpal_run(&peer, do_madvise, page, RPAL_PAGE,
			     MADV_DONTNEED, 0));
	expect_pkuerr(do_peek, page);
	expect_pkuerr(do_poke, page);
	expect_pkuerr(do_peek, peer.service.slot_start + RPAL_SLOT_SIZE / 2);
	/* The same from system calls: no way around the key. */
	CHECK_EQ(-EFAULT, rpal_err(write(memfd_create("rpal", 0),
					 (void *)page, 8)));
	CHECK_EQ(-EFAULT, rpal_err(readlink("/proc/self/exe", (void *)page,
					    8)));
}

/* Opened by hand. WRPKRU is not privileged: this is what trust means here. */
RPAL_TEST(opened)
{
	unsigned int old;

	setup_rw();
	old = pkru_open(peer.service.pkey);
	CHECK_EQ(PATTERN, do_peek(page, 0, 0, 0));
	do_poke(page, 42, 0, 0);
	CHECK_EQ(42, rpal_run(&peer, do_peek, page, 0, 0, 0));
	rpal_run(&peer, do_poke, page, 43, 0, 0);
	CHECK_EQ(43, do_peek(page, 0, 0, 0));
	wrpkru(old);
	expect_pkuerr(do_peek, page);
}

RPAL_TEST(control_area)
{
	struct rpal_fault f;

	setup_rw();
	/* Key 0, and always there. */
	rpal_try(&f, do_peek, peer.service.ctl_start, 0, 0, 0);
	CHECK_EQ(0, f.sig);
	rpal_try(&f, do_peek, peer.service.ctl_start +
		 RPAL_CTL_PAGES * RPAL_PAGE - 8, 0, 0, 0);
	CHECK_EQ(0, f.sig);
}

static long resident(unsigned long addr, unsigned long a1, unsigned long a2,
		     unsigned long a3)
{
	unsigned char vec = 0;

	CHECK(!mincore((void *)addr, RPAL_PAGE, &vec));
	return vec & 1;
}

RPAL_TEST(not_present)
{
	unsigned long big;
	size_t i;

	setup(PROT_READ | PROT_WRITE, false);
	CHECK_EQ(0, rpal_run(&peer, resident, page, 0, 0, 0));
	pkru_open(peer.service.pkey);
	do_poke(page, 7, 0, 0);
	CHECK_EQ(1, rpal_run(&peer, resident, page, 0, 0, 0));
	CHECK_EQ(7, rpal_run(&peer, do_peek, page, 0, 0, 0));

	/* Read first (the zero page), then written (a page of its own). */
	big = rpal_mmap(&peer, 64 * RPAL_PAGE, PROT_READ | PROT_WRITE);
	for (i = 0; i < 64; i++)
		CHECK_EQ(0, do_peek(big + i * RPAL_PAGE, 0, 0, 0));
	for (i = 0; i < 64; i++)
		do_poke(big + i * RPAL_PAGE, i + 1, 0, 0);
	for (i = 0; i < 64; i++)
		CHECK_EQ(i + 1, rpal_run(&peer, do_peek, big + i * RPAL_PAGE,
					 0, 0, 0));
}

/* Faults that the kernel takes on the caller's behalf. */
RPAL_TEST(not_present_from_kernel)
{
	unsigned long from, to;
	int pipes[2];

	setup_rw();
	from = rpal_mmap(&peer, RPAL_PAGE, PROT_READ | PROT_WRITE);
	to = rpal_mmap(&peer, RPAL_PAGE, PROT_READ | PROT_WRITE);
	pkru_open(peer.service.pkey);
	CHECK(!pipe(pipes));
	CHECK_EQ(8, write(pipes[1], (void *)from, 8));
	CHECK_EQ(8, read(pipes[0], (void *)to, 8));
	CHECK_EQ(8, write(pipes[1], (void *)page, 8));
	CHECK_EQ(8, read(pipes[0], (void *)to, 8));
	CHECK_EQ(PATTERN, rpal_run(&peer, do_peek, to, 0, 0, 0));
}

static long map_file(unsigned long fd, unsigned long a1, unsigned long a2,
		     unsigned long a3)
{
	return rpal_err((long)mmap(NULL, RPAL_PAGE, PROT_READ | PROT_WRITE,
				   a1 ? MAP_PRIVATE : MAP_SHARED, fd, 0));
}

RPAL_TEST(shared_file)
{
	int fd = memfd_create("rpal", 0);
	long value = PATTERN;
	long shared, private;
	int there;

	setup_rw();
	CHECK_EQ(0, ftruncate(fd, RPAL_PAGE));
	CHECK_EQ(8, pwrite(fd, &value, 8, 0));
	there = rpal_give(&peer, fd);
	shared = rpal_run(&peer, map_file, there, 0, 0, 0);
	private = rpal_run(&peer, map_file, there, 1, 0, 0);
	CHECK(shared > 0 && private > 0);

	pkru_open(peer.service.pkey);
	CHECK_EQ(PATTERN, do_peek(private, 0, 0, 0));
	CHECK_EQ(PATTERN, do_peek(shared, 0, 0, 0));
	do_poke(private, 1, 0, 0);
	CHECK_EQ(8, pread(fd, &value, 8, 0));
	CHECK_EQ(PATTERN, value);
	CHECK_EQ(1, rpal_run(&peer, do_peek, private, 0, 0, 0));
	do_poke(shared, 2, 0, 0);
	CHECK_EQ(8, pread(fd, &value, 8, 0));
	CHECK_EQ(2, value);
}

static void expect_sigbus(rpal_fn fn, unsigned long addr)
{
	struct rpal_fault f;

	rpal_try(&f, fn, addr, 1, 0, 0);
	CHECK_EQ(SIGBUS, f.sig);
	CHECK_EQ(addr, f.addr);
}

RPAL_TEST(hole)
{
	unsigned long hole;

	setup(PROT_READ, true);
	hole = peer.service.slot_start + RPAL_SLOT_SIZE / 2;
	pkru_open(peer.service.pkey);
	expect_sigbus(do_peek, hole);
	expect_sigbus(do_poke, hole);
	/* Only what the peer itself may do with its page. */
	CHECK_EQ(PATTERN, do_peek(page, 0, 0, 0));
	expect_sigbus(do_poke, page);
	CHECK_EQ(0, rpal_run(&peer, do_mprotect, page, RPAL_PAGE, PROT_NONE,
			     0));
	expect_sigbus(do_peek, page);
	CHECK_EQ(0, rpal_run(&peer, do_munmap, page, RPAL_PAGE, 0, 0));
	expect_sigbus(do_peek, page);
}

/* It must come back at all: a fault that is retried for ever spins here. */
RPAL_TEST(hole_from_kernel)
{
	unsigned long hole;
	int fd = memfd_create("rpal", 0);

	setup(PROT_READ, true);
	hole = peer.service.slot_start + RPAL_SLOT_SIZE / 2;
	pkru_open(peer.service.pkey);
	CHECK_EQ(-EFAULT, rpal_err(write(fd, (void *)hole, 8)));
	CHECK_EQ(8, write(fd, "12345678", 8));
	CHECK_EQ(-EFAULT, rpal_err(pread(fd, (void *)hole, 8, 0)));
	CHECK_EQ(-EFAULT, rpal_err(pread(fd, (void *)page, 8, 0)));
}

/* Adds 1 to a word, and wakes nobody: how many were woken. */
static long wake_op(unsigned long addr)
{
	static int nobody;

	return rpal_err(syscall(__NR_futex, &nobody, FUTEX_WAKE_OP_PRIVATE, 1,
				1UL, addr,
				FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_EQ, 0)));
}

/*
 * What the kernel asks for by itself, without an access of the CPU's, is not
 * brought in. An access to what is there is one like any other.
 */
RPAL_TEST(futex)
{
	unsigned long fresh;

	setup_rw();
	fresh = rpal_mmap(&peer, RPAL_PAGE, PROT_READ | PROT_WRITE);
	/* With the key closed it does not come so far. */
	CHECK_EQ(-EFAULT, wake_op(page));
	CHECK_EQ(-EFAULT, wake_op(fresh));
	pkru_open(peer.service.pkey);
	CHECK_EQ(-EFAULT, wake_op(fresh));
	CHECK_EQ(0, rpal_run(&peer, resident, fresh, 0, 0, 0));
	CHECK_EQ(0, wake_op(page));
	CHECK_EQ(PATTERN + 1, rpal_run(&peer, do_peek, page, 0, 0, 0));
	/* Gone again, and there again. */
	CHECK_EQ(0, rpal_run(&peer, do_madvise, page, RPAL_PAGE,
			     MADV_DONTNEED, 0));
	CHECK_EQ(-EFAULT, wake_op(page));
	CHECK_EQ(0, rpal_run(&peer, resident, page, 0, 0, 0));
	do_poke(page, 41, 0, 0);
	CHECK_EQ(0, wake_op(page));
	CHECK_EQ(42, rpal_run(&peer, do_peek, page, 0, 0, 0));
}

/* The page that a ring buffer begins with: there, and read-only until written. */
static long map_ring_buffer(unsigned long a0, unsigned long a1,
			    unsigned long a2, unsigned long a3)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_DUMMY,
	};
	int fd = syscall(__NR_perf_event_open, &attr, 0, -1, -1, 0UL);

	if (fd < 0)
		return -errno;
	return rpal_err((long)mmap(NULL, 2 * RPAL_PAGE, PROT_READ | PROT_WRITE,
				   MAP_SHARED, fd, 0));
}

/* Handlers of such mappings are there for their own process. */
RPAL_TEST(ring_buffer)
{
	unsigned long tail;
	long ring;

	setup_rw();
	ring = rpal_run(&peer, map_ring_buffer, 0, 0, 0, 0);
	if (ring < 0)
		rpal_skip("no ring buffer of events: %s", strerror(-ring));
	tail = ring + offsetof(struct perf_event_mmap_page, data_tail);
	pkru_open(peer.service.pkey);
	CHECK_EQ(0, do_peek(tail, 0, 0, 0));
	expect_sigbus(do_poke, tail);
	/* What its owner has brought in can be used. */
	rpal_run(&peer, do_poke, tail, 8, 0, 0);
	CHECK_EQ(8, do_peek(tail, 0, 0, 0));
	do_poke(tail, 16, 0, 0);
	CHECK_EQ(16, rpal_run(&peer, do_peek, tail, 0, 0, 0));
}

static long forty_two(unsigned long a0, unsigned long a1,
		      unsigned long a2, unsigned long a3)
{
	return 42;
}

/* PKRU does not guard instruction fetches; NX in a wrong place would. */
RPAL_TEST(execute)
{
	rpal_fn there;

	setup_rw();
	there = (rpal_fn)rpal_there(&peer, forty_two);
	CHECK_EQ(peer.service.slot, (unsigned long)there >> RPAL_SLOT_SHIFT);
	CHECK_EQ(42, there(0, 0, 0, 0));
}

RPAL_TEST(sealed)
{
	unsigned long start, middle, bytes = RPAL_PAGE;

	setup_rw();
	start = peer.service.slot_start;
	middle = start + RPAL_SLOT_SIZE / 2;
	CHECK_EQ(-EPERM, do_munmap(start, RPAL_SLOT_SIZE, 0, 0));
	CHECK_EQ(-EPERM, do_munmap(middle, bytes, 0, 0));
	CHECK_EQ(-EPERM, do_munmap(start - bytes, 2 * bytes, 0, 0));
	CHECK_EQ(-EPERM, do_mmap(middle, bytes, PROT_READ, MAP_PRIVATE |
				 MAP_ANONYMOUS | MAP_FIXED));
	CHECK_EQ(-EEXIST, do_mmap(middle, bytes, PROT_READ, MAP_PRIVATE |
				  MAP_ANONYMOUS | MAP_FIXED_NOREPLACE));
	CHECK_EQ(-EPERM, do_mprotect(start, RPAL_SLOT_SIZE, PROT_READ, 0));
	CHECK_EQ(-EPERM, do_mprotect(middle, bytes, PROT_READ, 0));
	CHECK_EQ(-EPERM, do_mprotect(page, bytes, PROT_NONE, 0));
	CHECK(pkey_mprotect((void *)page, bytes, PROT_READ, 0) == -1);
	CHECK(mremap((void *)page, bytes, 2 * bytes, MREMAP_MAYMOVE) ==
	      MAP_FAILED);
	CHECK_EQ(-EINVAL, do_madvise(page, bytes, MADV_DONTNEED, 0));
	CHECK_EQ(-EINVAL, do_madvise(start, RPAL_SLOT_SIZE, MADV_DONTNEED, 0));
	CHECK_EQ(-EINVAL, do_madvise(middle, bytes, MADV_RANDOM, 0));
	CHECK_EQ(-EINVAL, do_madvise(middle, bytes, MADV_WIPEONFORK, 0));
	CHECK_EQ(-EINVAL, rpal_err(syscall(__NR_remap_file_pages, page, bytes,
					   0, 0, 0)));
	/* Anything but a crash will do. */
	mlock((void *)page, bytes);
	munlock((void *)page, bytes);
	msync((void *)page, bytes, MS_SYNC);

	/* And all is as it was. */
	expect_pkuerr(do_peek, page);
	CHECK_EQ(PATTERN, rpal_run(&peer, do_peek, page, 0, 0, 0));
	CHECK_EQ(0, rpal_detach(peer.fd));
	CHECK_EQ(0, rpal_attach(peer.fd, NULL));
	expect_pkuerr(do_peek, page);
}

static void no_pins(void)
{
	struct iovec iov, local;
	long here = 0;
	int pipes[2];

	setup_rw();
	pkru_open(peer.service.pkey);
	CHECK_EQ(PATTERN, do_peek(page, 0, 0, 0));
	CHECK(!pipe(pipes));
	iov = (struct iovec){ (void *)page, 8 };
	CHECK_EQ(-EFAULT, rpal_err(vmsplice(pipes[1], &iov, 1, 0)));
	local = (struct iovec){ &here, 8 };
	CHECK_EQ(-EFAULT, rpal_err(process_vm_readv(getpid(), &local, 1, &iov,
						    1, 0)));
	CHECK_EQ(0, here);
}

/* No reference to a peer's page is taken through a window. */
RPAL_TEST(pinning)
{
	no_pins();
}

/* Where no key stands in the way, too. */
RPAL_TEST_AS(pinning_unprotected, RPAL_UNPROTECTED)
{
	how = RPAL_UNPROTECTED;
	no_pins();
}

static void peek_in_child(int sig, int code)
{
	struct rpal_fault f;
	int status;
	pid_t pid;

	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		CHECK(!rpal_own_map(page));
		rpal_try(&f, do_peek, page, 0, 0, 0);
		CHECK_EQ(sig, f.sig);
		CHECK_EQ(code, f.code);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(0, status);
}

RPAL_TEST(forked_child)
{
	setup_rw();
	peek_in_child(SIGSEGV, SEGV_MAPERR);
	pkru_open(peer.service.pkey);
	CHECK_EQ(PATTERN, do_peek(page, 0, 0, 0));
	peek_in_child(SIGSEGV, SEGV_MAPERR);
	CHECK_EQ(PATTERN, do_peek(page, 0, 0, 0));
}

/* The place stays reserved, and shows nothing until it is attached again. */
RPAL_TEST(detached)
{
	int i;

	setup_rw();
	pkru_open(peer.service.pkey);
	for (i = 0; i < 10; i++) {
		CHECK_EQ(PATTERN, do_peek(page, 0, 0, 0));
		CHECK_EQ(0, rpal_detach(peer.fd));
		expect_sigbus(do_peek, page);
		expect_sigbus(do_poke, page);
		CHECK_EQ(-EFAULT, rpal_err(write(memfd_create("rpal", 0),
						 (void *)page, 8)));
		CHECK_EQ(-EPERM, do_munmap(page, RPAL_PAGE, 0, 0));
		CHECK_EQ(PATTERN, rpal_run(&peer, do_peek, page, 0, 0, 0));
		CHECK_EQ(0, rpal_attach(peer.fd, NULL));
	}
	CHECK_EQ(PATTERN, do_peek(page, 0, 0, 0));
}

static long peek_open(unsigned long addr, unsigned long key, unsigned long a2,
		      unsigned long a3)
{
	unsigned int old = pkru_open(key);
	long ret = do_peek(addr, 0, 0, 0);

	wrpkru(old);
	return ret;
}

/* Two windows, each of its own; the end of one is not that of the other. */
RPAL_TEST(both_ways)
{
	unsigned long mine = do_mmap(0, RPAL_PAGE, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS);
	int fd;

	do_poke(mine, PATTERN + 1, 0, 0);
	setup_rw();
	fd = rpal_give(&peer, rpal_me.fd);
	CHECK_EQ(0, rpal_run(&peer, do_attach, fd, 0, 0, 0));
	CHECK_EQ(PATTERN + 1, rpal_run(&peer, peek_open, mine, rpal_me.pkey,
				       0, 0));
	CHECK_EQ(PATTERN, peek_open(page, peer.service.pkey, 0, 0));
	CHECK_EQ(0, rpal_run(&peer, do_detach, fd, 0, 0, 0));
	CHECK_EQ(PATTERN, peek_open(page, peer.service.pkey, 0, 0));
	expect_pkuerr(do_peek, page);
}

/* A service can't pull its own slot from under those who look at it. */
RPAL_TEST(own_slot)
{
	CHECK_EQ(-EPERM, do_munmap(rpal_me.slot_start, RPAL_SLOT_SIZE, 0, 0));
	CHECK_EQ(-EPERM, do_munmap(rpal_me.ctl_start, RPAL_PAGE, 0, 0));
	CHECK_EQ(-EPERM, do_mprotect(rpal_me.ctl_start, RPAL_PAGE, PROT_READ,
				     0));
	CHECK_EQ(-EPERM, do_mmap(rpal_me.ctl_start, RPAL_PAGE, PROT_READ,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED));
	CHECK_EQ(-EPERM, do_munmap(rpal_me.gate_call & ~(RPAL_PAGE - 1),
				   RPAL_PAGE, 0, 0));
	CHECK(do_mprotect(rpal_me.gate_call & ~(RPAL_PAGE - 1), RPAL_PAGE,
			  PROT_READ | PROT_WRITE, 0) < 0);
}

static long crash(unsigned long a0, unsigned long a1, unsigned long a2,
		  unsigned long a3)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };

	CHECK(!setrlimit(RLIMIT_CORE, &unlimited));
	abort();
}

static void set_core(char *value, bool write)
{
	FILE *f = fopen("/proc/sys/kernel/core_pattern", write ? "w" : "r");

	if (!f)
		rpal_skip("can't set core_pattern");
	if (write)
		fputs(value, f);
	else if (!fgets(value, 200, f))
		value[0] = 0;
	if (fclose(f))
		rpal_skip("can't write core_pattern");
}

/* 512 GiB per window would not be a useful core file. */
RPAL_TEST(core_dump)
{
	char pattern[64], saved[200], core[80];
	struct rpal_proc other;
	struct stat st = {};
	int status;

	setup_rw();
	rpal_spawn(&other);
	rpal_link(&peer, &other);
	set_core(saved, false);
	snprintf(pattern, sizeof(pattern), "/tmp/rpal-core-%d", getpid());
	set_core(pattern, true);
	rpal_post(&other, crash, 0, 0, 0, 0);
	status = rpal_reap(&other);
	set_core(saved, true);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	if (!WCOREDUMP(status))
		rpal_skip("no core dumps in this kernel");
	snprintf(core, sizeof(core), "%s", pattern);
	if (stat(core, &st)) {
		snprintf(core, sizeof(core), "%s.%d", pattern, other.pid);
		CHECK(!stat(core, &st));
	}
	unlink(core);
	CHECK(st.st_size > 0);
	CHECK(st.st_size < 64 << 20);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
