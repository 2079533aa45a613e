// SPDX-License-Identifier: GPL-2.0
/*
 * What does not become a service, and that a refusal leaves no trace.
 *
 * To see these fail: take any one of the checks out of the exec hook (the
 * image then starts, half placed), move the hook behind the point of no
 * return (exec then kills instead of giving an errno), or drop the armed
 * state before the checks (first_errno is right, but the next exec does not
 * give a service); charge each user for itself (too_many_of_namespace).
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <linux/elf.h>

#include "rpal_test.h"
#include "rpal_image.h"

#define SYSCTL	"/proc/sys/kernel/rpal_disabled"

static bool sysctl_write(const char *value)
{
	int fd = open(SYSCTL, O_WRONLY);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, value, strlen(value)) == (ssize_t)strlen(value);
	close(fd);
	return ok;
}

/*
 * Armed: exec of @bad is refused with @error, and the next exec of a good
 * image, from the same process, gives a service: the arm was kept.
 */
static void refused(struct __test_metadata *_metadata, const char *bad,
		    int error)
{
	struct image im;

	ASSERT_TRUE(image_start(&im, IMAGE_ARMED, bad,
				image_path("rpal_image_pie")));
	EXPECT_EQ(error, im.first_errno);
	EXPECT_EQ(0, im.report.service_ret);
	EXPECT_EQ(0, image_stop(&im));
}

/* An image at fixed addresses can't be put into a slot. */
RPAL_PLAIN_TEST(fixed_address)
{
	struct image im;

	/* It is a sound program otherwise. */
	ASSERT_TRUE(image_start(&im, 0, NULL, image_path("rpal_image_exec")));
	EXPECT_EQ(0, image_stop(&im));
	refused(_metadata, image_path("rpal_image_exec"), EOPNOTSUPP);
}

RPAL_PLAIN_TEST(compat)
{
	struct image im;

	if (access(image_path("rpal_image_32"), X_OK))
		SKIP(return, "no 32-bit image was built");
	image_start(&im, 0, NULL, image_path("rpal_image_32"));
	if (image_stop(&im) != 32 << 8)
		SKIP(return, "32-bit programs do not run here");
	refused(_metadata, image_path("rpal_image_32"), EOPNOTSUPP);
}

static bool copy_image(const char *name, char *path)
{
	char cmd[1000];
	int fd = mkstemp(path);

	if (fd < 0)
		return false;
	close(fd);
	snprintf(cmd, sizeof(cmd), "cp '%s' '%s'", image_path(name), path);
	return !system(cmd) && !chmod(path, 0755);
}

/* Lets the last of the file's segments ask for that alignment. */
static bool align_image(const char *path, unsigned long align)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct elf64_phdr segment;
	struct elf64_hdr elf;
	off_t at = 0;
	bool ok;
	int i;

	ok = fd >= 0 && pread(fd, &elf, sizeof(elf), 0) == sizeof(elf);
	for (i = 0; ok && i < elf.e_phnum; i++) {
		off_t here = elf.e_phoff + i * sizeof(segment);

		ok = pread(fd, &segment, sizeof(segment), here) ==
		     sizeof(segment);
		if (segment.p_type == PT_LOAD)
			at = here;
	}
	at += offsetof(struct elf64_phdr, p_align);
	ok = ok && pwrite(fd, &align, sizeof(align), at) == sizeof(align);
	close(fd);
	return ok;
}

/* The loader rounds an image's start down to what a segment asks for. */
static void alignment(struct __test_metadata *_metadata, const char *name)
{
	char path[] = "/tmp/rpal-aligned-XXXXXX";
	struct image im;
	int shift;

	if (!copy_image(name, path)) {
		unlink(path);
		SKIP(return, "can't make a program in /tmp");
	}
	for (shift = 12; shift <= 32; shift += 10) {
		ASSERT_TRUE(align_image(path, 1UL << shift));
		ASSERT_TRUE(image_start(&im, IMAGE_ARMED, NULL, path));
		EXPECT_EQ(0, im.report.service_ret);
		EXPECT_EQ(im.report.service.slot,
			  im.report.part[PART_TEXT] >> RPAL_SLOT_SHIFT);
		EXPECT_EQ(im.report.service.slot,
			  im.report.part[PART_DATA] >> RPAL_SLOT_SHIFT);
		EXPECT_EQ(0, image_stop(&im));
	}
	for (shift = 33; shift < 47; shift++) {
		ASSERT_TRUE(align_image(path, 1UL << shift));
		refused(_metadata, path, EOPNOTSUPP);
	}
	/* It is a sound program otherwise. */
	ASSERT_TRUE(align_image(path, 1UL << 40));
	ASSERT_TRUE(image_start(&im, 0, NULL, path));
	EXPECT_EQ(0, image_stop(&im));
	unlink(path);
}

