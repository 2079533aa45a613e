// SPDX-License-Identifier: GPL-2.0
/*
 * The protection keys of services, and PKRU.
 *
 * To see these fail: give every service key 8 (distinct); hand out the key that
 * all users' services use least (others); let attach() accept
 * any pair (exhausted); leave the pool out of mm_pkey_is_allocated() or
 * mm_pkey_alloc() (pool); let __execute_only_pkey() hand out keys
 * (execute_only); do not copy init_pkru at fork (forked_child);
 * let pkru_get_init_value() answer the global value (handler, thread).
 */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "rpal_test.h"
#include "rpal_image.h"

#define KEYS	(RPAL_KEY_LAST - RPAL_KEY_FIRST + 1)

/* Services that died a moment ago may still hold their keys. */
static void wait_no_services(void)
{
	while (rpal_listed("services") > 0)
		usleep(10000);
}

RPAL_PLAIN_TEST(distinct)
{
	struct rpal_proc p[KEYS];
	int i, j;

	wait_no_services();
	for (i = 0; i < KEYS; i++) {
		rpal_spawn(&p[i]);
		EXPECT_LE(RPAL_KEY_FIRST, p[i].service.pkey);
		EXPECT_GE(RPAL_KEY_LAST, p[i].service.pkey);
		for (j = 0; j < i; j++)
			EXPECT_NE(p[j].service.pkey, p[i].service.pkey);
	}
	for (i = 0; i < KEYS; i++)
		rpal_end(&p[i]);
}

/* Sees to it that one key is by far the least used, and waits. */
static void leave_one_key(int out, int in)
{
	const char *path = image_path("rpal_image_static_pie");
	struct image im[2 * KEYS];
	char c = 0;
	int i;

	CHECK_EQ(0, setresuid(65534, 65534, 65534));
	for (i = 0; i < 2 * KEYS; i++)
		CHECK(image_start(&im[i], IMAGE_ARMED | IMAGE_SMALL, path,
				  NULL));
	for (i = 2 * KEYS - 1; i >= 0; i--) {
		if (im[i].report.service.pkey == im[0].report.service.pkey)
			CHECK_EQ(0, image_stop(&im[i]));
	}
	CHECK_EQ(1, write(out, &c, 1));
	CHECK_EQ(0, read(in, &c, 1));
	_exit(0);
}

