// SPDX-License-Identifier: GPL-2.0
/* A virtual machine of two pages, for the tests of KVM. */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "rpal_machine.h"

#define PROGRAM(...) {						\
	.len = sizeof((const unsigned char[]){ __VA_ARGS__ }),	\
	.code = { __VA_ARGS__ },				\
}

/* mov DATA, %al; out %al, $DONE */
const struct program machine_reads =
	PROGRAM(0xa0, 0x00, 0x20, 0xe6, MACHINE_DONE);
/* mov $0x5a, %al; mov %al, DATA; out %al, $DONE */
const struct program machine_writes =
	PROGRAM(0xb0, 0x5a, 0xa2, 0x00, 0x20, 0xe6, MACHINE_DONE);
/* jmp DATA */
const struct program machine_jumps = PROGRAM(0xe9, 0xfd, 0x0f);
/* mov $0x77, %al; out %al, $DONE */
const struct program machine_leaves =
	PROGRAM(0xb0, 0x77, 0xe6, MACHINE_DONE);
/* 1: out %al, $EVENT; cmpb $0, DATA; je 1b; out %al, $DONE */
const struct program machine_loops =
	PROGRAM(0xe6, MACHINE_EVENT, 0x80, 0x3e, 0x00, 0x20, 0x00, 0x74, 0xf7,
		0xe6, MACHINE_DONE);

void machine_need(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0)
		rpal_skip("no KVM here: %s", strerror(errno));
	close(kvm);
}

void *machine_page(void)
{
	void *page = mmap(NULL, RPAL_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(page != MAP_FAILED);
	return page;
}

static void set_memory(struct machine *m, int slot, unsigned long at,
		       unsigned long addr)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = at,
		.memory_size = RPAL_PAGE,
		.userspace_addr = addr,
	};

	CHECK_EQ(0, ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &region));
}

void machine_set_data(struct machine *m, unsigned long addr)
{
	struct kvm_userspace_memory_region none = { .slot = 1 };

	if (m->has_data)
		CHECK_EQ(0, ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &none));
	m->has_data = true;
	set_memory(m, 1, MACHINE_DATA, addr);
}

void machine_set_program(struct machine *m, const struct program *p)
{
	struct kvm_regs regs = { .rip = MACHINE_CODE, .rflags = 2 };
	struct kvm_sregs sregs;

	memset(m->code, 0xf4, RPAL_PAGE);
	memcpy(m->code, p->code, p->len);
	CHECK_EQ(0, ioctl(m->vcpu, KVM_GET_SREGS, &sregs));
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	CHECK_EQ(0, ioctl(m->vcpu, KVM_SET_SREGS, &sregs));
	CHECK_EQ(0, ioctl(m->vcpu, KVM_SET_REGS, &regs));
}

void machine_make(struct machine *m)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int len;

	CHECK(kvm >= 0);
	CHECK_EQ(KVM_API_VERSION, ioctl(kvm, KVM_GET_API_VERSION, 0));
	m->vm = ioctl(kvm, KVM_CREATE_VM, 0);
	CHECK(m->vm >= 0);
	m->code = machine_page();
	m->has_data = false;
	set_memory(m, 0, MACHINE_CODE, (unsigned long)m->code);
	m->vcpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
	CHECK(m->vcpu >= 0);
	len = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	CHECK(len > 0);
	m->run_len = len;
	m->run = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu,
		      0);
	CHECK(m->run != MAP_FAILED);
	close(kvm);
}

void machine_end(struct machine *m)
{
	CHECK(!munmap(m->run, m->run_len));
	close(m->vcpu);
	close(m->vm);
	CHECK(!munmap(m->code, RPAL_PAGE));
}

long machine_run(struct machine *m)
{
	if (ioctl(m->vcpu, KVM_RUN, 0))
		return -errno;
	CHECK_EQ(KVM_EXIT_IO, m->run->exit_reason);
	CHECK_EQ(MACHINE_DONE, m->run->io.port);
	return ((unsigned char *)m->run)[m->run->io.data_offset];
}

long machine_run_program(struct machine *m, const struct program *p)
{
	machine_set_program(m, p);
	return machine_run(m);
}

void machine_check(struct machine *m)
{
	unsigned char *page = machine_page();

	memset(page, 0x42, RPAL_PAGE);
	machine_set_data(m, (unsigned long)page);
	CHECK_EQ(0x42, machine_run_program(m, &machine_reads));
	CHECK_EQ(0x5a, machine_run_program(m, &machine_writes));
	CHECK_EQ(0x5a, page[0]);
	memcpy(page, machine_leaves.code, machine_leaves.len);
	CHECK_EQ(0x77, machine_run_program(m, &machine_jumps));
}