RPAL_PLAIN_TEST(aligned)
{
	alignment(_metadata, "rpal_image_pie");
}

RPAL_PLAIN_TEST(aligned_static)
{
	alignment(_metadata, "rpal_image_static_pie");
}

/* A copy of the image for another owner, set-user-ID. */
static bool setuid_copy(char *path)
{
	return copy_image("rpal_image_static_pie", path) &&
	       !chown(path, 65534, 65534) && !chmod(path, 04755);
}

RPAL_PLAIN_TEST(set_user_id)
{
	char path[] = "/tmp/rpal-setuid-XXXXXX";
	struct image im;
	bool secure;

	if (geteuid())
		SKIP(return, "needs root to make a set-user-ID program");
	if (!setuid_copy(path)) {
		unlink(path);
		SKIP(return, "can't make a set-user-ID program in /tmp");
	}
	secure = image_start(&im, 0, NULL, path) && im.report.secure;
	image_stop(&im);
	if (!secure) {
		unlink(path);
		SKIP(return, "set-user-ID has no effect in /tmp");
	}
	refused(_metadata, path, EPERM);
	unlink(path);
}

/* Errors that have nothing to do with RPAL keep the arm too. */
RPAL_PLAIN_TEST(other_errors)
{
	refused(_metadata, "/nonexistent/program", ENOENT);
	refused(_metadata, "/", EACCES);
}

/* The interpreter of a script is what becomes the service. */
RPAL_PLAIN_TEST(script)
{
	char path[] = "/tmp/rpal-script-XXXXXX";
	struct image im;
	FILE *f;
	int fd;

	fd = mkstemp(path);
	ASSERT_LE(0, fd);
	f = fdopen(fd, "w");
	fprintf(f, "#!%s\n", image_path("rpal_image_pie"));
	ASSERT_EQ(0, fchmod(fd, 0755));
	fclose(f);
	if (access(path, X_OK) || strlen(image_path("")) > 100) {
		unlink(path);
		SKIP(return, "/tmp holds no scripts, or the path is too long");
	}
	ASSERT_TRUE(image_start(&im, IMAGE_ARMED, NULL, path));
	EXPECT_EQ(0, im.report.service_ret);
	EXPECT_EQ(0, image_stop(&im));
	unlink(path);
}

/* No image leaves with this status: the process is still the one it was. */
#define SAME_PROCESS	77

static __noreturn void be_refused(void)
{
	static struct rpal_map before[RPAL_MAX_MAPS], after[RPAL_MAX_MAPS];
	const char *path = image_path("rpal_image_exec");
	char *const argv[] = { "image", NULL };
	struct rpal_service s = {};
	pid_t pid = getpid();
	int nr, i, status;

	CHECK_EQ(0, rpal_arm(0));
	nr = rpal_maps(0, before, RPAL_MAX_MAPS);
	CHECK_EQ(-EOPNOTSUPP, rpal_err(execv(path, argv)));
	CHECK_EQ(nr, rpal_maps(0, after, RPAL_MAX_MAPS));
	for (i = 0; i < nr; i++) {
		CHECK_EQ(before[i].start, after[i].start);
		CHECK_EQ(before[i].end, after[i].end);
		CHECK_EQ(before[i].pkey, after[i].pkey);
	}
	CHECK_EQ(pid, getpid());
	CHECK_EQ(-ENXIO, rpal_syscall(__NR_rpal_service, (unsigned long)&s,
				      sizeof(s), 0, 0, 0, 0));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid)
		_exit(system("exit 7") == 7 << 8 ? 0 : 1);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(0, status);
	_exit(SAME_PROCESS);
}

/* The process that was refused goes on as it was. */
RPAL_PLAIN_TEST(still_runs)
{
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		be_refused();
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(SAME_PROCESS << 8, status);
}

