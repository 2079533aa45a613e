// SPDX-License-Identifier: GPL-2.0
/*
 * What rpal_stress reached. Each line "# count NAME VALUE" is for programs.
 *
 * T2 to T4 happen in user mode, where the receivers count them: T2 and T3 are
 * calls that began borrowed, T4 those that ended so and that the kernel did
 * not release (T6). The rest is the kernel's to count, in debugfs; "-" where
 * it does not.
 */
#include "rpal_stress.h"

static const char *const names[NR_COUNTS] = {
	[C_calls] = "calls",
	[C_nested] = "nested",
	[C_from_handlers] = "from_handlers",
	[C_late] = "late",
	[C_epipe] = "epipe",
	[C_enotconn] = "enotconn",
	[C_unreachable] = "unreachable",
	[C_unnested] = "unnested",
	[C_begun_borrowed] = "begun_borrowed",
	[C_begun_native] = "begun_native",
	[C_ended_borrowed] = "ended_borrowed",
	[C_ended_native] = "ended_native",
	[C_moved] = "moved",
	[C_kills] = "kills",
	[C_kills_frozen] = "kills_frozen",
	[C_execs] = "execs",
	[C_attaches] = "attaches",
	[C_detaches] = "detaches",
	[C_same_key] = "same_key",
	[C_freezes] = "freezes",
	[C_signals] = "signals",
	[C_breakpoints] = "breakpoints",
	[C_jumps] = "jumps",
	[C_affinity] = "affinity",
	[C_forks] = "forks",
	[C_maps] = "maps",
	[C_faults] = "faults",
	[C_traps] = "traps",
	[C_timeouts] = "timeouts",
	[C_interrupted] = "interrupted",
	[C_unregistered] = "unregistered",
	[C_rings] = "rings",
	[C_heard] = "heard",
	[C_lives] = "lives",
	[C_lives_lent] = "lives_lent",
};

void stress_read_stats(struct stress_stats *s)
{
	FILE *f = fopen("/sys/kernel/debug/rpal/stats", "r");

	s->nr = 0;
	if (!f)
		return;
	while (s->nr < MAX_STATS &&
	       fscanf(f, "%31s %ld", s->name[s->nr], &s->value[s->nr]) == 2)
		s->nr++;
	fclose(f);
}

static long value(const struct stress_stats *s, const char *name)
{
	int i;

	for (i = 0; i < s->nr; i++)
		if (!strcmp(s->name[i], name))
			return s->value[i];
	return -1;
}

long stress_grown(const struct stress_stats *before,
		  const struct stress_stats *after, const char *name)
{
	long now = value(after, name);

	return now < 0 ? -1 : now - value(before, name);
}

static void line(const char *name, long n)
{
	if (n < 0)
		ksft_print_msg("count %s -\n", name);
	else
		ksft_print_msg("count %s %ld\n", name, n);
}

/* Each transition and region, and what counts it: names of statistics. */
static const struct {
	const char *what;
	const char *stat;
} reached[] = {
	{ "region_A", "abort_a" },
	{ "region_G0", "abort_g0" },
	{ "region_G1", "start_g1" },
	{ "region_body", "body" },
	{ "region_G2", "return_g2" },
	{ "region_G3", "forward_g3" },
	{ "region_copy", "copy" },
	{ "T1_park", "park" },
	{ "T5_grant", "grant" },
	{ "T5_slow", "grant_call" },
	{ "T5_slow_queued", "grant_queued" },
	{ "T6_ready", "stale" },
	{ "T6_native", "release_native" },
	{ "T7_ready", "want_ready" },
	{ "T7_lent", "wanted" },
	{ "T8_ready", "event_ready" },
	{ "T8_lent", "event_lent" },
	{ "T8_late", "event_late" },
	{ "T8_native", "event_native" },
	{ "T9_alone", "kill_alone" },
	{ "T9_evict", "evict" },
	{ "T9_evicted", "evicted" },
	{ "T10_resume", "resume" },
	{ "T11_reply", "reply" },
	{ "T12_cancel", "cancel" },
	{ "T13_detach", "detach" },
};

static void report_landings(void)
{
	uint64_t least = ~0UL, all = 0;
	unsigned int i;

	for (i = 0; i < sh->nr_ips; i++) {
		uint64_t n = sh->landed[sh->ips[i]];

		all += n;
		if (n < least)
			least = n;
	}
	line("gate_instructions", sh->nr_ips);
	line("gate_landings", all);
	line("gate_landings_least", sh->nr_ips ? least : 0);
}

void stress_report(const struct stress_stats *before,
		   const struct stress_stats *after)
{
	long released = sh->count[C_ended_borrowed];
	size_t i, k;

	for (i = 0; i < NR_COUNTS; i++)
		line(names[i], sh->count[i]);
	for (i = 0; i < (size_t)after->nr; i++)
		ksft_print_msg("count kernel_%s %ld\n", after->name[i],
			       stress_grown(before, after, after->name[i]));
	report_landings();
	for (i = 0; i < ARRAY_SIZE(reached); i++)
		line(reached[i].what, stress_grown(before, after, reached[i].stat));
	/* A release by the kernel may also be of a claim that never ran. */
	for (k = 0; k < 2; k++) {
		long n = stress_grown(before, after, k ? "release_native" : "stale");

		released -= n < 0 ? 0 : n;
	}
	line("T2_claim", sh->count[C_begun_borrowed]);
	line("T3_run", sh->count[C_begun_borrowed]);
	line("T4_release", released < 0 ? 0 : released);
}
