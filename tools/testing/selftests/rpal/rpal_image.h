/* SPDX-License-Identifier: GPL-2.0 */
/* Executables of several kinds, and what each says about its own layout. */
#ifndef RPAL_IMAGE_H
#define RPAL_IMAGE_H

#include <stdbool.h>
#include <sys/types.h>

#include <linux/rpal.h>

/**
 * struct image_report - what an image found when it ran
 * @service_ret: result of rpal_service(2)
 * @service: its answer
 * @secure: AT_SECURE
 * @pkru: PKRU at main(); meaningless on a CPU without protection keys
 * @part: addresses of its parts, 0 if it has no such part
 */
struct image_report {
	long service_ret;
	struct rpal_service service;
	unsigned long secure;
	unsigned int pkru;
	unsigned long part[16];
};

enum image_part {
	PART_TEXT,
	PART_DATA,
	PART_STACK,
	PART_DEEP_STACK,
	PART_BRK,
	PART_MMAP,
	PART_HINT_LOW,		/* mmap with a hint outside most slots */
	PART_HINT_GO,		/* the hint that Go's runtime starts with */
	PART_HINT_HIGH,
	PART_MALLOC,
	PART_THREAD_STACK,
	PART_THREAD_MALLOC,
	PART_VDSO,
	PART_INTERP,		/* these two only if dynamically linked */
	PART_DLOPEN,
	PARTS
};

extern const char *const image_part_names[PARTS];

/* One running image. */
struct image {
	pid_t pid;
	int in;			/* it leaves when this is closed */
	int out;
	int first_errno;	/* of the first exec, if it was refused */
	struct image_report report;
};

#define IMAGE_ARMED	1
#define IMAGE_SMALL	2	/* it only reports whether it is a service */

/*
 * In a new process, armed or not: exec the first, unless NULL, and if that is
 * refused the second, unless NULL. False: no report came.
 */
bool image_start(struct image *im, int how, const char *first,
		 const char *second);
/* The exit status as waitpid(2) gives it. */
int image_stop(struct image *im);

/* What rpal_loaded.so has. */
int rpal_loaded(void);

/* Path of a file beside this program. */
const char *image_path(const char *name);

#endif /* RPAL_IMAGE_H */