RPAL_PLAIN_TEST(disarm)
{
	ASSERT_EQ(0, rpal_arm(0));
	EXPECT_EQ(0, rpal_arm(RPAL_ARM_DISARM));
	/* Disarmed already: nothing to take back, and no error. */
	EXPECT_EQ(0, rpal_arm(RPAL_ARM_DISARM));
}

static int report_after_exec(const char *path, struct image_report *report)
{
	struct image im = {};
	int in[2], out[2];

	CHECK(!pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC));
	im.pid = fork();
	if (!im.pid) {
		char *const argv[] = { "image", NULL };

		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		CHECK_EQ(0, rpal_arm(0));
		CHECK_EQ(0, rpal_arm(RPAL_ARM_DISARM));
		execv(path, argv);
		_exit(100);
	}
	close(in[0]);
	close(out[1]);
	CHECK(read(out[0], report, sizeof(*report)) == sizeof(*report));
	im.in = in[1];
	im.out = out[0];
	return image_stop(&im);
}

/* Armed and disarmed in the process that execs. */
RPAL_PLAIN_TEST(disarm_then_exec)
{
	struct image_report report;

	EXPECT_EQ(0, report_after_exec(image_path("rpal_image_pie"), &report));
	EXPECT_EQ(-ENXIO, report.service_ret);
	/* And a fixed-address image, refused to the armed, runs. */
	EXPECT_EQ(0, report_after_exec(image_path("rpal_image_exec"), &report));
	EXPECT_EQ(-ENXIO, report.service_ret);
}

/* Arming is the task's, for its own exec: its children do not inherit it. */
RPAL_PLAIN_TEST(not_inherited)
{
	struct image im;

	ASSERT_EQ(0, rpal_arm(0));
	ASSERT_TRUE(image_start(&im, 0, NULL, image_path("rpal_image_pie")));
	EXPECT_EQ(-ENXIO, im.report.service_ret);
	EXPECT_EQ(0, image_stop(&im));
	EXPECT_EQ(0, rpal_arm(RPAL_ARM_DISARM));
}

static long exec_image(unsigned long a0, unsigned long a1, unsigned long a2,
		       unsigned long a3)
{
	char *const argv[] = { "image", NULL };

	/* Not armed, so that even this image may be executed. */
	execv(image_path("rpal_image_exec"), argv);
	return -errno;
}

/* The exec that succeeds uses the arm up, and ends the service. */
RPAL_PLAIN_TEST(used_up)
{
	struct image_report report;
	struct rpal_proc p;
	int in[2], out[2];
	pid_t pid;

	ASSERT_EQ(0, pipe2(in, O_CLOEXEC));
	ASSERT_EQ(0, pipe2(out, O_CLOEXEC));
	pid = fork();
	if (!pid) {
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		close(in[1]);
		rpal_spawn(&p);
		rpal_post(&p, exec_image, 0, 0, 0, 0);
		_exit(rpal_reap(&p) ? 1 : 0);
	}
	close(in[0]);
	close(out[1]);
	ASSERT_EQ(sizeof(report), read(out[0], &report, sizeof(report)));
	EXPECT_EQ(-ENXIO, report.service_ret);
	EXPECT_EQ(0x55555554, report.pkru);
	close(in[1]);
	ASSERT_EQ(pid, waitpid(pid, &in[0], 0));
	EXPECT_EQ(0, in[0]);
}

/* One user, or all of them, can have so many services and not more. */
RPAL_PLAIN_TEST(too_many)
{
	const char *path = image_path("rpal_image_static_pie");
	int how = IMAGE_ARMED | IMAGE_SMALL;
	static struct image im[RPAL_SLOT_LAST + 1];
	int nr = 0;

	while (nr <= RPAL_SLOT_LAST && image_start(&im[nr], how, path, NULL))
		EXPECT_EQ(0, im[nr++].report.service_ret);
	ASSERT_GE(RPAL_SLOT_LAST, nr);
	ASSERT_LE(16, nr);
	EXPECT_TRUE(im[nr].first_errno == EAGAIN ||
		    im[nr].first_errno == ENOSPC) {
		TH_LOG("errno %d after %d", im[nr].first_errno, nr);
	}
	/* Who may exceed limits has a way out when others have all they may. */
	if (sysctl_write("0"))
		EXPECT_LT(128, nr);
	EXPECT_EQ(100 << 8, image_stop(&im[nr]));
	/* One less, and there is room for one. */
	EXPECT_EQ(0, image_stop(&im[0]));
	EXPECT_TRUE(image_start(&im[0], how, path, NULL));
	while (nr--)
		EXPECT_EQ(0, image_stop(&im[nr]));
}

