/* SPDX-License-Identifier: GPL-2.0 */
/* A virtual machine of two pages, for the tests of KVM. */
#ifndef RPAL_MACHINE_H
#define RPAL_MACHINE_H

#include <linux/kvm.h>

#include "rpal_lib.h"

#define MACHINE_CODE		0x1000	/* where it has its instructions */
#define MACHINE_DATA		0x2000	/* what it looks at */
#define MACHINE_DONE		0x10	/* the port by which it leaves */
#define MACHINE_EVENT		0x20	/* the port that KVM answers by an event */

struct machine {
	int vm, vcpu;
	struct kvm_run *run;
	size_t run_len;
	unsigned char *code;
	bool has_data;
};

/* Programs for it. */
struct program {
	size_t len;
	unsigned char code[16];
};

extern const struct program machine_reads;	/* DATA, and leaves with it */
extern const struct program machine_writes;	/* 0x5a to DATA */
extern const struct program machine_jumps;	/* to DATA */
extern const struct program machine_leaves;	/* with 0x77 */
extern const struct program machine_loops;	/* by EVENT, while DATA is 0 */

/* Leaves the test if there can be none. */
void machine_need(void);
void machine_make(struct machine *m);
void machine_end(struct machine *m);

/* What is at DATA, in this process. */
void machine_set_data(struct machine *m, unsigned long addr);
/* Its next instruction is the first of @p. */
void machine_set_program(struct machine *m, const struct program *p);

/* What it leaves with, or the negative error number of KVM_RUN. */
long machine_run(struct machine *m);
long machine_run_program(struct machine *m, const struct program *p);

/* It does with memory of this process whatever it likes. */
void machine_check(struct machine *m);

/* A new page of this process. */
void *machine_page(void);

#endif /* RPAL_MACHINE_H */
