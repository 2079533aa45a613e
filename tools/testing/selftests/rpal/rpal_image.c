// SPDX-License-Identifier: GPL-2.0
/*
 * A program with one of everything that has to be placed. Built as a PIE, a
 * static PIE and at fixed addresses. It reports where things are, on standard
 * output, and stays until its standard input ends.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "rpal_lib.h"
#include "rpal_image.h"

#define MIB	(1024 * 1024UL)

static struct image_report report;
static int thread_ready;

static void *thread_main(void *arg)
{
	int here;

	report.part[PART_THREAD_STACK] = (unsigned long)&here;
	report.part[PART_THREAD_MALLOC] = (unsigned long)malloc(1000);
	WRITE_ONCE(thread_ready, 1);
	for (;;)
		pause();
	return arg;
}

/* Touches the stack a page at a time, so that it has to grow. */
static unsigned long deeper(unsigned long bytes)
{
	char here[RPAL_PAGE];

	unsigned long end = (unsigned long)__builtin_frame_address(0);

	memset(here, 0, sizeof(here));
	if (bytes > sizeof(here))
		end = deeper(bytes - sizeof(here));
	/* Read here[] after the call: it is a frame, not a loop. */
	asm volatile("" : : "r" (here) : "memory");
	return end;
}

static unsigned long map(unsigned long hint)
{
	void *p = mmap((void *)hint, MIB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return 0;
	WRITE_ONCE(*(char *)p, 1);
	return (unsigned long)p;
}

static bool has_pku(void)
{
	unsigned int eax = 7, ebx, ecx = 0, edx;

	asm volatile("cpuid"
		     : "+a" (eax), "=b" (ebx), "+c" (ecx), "=d" (edx));
	return ecx & 0x10;	/* OSPKE */
}

int main(int argc, char **argv)
{
	pthread_t thread;
	char c;

	if (has_pku())
		report.pkru = rdpkru();
	report.service_ret = syscall(__NR_rpal_service, &report.service,
				     sizeof(report.service));
	if (report.service_ret)
		report.service_ret = -errno;
	report.secure = getauxval(AT_SECURE);
	if (argc > 1 && !strcmp(argv[1], "small"))
		goto small;
	report.part[PART_TEXT] = (unsigned long)main;
	report.part[PART_DATA] = (unsigned long)&report;
	report.part[PART_STACK] = (unsigned long)&c;
	report.part[PART_DEEP_STACK] = deeper(2 * MIB);
	report.part[PART_BRK] = (unsigned long)sbrk(MIB);
	if (report.part[PART_BRK] != -1UL)
		WRITE_ONCE(*(char *)report.part[PART_BRK], 1);
	report.part[PART_MMAP] = map(0);
	report.part[PART_HINT_LOW] = map(16 * MIB);
	report.part[PART_HINT_GO] = map(0xc000000000);
	report.part[PART_HINT_HIGH] = map(0x7f0000000000);
	report.part[PART_MALLOC] = (unsigned long)malloc(1000);
	report.part[PART_VDSO] = getauxval(AT_SYSINFO_EHDR);
#ifdef IMAGE_DYNAMIC
	report.part[PART_INTERP] = getauxval(AT_BASE);
	if (argc > 1) {
		void *lib = dlopen(argv[1], RTLD_NOW);

		if (lib)
			report.part[PART_DLOPEN] =
				(unsigned long)dlsym(lib, "rpal_loaded");
	}
#endif
	if (pthread_create(&thread, NULL, thread_main, NULL))
		return 2;
	while (!READ_ONCE(thread_ready))
		sched_yield();
small:
	if (write(STDOUT_FILENO, &report, sizeof(report)) != sizeof(report))
		return 3;
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	return 0;
}
