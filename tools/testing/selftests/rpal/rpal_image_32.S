/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The smallest 32-bit program: it needs no 32-bit C library. It leaves with
 * status 32 where the kernel runs such programs. Linked to run anywhere, so
 * that nothing but its kind keeps it from becoming a service.
 */
	.text
	.globl	_start
_start:
	movl	$1, %eax	/* exit */
	movl	$32, %ebx
	int	$0x80
	.section .note.GNU-stack, "", @progbits
