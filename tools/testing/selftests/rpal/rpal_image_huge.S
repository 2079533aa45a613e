/* SPDX-License-Identifier: GPL-2.0 */
/* An image with more memory than a slot has. */
	.globl	_start
	.text
_start:
	movl	$60, %eax
	xorl	%edi, %edi
	syscall

	.bss
	.skip	600 << 30

	.section .note.GNU-stack, "", @progbits
