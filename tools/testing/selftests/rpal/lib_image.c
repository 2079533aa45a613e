// SPDX-License-Identifier: GPL-2.0
/* Starting and stopping images, from a process that is not a service. */
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "rpal_lib.h"
#include "rpal_image.h"

const char *const image_part_names[PARTS] = {
	[PART_TEXT] = "text",
	[PART_DATA] = "data",
	[PART_STACK] = "stack",
	[PART_DEEP_STACK] = "grown stack",
	[PART_BRK] = "brk heap",
	[PART_MMAP] = "mmap",
	[PART_HINT_LOW] = "mmap at a low hint",
	[PART_HINT_GO] = "mmap at hint 0xc000000000",
	[PART_HINT_HIGH] = "mmap at a high hint",
	[PART_MALLOC] = "malloc",
	[PART_THREAD_STACK] = "thread stack",
	[PART_THREAD_MALLOC] = "thread's malloc",
	[PART_VDSO] = "vDSO",
	[PART_INTERP] = "interpreter",
	[PART_DLOPEN] = "loaded library",
};

const char *image_path(const char *name)
{
	static char path[4][PATH_MAX];
	static int next;
	char self[PATH_MAX] = "";
	char *p = path[next++ % 4];

	CHECK(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	snprintf(p, PATH_MAX, "%.3000s/%.500s", dirname(self), name);
	return p;
}

static void child(int how, const char *first, const char *second, int in,
		  int out, int err)
{
	const char *argv[3] = { "image", image_path("rpal_loaded.so") };
	int error;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHECK(dup2(in, STDIN_FILENO) >= 0);
	CHECK(dup2(out, STDOUT_FILENO) >= 0);
	if (how & IMAGE_SMALL)
		argv[1] = "small";
	if (how & IMAGE_ARMED)
		CHECK_EQ(0, rpal_arm(0));
	if (first) {
		argv[0] = first;
		execv(first, (char **)argv);
		error = errno;
		CHECK(write(err, &error, sizeof(error)) == sizeof(error));
	}
	if (second) {
		argv[0] = second;
		execv(second, (char **)argv);
	}
	_exit(100);
}

bool image_start(struct image *im, int how, const char *first,
		 const char *second)
{
	int in[2], out[2], err[2];

	memset(im, 0, sizeof(*im));
	CHECK(!pipe2(in, O_CLOEXEC));
	CHECK(!pipe2(out, O_CLOEXEC));
	CHECK(!pipe2(err, O_CLOEXEC));
	fflush(NULL);
	im->pid = fork();
	CHECK(im->pid >= 0);
	if (!im->pid)
		child(how, first, second, in[0], out[1], err[1]);
	close(in[0]);
	close(out[1]);
	close(err[1]);
	im->in = in[1];
	im->out = out[0];
	if (read(err[0], &im->first_errno, sizeof(int)) != sizeof(int))
		im->first_errno = 0;
	close(err[0]);
	return read(im->out, &im->report, sizeof(im->report)) ==
	       sizeof(im->report);
}

int image_stop(struct image *im)
{
	int status;

	close(im->in);
	close(im->out);
	CHECK_EQ(im->pid, waitpid(im->pid, &status, 0));
	return status;
}
