// SPDX-License-Identifier: GPL-2.0
/*
 * Where an armed exec puts a program.
 *
 * To see these fail: take the slot out of one of the places that decide an
 * address (STACK_TOP, ELF_ET_DYN_BASE, arch_pick_mmap_layout(),
 * arch_mmap_rnd(), find_start_end(), arch_get_unmapped_area_topdown()):
 * inside and parts. Leave the key out of def_flags: keys. Return 0 from the
 * slot's random functions: aslr. Hand out the lowest free slot: round_robin.
 * Give 32-bit calls a range of their own: mmap_of_32_bits.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "rpal_test.h"
#include "rpal_image.h"

static unsigned long slot_of(unsigned long addr)
{
	return addr >> RPAL_SLOT_SHIFT;
}

static unsigned long gate_page(const struct rpal_service *s)
{
	return s->gate_call & ~(RPAL_PAGE - 1);
}

FIXTURE(image)
{
	struct image im;
	struct rpal_service s;
	struct rpal_map maps[RPAL_MAX_MAPS];
	int nr;
};

FIXTURE_VARIANT(image)
{
	const char *name;
	bool dynamic;
};

FIXTURE_VARIANT_ADD(image, pie) {
	.name = "rpal_image_pie",
	.dynamic = true,
};

FIXTURE_VARIANT_ADD(image, static_pie) {
	.name = "rpal_image_static_pie",
};

FIXTURE_SETUP(image)
{
	const char *why = rpal_missing();

	if (why)
		SKIP(return, "%s", why);
	ASSERT_TRUE(image_start(&self->im, IMAGE_ARMED, NULL,
				image_path(variant->name)));
	ASSERT_EQ(0, self->im.report.service_ret);
	self->s = self->im.report.service;
	self->nr = rpal_maps(self->im.pid, self->maps, RPAL_MAX_MAPS);
}

FIXTURE_TEARDOWN(image)
{
	if (self->im.pid)
		EXPECT_EQ(0, image_stop(&self->im));
}

TEST_F(image, facts)
{
	EXPECT_LE(RPAL_SLOT_FIRST, self->s.slot);
	EXPECT_GE(RPAL_SLOT_LAST, self->s.slot);
	EXPECT_EQ((__u64)self->s.slot << RPAL_SLOT_SHIFT, self->s.slot_start);
	EXPECT_EQ(self->s.slot, slot_of(self->s.ctl_start));
	EXPECT_EQ(0, self->s.ctl_start % RPAL_PAGE);
	EXPECT_EQ(RPAL_MAX_THREADS, self->s.max_threads);
	EXPECT_EQ(0, self->s.mode);
	EXPECT_EQ(-1, self->s.fd);
	EXPECT_EQ(GATE_SLOT, slot_of(self->s.gate_call));
	EXPECT_EQ(gate_page(&self->s), self->s.gate_wait & ~(RPAL_PAGE - 1));
	EXPECT_EQ(gate_page(&self->s), self->s.gate_copy & ~(RPAL_PAGE - 1));
}

TEST_F(image, inside)
{
	int gates = 0;
	int i;

	ASSERT_LT(10, self->nr);
	for (i = 0; i < self->nr; i++) {
		const struct rpal_map *m = &self->maps[i];

		if (!strcmp(m->name, "[vsyscall]"))
			continue;
		if (m->start == gate_page(&self->s)) {
			EXPECT_EQ(m->start + RPAL_PAGE, m->end);
			EXPECT_STREQ("r-xp", m->prot);
			gates++;
			continue;
		}
		EXPECT_EQ(self->s.slot, slot_of(m->start)) {
			TH_LOG("%lx-%lx %s", m->start, m->end, m->name);
		}
		EXPECT_EQ(self->s.slot, slot_of(m->end - 1)) {
			TH_LOG("%lx-%lx %s", m->start, m->end, m->name);
		}
	}
	EXPECT_EQ(1, gates);
}

TEST_F(image, parts)
{
	static const char *const names[] = {
		"[stack]", "[heap]", "[vdso]", "[vvar]",
	};
	unsigned long addr;
	size_t n;
	int i;

	for (i = 0; i < PARTS; i++) {
		if (i >= PART_INTERP && !variant->dynamic)
			break;
		addr = self->im.report.part[i];
		EXPECT_EQ(self->s.slot, slot_of(addr)) {
			TH_LOG("%s at %lx", image_part_names[i], addr);
		}
		EXPECT_NE(NULL, rpal_map_at(self->maps, self->nr, addr)) {
			TH_LOG("%s at %lx", image_part_names[i], addr);
		}
	}
	for (n = 0; n < ARRAY_SIZE(names); n++) {
		for (i = 0; i < self->nr; i++)
			if (!strcmp(self->maps[i].name, names[n]))
				break;
		EXPECT_LT(i, self->nr) {
			TH_LOG("no %s", names[n]);
		}
	}
}

TEST_F(image, keys)
{
	unsigned long ctl_end = self->s.ctl_start + RPAL_CTL_PAGES * RPAL_PAGE;
	int ctl_pages = 0;
	int i;

	EXPECT_LE(RPAL_KEY_FIRST, self->s.pkey);
	EXPECT_GE(RPAL_KEY_LAST, self->s.pkey);
	for (i = 0; i < self->nr; i++) {
		const struct rpal_map *m = &self->maps[i];
		bool ctl = m->start >= self->s.ctl_start && m->end <= ctl_end;
		bool shared = ctl || slot_of(m->start) == GATE_SLOT ||
			      !strcmp(m->name, "[vsyscall]");

		if (ctl)
			ctl_pages += (m->end - m->start) / RPAL_PAGE;
		EXPECT_EQ(shared ? 0 : (int)self->s.pkey, m->pkey) {
			TH_LOG("%lx-%lx %s", m->start, m->end, m->name);
		}
	}
	EXPECT_EQ(RPAL_CTL_PAGES, ctl_pages);
	/* Access-disable bits for all keys but key 0 and the own one. */
	EXPECT_EQ(0x55555555 & ~(pkru_mask(0) | pkru_mask(self->s.pkey)),
		  self->s.pkru);
	EXPECT_EQ(self->s.pkru, self->im.report.pkru);
}

