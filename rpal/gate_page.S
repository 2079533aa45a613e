/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The gate: the user-mode instructions that switch between a caller's and a
 * receiver's context. One page, mapped read-only at the same address in every
 * service; no instruction in here is ever executed by the kernel.
 *
 * The kernel resolves an interrupted call by instruction address alone, so the
 * labels that end in _start divide the page into the regions of
 * rpal/gate.rs, and the registers named here must hold what is said while an
 * address of the region is live:
 *
 *   A, G0  caller's FS base and stack; rbx = peer block, rbp = own block,
 *          r12-r15 = arguments. Abort: undo the claim, go to the slow path.
 *   G1     receiver's FS base, rest mixed; same registers. Hand over, the
 *          receiver starts at rpal_gate_finish.
 *   body   receiver's everything, up to and including its return into the gate.
 *   G2     receiver's everything; rax = result, rsp = entry_sp + 8. Hand over,
 *          the receiver starts again at rpal_gate_ret.
 *   G3     caller's FS base, rest mixed; r8 = result. Roll forward to
 *          rpal_gate_done.
 *
 * Control blocks carry key 0, so that one WRPKRU each way is enough. PKRU
 * while a receiver runs is what both sides allow.
 */
#include <linux/linkage.h>
#include <asm/unistd.h>

/* The header is for C; what is repeated here is asserted in rpal/uapi.rs. */
#define WORD_READY		1
#define WORD_LENT		2
#define WORD_WANTED_EVENT	12
#define WORD_LENT_AWAY		18

/* offsetof(struct rpal_ctl, ...) */
#define CTL_WORD		0
#define CTL_CLAIM		8
#define CTL_FSBASE		16
#define CTL_ENTRY_SP		24
#define CTL_ENTRY_IP		32
#define CTL_COOKIE		40
#define CTL_FPCW		48
#define CTL_PKRU		56
#define CTL_LENT		60
#define CTL_CLAIM_DELTA		64
#define CTL_RELEASE_DELTA	72
#define CTL_SAVED_SP		80
#define CTL_CALLER		88

	.section .rodata, "a"
	.balign 4096

SYM_DATA_START(rpal_gate_page)

/*
 * long gate_call(peer, self, a0, a1, a2, a3): rdi, rsi, rdx, rcx, r8, r9
 *
 * Frame, from the top: return address, rbp, rbx, r12-r15, MXCSR and x87
 * control word. From region A to the release, saved_sp says where it lies: no
 * handler, and so no other call of this thread, ever runs in between.
 */
SYM_INNER_LABEL(rpal_gate_call, SYM_L_GLOBAL)
	pushq	%rbp
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	pushq	$0
	stmxcsr	(%rsp)
	fnstcw	4(%rsp)
	movq	%rdi, %rbx
	movq	%rsi, %rbp
	movq	%rdx, %r12
	movq	%rcx, %r13
	movq	%r8, %r14
	movq	%r9, %r15
	/*
	 * The caller may itself be lent: then it is a receiver that calls on.
	 * Its own task has to make the call, and any system call puts it back.
	 * Or it may be a child that vfork() left with its parent's block.
	 */
	testb	$WORD_LENT_AWAY, CTL_WORD(%rbp)
	jnz	.Lnested
.Lnative:
	movq	%rsp, CTL_SAVED_SP(%rbp)

SYM_INNER_LABEL(rpal_gate_a_start, SYM_L_GLOBAL)
	movq	%rbx, CTL_CLAIM(%rbp)
	movq	CTL_WORD(%rbx), %rax
	cmpl	$WORD_READY, %eax
	jne	rpal_gate_slow
	movq	%rax, %r10
	addq	CTL_CLAIM_DELTA(%rbp), %r10
	/* Acquire: pairs with the release in rpal_gate_g3_start and in park. */
	lock cmpxchgq %r10, CTL_WORD(%rbx)
	jne	rpal_gate_slow

SYM_INNER_LABEL(rpal_gate_g0_start, SYM_L_GLOBAL)
	movq	%rbp, CTL_CALLER(%rbx)
	movq	CTL_FSBASE(%rbx), %rdx
	wrfsbase %rdx