/* Nobody can bring it about that others' services get the same key. */
RPAL_PLAIN_TEST(others)
{
	struct rpal_proc p[KEYS];
	int out[2], in[2];
	int i, j, status;
	pid_t pid;
	char c;

	if (geteuid())
		SKIP(return, "needs root to be somebody else");
	wait_no_services();
	ASSERT_EQ(0, pipe2(out, O_CLOEXEC));
	ASSERT_EQ(0, pipe2(in, O_CLOEXEC));
	pid = fork();
	if (!pid) {
		close(in[1]);
		leave_one_key(out[1], in[0]);
	}
	close(in[0]);
	close(out[1]);
	ASSERT_EQ(1, read(out[0], &c, 1));
	for (i = 0; i < KEYS; i++) {
		rpal_spawn(&p[i]);
		for (j = 0; j < i; j++)
			EXPECT_NE(p[j].service.pkey, p[i].service.pkey);
	}
	for (i = 0; i < KEYS; i++)
		rpal_end(&p[i]);
	close(in[1]);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* More services than keys: those with one key can't attach to each other. */
RPAL_PLAIN_TEST(exhausted)
{
	struct rpal_proc p[KEYS + 1];
	int same = 0;
	int i, j;
	long ret;

	for (i = 0; i < KEYS + 1; i++)
		rpal_spawn(&p[i]);
	for (i = 0; i < KEYS + 1; i++) {
		for (j = 0; j < i; j++) {
			ret = rpal_run(&p[i], do_attach,
				       rpal_give(&p[i], p[j].fd), 0, 0, 0);
			if (p[i].service.pkey == p[j].service.pkey) {
				EXPECT_EQ(-EKEYREJECTED, ret);
				same++;
			} else {
				EXPECT_EQ(0, ret);
			}
		}
	}
	EXPECT_LT(0, same);
	for (i = 0; i < KEYS + 1; i++)
		rpal_end(&p[i]);
}

/* Unprotected on both sides: one key is no obstacle, and nothing faults. */
RPAL_PLAIN_TEST(unprotected)
{
	struct rpal_proc p, q;
	unsigned long addr;

	rpal_spawn_as(&p, RPAL_UNPROTECTED);
	rpal_spawn_as(&q, RPAL_UNPROTECTED);
	EXPECT_EQ(RPAL_MODE_UNPROTECTED, p.service.mode);
	EXPECT_EQ(0, p.service.pkey);
	rpal_link(&p, &q);
	addr = rpal_mmap(&p, RPAL_PAGE, PROT_READ | PROT_WRITE);
	rpal_run(&p, do_poke, addr, 4711, 0, 0);
	EXPECT_EQ(4711, rpal_run(&q, do_peek, addr, 0, 0, 0));
	rpal_end(&p);
	rpal_end(&q);
}

/* No program in a service can get at the keys of the pool. */
RPAL_TEST(pool)
{
	void *page = mmap(NULL, RPAL_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool seen[RPAL_KEY_LAST + 1] = {};
	int key, nr = 0;

	CHECK(page != MAP_FAILED);
	while ((key = pkey_alloc(0, 0)) >= 0) {
		CHECK(key > 0 && key < RPAL_KEY_FIRST);
		CHECK(!seen[key]);
		seen[key] = true;
		nr++;
		CHECK(!pkey_mprotect(page, RPAL_PAGE, PROT_READ, key));
	}
	CHECK_EQ(ENOSPC, errno);
	CHECK(nr > 0);
	for (key = RPAL_KEY_FIRST; key <= RPAL_KEY_LAST; key++) {
		errno = 0;
		CHECK_EQ(-1, pkey_mprotect(page, RPAL_PAGE, PROT_READ, key));
		CHECK_EQ(EINVAL, errno);
		errno = 0;
		CHECK_EQ(-1, pkey_free(key));
		CHECK_EQ(EINVAL, errno);
	}
}

static int key_of(const void *addr)
{
	static struct rpal_map maps[RPAL_MAX_MAPS];
	int nr = rpal_maps(0, maps, RPAL_MAX_MAPS);
	const struct rpal_map *m = rpal_map_at(maps, nr, (unsigned long)addr);

	CHECK(m);
	return m->pkey;
}

RPAL_TEST(execute_only)
{
	void *page = mmap(NULL, RPAL_PAGE, PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(page != MAP_FAILED);
	CHECK_EQ(rpal_me.pkey, key_of(page));
	CHECK(!mprotect(page, RPAL_PAGE, PROT_READ | PROT_WRITE));
	CHECK_EQ(rpal_me.pkey, key_of(page));
	CHECK(!mprotect(page, RPAL_PAGE, PROT_EXEC));
	CHECK_EQ(rpal_me.pkey, key_of(page));
	CHECK(!mprotect(page, RPAL_PAGE, PROT_READ | PROT_WRITE));
	CHECK_EQ(rpal_me.pkey, key_of(page));
}

/* Later mappings of every kind have the key as well. */
RPAL_TEST(new_mappings)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	int fd = memfd_create("rpal", 0);
	void *p, *q;

	CHECK(fd >= 0 && !ftruncate(fd, 2 * RPAL_PAGE));
	p = mmap(NULL, 2 * RPAL_PAGE, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	CHECK_EQ(rpal_me.pkey, key_of(p));
	p = mmap(NULL, 2 * RPAL_PAGE, PROT_NONE, flags, -1, 0);
	CHECK(p != MAP_FAILED);
	CHECK_EQ(rpal_me.pkey, key_of(p));
	CHECK(!mprotect(p, RPAL_PAGE, PROT_READ | PROT_WRITE));
	CHECK_EQ(rpal_me.pkey, key_of(p));
	q = mremap(p, RPAL_PAGE, 4 * RPAL_PAGE, MREMAP_MAYMOVE);
	CHECK(q != MAP_FAILED);
	CHECK_EQ(rpal_me.pkey, key_of(q));
	p = mmap(NULL, RPAL_PAGE, PROT_READ | PROT_WRITE,
		 flags | MAP_GROWSDOWN, -1, 0);
	CHECK(p != MAP_FAILED);
	CHECK_EQ(rpal_me.pkey, key_of(p));
	CHECK_EQ(rpal_me.pkey, key_of(sbrk(64 * RPAL_PAGE)));
}

static unsigned int handler_pkru;
static int handled;

static void on_signal(int sig)
{
	/* A frame on a stack that PKRU does not allow never gets here. */
	handler_pkru = rdpkru();
	handled++;
}

RPAL_TEST(handler)
{
	signal(SIGUSR1, on_signal);
	CHECK_EQ(rpal_me.pkru, rdpkru());
	CHECK(!raise(SIGUSR1));
	CHECK_EQ(1, handled);
	CHECK_EQ(rpal_me.pkru, handler_pkru);
	CHECK_EQ(rpal_me.pkru, rdpkru());

	/* And what the interrupted code had comes back. */
	wrpkru(rpal_me.pkru & ~pkru_mask(1));
	CHECK(!raise(SIGUSR1));
	CHECK_EQ(rpal_me.pkru & ~pkru_mask(1), rdpkru());
	CHECK_EQ(rpal_me.pkru, handler_pkru);
}

static void *thread_pkru(void *arg)
{
	*(unsigned int *)arg = rdpkru();
	raise(SIGUSR1);
	return NULL;
}

RPAL_TEST(thread)
{
	unsigned int pkru = 0;
	pthread_t thread;

	signal(SIGUSR1, on_signal);
	CHECK(!pthread_create(&thread, NULL, thread_pkru, &pkru));
	CHECK(!pthread_join(thread, NULL));
	CHECK_EQ(rpal_me.pkru, pkru);
	CHECK_EQ(1, handled);
	CHECK_EQ(rpal_me.pkru, handler_pkru);
}

/* A prefork server: its children, not services, take signals as well. */
static int child_with_child(int depth)
{
	pid_t pid;
	int status;

	close(RPAL_PEER_SOCK);
	handled = 0;
	signal(SIGCHLD, on_signal);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid)
		_exit(depth ? child_with_child(depth - 1) : 0);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(0, status);
	CHECK_EQ(1, handled);
	CHECK_EQ(rpal_me.pkru, handler_pkru);
	CHECK_EQ(rpal_me.pkru, rdpkru());
	return 0;
}

RPAL_TEST(forked_child)
{
	struct rpal_service s = {};
	int status;
	pid_t pid;

	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		CHECK_EQ(-ENXIO, rpal_syscall(__NR_rpal_service,
					      (unsigned long)&s, sizeof(s),
					      0, 0, 0, 0));
		CHECK_EQ(0, key_of((void *)do_mmap(0, RPAL_PAGE, PROT_READ,
						   MAP_PRIVATE |
						   MAP_ANONYMOUS)));
		_exit(child_with_child(1));
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(0, status);
	/* The parent has lost nothing by it. */
	CHECK_EQ(0, rpal_syscall(__NR_rpal_service, (unsigned long)&s,
				 sizeof(s), 0, 0, 0, 0));
	CHECK_EQ(rpal_me.slot, s.slot);
}

static long get_pkru(unsigned long a0, unsigned long a1, unsigned long a2,
		     unsigned long a3)
{
	return rdpkru();
}

/* An ordinary program started by a service has ordinary keys again. */
RPAL_TEST(ordinary_child)
{
	struct rpal_proc p;

	rpal_spawn_as(&p, RPAL_PLAIN);
	CHECK_EQ(0x55555554, rpal_run(&p, get_pkru, 0, 0, 0, 0));
	rpal_end(&p);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