/* Until it may have no more; how many it then has. */
static int start_all(struct image *im, const char *path)
{
	int how = IMAGE_ARMED | IMAGE_SMALL, nr = 0;

	while (nr <= RPAL_SLOT_LAST && image_start(&im[nr], how, path, NULL))
		nr++;
	CHECK(nr >= 16 && nr <= (RPAL_SLOT_LAST + 1) / 2);
	CHECK_EQ(EAGAIN, im[nr].first_errno);
	CHECK_EQ(100 << 8, image_stop(&im[nr]));
	return nr;
}

/* Half of what there is, without privileges. */
RPAL_PLAIN_TEST(too_many_of_one)
{
	const char *path = image_path("rpal_image_static_pie");
	static struct image im[RPAL_SLOT_LAST + 1];
	int status, nr;
	pid_t pid;

	if (geteuid())
		SKIP(return, "needs root to be somebody else");
	pid = fork();
	if (!pid) {
		CHECK_EQ(0, setresuid(65534, 65534, 65534));
		nr = start_all(im, path);
		while (nr--)
			CHECK_EQ(0, image_stop(&im[nr]));
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* With a way back, which is no way to have more. */
static void become(uid_t uid)
{
	CHECK(!setresuid(uid, uid, 0));
}

static void two_users(int unshared, int mapped)
{
	const char *path = image_path("rpal_image_static_pie");
	int how = IMAGE_ARMED | IMAGE_SMALL, nr;
	static struct image im[RPAL_SLOT_LAST + 1];
	struct image other;
	char byte = 0;

	if (unshare(CLONE_NEWUSER))
		_exit(KSFT_SKIP);
	CHECK_EQ(1, write(unshared, &byte, 1));
	CHECK_EQ(1, read(mapped, &byte, 1));
	become(1);
	nr = start_all(im, path);
	CHECK(!seteuid(0));
	become(2);
	CHECK(!image_start(&other, how, path, NULL));
	CHECK_EQ(EAGAIN, other.first_errno);
	CHECK_EQ(100 << 8, image_stop(&other));
	/* One less, and there is room for one, whose ever. */
	CHECK_EQ(0, image_stop(&im[--nr]));
	CHECK(image_start(&im[nr++], how, path, NULL));
	while (nr--)
		CHECK_EQ(0, image_stop(&im[nr]));
	_exit(0);
}

/* Who makes a user namespace, and users in it, is one user all the same. */
RPAL_PLAIN_TEST(too_many_of_namespace)
{
	static const char map[] = "0 100000 3";
	int unshared[2], mapped[2], status, fd;
	char path[40], byte = 0;
	pid_t pid;

	if (geteuid())
		SKIP(return, "needs root to map several users");
	ASSERT_EQ(0, pipe2(unshared, O_CLOEXEC));
	ASSERT_EQ(0, pipe2(mapped, O_CLOEXEC));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		two_users(unshared[1], mapped[0]);
	close(unshared[1]);
	if (read(unshared[0], &byte, 1) == 1) {
		snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
		fd = open(path, O_WRONLY);
		ASSERT_LE(0, fd);
		ASSERT_EQ(sizeof(map) - 1, write(fd, map, sizeof(map) - 1));
		close(fd);
		ASSERT_EQ(1, write(mapped[1], &byte, 1));
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	if (status == KSFT_SKIP << 8)
		SKIP(return, "no new user namespace");
	EXPECT_EQ(0, status);
}

RPAL_PLAIN_TEST(sysctl)
{
	struct image im;

	if (!sysctl_write("1"))
		SKIP(return, "can't write " SYSCTL);
	EXPECT_EQ(-EPERM, rpal_arm(0));
	EXPECT_EQ(-EPERM, rpal_arm(RPAL_ARM_UNPROTECTED));
	EXPECT_EQ(0, rpal_arm(RPAL_ARM_DISARM));
	ASSERT_TRUE(sysctl_write("0"));
	ASSERT_TRUE(image_start(&im, IMAGE_ARMED, NULL,
				image_path("rpal_image_pie")));
	EXPECT_EQ(0, im.report.service_ret);
	EXPECT_EQ(0, image_stop(&im));
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
