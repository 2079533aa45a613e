// SPDX-License-Identifier: GPL-2.0
/*
 * Probes in a receiver's code are the receiver's, whoever executes it.
 *
 * To see these fail: let the borrower have the trap (uprobe: the receiver dies of
 * it); do not set ip back to a probe (uprobe_of_both: it is not hit), or leave
 * its work with the borrower (uprobe_of_both: the caller goes on anywhere).
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "rpal_test.h"

static struct rpal_proc peer;

#define TRACING	"/sys/kernel/tracing/"

static bool trace_write(const char *file, const char *what)
{
	int fd = open(file, O_WRONLY | O_APPEND);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, what, strlen(what)) == (ssize_t)strlen(what);
	close(fd);
	return ok;
}

/* lea 1(%rdi,%rdi), %rax; ret */
static const unsigned char probed[] = { 0x48, 0x8d, 0x44, 0x3f, 0x01, 0xc3 };

static long map_code(unsigned long fd, unsigned long a1, unsigned long a2,
		     unsigned long a3)
{
	return (long)mmap(NULL, RPAL_PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE,
			  fd, 0);
}

static unsigned long probe_hits(const char *name)
{
	char file[100], probe[100];
	unsigned long hits, found = 0;
	FILE *f = fopen(TRACING "uprobe_profile", "r");

	CHECK(f);
	while (fscanf(f, "%99s %99s %lu", file, probe, &hits) == 3)
		if (!strcmp(probe, name))
			found = hits;
	fclose(f);
	return found;
}

/* A probe in the receiver's code: each call hits it, once. */
static void call_probed(const char *name, bool map_here)
{
	char path[] = "/tmp/rpal-probed-XXXXXX", enable[100], text[100];
	int fd = mkstemp(path);
	unsigned long code, i;

	rpal_partner(&peer);
	CHECK(fd >= 0);
	CHECK(write(fd, probed, sizeof(probed)) == sizeof(probed));
	CHECK(!ftruncate(fd, RPAL_PAGE));
	snprintf(enable, sizeof(enable), TRACING "events/rpal_test/%s/enable",
		 name);
	snprintf(text, sizeof(text), "p:rpal_test/%s %s:0\n", name, path);
	if (!trace_write(TRACING "uprobe_events", text)) {
		unlink(path);
		rpal_skip("no uprobe here (errno %d)", errno);
	}
	code = rpal_run(&peer, map_code, rpal_give(&peer, fd), 0, 0, 0);
	CHECK_EQ(peer.service.slot, code >> RPAL_SLOT_SHIFT);
	if (map_here)
		CHECK_EQ(rpal_me.slot, map_code(fd, 0, 0, 0) >> RPAL_SLOT_SHIFT);
	CHECK(trace_write(enable, "1\n"));
	for (i = 0; i < 50; i++) {
		CHECK_EQ(i * 2 + 1, rpal_gate(peer.ctl, code, i, 0, 0));
		CHECK_EQ(i + 1, probe_hits(name));
	}
	CHECK(trace_write(enable, "0\n"));
	snprintf(text, sizeof(text), "-:rpal_test/%s\n", name);
	CHECK(trace_write(TRACING "uprobe_events", text));
	for (i = 0; i < 50; i++)
		CHECK_EQ(i * 2 + 1, rpal_gate(peer.ctl, code, i, 0, 0));
	CHECK(!unlink(path));
}

/* In a file that the caller does not map: it has no probes, and gets a trap. */
RPAL_TEST(uprobe)
{
	call_probed("probed", false);
}

/* It has one of its own, and so takes the receiver's for a probe. */
RPAL_TEST(uprobe_of_both)
{
	call_probed("probed_here", true);
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
