/* SPDX-License-Identifier: GPL-2.0-only */
/* What rpal/dispatch.rs exports to rpal/syscalls.c. */
#ifndef _RPAL_DISPATCH_H
#define _RPAL_DISPATCH_H

#include <linux/types.h>

long rpal_sys_arm(unsigned long arg, size_t size);
long rpal_sys_service(unsigned long arg, size_t size);
long rpal_sys_attach(int fd, unsigned long arg, size_t size);
long rpal_sys_detach(int fd);
long rpal_sys_thread(unsigned long arg, size_t size);
long rpal_sys_wait(unsigned long entry, unsigned long cookie, u64 timeout,
		   int fd);
long rpal_sys_call(unsigned long peer, unsigned long a0, unsigned long a1,
		   unsigned long a2, unsigned long a3);
long rpal_sys_await(unsigned long ticket);
long rpal_sys_reply(long result);
long rpal_sys_release(void);

#endif /* _RPAL_DISPATCH_H */
