// SPDX-License-Identifier: GPL-2.0
/*
 * Hostile neighbours. In each round three processes do what they should not:
 * two services that are attached to each other, and a third process that
 * could not attach them, or not both ways, or has nothing of theirs. They
 * scribble on control blocks, jump into the gate with forged registers, FS
 * bases and PKRUs, make RPAL's system calls with arbitrary arguments and from
 * odd places, take mappings away, fork, exec, trace each other, and die of it.
 *
 * Whatever they do: a SIGKILL ends them, nothing of them is left in the
 * kernel's lists, and neither a pair of services that has nothing to do with
 * them nor an ordinary process notices anything. That the kernel has not
 * complained is for the reader of its log to see.
 *
 * To see this fail: leave the look for a fatal signal out of park_thread() in
 * rpal/wait.rs (a process does not end whose word says LENT for ever), do not
 * unlink windows in address_space_gone() (something is left), or let
 * former_peer_thread() look in all services (neighbours are disturbed).
 *
 * --seed S and --ops N, or RPAL_SEED and RPAL_OPS, say where to start and how
 * many operations to do. Round r of seed S is round 0 of seed S + r. Threads
 * choose the same operations each time, but meet at other moments.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#define RPAL_TEST_TIMEOUT	36000
#include "rpal_test.h"
#include "rpal_fuzz.h"

#define ROUND_OPS	600	/* then the survivors get new enemies */
#define LOOK_MS		2	/* how often the runner looks at them */
#define QUIET_LOOKS	300	/* a process that does nothing is ended */
#define IDLE_LOOKS	3000	/* a round in which nothing happens is over */
#define SLOW_LOOKS	15000	/* say what is known, and go on waiting */
#define STUCK_LOOKS	300000	/* not even a SIGKILL has ended it */

static unsigned long seed, ops;
static bool seeded;

static int world_fd;
static struct rpal_proc procs[FZ_ROLES];
static int ends[256];		/* how processes ended: status, or signal */
static int base[3];		/* lines of the kernel's lists */
static const char *const lists[] = { "services", "windows", "threads" };

static void look_again(void)
{
	const struct timespec ts = { .tv_nsec = LOOK_MS * 1000000 };

	nanosleep(&ts, NULL);
}

static void print_file(const char *path)
{
	char text[2000];
	int fd = open(path, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return;
	text[n] = 0;
	fprintf(stderr, "# %s: %s\n", path, text);
}

/* What is known of a process that does not end, or goes on. */
void fz_print_process(pid_t pid)
{
	static const char *const files[] = { "stat", "wchan", "syscall" };
	struct dirent *d;
	char path[400];
	DIR *dir;
	size_t i;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (d = readdir(dir))) {
		if (d->d_name[0] == '.')
			continue;
		for (i = 0; i < ARRAY_SIZE(files); i++) {
			snprintf(path, sizeof(path), "/proc/%d/task/%s/%s",
				 pid, d->d_name, files[i]);
			print_file(path);
		}
	}
	for (i = 0; i < ARRAY_SIZE(lists); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/rpal/%s",
			 lists[i]);
		print_file(path);
	}
	/* Where all tasks are, in the kernel's log. */
	fd = open("/proc/sysrq-trigger", O_WRONLY);
	if (fd >= 0 && write(fd, "t", 1) == 1)
		close(fd);
}

static void note_end(int status)
{
	if (WIFSIGNALED(status))
		ends[128 + WTERMSIG(status)]++;
	else
		ends[WEXITSTATUS(status) & 127]++;
}

/* A process of this round and all its children; they must end. */
static void kill_group(unsigned long round, pid_t pid, bool reaped)
{
	int looks, status;
	pid_t got;

	for (looks = 0; looks < STUCK_LOOKS; looks++) {
		kill(-pid, SIGKILL);
		do {
			got = waitpid(-pid, &status, WNOHANG | __WALL);
			if (got == pid && !WIFSTOPPED(status)) {
				note_end(status);
				reaped = true;
			}
		} while (got > 0);
		if (got < 0 && errno == ECHILD) {
			CHECK(reaped);
			return;
		}
		if (looks == SLOW_LOOKS)
			fz_print_process(pid);
		look_again();
	}
	fz_print_process(pid);
	FAIL("seed %lu: process %d, or a child of it, survives SIGKILL",
	     seed + round, pid);
}

