// SPDX-License-Identifier: GPL-2.0
/* Hostile operations on mappings: what can't be had must be refused. */
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "rpal_fuzz.h"

#ifndef __NR_mseal
#define __NR_mseal	462
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL	102
#endif

/* Memory that is really there must not fill up the machine. */
#define FZ_MOST		(4 * 1024 * 1024UL)

static long fz_munmap(struct fz *f)
{
	unsigned long len, addr = fz_range(f, &len);

	return fz_call2(__NR_munmap, addr, len);
}

static long fz_mprotect(struct fz *f)
{
	unsigned long len, addr = fz_range(f, &len);
	int prot = fz_below(f, 8);

	if (fz_one_in(f, 8))
		prot = fz_value(f);
	if (fz_one_in(f, 2))
		return fz_call3(__NR_mprotect, addr, len, prot);
	return fz_call4(__NR_pkey_mprotect, addr, len, prot,
			fz_below(f, 18) - 1);
}

static long fz_mmap(struct fz *f)
{
	unsigned long len, addr = fz_range(f, &len);
	int flags = MAP_ANONYMOUS | (fz_one_in(f, 4) ? MAP_SHARED :
						       MAP_PRIVATE);

	if (len > FZ_MOST && !fz_one_in(f, 4))
		len %= FZ_MOST;
	if (fz_one_in(f, 2))
		flags |= fz_one_in(f, 2) ? MAP_FIXED : MAP_FIXED_NOREPLACE;
	if (fz_one_in(f, 8))
		flags |= MAP_32BIT;
	if (fz_one_in(f, 8))
		flags |= MAP_GROWSDOWN;
	if (len <= FZ_MOST && fz_one_in(f, 8))
		flags |= MAP_POPULATE;
	return rpal_syscall(__NR_mmap, addr, len,
			    len > FZ_MOST ? PROT_NONE : fz_below(f, 8), flags,
			    -1, 0);
}

static long fz_mremap(struct fz *f)
{
	unsigned long len, addr = fz_range(f, &len), to_len;
	unsigned long to = fz_range(f, &to_len);
	unsigned long flags = fz_below(f, 8);

	if (to_len > FZ_MOST)
		to_len = len;
	return rpal_syscall(__NR_mremap, addr, len, to_len, flags, to, 0);
}

static long fz_madvise(struct fz *f)
{
	/* Not MADV_HWPOISON and MADV_SOFT_OFFLINE: they do harm by design. */
	static const unsigned char advice[] = {
		0, 1, 2, 3, 4, 4, 4, 8, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17,
		18, 19, 20, 21, 22, 23, 24, 25, 102, 103,
	};
	unsigned long len, addr = fz_range(f, &len);
	int what = advice[fz_below(f, ARRAY_SIZE(advice))];

	/* Guards are installed, page by page, without a look at signals. */
	if (what == MADV_POPULATE_READ || what == MADV_POPULATE_WRITE ||
	    what == MADV_GUARD_INSTALL)
		len %= FZ_MOST;
	return fz_call3(__NR_madvise, addr, len, what);
}

static long fz_mlock(struct fz *f)
{
	unsigned long len, addr = fz_range(f, &len);

	switch (fz_below(f, 4)) {
	case 0:
		return fz_call2(__NR_munlock, addr, len);
	case 1:
		return fz_call1(__NR_mlockall, MCL_CURRENT | MCL_ONFAULT |
				(fz_one_in(f, 2) ? MCL_FUTURE : 0));
	case 2:
		return fz_call0(__NR_munlockall);
	default:
		return fz_call3(__NR_mlock2, addr, len % FZ_MOST,
				fz_below(f, 2));
	}
}

/* Queries and everything else that is given a range. */
static long fz_ranges(struct fz *f)
{
	unsigned long len, addr = fz_range(f, &len);

	switch (fz_below(f, 8)) {
	case 0:
		return fz_call3(__NR_mincore, addr, len % FZ_MOST,
				fz_scratch);
	case 1:
		return fz_call3(__NR_msync, addr, len, fz_below(f, 8));
	case 2:
		return rpal_syscall(__NR_remap_file_pages, addr, len, 0,
				    fz_below(f, 16), 0, 0);
	case 3:
		return rpal_syscall(__NR_mbind, addr, len, fz_below(f, 6),
				    (unsigned long)fz_buffer(f), 64,
				    fz_below(f, 8));
	case 4:
		return fz_call1(__NR_brk, fz_one_in(f, 2) ? 0 : addr);
	case 5:
		return fz_call2(__NR_pkey_alloc, fz_below(f, 2),
				fz_below(f, 4));
	case 6:
		return fz_call1(__NR_pkey_free, fz_below(f, 18) - 1);
	default:
		/* Nothing of one's own can be changed afterwards. */
		return fz_call3(__NR_mseal, addr, len % FZ_MOST, 0);
	}
}

