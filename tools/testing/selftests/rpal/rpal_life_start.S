/* SPDX-License-Identifier: GPL-2.0 */
/* Where rpal_life begins: with an aligned stack, as if it had been called. */
	.text
	.globl	_start
_start:
	xorl	%ebp, %ebp
	call	life
	ud2
	.section .note.GNU-stack, "", @progbits
