// SPDX-License-Identifier: GPL-2.0
/* A process's mappings, as its smaps shows them. */
#include "rpal_lib.h"

int rpal_maps(pid_t pid, struct rpal_map *maps, int max)
{
	struct rpal_map *m = NULL;
	char path[40];
	char line[600];
	int nr = 0;
	FILE *f;

	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	else
		snprintf(path, sizeof(path), "/proc/self/smaps");
	f = fopen(path, "r");
	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		unsigned long start, end;
		char prot[5], name[200] = "";

		line[strcspn(line, "\n")] = 0;
		/* A field of the mapping above, or the next mapping. */
		if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %199[^\n]", &start,
			   &end, prot, name) >= 3) {
			CHECK(nr < max);
			m = &maps[nr++];
			memset(m, 0, sizeof(*m));
			m->start = start;
			m->end = end;
			m->pkey = -1;
			memcpy(m->prot, prot, sizeof(prot));
			memcpy(m->name, name, sizeof(name));
			continue;
		}
		CHECK(m);
		if (sscanf(line, "Rss: %lu kB", &m->rss) == 1)
			continue;
		if (sscanf(line, "ProtectionKey: %d", &m->pkey) == 1)
			continue;
		if (!strncmp(line, "VmFlags: ", 9))
			snprintf(m->flags, sizeof(m->flags), " %.150s",
				 line + 9);
	}
	fclose(f);
	return nr;
}

const struct rpal_map *rpal_map_at(const struct rpal_map *maps, int nr,
				   unsigned long addr)
{
	int i;

	for (i = 0; i < nr; i++)
		if (addr >= maps[i].start && addr < maps[i].end)
			return &maps[i];
	return NULL;
}

const struct rpal_map *rpal_own_map(unsigned long addr)
{
	static struct rpal_map maps[RPAL_MAX_MAPS];

	return rpal_map_at(maps, rpal_maps(0, maps, RPAL_MAX_MAPS), addr);
}