SYM_INNER_LABEL(rpal_gate_g1_start, SYM_L_GLOBAL)
	movq	(%rsp), %r11			/* caller's MXCSR and control word */
	movq	CTL_ENTRY_SP(%rbx), %rsp
	movl	CTL_PKRU(%rbx), %eax
	andl	CTL_PKRU(%rbp), %eax
	xorl	%ecx, %ecx
	xorl	%edx, %edx
SYM_INNER_LABEL(rpal_gate_wrpkru_in, SYM_L_GLOBAL)
	wrpkru
	cmpq	CTL_FPCW(%rbx), %r11
	jne	rpal_gate_finish
	cld
	movq	CTL_COOKIE(%rbx), %rdi
	movq	%r12, %rsi
	movq	%r13, %rdx
	movq	%r14, %rcx
	movq	%r15, %r8
	jmpq	*CTL_ENTRY_IP(%rbx)

/* As above, with the receiver's floating-point modes; may be started again. */
SYM_INNER_LABEL(rpal_gate_finish, SYM_L_GLOBAL)
	ldmxcsr	CTL_FPCW(%rbx)
	fldcw	(CTL_FPCW + 4)(%rbx)
	cld
	movq	CTL_COOKIE(%rbx), %rdi
	movq	%r12, %rsi
	movq	%r13, %rdx
	movq	%r14, %rcx
	movq	%r15, %r8
	jmpq	*CTL_ENTRY_IP(%rbx)

/* The receiver's function returns here; its own block lies on its stack. */
SYM_INNER_LABEL(rpal_gate_ret, SYM_L_GLOBAL)
	movq	(%rsp), %rbx
	movq	%rax, %r8
	movq	CTL_WORD(%rbx), %rsi
	/* Not lent: the context came back to its task, which has to reply. */
	testb	$WORD_LENT, %sil
	jz	.Lreply
	movq	CTL_CALLER(%rbx), %rbp
	movq	CTL_FSBASE(%rbp), %rdx
	wrfsbase %rdx

SYM_INNER_LABEL(rpal_gate_g3_start, SYM_L_GLOBAL)
	movq	CTL_SAVED_SP(%rbp), %rsp
	movl	CTL_PKRU(%rbp), %eax
	xorl	%ecx, %ecx
	xorl	%edx, %edx
SYM_INNER_LABEL(rpal_gate_wrpkru_out, SYM_L_GLOBAL)
	wrpkru
	/* Release only LENT(self) without a bit: a plain store loses wake-ups. */
	testb	$WORD_WANTED_EVENT, %sil
	jnz	.Lrelease
	movq	%rsi, %rax
	addq	CTL_RELEASE_DELTA(%rbp), %rsi
	/* Release: pairs with the acquire in rpal_gate_a_start. */
	lock cmpxchgq %rsi, CTL_WORD(%rbx)
	jne	.Lrelease
	movq	$0, CTL_CLAIM(%rbp)

/* Result in r8, stack at saved_sp. */
SYM_INNER_LABEL(rpal_gate_done, SYM_L_GLOBAL)
	stmxcsr	-8(%rsp)
	fnstcw	-4(%rsp)
	movl	-8(%rsp), %eax
	cmpl	(%rsp), %eax
	jne	.Lmodes
	movzwl	-4(%rsp), %eax
	cmpw	4(%rsp), %ax
	jne	.Lmodes
.Lpop:
	addq	$8, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	popq	%rbp
	movq	%r8, %rax
	retq

.Lmodes:
	ldmxcsr	(%rsp)
	fldcw	4(%rsp)
	cld
	jmp	.Lpop

.Lnested:
	movl	$__NR_rpal_release, %eax
	syscall
	movq	%rax, %r8
	testq	%rax, %rax
	jz	.Lnative
	jmp	rpal_gate_done

.Lrelease:
	movl	$__NR_rpal_release, %eax
	syscall
	jmp	rpal_gate_done