static void start_round(unsigned long round)
{
	unsigned int own = seed + round;
	int how[FZ_ROLES] = {}, i, fd;
	long ret;

	fz_world->seed = seed + round;
	fz_world->go = false;
	fz_world->left = ROUND_OPS;
	fz_world->loner = rand_r(&own) % FZ_LONERS;
	memset(fz_world->role, 0, sizeof(fz_world->role));
	for (i = 0; i < FZ_ROLES; i++)
		if (rand_r(&own) % 8 == 0)
			how[i] |= RPAL_UNPROTECTED;
	if (fz_world->loner == FZ_NO_SERVICE)
		how[2] = RPAL_PLAIN;
	for (i = 0; i < FZ_ROLES; i++) {
		rpal_spawn_as(&procs[i], how[i]);
		fz_world->role[i].service = procs[i].service;
		fz_world->role[i].pid = procs[i].pid;
	}
	rpal_link(&procs[0], &procs[1]);
	if (fz_world->loner != FZ_ALONE) {
		rpal_give(&procs[2], procs[0].fd);
		rpal_give(&procs[2], procs[1].fd);
	}
	for (i = 0; i < FZ_ROLES; i++) {
		fd = rpal_give(&procs[i], world_fd);
		ret = rpal_run(&procs[i], fz_hostile, i, fd, 0, 0);
		CHECK(ret > 0);
	}
	WRITE_ONCE(fz_world->go, true);
}

/* Ends waits, and what goes on for ever. True: nothing else can help. */
static bool nudge(int r, unsigned long *steps, int *quiet)
{
	struct fz_thread *t = fz_world->role[r].thread;
	bool all = true;
	int i;

	for (i = 0; i < FZ_THREADS; i++) {
		if (!t[i].tid || READ_ONCE(t[i].done))
			continue;
		if (READ_ONCE(t[i].steps) != steps[i]) {
			steps[i] = READ_ONCE(t[i].steps);
			quiet[i] = 0;
		} else if (++quiet[i] > 5) {
			syscall(__NR_tgkill, procs[r].pid, t[i].tid, SIGUSR1);
		}
		if (quiet[i] < QUIET_LOOKS)
			all = false;
	}
	return all;
}

static void watch(unsigned long round)
{
	unsigned long steps[FZ_ROLES][FZ_THREADS] = {};
	int quiet[FZ_ROLES][FZ_THREADS] = {};
	bool ended[FZ_ROLES] = {};
	int i, status, idle = 0;
	long left = 0;

	/*
	 * A process that has been killed is not seen to end as long as a child
	 * of its own traces one of its threads. That is killed afterwards.
	 */
	while (READ_ONCE(fz_world->left) > 0 && !(ended[0] && ended[1]) &&
	       idle++ < IDLE_LOOKS) {
		look_again();
		if (left != READ_ONCE(fz_world->left))
			idle = 0;
		left = READ_ONCE(fz_world->left);
		for (i = 0; i < FZ_ROLES; i++) {
			if (ended[i])
				continue;
			if (waitpid(procs[i].pid, &status, WNOHANG) ==
			    procs[i].pid) {
				if (WIFSTOPPED(status))
					continue;
				note_end(status);
				ended[i] = true;
			} else if (nudge(i, steps[i], quiet[i])) {
				kill(procs[i].pid, SIGKILL);
			}
		}
	}
	for (i = 0; i < FZ_ROLES; i++)
		kill(-procs[i].pid, SIGKILL);
	for (i = 0; i < FZ_ROLES; i++) {
		kill_group(round, procs[i].pid, ended[i]);
		close(procs[i].sock);
		if (procs[i].fd >= 0)
			close(procs[i].fd);
	}
}

/* Address spaces may go a little later than their processes. */
static void nothing_left(unsigned long round)
{
	int looks, found;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lists); i++) {
		for (looks = 0; ; looks++) {
			found = rpal_listed(lists[i]);
			if (found == base[i])
				break;
			if (looks == SLOW_LOOKS)
				fz_print_process(getpid());
			if (looks == STUCK_LOOKS)
				FAIL("seed %lu: %d %s, not %d", seed + round,
				     found, lists[i], base[i]);
			look_again();
		}
	}
}

