// SPDX-License-Identifier: GPL-2.0
/* Other processes: started, told what to run, ended. */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "rpal_lib.h"

enum { OP_HELLO, OP_RUN, OP_FD, OP_SKIP };

struct msg {
	int op;
	long ret;
	unsigned long fn;
	unsigned long arg[4];
	struct rpal_service service;
	char text[RPAL_WHY_LEN];
};

/* One message, perhaps with a descriptor; false at the end of the stream. */
static bool msg_send(int sock, struct msg *m, int fd)
{
	struct iovec iov = { .iov_base = m, .iov_len = sizeof(*m) };
	char room[CMSG_SPACE(sizeof(int))] = {};
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;
	ssize_t n;

	if (fd >= 0) {
		h.msg_control = room;
		h.msg_controllen = sizeof(room);
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	do {
		n = sendmsg(sock, &h, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n == sizeof(*m);
}

static bool msg_recv(int sock, struct msg *m, int *fd)
{
	struct iovec iov = { .iov_base = m, .iov_len = sizeof(*m) };
	char room[CMSG_SPACE(sizeof(int))];
	struct msghdr h = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = room, .msg_controllen = sizeof(room),
	};
	struct cmsghdr *c;
	ssize_t n;

	do {
		n = recvmsg(sock, &h, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n != sizeof(*m))
		return false;
	*fd = -1;
	c = CMSG_FIRSTHDR(&h);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof(int));
	return true;
}

static __noreturn void peer_main(void)
{
	struct msg m = { .op = OP_HELLO };
	long ret;
	int fd;

	fcntl(RPAL_PEER_SOCK, F_SETFD, FD_CLOEXEC);
	rpal_me.flags = RPAL_SERVICE_FD;
	ret = rpal_syscall(__NR_rpal_service, (unsigned long)&rpal_me,
			   sizeof(rpal_me), 0, 0, 0, 0);
	if (ret)
		rpal_me.fd = -1;
	m.ret = ret;
	m.service = rpal_me;
	m.fn = RPAL_BASE;
	if (!msg_send(RPAL_PEER_SOCK, &m, rpal_me.fd))
		_exit(1);

	while (msg_recv(RPAL_PEER_SOCK, &m, &fd)) {
		if (m.op == OP_FD)
			m.ret = fd;
		else
			m.ret = ((rpal_fn)(m.fn + RPAL_BASE))
				(m.arg[0], m.arg[1], m.arg[2], m.arg[3]);
		if (!msg_send(RPAL_PEER_SOCK, &m, -1))
			break;
	}
	_exit(0);
}

/* The argument by which a started process knows what it is. */
#define PEER_ARG	"--rpal-peer"

int rpal_main(int argc, char **argv, int (*harness)(int argc, char **argv))
{
	if (argc > 1 && !strcmp(argv[1], PEER_ARG))
		peer_main();
	return harness(argc, argv);
}

void rpal_spawn_as(struct rpal_proc *p, int how)
{
	static const char *const argv[] = { "rpal-peer", PEER_ARG, NULL };
	sigset_t none;
	struct msg m;
	int sv[2];

	memset(p, 0, sizeof(*p));
	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv));
	p->sock = sv[0];
	p->pid = fork();
	CHECK(p->pid >= 0);
	if (!p->pid) {
		/* Nothing may outlive a failed test. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		CHECK(dup2(sv[1], RPAL_PEER_SOCK) == RPAL_PEER_SOCK);
		if (!(how & RPAL_PLAIN))
			CHECK_EQ(0, rpal_arm(how & RPAL_UNPROTECTED ?
					     RPAL_ARM_UNPROTECTED : 0));
		execv("/proc/self/exe", (char **)argv);
		FAIL("execv: errno %d", errno);
	}
	close(sv[1]);
	if (!msg_recv(p->sock, &m, &p->fd))
		FAIL("the new process %d did not come up", p->pid);
	p->base = m.fn;
	p->service = m.service;
	CHECK_EQ(how & RPAL_PLAIN ? -ENXIO : 0, m.ret);
	CHECK((p->fd >= 0) == !(how & RPAL_PLAIN));
}

void rpal_post(struct rpal_proc *p, rpal_fn fn, unsigned long a0,
	       unsigned long a1, unsigned long a2, unsigned long a3)
{
	struct msg m = {
		.op = OP_RUN,
		.fn = (unsigned long)fn - RPAL_BASE,
		.arg = { a0, a1, a2, a3 },
	};

	if (!msg_send(p->sock, &m, -1))
		FAIL("process %d is gone", p->pid);
}

bool rpal_result(struct rpal_proc *p, long *ret)
{
	struct msg m;
	int fd;

	if (!msg_recv(p->sock, &m, &fd))
		return false;
	*ret = m.ret;
	return true;
}

long rpal_run(struct rpal_proc *p, rpal_fn fn, unsigned long a0,
	      unsigned long a1, unsigned long a2, unsigned long a3)
{
	long ret;

	rpal_post(p, fn, a0, a1, a2, a3);
	if (!rpal_result(p, &ret))
		FAIL("process %d died: status %#x", p->pid, rpal_reap(p));
	return ret;
}

int rpal_give(struct rpal_proc *p, int fd)
{
	struct msg m = { .op = OP_FD };
	long ret;

	CHECK(msg_send(p->sock, &m, fd));
	CHECK(rpal_result(p, &ret));
	CHECK(ret >= 0);
	return ret;
}

int rpal_reap(struct rpal_proc *p)
{
	int status;
	pid_t pid;

	do {
		pid = waitpid(p->pid, &status, 0);
	} while (pid < 0 && errno == EINTR);
	CHECK_EQ(p->pid, pid);
	close(p->sock);
	if (p->fd >= 0)
		close(p->fd);
	return status;
}

int rpal_stopped(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, __WALL) == pid);
	if (!WIFSTOPPED(status))
		FAIL("process %d: status %#x", pid, status);
	return WSTOPSIG(status);
}

void rpal_end(struct rpal_proc *p)
{
	/* A forked child of ours may have this end of the socket too. */
	shutdown(p->sock, SHUT_RDWR);
	CHECK_EQ(0, rpal_reap(p));
}

void rpal_kill(struct rpal_proc *p)
{
	CHECK(!kill(p->pid, SIGKILL));
	CHECK_EQ(SIGKILL, rpal_reap(p));
}

int rpal_run_test(rpal_fn fn, int how, char *why)
{
	struct rpal_proc p;
	struct msg m;
	int status;
	int fd;

	snprintf(why, RPAL_WHY_LEN, "unknown");
	rpal_spawn_as(&p, how);
	rpal_post(&p, fn, 0, 0, 0, 0);
	if (msg_recv(p.sock, &m, &fd)) {
		if (m.op == OP_SKIP) {
			memcpy(why, m.text, sizeof(m.text));
			rpal_reap(&p);
			return KSFT_SKIP;
		}
		rpal_end(&p);
		return m.ret;
	}
	status = rpal_reap(&p);
	if (WIFSIGNALED(status))
		FAIL("the test's service died by signal %d", WTERMSIG(status));
	return KSFT_FAIL;
}

int rpal_part_of(int rounds)
{
	const char *env = getenv("RPAL_PART");
	int part = env ? atoi(env) : 1;

	return part > 1 && part < rounds ? rounds / part : rounds;
}

void rpal_divide(void (*fn)(int first, int stride))
{
	int i, nr = rpal_cpus();
	pid_t pid[RPAL_WORKERS];
	int status;

	if (nr > RPAL_WORKERS)
		nr = RPAL_WORKERS;
	fflush(NULL);
	for (i = 0; i < nr; i++) {
		pid[i] = fork();
		CHECK(pid[i] >= 0);
		if (!pid[i]) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			fn(i, nr);
			_exit(0);
		}
	}
	for (i = 0; i < nr; i++) {
		CHECK(waitpid(pid[i], &status, 0) == pid[i]);
		if (status)
			FAIL("worker %d: status %#x", i, status);
	}
}

