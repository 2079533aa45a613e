// SPDX-License-Identifier: GPL-2.0
/* A cgroup whose process can be frozen. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "rpal_freezer.h"

const struct freezer freezer_first = {
	"cgroup", "freezer",
	"freezer.state", "FROZEN", "THAWED",
	"freezer.state", "FROZEN", "THAWED",
}, freezer_second = {
	"cgroup2", NULL,
	"cgroup.freeze", "1", "0",
	"cgroup.events", "frozen 1", "frozen 0",
};

static const struct freezer *kind;
static char root[20], group[40];

static int open_file(const char *name, int how)
{
	char path[100];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", group, name);
	fd = open(path, how | O_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

static void put(const char *name, const char *text)
{
	int fd = open_file(name, O_WRONLY);

	CHECK_EQ(strlen(text), write(fd, text, strlen(text)));
	close(fd);
}

static void wait_for_state(const char *want)
{
	char text[100];
	ssize_t n;
	int fd;

	do {
		usleep(1000);
		fd = open_file(kind->state, O_RDONLY);
		n = read(fd, text, sizeof(text) - 1);
		CHECK(n > 0);
		close(fd);
		text[n] = 0;
	} while (!strstr(text, want));
}

void freezer_start(const struct freezer *f, pid_t pid)
{
	char text[20];

	kind = f;
	snprintf(root, sizeof(root), "/tmp/rpal-XXXXXX");
	CHECK(mkdtemp(root));
	if (mount("none", root, f->type, 0, f->options)) {
		rmdir(root);
		rpal_skip("no freezer of this kind here");
	}
	snprintf(group, sizeof(group), "%s/rpal-%d", root, getpid());
	CHECK(!mkdir(group, 0755));
	snprintf(text, sizeof(text), "%d", pid);
	put("cgroup.procs", text);
}

void freezer_freeze(void)
{
	put(kind->order, kind->freeze);
	wait_for_state(kind->frozen);
}

void freezer_thaw(void)
{
	put(kind->order, kind->thaw);
	wait_for_state(kind->thawed);
}

void freezer_end(void)
{
	while (rmdir(group))
		CHECK_EQ(EBUSY, errno);
	CHECK(!umount(root));
	CHECK(!rmdir(root));
}