/* Reads and writes of the kernel on a task's behalf. */
static long fz_transfer(struct fz *f)
{
	unsigned long len, addr = fz_range(f, &len);
	struct iovec here = { fz_buffer(f), fz_below(f, 9000) };
	struct iovec there = { (void *)addr, len % FZ_MOST };
	unsigned long nr;
	pid_t tgid;
	long ret;
	int fds[2];

	switch (fz_below(f, 6)) {
	case 0:
		fz_victim(f, &tgid);
		nr = fz_one_in(f, 2) ? __NR_process_vm_readv :
				       __NR_process_vm_writev;
		return rpal_syscall(nr, tgid, (unsigned long)&here, 1,
				    (unsigned long)&there, 1, 0);
	case 1:
	case 2:
		if (fz_call2(__NR_pipe2, fds, O_NONBLOCK))
			return -ENFILE;
		if (fz_one_in(f, 2)) {
			fz_call3(__NR_write, fds[1], fz_scratch, 100);
			ret = fz_call3(__NR_read, fds[0], addr, 100);
		} else if (fz_one_in(f, 2)) {
			ret = fz_call3(__NR_write, fds[1], addr,
				       len % FZ_MOST);
		} else {
			ret = fz_call4(__NR_vmsplice, fds[1], &there, 1,
				       fz_below(f, 16));
		}
		fz_call1(__NR_close, fds[0]);
		fz_call1(__NR_close, fds[1]);
		return ret;
	case 3:
		fds[0] = fz_call2(__NR_open, "/proc/self/mem", O_RDWR);
		if (fds[0] < 0)
			return fds[0];
		nr = fz_one_in(f, 4) ? __NR_pwrite64 : __NR_pread64;
		ret = fz_call4(nr, fds[0], here.iov_base,
			       fz_one_in(f, 2) ? 100 : here.iov_len, addr);
		fz_call1(__NR_close, fds[0]);
		return ret;
	case 4:
		/* Blocks if the word says so: a nudge ends that. */
		return rpal_syscall(__NR_futex, fz_one_in(f, 2) ?
				    (unsigned long)fz_ctl(f) : addr & ~3UL,
				    fz_below(f, 14) | (fz_rand(f) & 0x180),
				    fz_below(f, 3), 0,
				    (unsigned long)fz_ctl(f), fz_below(f, 3));
	default:
		return fz_call2(__NR_getrandom, addr, len % FZ_MOST);
	}
}

/* Long-lived users of pages: none may have a window's. */
static long fz_pin(struct fz *f)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {};
	struct io_uring_params params = {};
	struct iovec iov;
	unsigned long len;
	long fd, ret;

	if (fz_one_in(f, 2)) {
		fd = fz_call2(__NR_io_uring_setup, 2, &params);
		if (fd < 0)
			return fd;
		iov.iov_base = (void *)fz_range(f, &len);
		iov.iov_len = len % FZ_MOST;
		ret = fz_call4(__NR_io_uring_register, fd,
			       IORING_REGISTER_BUFFERS, &iov, 1);
	} else {
		fd = fz_call1(__NR_userfaultfd, O_NONBLOCK);
		if (fd < 0)
			return fd;
		fz_call3(__NR_ioctl, fd, UFFDIO_API, &api);
		reg.range.start = fz_range(f, &len);
		reg.range.len = len;
		reg.mode = 1 + fz_below(f, 7);
		ret = fz_call3(__NR_ioctl, fd, UFFDIO_REGISTER, &reg);
		/* Left open, it keeps everybody waiting who touches that. */
		if (fz_one_in(f, 8))
			return ret;
	}
	fz_call1(__NR_close, fd);
	return ret;
}

const struct fz_kind fz_mem_kinds[] = {
	{ "munmap", fz_munmap, 5 },
	{ "mprotect", fz_mprotect, 5 },
	{ "mmap", fz_mmap, 7 },
	{ "mremap", fz_mremap, 5 },
	{ "madvise", fz_madvise, 8 },
	{ "mlock", fz_mlock, 2 },
	{ "ranges", fz_ranges, 6 },
	{ "transfer", fz_transfer, 8 },
	{ "pin", fz_pin, 2 },
	{}
};