void rpal_skip(const char *fmt, ...)
{
	struct msg m = { .op = OP_SKIP };
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m.text, sizeof(m.text), fmt, ap);
	va_end(ap);
	msg_send(RPAL_PEER_SOCK, &m, -1);
	_exit(KSFT_SKIP);
}

long do_attach(unsigned long fd, unsigned long a1, unsigned long a2,
	       unsigned long a3)
{
	return rpal_attach(fd, NULL);
}

long do_detach(unsigned long fd, unsigned long a1, unsigned long a2,
	       unsigned long a3)
{
	return rpal_detach(fd);
}

long do_mmap(unsigned long addr, unsigned long len, unsigned long prot,
	     unsigned long flags)
{
	return rpal_err((long)mmap((void *)addr, len, prot, flags, -1, 0));
}

long do_munmap(unsigned long addr, unsigned long len, unsigned long a2,
	       unsigned long a3)
{
	return rpal_err(munmap((void *)addr, len));
}

long do_mprotect(unsigned long addr, unsigned long len, unsigned long prot,
		 unsigned long a3)
{
	return rpal_err(mprotect((void *)addr, len, prot));
}

long do_madvise(unsigned long addr, unsigned long len, unsigned long advice,
		unsigned long a3)
{
	return rpal_err(madvise((void *)addr, len, advice));
}

long do_peek(unsigned long addr, unsigned long a1, unsigned long a2,
	     unsigned long a3)
{
	return READ_ONCE(*(long *)addr);
}

long do_peek_opened(unsigned long addr, unsigned long key, unsigned long a2,
		    unsigned long a3)
{
	pkru_open(key);
	return do_peek(addr, 0, 0, 0);
}

long do_poke(unsigned long addr, unsigned long val, unsigned long a2,
	     unsigned long a3)
{
	WRITE_ONCE(*(long *)addr, (long)val);
	return 0;
}

long do_fill(unsigned long addr, unsigned long len, unsigned long byte,
	     unsigned long a3)
{
	memset((void *)addr, byte, len);
	return 0;
}

long do_exit(unsigned long code, unsigned long a1, unsigned long a2,
	     unsigned long a3)
{
	_exit(code);
}

unsigned long rpal_mmap(struct rpal_proc *p, unsigned long len, int prot)
{
	long addr = rpal_run(p, do_mmap, 0, len, prot,
			     MAP_PRIVATE | MAP_ANONYMOUS);

	if (addr < 0)
		FAIL("mmap in process %d: %ld", p->pid, addr);
	CHECK_EQ(p->service.slot, addr >> RPAL_SLOT_SHIFT);
	return addr;
}

void rpal_connect(struct rpal_proc *p)
{
	CHECK_EQ(0, rpal_attach(p->fd, NULL));
	CHECK_EQ(0, rpal_run(p, do_attach, rpal_give(p, rpal_me.fd), 0, 0, 0));
}

static void link_one(struct rpal_proc *p, struct rpal_proc *q)
{
	long ret = rpal_run(p, do_attach, rpal_give(p, q->fd), 0, 0, 0);

	if (ret == -EOWNERDEAD)
		FAIL("process %d died: status %#x", q->pid, rpal_reap(q));
	CHECK_EQ(0, ret);
}

void rpal_link(struct rpal_proc *p, struct rpal_proc *q)
{
	link_one(p, q);
	link_one(q, p);
}
