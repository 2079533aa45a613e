/* SPDX-License-Identifier: GPL-2.0 */
/* Whether what was born and died has left anything behind. */
#ifndef RPAL_COUNTS_H
#define RPAL_COUNTS_H

#include <stdbool.h>

#define RPAL_MAX_COUNTS		400

struct rpal_count {
	char name[48];
	long value;
	long slack;		/* how many more there may be */
	long per;		/* and of how many births one may stay */
};

struct rpal_counts {
	int nr;
	struct rpal_count count[RPAL_MAX_COUNTS];
};

void rpal_count(struct rpal_counts *c);

/* Is there no more than before, @births later? Prints what is, if asked. */
bool rpal_counts_back(const struct rpal_counts *before,
		      const struct rpal_counts *now, long births, bool print);

/* Counts until it is so, or for long enough; prints the result. */
bool rpal_counts_settle(const struct rpal_counts *before, long births);

#endif /* RPAL_COUNTS_H */