static unsigned long of_kind(int kind)
{
	unsigned long sum = 0;
	int o;

	for (o = 0; o < FZ_OUTCOMES; o++)
		sum += READ_ONCE(fz_world->count[kind][o]);
	return sum;
}

static unsigned long total(void)
{
	unsigned long sum = 0;
	int kind;

	for (kind = 0; kind < FZ_KINDS; kind++)
		sum += of_kind(kind);
	return sum;
}

static void print_counts(unsigned long rounds)
{
	int kind, i;

	fprintf(stderr, "# %-10s %8s %8s %8s %8s %8s %8s %8s %8s\n", "operation",
		"ok", "error", "SIGSEGV", "SIGBUS", "SIGILL", "SIGTRAP",
		"other", "nudged");
	for (kind = 0; fz_kind_name(kind); kind++) {
		fprintf(stderr, "# %-10s", fz_kind_name(kind));
		for (i = 0; i < FZ_OUTCOMES; i++)
			fprintf(stderr, " %8lu", fz_world->count[kind][i]);
		fprintf(stderr, "\n");
	}
	fprintf(stderr, "# count rounds %lu\n# count operations %lu\n", rounds,
		total());
	for (kind = 0; fz_kind_name(kind); kind++)
		fprintf(stderr, "# count %s %lu\n", fz_kind_name(kind),
			of_kind(kind));
	fprintf(stderr, "# count neighbours_messages %lu\n# count neighbours_checks %lu\n",
		fz_neighbours->messages, fz_neighbours->checks);
	fprintf(stderr, "# ends:");
	for (i = 0; i < 256; i++)
		if (ends[i])
			fprintf(stderr, " %s %d: %d", i < 128 ? "status" :
				"signal", i & 127, ends[i]);
	fprintf(stderr, "\n");
}

RPAL_PLAIN_TEST(hostile_neighbours)
{
	unsigned long round;
	size_t i;

	if (!seeded)
		seed = time(NULL);
	fprintf(stderr, "# --seed %lu --ops %lu\n", seed, ops);
	/* Grandchildren come to this process when their parents have died. */
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	world_fd = memfd_create("world", MFD_CLOEXEC);
	ASSERT_EQ(0, ftruncate(world_fd, sizeof(*fz_world)));
	fz_world = mmap(NULL, sizeof(*fz_world), PROT_READ | PROT_WRITE,
			MAP_SHARED, world_fd, 0);
	ASSERT_NE(MAP_FAILED, (void *)fz_world);
	fz_neighbours_start();
	fz_world->third = *fz_neighbours_service();
	fz_neighbours_alive();
	for (i = 0; i < ARRAY_SIZE(lists); i++)
		base[i] = rpal_listed(lists[i]);

	for (round = 0; total() < ops; round++) {
		start_round(round);
		watch(round);
		fz_neighbours_alive();
		nothing_left(round);
		if (round % 20 == 0)
			fprintf(stderr, "# round %lu: %lu operations\n", round,
				total());
	}
	print_counts(round);
	fz_neighbours_stop();
}

static int fuzz_main(int argc, char **argv)
{
	const char *env = getenv("RPAL_SEED");
	int i, kept = 1;

	if (argc > 1 && !strcmp(argv[1], FZ_AGAIN))
		fz_again();
	ops = rpal_part_of(20000);
	if (env) {
		seed = strtoul(env, NULL, 0);
		seeded = true;
	}
	env = getenv("RPAL_OPS");
	if (env)
		ops = strtoul(env, NULL, 0);
	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--seed") && argv[i + 1]) {
			seed = strtoul(argv[++i], NULL, 0);
			seeded = true;
		} else if (!strcmp(argv[i], "--ops") && argv[i + 1]) {
			ops = strtoul(argv[++i], NULL, 0);
		} else {
			argv[kept++] = argv[i];
		}
	}
	argv[kept] = NULL;
	return test_harness_run(kept, argv);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, fuzz_main);
}
