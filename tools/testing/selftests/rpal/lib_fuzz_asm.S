/* SPDX-License-Identifier: GPL-2.0 */
/* What hostile threads can't do in C; rpal_fuzz.h says what it is. */

	.text

	.globl	fz_go
	.type	fz_go, @function
fz_go:
	/* A signal in here has its frame on the alternate stack. */
	movq	%rdi, %rsp
	popq	%rax
	popq	%rbx
	popq	%rcx
	popq	%rdx
	popq	%rsi
	popq	%rbp
	popq	%r8
	popq	%r9
	popq	%r10
	popq	%r11
	popq	%r12
	popq	%r13
	popq	%r14
	popq	%r15
	popq	%rdi
	iretq
	.size	fz_go, . - fz_go

	.globl	fz_landing
	.type	fz_landing, @function
fz_landing:
	ud2
	.size	fz_landing, . - fz_landing

	/* flags, stack, fn, arg, tls, clear: rdi, rsi, rdx, rcx, r8, r9 */
	.globl	fz_clone
	.type	fz_clone, @function
fz_clone:
	subq	$16, %rsi
	movq	%rcx, (%rsi)
	movq	%rdx, 8(%rsi)
	movq	%r9, %r10
	xorl	%edx, %edx
	movl	$56, %eax		/* __NR_clone */
	syscall
	testq	%rax, %rax
	jnz	1f
	xorl	%ebp, %ebp
	popq	%rdi
	popq	%rax
	call	*%rax
	ud2
1:	ret
	.size	fz_clone, . - fz_clone

	.section .note.GNU-stack, "", @progbits
