// SPDX-License-Identifier: GPL-2.0
/*
 * Everything at once: services that call each other from many threads, while
 * they are killed, frozen, stopped, executed, detached, signalled, forked and
 * moved, while descriptors that they wait for become ready, and while
 * breakpoints disturb each instruction of the gate. Each message has a number
 * and a checksum, and each receiver notes what it carries out; every call must
 * come to an end, with an error only if somebody gave it a cause, and every
 * event must be told.
 *
 * rpal_stress [--seed N] [--seconds N] [--services N]
 *
 * The seed decides what each thread does, and in which order; when it comes to
 * do it is up to the machine. The counts that are printed at the end show
 * what was reached, and are no tests: that depends on the machine, too.
 *
 * To see these fail: resolve a region of the gate wrongly (lost, doubled or
 * context, by the breakpoints); let T6 not compare the owner (doubled); drop
 * a dying receiver's tickets (hung); fail a call whose receiver only timed
 * out (cause); do not sleep on the descriptor's queue, or answer 0 without a
 * look at the file (event); leave a window's VMA or a slot behind (left).
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "rpal_stress.h"

/*
 * Without a single call that ends, in all of the services, for so long: they
 * hang. A limit against hangs only.
 */
#define HUNG_SECONDS	600
#define NEWS_SECONDS	20

static const char *const properties[NR_PROPERTIES] = {
	[P_LOST] = "no message is lost",
	[P_DOUBLED] = "no message is carried out twice",
	[P_TORN] = "no message is torn",
	[P_CAUSE] = "every error has its cause",
	[P_EVENT] = "every event is told, and no other",
	[P_CONTEXT] = "every handler and receiver finds its own context",
	[P_DIED] = "nobody dies by itself",
	[P_HUNG] = "every call comes to an end",
	[P_LEFT] = "nothing is left of the services",
};

void stress_bad(enum property p, const char *fmt, ...)
{
	char text[400];
	va_list ap;
	int n;

	if (__atomic_add_fetch(&sh->bad[p], 1, __ATOMIC_RELAXED) > 10)
		return;
	n = snprintf(text, sizeof(text), "# not so: %s: [%d] ", properties[p],
		     getpid());
	va_start(ap, fmt);
	n += vsnprintf(text + n, sizeof(text) - n, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(text) - 2)
		n = sizeof(text) - 2;
	text[n++] = '\n';
	if (write(STDOUT_FILENO, text, n) != n)
		_exit(2);
}

/* The image that a service's exec leads to: it is in peace, and alone. */
static int after_exec(bool armed)
{
	struct rpal_service service = {};
	long ret = rpal_syscall(__NR_rpal_service, (unsigned long)&service,
				sizeof(service), 0, 0, 0, 0);

	return ret == (armed ? 0 : -ENXIO) ? 0 : 1;
}

static void dump(const char *path)
{
	char line[300];
	FILE *f = fopen(path, "r");

	if (!f)
		return;
	ksft_print_msg("%s\n", path);
	while (fgets(line, sizeof(line), f))
		ksft_print_msg("  %s", line);
	fclose(f);
}

/* Waits for the director, and for a sign that it and its services live. */
static void watch(pid_t director)
{
	uint64_t calls, before = 0;
	int quiet = 0, age = 0;
	int status;

	while (waitpid(director, &status, WNOHANG) == 0) {
		sleep(1);
		calls = READ_ONCE(sh->count[C_calls]) +
			READ_ONCE(sh->count[C_kills]);
		quiet = calls == before ? quiet + 1 : 0;
		before = calls;
		if (++age % NEWS_SECONDS == 0) {
			ksft_print_msg("%d s: %lu calls\n", age,
				       sh->count[C_calls]);
			fflush(stdout);
		}
		if (quiet < HUNG_SECONDS)
			continue;
		stress_bad(P_HUNG, "no call has ended for %d s", quiet);
		dump("/sys/kernel/debug/rpal/services");
		dump("/sys/kernel/debug/rpal/threads");
		kill(director, SIGKILL);
		waitpid(director, &status, 0);
		return;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) || !sh->ended)
		stress_bad(P_DIED, "the director ended with status %#x",
			   status);
}

/* What the end of the last process frees may take the kernel a moment. */
static void check_left(const int before[3])
{
	static const char *const lists[] = { "services", "windows", "threads" };
	int i, tries = 0, now = 0;

	ksft_print_msg("the end\n");
	fflush(stdout);
	for (i = 0; i < 3; i++) {
		for (; tries < 600; tries++) {
			now = rpal_listed(lists[i]);
			if (now <= before[i])
				break;
			usleep(100000);
		}
		if (now <= before[i])
			continue;
		stress_bad(P_LEFT, "%d %s, %d before", now, lists[i],
			   before[i]);
		dump("/sys/kernel/debug/rpal/services");
		dump("/sys/kernel/debug/rpal/threads");
	}
}

static void bad_usage(void)
{
	fputs("usage: rpal_stress [--seed N] [--seconds N] [--services N]\n",
	      stderr);
	exit(2);
}

static void options(int argc, char **argv, struct stress_shared *to)
{
	static const struct option known[] = {
		{ "seed", required_argument, NULL, 'r' },
		{ "seconds", required_argument, NULL, 's' },
		{ "services", required_argument, NULL, 'n' },
		{ }
	};
	int c;

	to->seed = time(NULL) ^ (uint64_t)getpid() << 32;
	to->seconds = rpal_part_of(16) + 4;
	to->services = 8;
	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (c) {
		case 'r':
			to->seed = strtoull(optarg, NULL, 0);
			break;
		case 's':
			to->seconds = strtoul(optarg, NULL, 0);
			break;
		case 'n':
			to->services = strtoul(optarg, NULL, 0);
			break;
		default:
			bad_usage();
		}
	}
	if (optind != argc || to->services < 2 || to->services > MAX_SERVICES)
		bad_usage();
}

static int run_stress(int argc, char **argv)
{
	static struct stress_stats then, now;
	const char *why;
	int before[3];
	pid_t director;
	int fd, i;

	if (argc == 3 && !strcmp(argv[1], "--after-exec"))
		return after_exec(atoi(argv[2]));
	fd = memfd_create("rpal-stress", 0);
	if (fd < 0 || ftruncate(fd, sizeof(*sh)))
		ksft_exit_fail_msg("no memory object: errno %d\n", errno);
	sh = stress_map(fd);
	options(argc, argv, sh);
	ksft_print_header();
	why = rpal_missing();
	if (why)
		ksft_exit_skip("%s\n", why);
	ksft_set_plan(NR_PROPERTIES);
	ksft_print_msg("--seed %#lx --seconds %u --services %u\n", sh->seed,
		       sh->seconds, sh->services);
	before[0] = rpal_listed("services");
	before[1] = rpal_listed("windows");
	before[2] = rpal_listed("threads");
	stress_read_stats(&then);
	fflush(stdout);
	director = fork();
	CHECK(director >= 0);
	if (!director) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		stress_direct(fd);
	}
	watch(director);
	check_left(before);
	stress_read_stats(&now);
	stress_report(&then, &now);
	for (i = 0; i < NR_PROPERTIES; i++)
		ksft_test_result(!sh->bad[i], "%s\n", properties[i]);
	ksft_finished();
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, run_stress);
}
