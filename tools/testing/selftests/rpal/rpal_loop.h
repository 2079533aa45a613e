/* SPDX-License-Identifier: GPL-2.0 */
/* A peer whose only receiver waits for a descriptor, too: its event loop. */
#ifndef RPAL_LOOP_H
#define RPAL_LOOP_H

#include <stdbool.h>

#include "rpal_lib.h"

#define MSEC		1000000UL

/**
 * struct loop - what the peer's event loop knows
 * @ctl: control block of its thread
 * @tid: the thread
 * @fd: what it waits for
 * @event: the eventfd behind that, or -1: leave it
 * @timeout: of each wait
 * @events: the sum of what it has read
 * @wakes: how often it was told that the descriptor is ready
 * @signals: how often that a signal was handled
 * @timeouts: how often that the time is up
 * @end: what gate_wait() gave in the end
 */
struct loop {
	struct rpal_ctl *ctl;
	long tid;
	long fd;
	long event;
	long timeout;
	long events;
	long wakes;
	long signals;
	long timeouts;
	long end;
};

extern struct loop loop;		/* in the peer */
extern struct rpal_proc loop_peer;	/* here */

/* A long of the peer's. */
long loop_seen(const long *field);
void loop_until(const long *field, long least);

/* An eventfd here. */
int loop_new_event(unsigned int count);
void loop_signal(int event, unsigned int n);

/* Readable, now: nobody else takes anything away. */
bool loop_readable(int fd);

/* For rpal_run(): an epoll descriptor that has that one in it. */
long do_epoll(unsigned long fd, unsigned long a1, unsigned long a2,
	      unsigned long a3);

/* Start the peer's loop for two descriptors of its own, see struct loop. */
void loop_start(int fd, int event, unsigned long timeout);

/*
 * A new peer whose loop waits for an eventfd, @depth epolls deep. Returns this
 * process's descriptor of it.
 */
int loop_setup(int depth, unsigned long timeout);

#endif /* RPAL_LOOP_H */
