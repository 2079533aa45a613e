// SPDX-License-Identifier: GPL-2.0-only
/*
 * The system calls, for the sake of their metadata: names and arguments in
 * tracing come from these macros. All of it is in Rust.
 */
#include <linux/init.h>
#include <linux/syscalls.h>
#include <linux/sysctl.h>
#include <uapi/linux/rpal.h>
#include "dispatch.h"

SYSCALL_DEFINE2(rpal_arm, struct rpal_arm __user *, arg, size_t, size)
{
	return rpal_sys_arm((unsigned long)arg, size);
}

SYSCALL_DEFINE2(rpal_service, struct rpal_service __user *, arg, size_t, size)
{
	return rpal_sys_service((unsigned long)arg, size);
}

SYSCALL_DEFINE3(rpal_attach, int, fd, struct rpal_attach __user *, arg, size_t, size)
{
	return rpal_sys_attach(fd, (unsigned long)arg, size);
}

SYSCALL_DEFINE1(rpal_detach, int, fd)
{
	return rpal_sys_detach(fd);
}

SYSCALL_DEFINE2(rpal_thread, struct rpal_thread __user *, arg, size_t, size)
{
	return rpal_sys_thread((unsigned long)arg, size);
}

SYSCALL_DEFINE4(rpal_wait, unsigned long, entry, unsigned long, cookie, u64, timeout, int, fd)
{
	return rpal_sys_wait(entry, cookie, timeout, fd);
}

SYSCALL_DEFINE5(rpal_call, unsigned long, peer, unsigned long, a0, unsigned long, a1,
		unsigned long, a2, unsigned long, a3)
{
	return rpal_sys_call(peer, a0, a1, a2, a3);
}

SYSCALL_DEFINE1(rpal_await, unsigned long, ticket)
{
	return rpal_sys_await(ticket);
}

SYSCALL_DEFINE1(rpal_reply, long, result)
{
	return rpal_sys_reply(result);
}

SYSCALL_DEFINE0(rpal_release)
{
	return rpal_sys_release();
}

/* Read by rpal_sys_arm(). */
int rpal_disabled;

static const struct ctl_table rpal_table[] = {
	{
		.procname	= "rpal_disabled",
		.data		= &rpal_disabled,
		.maxlen		= sizeof(rpal_disabled),
		.mode		= 0644,
		.proc_handler	= proc_dointvec_minmax,
		.extra1		= SYSCTL_ZERO,
		.extra2		= SYSCTL_ONE,
	},
};

static int __init rpal_sysctl_init(void)
{
	register_sysctl_init("kernel", rpal_table);
	return 0;
}
late_initcall(rpal_sysctl_init);
