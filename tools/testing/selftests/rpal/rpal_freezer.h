/* SPDX-License-Identifier: GPL-2.0 */
/* A cgroup whose process can be frozen. */
#ifndef RPAL_FREEZER_H
#define RPAL_FREEZER_H

#include "rpal_lib.h"

/**
 * struct freezer - a kind of such groups
 * @type: how it is mounted
 * @options: the same
 * @order: the file by which it is told what to do
 * @freeze: what is written there
 * @thaw: the same
 * @state: the file that says what it has done
 * @frozen: what is found there
 * @thawed: the same
 */
struct freezer {
	const char *type, *options;
	const char *order, *freeze, *thaw;
	const char *state, *frozen, *thawed;
};

/*
 * The first kind freezes sleeping tasks where they are, if they may be frozen
 * there, and so does a system that goes to sleep. The second has them come out
 * of their sleep.
 */
extern const struct freezer freezer_first, freezer_second;

/*
 * A new group, one at a time, with that process. Leaves the test if there are
 * none of that kind here.
 */
void freezer_start(const struct freezer *kind, pid_t pid);
/* Both wait until it is done. */
void freezer_freeze(void);
void freezer_thaw(void);
/* When the process is gone. */
void freezer_end(void);

#endif /* RPAL_FREEZER_H */
