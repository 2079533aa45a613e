// SPDX-License-Identifier: GPL-2.0
/*
 * The director of rpal_stress: starts the services, and kills, freezes,
 * stops, executes, moves and detaches them, until the time is up or something
 * was found.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "rpal_stress.h"

#define NICE	(-10)		/* trouble comes before work */
#define NR_LIVES	3	/* workers of small services */

static struct rpal_proc proc[MAX_SERVICES];
static struct rpal_proc lives[NR_LIVES];
static struct lives_progress *lived;
static uint64_t rng;
static int memory;

static struct stress_service_dir *dir(int i)
{
	return &sh->service[i];
}

static void add(uint32_t *life)
{
	__atomic_add_fetch(life, 1, __ATOMIC_SEQ_CST);
}

static void set_even(uint32_t *life)
{
	if (*life & 1)
		add(life);
}

/* ---- cgroups ---- */

static bool to_cgroup(int i, const char *file, const char *text)
{
	char path[100];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/sys/fs/cgroup/rpal-stress-%d", i);
	if (mkdir(path, 0755) && errno != EEXIST)
		return false;
	snprintf(path + strlen(path), sizeof(path) - strlen(path), "/%s", file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = write(fd, text, strlen(text));
	close(fd);
	return n > 0;
}

static void remove_cgroups(void)
{
	char path[100];
	uint32_t i;

	for (i = 0; i < sh->services; i++) {
		snprintf(path, sizeof(path), "/sys/fs/cgroup/rpal-stress-%u",
			 i);
		rmdir(path);
	}
}

/* ---- births and deaths ---- */

static void open_window(int i, int j)
{
	long ret = rpal_run(&proc[i], do_stress_attach,
			    rpal_give(&proc[i], proc[j].fd), j, 0, 0);

	if (!ret) {
		add(&dir(i)->link[j]);
		count(C_attaches);
	} else if (ret == -EKEYREJECTED) {
		count(C_same_key);
	} else {
		stress_bad(P_CAUSE, "attach of %d to %d gave %ld", i, j, ret);
	}
}

static void close_window(int i, int j)
{
	long ret;

	add(&dir(i)->link[j]);
	ret = rpal_run(&proc[i], do_stress_detach, j, 0, 0, 0);
	if (ret)
		stress_bad(P_CAUSE, "detach of %d from %d gave %ld", i, j, ret);
	count(C_detaches);
}

static void bear(int i)
{
	struct stress_service_dir *d = dir(i);
	char pid[20];
	int k;

	/* Of four services one has no key, so that it has nobody's. */
	rpal_spawn_as(&proc[i], i % 4 == 3 ? RPAL_UNPROTECTED : 0);
	for (k = 0; k < NR_THREADS; k++) {
		set_even(&d->thread[k].life);
		d->thread[k].ctl = 0;
		d->thread[k].tid = 0;
	}
	d->exec = 0;
	d->active = NR_CALLERS + 1;
	d->pid = proc[i].pid;
	snprintf(pid, sizeof(pid), "%d", d->pid);
	to_cgroup(i, "cgroup.procs", pid);
	rpal_run(&proc[i], do_stress_map, rpal_give(&proc[i], memory), i, 0, 0);
}

static void start(int i, bool learn)
{
	uint32_t j;

	rpal_run(&proc[i], do_stress_start, learn, sh->lives++, 0, 0);
	add(&dir(i)->life);
	for (j = 0; j < sh->services; j++) {
		if (j == (uint32_t)i || !(dir(j)->life & 1))
			continue;
		open_window(i, j);
		open_window(j, i);
	}
}

/* What becomes of its calls from now on has a cause; and it is to be quick. */
static void announce_end(int i)
{
	int k;

	add(&dir(i)->life);
	for (k = 0; k < NR_THREADS; k++)
		if (dir(i)->thread[k].tid)
			setpriority(PRIO_PROCESS, dir(i)->thread[k].tid, NICE);
}

static void bear_again(int i)
{
	uint32_t j;

	for (j = 0; j < sh->services; j++) {
		set_even(&dir(i)->link[j]);
		set_even(&dir(j)->link[i]);
	}
	bear(i);
	start(i, false);
}

static void kill_one(int i)
{
	announce_end(i);
	rpal_kill(&proc[i]);
	count(C_kills);
	bear_again(i);
}

/* By its main thread, by one that is registered, or by the pest. */
static void exec_one(int i)
{
	int status;

	announce_end(i);
	__atomic_store_n(&dir(i)->exec, (NR_LEVELS + 1 +
					 pick(&rng, NR_CALLERS + 1)) |
			 pick(&rng, 2) << 8, __ATOMIC_RELEASE);
	status = rpal_reap(&proc[i]);
	if (status)
		stress_bad(P_DIED, "service %d, status %#x after exec", i,
			   status);
	count(C_execs);
	bear_again(i);
}

/* ---- other trouble ---- */

/* By themselves, and several services at once: one by one they are too few. */
static void detach_some(int i)
{
	int k, n = 1 + pick(&rng, sh->services < 4 ? sh->services : 4);
	long ret;

	for (k = 0; k < n; k++)
		rpal_post(&proc[(i + k) % sh->services], do_stress_renew,
			  next_random(&rng), 1 + pick(&rng, 12), 0, 0);
	for (k = 0; k < n; k++)
		if (!rpal_result(&proc[(i + k) % sh->services], &ret))
			FAIL("service %d died", (i + k) % sh->services);
}

/* Its director may not ask it for anything meanwhile. */
static void freeze_one(int i)
{
	bool cgroup = pick(&rng, 4) && to_cgroup(i, "cgroup.freeze", "1");
	int j = pick(&rng, sh->services);

	if (!cgroup)
		kill(proc[i].pid, SIGSTOP);
	count(C_freezes);
	usleep(pick(&rng, 20000));
	if (j != i && dir(j)->link[i] & 1 && !pick(&rng, 3)) {
		close_window(j, i);
		open_window(j, i);
	}
	if (!pick(&rng, 8)) {
		announce_end(i);
		rpal_kill(&proc[i]);
		count(C_kills_frozen);
		if (cgroup)
			to_cgroup(i, "cgroup.freeze", "0");
		bear_again(i);
	} else if (cgroup) {
		to_cgroup(i, "cgroup.freeze", "0");
	} else {
		kill(proc[i].pid, SIGCONT);
	}
}

static void make_trouble(void)
{
	int i = pick(&rng, sh->services);

	if (!pick(&rng, 4))
		WRITE_ONCE(sh->hot, pick(&rng, sh->services));
	switch (pick(&rng, 16)) {
	case 0 ... 2:
		kill_one(i);
		break;
	case 3:
		exec_one(i);
		break;
	case 4 ... 11:
		detach_some(i);
		break;
	default:
		freeze_one(i);
		break;
	}
}

/*
 * Deaths of these services cost too much to be many: beside them, short lives
 * of small ones, which die while they are lent, or borrow.
 */
static void start_lives(void)
{
	int i, fd = memfd_create("rpal-lives", MFD_CLOEXEC);

	CHECK(!ftruncate(fd, sizeof(*lived)));
	lived = mmap(NULL, sizeof(*lived), PROT_READ | PROT_WRITE, MAP_SHARED,
		     fd, 0);
	CHECK((void *)lived != MAP_FAILED);
	for (i = 0; i < NR_LIVES; i++) {
		rpal_spawn_as(&lives[i], RPAL_UNPROTECTED);
		rpal_run(&lives[i], do_lives_prepare, sh->seed,
			 LIVES_MOVE | LIVES_LENT, 0, 0);
		rpal_post(&lives[i], do_lives_work, rpal_give(&lives[i], fd), i,
			  NR_LIVES, ~0UL);
	}
	close(fd);
}

static void end_lives(void)
{
	long ret;
	int i;

	WRITE_ONCE(lived->stop, true);
	for (i = 0; i < NR_LIVES; i++) {
		if (!rpal_result(&lives[i], &ret) || ret)
			stress_bad(P_DIED, "a worker of small services is gone");
		rpal_end(&lives[i]);
	}
	sh->count[C_lives] = lived->done;
	sh->count[C_lives_lent] = lived->ended[END_KILL_LENT];
}

static bool is_bad(void)
{
	int i;

	for (i = 0; i < NR_PROPERTIES; i++)
		if (READ_ONCE(sh->bad[i]))
			return true;
	return false;
}

static long seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

/* The program that started this one watches over it, and its end. */
__noreturn void stress_direct(int fd)
{
	long end;
	uint32_t i;

	memory = fd;
	rng = sh->seed;
	setpriority(PRIO_PROCESS, 0, NICE);
	for (i = 0; i < sh->services; i++)
		bear(i);
	for (i = 0; i < sh->services; i++)
		start(i, i == 0);
	/* The time of a slow machine does not go by in preparations. */
	while (!READ_ONCE(sh->ready) && !is_bad())
		usleep(1000);
	start_lives();
	end = seconds() + sh->seconds;
	while (seconds() < end && !is_bad()) {
		make_trouble();
		usleep(pick(&rng, 3000));
	}
	WRITE_ONCE(sh->stop, 1);
	for (i = 0; i < sh->services; i++)
		while (__atomic_load_n(&dir(i)->active, __ATOMIC_ACQUIRE))
			usleep(1000);
	for (i = 0; i < sh->services; i++)
		rpal_end(&proc[i]);
	end_lives();
	remove_cgroups();
	WRITE_ONCE(sh->ended, 1);
	_exit(0);
}
