// SPDX-License-Identifier: GPL-2.0
/*
 * What a kernel has of everything that a service needs: RPAL's own lists and
 * keys, tasks, pages, and the objects of every slab cache.
 *
 * RPAL's lists must become what they were. Of the rest some is kept for later
 * use, or is somebody else's: a leak is what grows with the births.
 */
#include <glob.h>
#include <stdlib.h>

#include "rpal_counts.h"
#include "rpal_lib.h"

static const struct {
	const char *path, *name;
	long slack;		/* KiB */
	long per;
} fields[] = {
	{ "/proc/meminfo", "PageTables", 400, 10 },
	{ "/proc/meminfo", "SUnreclaim", 1000, 10 },
	{ "/proc/meminfo", "KernelStack", 1600, 10 },
	{ "/proc/meminfo", "Percpu", 4096, 10 },
	{ "/proc/meminfo", "AnonPages", 16384, 10 },
};

static void add(struct rpal_counts *c, const char *name, long value,
		long slack, long per)
{
	struct rpal_count *n = &c->count[c->nr];

	CHECK(c->nr < RPAL_MAX_COUNTS);
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->value = value;
	n->slack = slack;
	n->per = per;
	c->nr++;
}

static long field(const char *path, const char *name)
{
	size_t len = strlen(name);
	char line[300];
	long value = -1;
	FILE *f;

	f = fopen(path, "r");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, name, len) && line[len] == ':')
			value = strtol(line + len + 1, NULL, 10);
	fclose(f);
	return value;
}

/* Empty slabs and quarantines would count as what is in use. */
static void shrink_slabs(void)
{
	glob_t g;
	size_t i;
	FILE *f;

	if (glob("/sys/kernel/slab/*/shrink", 0, NULL, &g))
		return;
	for (i = 0; i < g.gl_pathc; i++) {
		f = fopen(g.gl_pathv[i], "w");
		if (f) {
			fputs("1", f);
			fclose(f);
		}
	}
	globfree(&g);
}

/* Those of which each birth makes one, and little else does. */
static bool is_own(const char *name)
{
	return !strcmp(name, "mm_struct") || !strcmp(name, "task_struct") ||
	       !strcmp(name, "signal_cache") || !strcmp(name, "pid");
}

static void count_slabs(struct rpal_counts *c)
{
	char line[300], name[48];
	FILE *f = fopen("/proc/slabinfo", "r");
	long objects;

	if (!f)
		return;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%47s %ld", name, &objects) == 2)
			add(c, name, objects, is_own(name) ? 40 : 300, 10);
	fclose(f);
}

/* Of each key, how many services have it. */
static void count_keys(struct rpal_counts *c)
{
	FILE *f = fopen("/sys/kernel/debug/rpal/keys", "r");
	long key, services, used = 0;

	if (!f)
		return;
	if (fscanf(f, "%*s %*s") == 0)
		while (fscanf(f, "%ld %ld", &key, &services) == 2)
			used += services;
	fclose(f);
	add(c, "keys", used, 0, 0);
}

static void count_tasks(struct rpal_counts *c)
{
	FILE *f = fopen("/proc/loadavg", "r");
	long tasks = -1;

	if (!f)
		return;
	if (fscanf(f, "%*f %*f %*f %*d/%ld", &tasks) == 1)
		add(c, "tasks", tasks, 40, 10);
	fclose(f);
}

void rpal_count(struct rpal_counts *c)
{
	static const char *const lists[] = { "services", "windows", "threads" };
	size_t i;

	shrink_slabs();
	c->nr = 0;
	for (i = 0; i < ARRAY_SIZE(lists); i++)
		add(c, lists[i], rpal_listed(lists[i]), 0, 0);
	count_keys(c);
	count_tasks(c);
	for (i = 0; i < ARRAY_SIZE(fields); i++)
		add(c, fields[i].name, field(fields[i].path, fields[i].name),
		    fields[i].slack, fields[i].per);
	/* What is gone for ever, of whatever it was made. */
	add(c, "not_available", -field("/proc/meminfo", "MemAvailable"),
	    20000, 10);
	count_slabs(c);
}

static const struct rpal_count *find(const struct rpal_counts *c,
				     const char *name)
{
	int i;

	for (i = 0; i < c->nr; i++)
		if (!strcmp(c->count[i].name, name))
			return &c->count[i];
	return NULL;
}

bool rpal_counts_back(const struct rpal_counts *before,
		      const struct rpal_counts *now, long births, bool print)
{
	const struct rpal_count *old, *new;
	bool all = true, back;
	long limit;
	int i;

	for (i = 0; i < now->nr; i++) {
		new = &now->count[i];
		old = find(before, new->name);
		limit = (old ? old->value : 0) + new->slack;
		if (new->per)
			limit += births / new->per;
		back = new->value <= limit;
		all = all && back;
		/* Caches that nothing has happened to are left out. */
		if (print && (!back || !old || old->value != new->value ||
			      !new->slack))
			fprintf(stderr, "# left %s %ld %ld%s\n", new->name,
				old ? old->value : 0, new->value,
				back ? "" : " too many");
	}
	return all;
}

bool rpal_counts_settle(const struct rpal_counts *before, long births)
{
	static struct rpal_counts now;
	int tries;

	/* The kernel frees some of it later. */
	for (tries = 0; tries < 600; tries++) {
		rpal_count(&now);
		if (rpal_counts_back(before, &now, births, false))
			break;
		usleep(100000);
	}
	return rpal_counts_back(before, &now, births, true);
}
