// SPDX-License-Identifier: GPL-2.0
/* The event loop of a peer that serves calls and a descriptor in one thread. */
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include "rpal_loop.h"

struct loop loop;
struct rpal_proc loop_peer;

long loop_seen(const long *field)
{
	return rpal_run(&loop_peer, do_peek, rpal_there(&loop_peer, field), 0, 0, 0);
}

void loop_until(const long *field, long least)
{
	while (loop_seen(field) < least)
		sched_yield();
}

int loop_new_event(unsigned int count)
{
	int fd = eventfd(count, EFD_NONBLOCK | EFD_CLOEXEC);

	CHECK(fd >= 0);
	return fd;
}

void loop_signal(int event, unsigned int n)
{
	CHECK(!eventfd_write(event, n));
}

bool loop_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

long do_epoll(unsigned long fd, unsigned long a1, unsigned long a2,
	      unsigned long a3)
{
	struct epoll_event e = { .events = EPOLLIN };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	CHECK(ep >= 0);
	CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
	return ep;
}

static void take_event(void)
{
	eventfd_t n;

	CHECK(loop_readable(loop.fd));
	if (loop.event >= 0 && !eventfd_read(loop.event, &n))
		loop.events += n;
	WRITE_ONCE(loop.wakes, loop.wakes + 1);
}

static void *event_loop(void *arg)
{
	long ret;

	rpal_register();
	loop.tid = syscall(__NR_gettid);
	WRITE_ONCE(loop.ctl, rpal_self);
	for (;;) {
		ret = rpal_wait_fd(loop.timeout, loop.fd);
		CHECK(!(READ_ONCE(rpal_self->word) & RPAL_WORD_READY));
		if (!ret)
			take_event();
		else if (ret == -EINTR)
			loop.signals++;
		else if (ret == -ETIMEDOUT)
			loop.timeouts++;
		else
			break;
	}
	WRITE_ONCE(loop.end, ret);
	for (;;)
		pause();
	return NULL;
}

static long start_loop(unsigned long fd, unsigned long event,
		       unsigned long timeout, unsigned long a3)
{
	pthread_t thread;

	loop.fd = fd;
	loop.event = event;
	loop.timeout = timeout;
	CHECK(!pthread_create(&thread, NULL, event_loop, NULL));
	while (!READ_ONCE(loop.ctl))
		sched_yield();
	return (long)loop.ctl;
}

void loop_start(int fd, int event, unsigned long timeout)
{
	loop_peer.ctl = (void *)rpal_run(&loop_peer, start_loop, fd, event, timeout, 0);
	loop_peer.tid = loop_seen(&loop.tid);
}

int loop_setup(int depth, unsigned long timeout)
{
	int event = loop_new_event(0), theirs, fd;

	rpal_spawn(&loop_peer);
	rpal_connect(&loop_peer);
	rpal_register();
	theirs = rpal_give(&loop_peer, event);
	for (fd = theirs; depth; depth--)
		fd = rpal_run(&loop_peer, do_epoll, fd, 0, 0, 0);
	loop_start(fd, theirs, timeout);
	return event;
}
