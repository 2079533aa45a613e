// SPDX-License-Identifier: GPL-2.0
/*
 * Virtual machines with memory in a window. What KVM has mapped for a guest it
 * takes back only if its own process unmaps it: a page of the peer's, which is
 * unmapped by the peer, must never get there.
 *
 * To see these fail: do not refuse VM_FOREIGN_PT in follow_pfnmap_start(). The guest
 * gets at the peer's page then (window_clock: KVM itself does).
 */
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "rpal_machine.h"
#include "rpal_test.h"

#define MSR_CLOCK	0x4b564d01	/* where KVM writes the time */

static struct rpal_proc peer;
static struct machine machine;

/* A page of the peer's that this thread may do everything with. */
static unsigned char *open_page(void)
{
	unsigned long page;

	machine_need();
	rpal_spawn(&peer);
	rpal_connect(&peer);
	machine_make(&machine);
	machine_check(&machine);
	page = rpal_mmap(&peer, RPAL_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
	pkru_open(peer.service.pkey);
	machine_set_data(&machine, page);
	return (unsigned char *)page;
}

/* Whether the page is there or not, and however often it is tried. */
static void check_refused(const struct program *program)
{
	unsigned char *page = open_page();
	int i;

	CHECK_EQ(-EFAULT, machine_run_program(&machine, program));
	CHECK_EQ(0, rpal_run(&peer, do_fill, (unsigned long)page, RPAL_PAGE,
			     0x42, 0));
	/* It is there, and so are the tables of this window. */
	CHECK_EQ(0x42, READ_ONCE(*page));
	WRITE_ONCE(page[1], 0x43);
	for (i = 0; i < 10; i++) {
		CHECK_EQ(-EFAULT, machine_run(&machine));
		CHECK_EQ(-EFAULT, machine_run_program(&machine, program));
	}
	CHECK_EQ(0x42, READ_ONCE(*page));
	CHECK_EQ(0x43, READ_ONCE(page[1]));
	machine_check(&machine);
	/* Nor when there is nobody behind it any more. */
	machine_set_data(&machine, (unsigned long)page);
	CHECK_EQ(0, rpal_detach(peer.fd));
	CHECK_EQ(-EFAULT, machine_run_program(&machine, program));
	rpal_kill(&peer);
	CHECK_EQ(-EFAULT, machine_run_program(&machine, program));
	machine_check(&machine);
}

RPAL_TEST(window_read)
{
	check_refused(&machine_reads);
}

RPAL_TEST(window_write)
{
	check_refused(&machine_writes);
}

RPAL_TEST(window_executed)
{
	check_refused(&machine_jumps);
}

static void set_clock(unsigned long at)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = {
		.head.nmsrs = 1,
		.entry = { .index = MSR_CLOCK, .data = at },
	};

	CHECK_EQ(1, ioctl(machine.vcpu, KVM_SET_MSRS, &msrs));
}

/* KVM has places that it writes to by itself, as long as the guest runs. */
RPAL_TEST(window_clock)
{
	unsigned char *page = open_page();
	unsigned char *own = machine_page();
	int i;

	machine_set_data(&machine, (unsigned long)own);
	set_clock(MACHINE_DATA | 1);
	CHECK_EQ(0x77, machine_run_program(&machine, &machine_leaves));
	for (i = 0; i < 32 && !own[i]; i++)
		;
	CHECK(i < 32);

	CHECK_EQ(0, rpal_run(&peer, do_fill, (unsigned long)page, RPAL_PAGE, 0,
			     0));
	CHECK_EQ(0, READ_ONCE(*page));
	machine_set_data(&machine, (unsigned long)page);
	set_clock(0);
	set_clock(MACHINE_DATA | 1);
	CHECK_EQ(0x77, machine_run_program(&machine, &machine_leaves));
	for (i = 0; i < 32; i++)
		CHECK_EQ(0, READ_ONCE(page[i]));
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
