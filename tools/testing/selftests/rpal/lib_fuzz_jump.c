// SPDX-License-Identifier: GPL-2.0
/* Hostile jumps: any registers, and then into the gate, or into a trap. */
#include "rpal_fuzz.h"

/* Pieces of code, each with a landing behind it. */
const unsigned char fz_pieces[][FZ_PIECE] = {
	{ 0xcd, 0x80, 0x0f, 0x0b },		/* int $0x80 */
	{ 0x0f, 0x05, 0x0f, 0x0b },		/* syscall */
	{ 0x0f, 0x34, 0x0f, 0x0b },		/* sysenter */
	{ 0xcc, 0x0f, 0x0b },			/* int3 */
	{ 0xcd, 0x03, 0x0f, 0x0b },		/* int $3 */
	{ 0xcd, 0x04, 0x0f, 0x0b },		/* int $4 */
	{ 0xf1, 0x0f, 0x0b },			/* icebp */
	{ 0xf4, 0x0f, 0x0b },			/* hlt */
	{ 0x0f, 0x0b },				/* ud2 */
	{ 0xfa, 0x0f, 0x0b },			/* cli */
	{ 0x31, 0xc9, 0x31, 0xd2, 0x0f, 0x01, 0xef,	/* wrpkru, getpid */
	  0xb8, 0x27, 0, 0, 0, 0x0f, 0x05, 0x0f, 0x0b },
	{ 0xeb, 0xfe, 0x0f, 0x0b },		/* for ever */
	{ 0x48, 0xcf, 0x0f, 0x0b },		/* iretq */
	{ 0xf7, 0xf1, 0x0f, 0x0b },		/* div %ecx */
	{ 0xc3, 0x0f, 0x0b },			/* ret */
	{ 0x8e, 0xe0, 0x0f, 0x05, 0x0f, 0x0b },	/* mov %eax, %fs; syscall */
	{ 0xf3, 0x0f, 0xae, 0xd0, 0xeb, 0xfe },	/* wrfsbase %eax; for ever */
	{ 0x48, 0x8b, 0x03, 0x0f, 0x0b },	/* mov (%rbx), %rax */
	{ 0x48, 0x89, 0x03, 0x0f, 0x0b },	/* mov %rax, (%rbx) */
	{ 0xff, 0xe3 },				/* jmp *%rbx */
	{ 0x50, 0x0f, 0x0b },			/* push %rax */
	{ 0xb8, 0xe2, 1, 0, 0, 0x0f, 0x05, 0xeb, 0xf7 }, /* release, for ever */
};

const unsigned long fz_pieces_size = sizeof(fz_pieces);

/* The same by numbers of 32-bit system calls: RPAL has none there. */
static unsigned long harmless32(struct fz *f)
{
	static const unsigned short nr[] = {
		0, 20, 119, 158, 173, 224, 243, 123, 384, 386, 600,
	};

	if (fz_one_in(f, 3))
		return __NR_rpal_arm + fz_below(f, 10);
	return nr[fz_below(f, ARRAY_SIZE(nr))];
}

/* A stack that returns, sooner or later, to where it can be caught. */
static unsigned long stack(struct fz *f)
{
	unsigned long *top = (unsigned long *)(fz_scratch + 8 * RPAL_PAGE);
	int i;

	for (i = 0; i < 24; i++)
		top[i] = fz_one_in(f, 3) ? fz_value(f) :
			 (unsigned long)fz_landing;
	switch (fz_below(f, 8)) {
	case 0:
		return fz_value(f);
	case 1:
		return (unsigned long)fz_ctl(f);
	default:
		return (unsigned long)top + 8 * fz_below(f, 3);
	}
}

static void registers(struct fz *f, struct fz_regs *r)
{
	unsigned long *each = &r->ax;
	int i;

	for (i = 0; i < 15; i++)
		each[i] = fz_value(f);
	r->ax = fz_harmless(f);
	if (!fz_one_in(f, 4))
		r->bx = (unsigned long)fz_ctl(f);
	if (!fz_one_in(f, 4))
		r->bp = (unsigned long)fz_ctl(f);
	r->flags = 0x202;
	if (fz_one_in(f, 16))
		r->flags |= fz_rand(f) & 0x244dd5;	/* AC, TF, DF, NT, ... */
	r->cs = FZ_CS;
	r->ss = FZ_DS;
	r->sp = stack(f);
}

/* Into the gate, anywhere. */
static long fz_jump(struct fz *f)
{
	const unsigned char *page = (void *)fz_gate();
	struct fz_regs r;
	int i, offset;

	registers(f, &r);
	offset = fz_below(f, fz_one_in(f, 8) ? 4096 : 700);
	/* At a system call, or behind one, of the gate's. */
	if (rpal_me.gate_call && fz_one_in(f, 3)) {
		for (i = 0; i < 1000; i++, offset = (offset + 1) % 1000)
			if (page[offset] == 0x0f && page[offset + 1] == 0x05)
				break;
		if (fz_one_in(f, 4))
			offset += 2;
	}
	r.ip = (unsigned long)page + offset;
	if (fz_one_in(f, 2))
		fz_pretend(f);
	fz_go(&r);
}

/* Traps and other ways into the kernel, in both sizes of code. */
static long fz_piece(struct fz *f)
{
	unsigned long nr = fz_below(f, 22);
	struct fz_regs r;

	registers(f, &r);
	/* int $0x80 is worth it most, endless loops least. */
	if (fz_one_in(f, 3) || ((nr == 11 || nr == 16) && fz_below(f, 4)))
		nr = 0;
	if (fz_one_in(f, 4))
		r.cs = FZ_CS32;
	if (!nr || r.cs == FZ_CS32)
		r.ax = harmless32(f);
	if (nr == 10)
		r.ax = fz_rand(f);
	if (nr == 18)
		r.bx = (unsigned long)fz_ctl(f);
	r.ip = (unsigned long)fz_low + nr * FZ_PIECE;
	/* Sometimes into the middle. */
	if (fz_one_in(f, 16))
		r.ip += fz_below(f, 4);
	if (fz_one_in(f, 2))
		fz_pretend(f);
	fz_go(&r);
}

static long fz_vsyscall(struct fz *f)
{
	struct fz_regs r;

	registers(f, &r);
	r.ip = 0xffffffffff600000UL + 0x400 * fz_below(f, 4);
	r.di = (unsigned long)fz_buffer(f);
	r.si = (unsigned long)fz_buffer(f);
	if (fz_one_in(f, 2))
		fz_pretend(f);
	fz_go(&r);
}

const struct fz_kind fz_jump_kinds[] = {
	{ "jump", fz_jump, 20 },
	{ "piece", fz_piece, 10 },
	{ "vsyscall", fz_vsyscall, 2 },
	{}
};
