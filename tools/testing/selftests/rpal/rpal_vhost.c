// SPDX-License-Identifier: GPL-2.0
/*
 * Kernel threads that work on a service's memory: a vhost device's worker, which
 * is a thread of the process that owns the device, or a kernel thread that borrows
 * its address space. The latter has the system's PKRU, and not the key of the
 * service: it gets at nothing, which it says. That is a known gap, and no more than
 * that is one.
 *
 * To see these fail: give a worker another PKRU than the thread has that starts it
 * (owners_thread); have kernel threads use an address space with all keys
 * (kernel_thread), or with none (kernel_thread_unprotected).
 */
#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "rpal_test.h"

#define RING_SIZE	8
#define QUEUES		2
#define QUEUE		1	/* from the guest to the host */
#define GUEST_CID	4711

struct ring {
	struct vring_desc desc[RING_SIZE];
	struct {
		__virtio16 flags, idx, ring[RING_SIZE + 1];
	} avail;
	struct {
		__virtio16 flags, idx;
		struct vring_used_elem ring[RING_SIZE];
		__virtio16 event;
	} used;
	/* A packet to nobody, of whatever kind. */
	char packet[64];
};

static struct ring *ring;
static int device, kick, call, err;

static void set_queue(int nr)
{
	struct vhost_vring_state size = { .index = nr, .num = RING_SIZE };
	struct vhost_vring_state base = { .index = nr };
	struct vhost_vring_addr addr = {
		.index = nr,
		.desc_user_addr = (unsigned long)ring[nr].desc,
		.avail_user_addr = (unsigned long)&ring[nr].avail,
		.used_user_addr = (unsigned long)&ring[nr].used,
	};

	CHECK_EQ(0, ioctl(device, VHOST_SET_VRING_NUM, &size));
	CHECK_EQ(0, ioctl(device, VHOST_SET_VRING_BASE, &base));
	CHECK_EQ(0, ioctl(device, VHOST_SET_VRING_ADDR, &addr));
}

static int set_event(unsigned long request)
{
	struct vhost_vring_file file = {
		.index = QUEUE, .fd = eventfd(0, EFD_CLOEXEC),
	};

	CHECK(file.fd >= 0);
	CHECK_EQ(0, ioctl(device, request, &file));
	return file.fd;
}

/* @who: VHOST_FORK_OWNER_TASK or the other. */
static void start_device(unsigned char who)
{
	unsigned long features = 1UL << VIRTIO_F_VERSION_1;
	unsigned long cid = GUEST_CID;
	struct {
		struct vhost_memory head;
		struct vhost_memory_region region;
	} memory = { .head.nregions = 1 };
	int nr, on = 1;

	device = open("/dev/vhost-vsock", O_RDWR | O_CLOEXEC);
	if (device < 0)
		rpal_skip("no vhost device here: %s", strerror(errno));
	if (ioctl(device, VHOST_SET_FORK_FROM_OWNER, &who))
		rpal_skip("no choice of a vhost worker: %s", strerror(errno));
	ring = mmap(NULL, RPAL_PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(ring != MAP_FAILED);
	memory.region = (struct vhost_memory_region){
		.guest_phys_addr = (unsigned long)ring,
		.memory_size = RPAL_PAGE,
		.userspace_addr = (unsigned long)ring,
	};
	CHECK_EQ(0, ioctl(device, VHOST_SET_OWNER, NULL));
	CHECK_EQ(0, ioctl(device, VHOST_SET_FEATURES, &features));
	CHECK_EQ(0, ioctl(device, VHOST_SET_MEM_TABLE, &memory));
	CHECK_EQ(0, ioctl(device, VHOST_VSOCK_SET_GUEST_CID, &cid));
	for (nr = 0; nr < QUEUES; nr++)
		set_queue(nr);
	kick = set_event(VHOST_SET_VRING_KICK);
	call = set_event(VHOST_SET_VRING_CALL);
	err = set_event(VHOST_SET_VRING_ERR);
	CHECK_EQ(0, ioctl(device, VHOST_VSOCK_SET_RUNNING, &on));
}

/* Has the worker taken the packet, or said that it can't? */
static bool takes_packet(void)
{
	struct pollfd events[2] = {
		{ .fd = call, .events = POLLIN },
		{ .fd = err, .events = POLLIN },
	};
	struct ring *r = &ring[QUEUE];
	unsigned long one = 1;

	r->desc[0] = (struct vring_desc){
		.addr = (unsigned long)r->packet, .len = sizeof(r->packet),
	};
	r->avail.ring[0] = 0;
	__atomic_store_n(&r->avail.idx, 1, __ATOMIC_RELEASE);
	CHECK_EQ(8, write(kick, &one, 8));
	CHECK(poll(events, 2, -1) > 0);
	if (events[1].revents) {
		CHECK_EQ(0, READ_ONCE(r->used.idx));
		return false;
	}
	CHECK_EQ(1, READ_ONCE(r->used.idx));
	return true;
}

RPAL_TEST(owners_thread)
{
	start_device(VHOST_FORK_OWNER_TASK);
	CHECK(takes_packet());
}

RPAL_TEST(kernel_thread)
{
	start_device(VHOST_FORK_OWNER_KTHREAD);
	CHECK(!takes_packet());
}

RPAL_TEST_AS(kernel_thread_unprotected, RPAL_UNPROTECTED)
{
	start_device(VHOST_FORK_OWNER_KTHREAD);
	CHECK(takes_packet());
}

int main(int argc, char **argv)
{
	return rpal_main(argc, argv, test_harness_run);
}
