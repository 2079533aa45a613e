/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * RPAL: Run Process As Library. The user-space interface.
 *
 * Every structure is passed with its size and read by the rules of
 * copy_struct_from_user(): a shorter one is zero-extended, a longer one must
 * be zero beyond what the kernel knows (-E2BIG otherwise). Unknown flags and
 * non-zero reserved fields are -EINVAL.
 *
 * See Documentation/userspace-api/rpal.rst.
 */
#ifndef _UAPI_LINUX_RPAL_H
#define _UAPI_LINUX_RPAL_H

#include <linux/types.h>

/* A slot is one top-level entry of a 47-bit address space. */
#define RPAL_SLOT_SHIFT		39
#define RPAL_SLOT_SIZE		(1ULL << RPAL_SLOT_SHIFT)
#define RPAL_SLOT_FIRST		1
#define RPAL_SLOT_LAST		254

#define RPAL_MAX_THREADS	256	/* registered threads of one service */

/* struct rpal_arm, flags */
#define RPAL_ARM_UNPROTECTED	(1ULL << 0)	/* no protection key needed */
#define RPAL_ARM_DISARM		(1ULL << 1)	/* take an earlier arm back */

/**
 * struct rpal_arm - argument of rpal_arm(2)
 * @flags: RPAL_ARM_*
 * @reserved: must be zero
 */
struct rpal_arm {
	__u64 flags;
	__u64 reserved;
};

#define RPAL_ARM_SIZE_VER0	16

/* struct rpal_service, flags */
#define RPAL_SERVICE_FD		(1ULL << 0)	/* open a service descriptor */

/* struct rpal_service, mode */
#define RPAL_MODE_UNPROTECTED	(1U << 0)

/**
 * struct rpal_service - argument of rpal_service(2)
 * @flags: in: RPAL_SERVICE_*
 * @fd: out: service descriptor (close-on-exec) or -1
 * @slot: out: slot number, RPAL_SLOT_FIRST to RPAL_SLOT_LAST
 * @pkey: out: protection key of the slot's memory, 0 in unprotected mode
 * @pkru: out: PKRU that the service's threads start with
 * @mode: out: RPAL_MODE_*
 * @max_threads: out: how many threads may be registered at a time
 * @slot_start: out: first address of the slot
 * @ctl_start: out: address of control block 0
 * @gate_call: out: address of the gate's call entry
 * @gate_wait: out: address of the gate's wait entry
 * @gate_copy: out: address of the gate's recoverable copy
 */
struct rpal_service {
	__u64 flags;
	__s32 fd;
	__u32 slot;
	__u32 pkey;
	__u32 pkru;
	__u32 mode;
	__u32 max_threads;
	__u64 slot_start;
	__u64 ctl_start;
	__u64 gate_call;
	__u64 gate_wait;
	__u64 gate_copy;
};

#define RPAL_SERVICE_SIZE_VER0	72

/**
 * struct rpal_attach - argument of rpal_attach(2)
 * @flags: in: must be zero
 * @slot: out: the peer's slot number
 * @pkey: out: the peer's protection key
 * @slot_start: out: first address of the peer's slot, in every service
 * @ctl_start: out: address of the peer's control block 0
 */
struct rpal_attach {
	__u64 flags;
	__u32 slot;
	__u32 pkey;
	__u64 slot_start;
	__u64 ctl_start;
};

#define RPAL_ATTACH_SIZE_VER0	32

/* struct rpal_thread, flags */
#define RPAL_THREAD_UNREGISTER	(1ULL << 0)
#define RPAL_THREAD_WATCH	(1ULL << 1)	/* registered: look at its deadline */

/**
 * struct rpal_thread - argument of rpal_thread(2)
 * @flags: in: RPAL_THREAD_*
 * @ctl: out: address of the thread's control block
 * @index: out: the thread's index in its service
 * @reserved: must be zero
 */
struct rpal_thread {
	__u64 flags;
	__u64 ctl;
	__u32 index;
	__u32 reserved;
};

#define RPAL_THREAD_SIZE_VER0	24

/*
 * The lease word. Low half: state, bits and borrower; high half: a sequence
 * number that changes with every park, so that a stale claim always fails.
 */
#define RPAL_WORD_READY		(1U << 0)	/* parked, may be claimed */
#define RPAL_WORD_LENT		(1U << 1)	/* claimed by the borrower */
#define RPAL_WORD_WANTED	(1U << 2)	/* the receiver wants its context back */
#define RPAL_WORD_EVENT		(1U << 3)	/* an event waits, or the kernel has to be asked */
#define RPAL_WORD_AWAY		(1U << 4)	/* not parked: calls begin in the kernel */
#define RPAL_WORD_INDEX_SHIFT	8		/* borrower: thread index, 8 bits */
#define RPAL_WORD_SLOT_SHIFT	16		/* borrower: slot number, 8 bits */
#define RPAL_WORD_SEQ_SHIFT	32

#define RPAL_CTL_SIZE		256

/**
 * struct rpal_ctl - one thread's control block
 * @word: lease word, changed in user mode by compare-and-swap only
 * @claim: control block that this thread, as caller, is claiming or holds
 * @fsbase: FS base: of the parked receiver, or of the registered caller
 * @entry_sp: parked receiver: stack pointer that a call starts with
 * @entry_ip: parked receiver: function that a call runs
 * @cookie: parked receiver: first argument of that function
 * @fpcw: parked receiver: MXCSR in the low half, x87 control word above it
 * @pkru: the thread's own PKRU
 * @lent: low half of the lease word when this thread is the borrower
 * @claim_delta: what a claim adds to READY(seq) to make LENT(self, seq)
 * @release_delta: what a release adds to LENT(self, seq) for READY(seq + 1)
 * @saved_sp: caller: stack pointer to come back to
 * @caller: parked receiver: control block of the borrower
 * @deadline: caller: CLOCK_MONOTONIC time, in nanoseconds, at which its call
 *	      fails with -ETIMEDOUT; 0: never
 * @watch: the kernel looks at @deadline; see RPAL_THREAD_WATCH
 * @reserved: zero
 *
 * Shared by the thread, its peers and the kernel. The kernel takes nothing in
 * here on trust: it is a hint for the kernel and an instruction for the gate.
 */
struct rpal_ctl {
	__u64 word;
	__u64 claim;
	__u64 fsbase;
	__u64 entry_sp;
	__u64 entry_ip;
	__u64 cookie;
	__u64 fpcw;
	__u32 pkru;
	__u32 lent;
	__u64 claim_delta;
	__u64 release_delta;
	__u64 saved_sp;
	__u64 caller;
	__u64 deadline;
	__u32 watch;
	__u32 reserved0;
	__u64 reserved[18];
};

/* rpal_wait(2), timeout: sleep without a limit */
#define RPAL_WAIT_FOREVER	(~0ULL)

/* rpal_wait(2), fd: wait for nothing but calls */
#define RPAL_WAIT_NO_FD		(-1)

#endif /* _UAPI_LINUX_RPAL_H */