/* Stack at saved_sp; rbx, r12-r15 as set before region A. */
SYM_INNER_LABEL(rpal_gate_slow, SYM_L_GLOBAL)
	movq	%rbx, %rdi
	movq	%r12, %rsi
	movq	%r13, %rdx
	movq	%r14, %r10
	movq	%r15, %r8
	movl	$__NR_rpal_call, %eax
	syscall
SYM_INNER_LABEL(rpal_gate_call_end, SYM_L_GLOBAL)
	movq	%rax, %r8
	jmp	rpal_gate_done

/* The kernel puts a caller whose call was handed over here: rdi = ticket. */
SYM_INNER_LABEL(rpal_gate_await, SYM_L_GLOBAL)
	movl	$__NR_rpal_await, %eax
	syscall
SYM_INNER_LABEL(rpal_gate_await_end, SYM_L_GLOBAL)
	movq	%rax, %r8
	jmp	rpal_gate_done

/*
 * long gate_wait(self, entry, cookie, timeout, int fd): rdi, rsi, rdx, rcx, r8d
 *
 * Frame, from the top: return address, rbp, rbx, r12-r15, MXCSR and x87
 * control word, padding, own block, rpal_gate_ret. The stack pointer recorded
 * by rpal_wait(2) points at the last, so that a call starts with a return
 * address in place, and a signal handler that runs while parked stays below.
 */
SYM_INNER_LABEL(rpal_gate_wait, SYM_L_GLOBAL)
	pushq	%rbp
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	pushq	$0
	stmxcsr	(%rsp)
	fnstcw	4(%rsp)
	movq	(%rsp), %rax
	movq	%rax, CTL_FPCW(%rdi)
	pushq	$0
	pushq	%rdi
	leaq	rpal_gate_ret(%rip), %rax
	pushq	%rax
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	movq	%rcx, %rdx
	movslq	%r8d, %r10
	movl	$__NR_rpal_wait, %eax
	syscall
SYM_INNER_LABEL(rpal_gate_wait_end, SYM_L_GLOBAL)
	addq	$24, %rsp
	ldmxcsr	(%rsp)
	fldcw	4(%rsp)
	addq	$8, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	popq	%rbp
	retq

/* The receiver's own task has finished the call: answer, and park again. */
.Lreply:
	leaq	rpal_gate_ret(%rip), %rdi
	pushq	%rdi
	movq	%r8, %rdi
	ldmxcsr	CTL_FPCW(%rbx)
	fldcw	(CTL_FPCW + 4)(%rbx)
	movl	$__NR_rpal_reply, %eax
	syscall
SYM_INNER_LABEL(rpal_gate_reply_end, SYM_L_GLOBAL)
	jmp	rpal_gate_wait_end

/*
 * long gate_copy(dst, src, len): a fault between the labels that can't be
 * served goes to rpal_gate_copy_fault and not to a signal handler.
 */
SYM_INNER_LABEL(rpal_gate_copy, SYM_L_GLOBAL)
SYM_INNER_LABEL(rpal_gate_copy_start, SYM_L_GLOBAL)
	/* Messages of 16 to 32 bytes: two moves that may overlap. */
	cmpq	$32, %rdx
	ja	.Llarge
	cmpq	$16, %rdx
	jb	.Lbytes
	movups	(%rsi), %xmm0
	movups	-16(%rsi, %rdx), %xmm1
	movups	%xmm0, (%rdi)
	movups	%xmm1, -16(%rdi, %rdx)
	xorl	%eax, %eax
	retq
.Llarge:
	cmpq	$256, %rdx
	jae	.Lbytes
.Lblock:
	movups	(%rsi), %xmm0
	movups	%xmm0, (%rdi)
	addq	$16, %rsi
	addq	$16, %rdi
	subq	$16, %rdx
	cmpq	$16, %rdx
	jae	.Lblock
.Lbytes:
	movq	%rdx, %rcx
	rep movsb
	xorl	%eax, %eax
	retq
SYM_INNER_LABEL(rpal_gate_copy_end, SYM_L_GLOBAL)
SYM_INNER_LABEL(rpal_gate_copy_fault, SYM_L_GLOBAL)
	movq	$-14, %rax			/* -EFAULT */
	retq

	.balign 4096, 0xcc
SYM_DATA_END(rpal_gate_page)