/* Eight starts: the chance that a part which moves does not is nil. */
RPAL_PLAIN_TEST(aslr)
{
	static const int moving[] = {
		PART_TEXT, PART_STACK, PART_BRK, PART_MMAP, PART_VDSO,
		PART_INTERP, PART_DLOPEN,
	};
	unsigned long first[PARTS], offset;
	bool moved[PARTS] = {};
	char how[8] = "";
	struct image im;
	FILE *f;
	size_t n;
	int i;

	f = fopen("/proc/sys/kernel/randomize_va_space", "r");
	if (!f || !fgets(how, sizeof(how), f) || how[0] != '2')
		SKIP(return, "kernel.randomize_va_space is not 2");
	fclose(f);

	for (i = 0; i < 8; i++) {
		ASSERT_TRUE(image_start(&im, IMAGE_ARMED, NULL,
					image_path("rpal_image_pie")));
		for (n = 0; n < ARRAY_SIZE(moving); n++) {
			offset = im.report.part[moving[n]] % RPAL_SLOT_SIZE;
			if (!i)
				first[moving[n]] = offset;
			if (offset != first[moving[n]])
				moved[moving[n]] = true;
		}
		EXPECT_EQ(0, image_stop(&im));
	}
	for (n = 0; n < ARRAY_SIZE(moving); n++)
		EXPECT_TRUE(moved[moving[n]]) {
			TH_LOG("%s never moves", image_part_names[moving[n]]);
		}
}

/* Slots are not used again at once: a stale pointer then meets a stranger. */
RPAL_PLAIN_TEST(round_robin)
{
	unsigned int slot[6];
	struct image im;
	int i, j;

	for (i = 0; i < (int)ARRAY_SIZE(slot); i++) {
		ASSERT_TRUE(image_start(&im, IMAGE_ARMED, NULL,
					image_path("rpal_image_static_pie")));
		slot[i] = im.report.service.slot;
		EXPECT_EQ(0, image_stop(&im));
		for (j = 0; j < i; j++)
			EXPECT_NE(slot[j], slot[i]);
	}
}

/* The gate is where it was in every other service. */
RPAL_PLAIN_TEST(gate_address)
{
	struct image a, b;

	ASSERT_TRUE(image_start(&a, IMAGE_ARMED, NULL,
				image_path("rpal_image_pie")));
	ASSERT_TRUE(image_start(&b, IMAGE_ARMED, NULL,
				image_path("rpal_image_static_pie")));
	EXPECT_EQ(a.report.service.gate_call, b.report.service.gate_call);
	EXPECT_EQ(a.report.service.gate_wait, b.report.service.gate_wait);
	EXPECT_EQ(a.report.service.gate_copy, b.report.service.gate_copy);
	EXPECT_NE(a.report.service.slot, b.report.service.slot);
	EXPECT_EQ(0, image_stop(&a));
	EXPECT_EQ(0, image_stop(&b));
}

#define MMAP2_32	192
#define BELOW_4G	0x20000000UL

/* By the entry for 32-bit calls, which a program of 64 bits may use as well. */
static long mmap_32(unsigned long addr, int flags)
{
	long ret;

	asm volatile("mov %%rbp, %%r12\n\t"
		     "xor %%ebp, %%ebp\n\t"
		     "int $0x80\n\t"
		     "mov %%r12, %%rbp"
		     : "=a" (ret)
		     : "a" (MMAP2_32), "b" (addr), "c" (RPAL_PAGE),
		       "d" (PROT_READ), "D" (-1),
		       "S" (MAP_PRIVATE | MAP_ANONYMOUS | flags)
		     : "r8", "r9", "r10", "r11", "r12", "memory");
	return ret;
}

/* They get nothing, rather than something that peers do not see. */
RPAL_TEST(mmap_of_32_bits)
{
	if (!rpal_has_int80())
		rpal_skip("no 32-bit system calls");
	CHECK_EQ(-ENOMEM, mmap_32(0, 0));
	CHECK_EQ(-ENOMEM, mmap_32(BELOW_4G, 0));
	/* Who names the place gets it. */
	CHECK_EQ(BELOW_4G, mmap_32(BELOW_4G, MAP_FIXED));
	CHECK_EQ(0, do_munmap(BELOW_4G, RPAL_PAGE, 0, 0));
	CHECK_EQ(rpal_me.slot, slot_of(do_mmap(0, RPAL_PAGE, PROT_READ,
					       MAP_PRIVATE | MAP_ANONYMOUS)));
}

/* A process that did not arm is placed as ever. */
RPAL_PLAIN_TEST(unarmed)
{
	struct image im;

	ASSERT_TRUE(image_start(&im, 0, NULL, image_path("rpal_image_pie")));
	EXPECT_EQ(-ENXIO, im.report.service_ret);
	EXPECT_LE(GATE_SLOT - 2, slot_of(im.report.part[PART_STACK]));
	EXPECT_EQ(0, image_stop(&im));
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
