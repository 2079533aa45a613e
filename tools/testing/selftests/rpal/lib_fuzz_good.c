// SPDX-License-Identifier: GPL-2.0
/*
 * Those that live beside hostile processes: a pair of services that exchange
 * messages and check them, and an ordinary process that checks its memory and
 * what system calls give. Whatever is wrong ends them, with a line that says
 * what it was.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "rpal_fuzz.h"

struct fz_neighbours *fz_neighbours;
static struct rpal_proc answers, asks;
static pid_t ordinary;
static unsigned int ordinary_pkru;

#define LONGEST		2000
#define SLOW_LOOKS	20000	/* say what is known, and go on waiting */

/* Hostile processes are to have the CPUs, emulated ones too. */
static void rest(void)
{
	const struct timespec some_ms = { .tv_nsec = 4000000 };

	nanosleep(&some_ms, NULL);
}

/* The receiver: what was sent must be counted up, and is counted on. */
static long answer(unsigned long from, unsigned long len, unsigned long to,
		   unsigned long a4)
{
	static unsigned long calls;
	unsigned char text[LONGEST], first;
	unsigned long i;

	CHECK(len && len <= LONGEST);
	CHECK_EQ(0, rpal_gate_copy(text, (void *)from, len));
	first = text[0];
	for (i = 0; i < len; i++) {
		CHECK_EQ((first + i) & 0xff, text[i]);
		text[i] += len;
	}
	if (++calls % 50 == 0)
		CHECK(getpid() > 0);
	CHECK_EQ(0, rpal_gate_copy((void *)to, text, len));
	return len;
}

static long ask(unsigned long ctl, unsigned long fn, unsigned long fd,
		unsigned long a3)
{
	unsigned char text[LONGEST], reply[LONGEST];
	unsigned long i, len, nr;
	unsigned int seed = 1;
	struct fz_neighbours *shared;

	shared = mmap(NULL, RPAL_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		      0);
	CHECK(shared != MAP_FAILED);
	rpal_register();
	for (nr = 0; !READ_ONCE(shared->stop); nr++) {
		len = 1 + rand_r(&seed) % (nr % 8 ? 64 : LONGEST);
		for (i = 0; i < len; i++)
			text[i] = nr + i;
		memset(reply, 0xee, len);
		CHECK_EQ(len, rpal_gate((void *)ctl, fn, (unsigned long)text,
					len, (unsigned long)reply));
		for (i = 0; i < len; i++) {
			CHECK_EQ((nr + i) & 0xff, text[i]);
			CHECK_EQ((nr + i + len) & 0xff, reply[i]);
		}
		WRITE_ONCE(shared->messages, nr + 1);
		if (nr % 8 == 0)
			rest();
	}
	return 0;
}

static int got_signal;

static void on_signal(int sig)
{
	got_signal = sig;
}

static __noreturn void ordinary_main(void)
{
	static unsigned long memory[64 * 4096 / sizeof(long)];
	static unsigned char page[4096];
	struct rpal_service s = {};
	unsigned long nr, i;
	int fds[2], status;
	char *map;
	pid_t pid;

	CHECK(!pipe(fds));
	signal(SIGUSR1, on_signal);
	for (nr = 0; !READ_ONCE(fz_neighbours->stop); nr++) {
		memset(memory, nr, sizeof(memory));
		for (i = 0; i < sizeof(page); i++)
			page[i] = nr + i;
		CHECK(write(fds[1], page, sizeof(page)) == sizeof(page));
		memset(page, 0, sizeof(page));
		CHECK(read(fds[0], page, sizeof(page)) == sizeof(page));
		for (i = 0; i < sizeof(page); i++)
			CHECK_EQ((nr + i) & 0xff, page[i]);
		map = mmap(NULL, 16 * RPAL_PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(map != MAP_FAILED);
		for (i = 0; i < 16 * RPAL_PAGE; i += 64)
			CHECK_EQ(0, map[i]);
		map[nr % 65536] = 1;
		CHECK(!munmap(map, 16 * RPAL_PAGE));
		CHECK_EQ(-ENXIO, rpal_syscall(__NR_rpal_service,
					      (unsigned long)&s, sizeof(s), 0,
					      0, 0, 0));
		CHECK_EQ(ordinary_pkru, rdpkru());
		got_signal = 0;
		CHECK(!raise(SIGUSR1));
		CHECK_EQ(SIGUSR1, got_signal);
		if (nr % 16 == 0) {
			pid = fork();
			if (!pid)
				_exit(7);
			CHECK(waitpid(pid, &status, 0) == pid);
			CHECK_EQ(7 << 8, status);
		}
		for (i = 0; i < ARRAY_SIZE(memory); i++)
			if (memory[i] != (nr & 0xff) * (~0ul / 0xff))
				FAIL("word %lu is %#lx", i, memory[i]);
		WRITE_ONCE(fz_neighbours->checks, nr + 1);
		rest();
	}
	_exit(0);
}

void fz_neighbours_start(void)
{
	int fd = memfd_create("neighbours", MFD_CLOEXEC);

	CHECK(!ftruncate(fd, RPAL_PAGE));
	fz_neighbours = mmap(NULL, RPAL_PAGE, PROT_READ | PROT_WRITE,
			     MAP_SHARED, fd, 0);
	CHECK(fz_neighbours != MAP_FAILED);
	rpal_spawn(&answers);
	rpal_serve(&answers);
	rpal_spawn(&asks);
	rpal_link(&asks, &answers);
	rpal_post(&asks, ask, (unsigned long)answers.ctl,
		  rpal_there(&answers, answer), rpal_give(&asks, fd), 0);
	ordinary_pkru = rdpkru();
	ordinary = fork();
	CHECK(ordinary >= 0);
	if (!ordinary) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		ordinary_main();
	}
	close(fd);
}

struct rpal_service *fz_neighbours_service(void)
{
	return &answers.service;
}

static void lives(pid_t pid, const char *what)
{
	int status;

	if (waitpid(pid, &status, WNOHANG))
		FAIL("%s (process %d) has died: status %#x", what, pid, status);
}

void fz_neighbours_alive(void)
{
	unsigned long messages = READ_ONCE(fz_neighbours->messages);
	unsigned long checks = READ_ONCE(fz_neighbours->checks);
	int looks = 0;

	while (READ_ONCE(fz_neighbours->messages) == messages ||
	       READ_ONCE(fz_neighbours->checks) == checks) {
		lives(answers.pid, "the receiver");
		lives(asks.pid, "the caller");
		lives(ordinary, "the ordinary process");
		if (++looks == SLOW_LOOKS) {
			fz_print_process(answers.pid);
			fz_print_process(asks.pid);
			fz_print_process(ordinary);
		}
		rest();
	}
}

void fz_neighbours_stop(void)
{
	int status;
	long ret;

	WRITE_ONCE(fz_neighbours->stop, 1);
	CHECK(rpal_result(&asks, &ret));
	CHECK_EQ(0, ret);
	rpal_end(&asks);
	rpal_end(&answers);
	CHECK(waitpid(ordinary, &status, 0) == ordinary);
	CHECK_EQ(0, status);
}
