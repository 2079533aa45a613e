// SPDX-License-Identifier: GPL-2.0
/*
 * The gate, instruction by instruction: at each of them something happens to
 * the caller or to the receiver, and the outcome has to be that of the slow
 * path, where the kernel sees the whole call. The instructions are found by
 * what calls of several kinds execute, and not by a list.
 *
 * The last test prints all outcomes: a row for each instruction, a column for
 * each event.
 *
 *   .  the right result, and the function ran once
 *   p  -EPIPE: the receiver was killed
 *   n  -ENOTCONN: the window was closed, and the function never ran
 *   r  the function found the caller's memory gone, and said so
 *   0  the caller left, or was killed, and the function never ran
 *   1  the same, and the function ran once, for nobody
 *   -  does not apply
 *
 * All others are failures: W wrong result, G a register that the gate has to
 * keep, F the function's surroundings, C those of a handler or as a tracer
 * sees them, N how often something ran, L the receiver cannot be called
 * afterwards, R resolved as another region, D a side died, M the instruction
 * was not reached, H nothing happens any more.
 *
 * To see these fail, of the first column that does, and in which rows:
 *
 * - let a region begin or end an instruction early or late (caller_signal: R,
 *   and for G1 and G3 G or F as well);
 * - A: go on where it was (caller_signal: R); do not drop the claim
 *   (caller_signal in the last of A and in G0: H, since the slow path waits
 *   for the caller itself);
 * - G1: start at the entry and not at finish (caller_signal, kind modes: F);
 *   without the stack pointer that was parked (D); with the caller's PKRU (F);
 * - G2: let the function's return be executed by the caller (caller_signal:
 *   F or D); run the function again (N);
 * - G3: go to the slow path (caller_signal: N); without PKRU (G); without the
 *   release (L);
 * - come_back() without FS base, PKRU (G) or claim (L);
 * - a signal frame before the hand-over (caller_signal in G1 and G2: C);
 * - a stop before it (caller_traced: C);
 * - restart rpal_call(2) for a call that has begun (caller_signal, rows of the
 *   receiver: N), or never (W);
 * - tickets of a dead receiver (receiver_dies: H), or its borrowers, are left
 *   alone (receiver_killed: D or H);
 * - a dying caller takes the context along (caller_killed: L or H);
 * - a fault of the caller's own in A or G3 is a signal (receiver_killed: D);
 * - WANTED without a kick (receiver_signal in G1: H), or not looked at by the
 *   release (receiver_signal in G3: N or L);
 * - a closed window's receiver is not found (window_closed in G1 to G3: D);
 * - a fault of the copy is a signal (all: a call of kind faulting fails), or one of
 *   those in copy (buffer_unmapped: L).
 */
#include <signal.h>
#include <sys/mman.h>

#define RPAL_TEST_TIMEOUT	3600
#include "rpal_test.h"
#include "rpal_steps.h"

static struct rpal_proc *const c = &steps_caller, *const r = &steps_receiver;

/* Which of the instructions of such a call are rows. */
enum rows { NEW, ALL, OF_AWAIT, BORROWED };

static const struct {
	const char *name;
	enum rows rows;
} kinds[STEPS_KINDS] = {
	[FAST] = { "fast", ALL },
	[MODES] = { "modes", ALL },
	[SLOW] = { "slow", NEW },
	[HANDOVER] = { "handover", NEW },
	[AWAIT] = { "await", OF_AWAIT },
	[ANSWERED] = { "answered", OF_AWAIT },
	[RELEASE] = { "release", NEW },
	[NESTED] = { "nested", NEW },
	[FAULTING] = { "faulting", NEW },
	[ALONE] = { "alone", BORROWED },
};

enum { CALLER, RECEIVER };

/* A row: in a call of this kind, what that side executes for the nth time. */
struct step {
	enum steps_kind kind;
	int who, nth;
	unsigned int offset;
	enum steps_region region;
};

#define MAX_STEPS	700

/* Shared by the tests, so that the last one can print what all have found. */
static struct {
	int nr;
	struct step steps[MAX_STEPS];
	char cells[STEPS_EVENTS][MAX_STEPS];
} *matrix;

/* ---- which instructions there are ---- */

static bool is_known(const struct step *s)
{
	const struct step *k;

	for (k = matrix->steps; k < matrix->steps + matrix->nr; k++) {
		if (k->who != s->who || k->nth != s->nth ||
		    k->offset != s->offset)
			continue;
		/* A receiver that has borrowed a context itself is another. */
		if (s->who == RECEIVER && s->kind == NESTED &&
		    k->kind != NESTED && s->region < AT_COPY)
			continue;
		return true;
	}
	return false;
}

/* How often each byte of the gate was executed as an instruction's first. */
static unsigned char counts[STEPS_KINDS][2][RPAL_PAGE];

#define REGISTERS	4	/* that hold addresses of breakpoints */

static void count_at(unsigned int offset)
{
	unsigned long before[2][REGISTERS] = {};
	int fd[2][REGISTERS], kind, who, i;

	for (who = 0; who < 2; who++)
		for (i = 0; i < REGISTERS; i++)
			fd[who][i] = steps_count(who == CALLER ? c->pid :
								 r->tid,
						 rpal_me.gate_call + offset + i);
	for (kind = 0; kind < STEPS_KINDS; kind++) {
		steps_prepare(kind, JUST_LOOKS);
		rpal_run(c, do_steps_call, 1000, 0, 0, 0);
		if (steps->ret != 2001)
			FAIL("call %s gave %ld", kinds[kind].name, steps->ret);
		for (who = 0; who < 2; who++) {
			for (i = 0; i < REGISTERS; i++) {
				unsigned long now = steps_counted(fd[who][i]);

				counts[kind][who][offset + i] =
					now - before[who][i];
				before[who][i] = now;
			}
		}
	}
	for (who = 0; who < 2; who++)
		for (i = 0; i < REGISTERS; i++)
			close(fd[who][i]);
}

static bool is_row(const struct step *s)
{
	switch (kinds[s->kind].rows) {
	case ALL:
		/* The copy is what it is, whatever the modes. */
		return s->region < AT_COPY || !is_known(s);
	case OF_AWAIT:
		return s->region == AT_AWAIT;
	case BORROWED:
		return s->region == AT_G1 || s->region == AT_G2;
	default:
		return !is_known(s);
	}
}

static void list_steps(void)
{
	unsigned int size = steps_gate_size(steps->starts);
	struct step s;

	for (s.kind = 0; s.kind < STEPS_KINDS; s.kind++) {
		for (s.who = 0; s.who < 2; s.who++) {
			for (s.offset = 0; s.offset < size; s.offset++) {
				int nr = counts[s.kind][s.who][s.offset];

				s.region = steps_region(steps->starts,
							s.offset);
				for (s.nth = 1; s.nth <= nr; s.nth++) {
					if (!is_row(&s))
						continue;
					CHECK(matrix->nr < MAX_STEPS);
					matrix->steps[matrix->nr++] = s;
				}
			}
		}
	}
}

static void find_steps(void)
{
	unsigned int offset, size;

	if (matrix->nr)
		return;
	steps_start_all(RPAL_WAIT_FOREVER);
	rpal_run(c, do_steps_regions, 0, 0, 0, 0);
	size = steps_gate_size(steps->starts);
	for (offset = 0; offset < size; offset += REGISTERS)
		count_at(offset);
	list_steps();
	steps_kill_all();
}

/* ---- what has to come of it ---- */

/* How far the call is: not begun, under way, over. */
enum phase { BEFORE, INSIDE, BEHIND };

static enum phase phase_of(const struct step *s)
{
	if (s->who == RECEIVER)
		return INSIDE;
	/* The receiver, in its borrowed context, begins a call. */
	if (s->kind == NESTED && (s->nth == 2 || s->region == AT_NESTED))
		return INSIDE;
	switch (s->region) {
	case AT_CALL:
	case AT_A:
	case AT_G0:
	case AT_SLOW:
		return BEFORE;
	case AT_G1:
	case AT_FINISH:
	case AT_G2:
	case AT_COPY:
	case AT_COPIED:
	case AT_BLOCKS:
	case AT_FAULT:
		return INSIDE;
	case AT_AWAIT:
		return s->kind == ANSWERED ? BEHIND : INSIDE;
	default:
		return BEHIND;
	}
}

static char expected(enum steps_event event, const struct step *s, bool copied)
{
	enum phase phase = phase_of(s);

	switch (event) {
	case LONGJMP:
	case KILL_CALLER:
		return phase == BEFORE ? '0' : '1';
	case KILL_RECEIVER:
	case RECEIVER_DIES:
		return phase == BEHIND ? '.' : 'p';
	case MUNMAP:
		/* The last copy is the one that goes that way. */
		if (copied || s->kind == ALONE || s->region == AT_COPIED)
			return '.';
		return 'r';
	case DETACH:
		return phase == BEFORE ? 'n' : '.';
	default:
		return '.';
	}
}

/* A receiver that runs a call itself does not wait. */
static bool applies(enum steps_event event, const struct step *s)
{
	if (event != RECEIVER_TIMEOUT)
		return true;
	return s->who == CALLER &&
	       !(s->kind == AWAIT && s->region == AT_AWAIT);
}

/*
 * For as long as another thread needs: one of no priority that stops with it,
 * or a tracer, which sleeps until it has stopped for good.
 */
static bool stops_receiver(enum steps_event event)
{
	return event == RECEIVER_TIMEOUT || event == STOP_RECEIVER ||
	       event == PTRACE_RECEIVER;
}

static char verdict(enum steps_event event, long nr)
{
	int caller = event == SIGNAL || event == LONGJMP || event == CALL;
	int receiver = event == RECEIVER_SIGNAL || event == RECEIVER_RESTART;

	if (steps->caller.handler_bad || steps->receiver.handler_bad)
		return 'C';
	if (steps->bad)
		return 'G';
	if (steps->fn_bad)
		return 'F';
	if (steps->caller.handled != caller ||
	    steps->receiver.handled != receiver || steps->runs > 1)
		return 'N';
	if (steps->jumped || event == KILL_CALLER)
		return '0' + steps->runs;
	if (steps->ret == -EPIPE)
		return 'p';
	if (steps->ret == -ENOTCONN)
		return steps->runs ? 'N' : 'n';
	if (steps->runs != 1)
		return 'N';
	if (steps->ret == STEPS_REFUSED)
		return 'r';
	if (steps->ret != 2 * nr + 1 ||
	    (!steps->unmapped && steps->kind != ALONE &&
	     steps->memory != nr + 1))
		return 'W';
	/* Who is stopped for something may be so for longer. */
	if (!steps->gone && !stops_receiver(event) &&
	    steps->word != RPAL_WORD_READY)
		return 'L';
	return '.';
}

/* rpal_run() in a process that may hang or die over it. */
static long run(struct rpal_proc *p, rpal_fn fn, unsigned long a0,
		unsigned long a1)
{
	long ret;

	rpal_post(p, fn, a0, a1, 0, 0);
	if (steps_wait_end(p->sock) == STEPS_HUNG)
		return -ETIME;
	return rpal_result(p, &ret) ? ret : -EOWNERDEAD;
}

/* For a receiver that is about to die: also when all of it is gone. */
static long after_death(bool dead)
{
	unsigned long ctl = (unsigned long)r->ctl;
	long ret = run(c, do_steps_after_death, ctl, 0);

	if (ret || dead)
		return ret;
	CHECK_EQ(SIGKILL, rpal_reap(r));
	r->pid = 0;
	return run(c, do_steps_after_death, ctl, 0);
}

/* Is everything as if nothing had happened? 0, or what is wrong. */
static long afterwards(enum steps_event event, const struct step *s)
{
	/* If its time is up between two calls, they are not. */
	bool fast = event != RECEIVER_TIMEOUT;
	unsigned long ctl = (unsigned long)r->ctl;
	long ret;

	if (event == KILL_RECEIVER || event == RECEIVER_DIES) {
		ret = after_death(event == KILL_RECEIVER);
	} else {
		/* Another one first: a caller gives up what it holds itself. */
		ret = run(&steps_third, do_steps_after, ctl, fast);
		if (!ret && event == DETACH)
			ret = run(c, do_steps_attach, 0, 0);
		if (!ret && event != KILL_CALLER)
			ret = run(c, do_steps_after, ctl, fast);
	}
	if (ret || s->kind != NESTED)
		return ret;
	/* What it was called for ends in its own time if nobody waits for it. */
	return run(&steps_third, do_steps_wait_ready, 0, 0);
}

/* ---- a cell, a column ---- */

/* One call with one event: STEPS_*, or -1 if the caller died. */
static int attempt(enum steps_event event, const struct step *s, long nr,
		   char *want, unsigned long *seen)
{
	bool killed = false;
	struct steps_break b;
	long ret;
	int how;

	steps_prepare(s->kind, event == LONGJMP ? JUMPS :
			       event == CALL ? CALLS : JUST_LOOKS);
	steps_arm(&b, s->who == CALLER ? c->pid : r->tid,
		  rpal_me.gate_call + s->offset, s->nth);
	rpal_post(c, do_steps_call, nr, 0, 0, 0);
	how = steps_wait(&b, c->sock);
	if (how == STEPS_HIT) {
		*want = expected(event, s, steps->copied);
		*seen = steps_happen(event);
		killed = event == KILL_CALLER;
	}
	steps_disarm(&b);
	if (how == STEPS_HUNG || killed)
		return how;
	if (steps_wait_end(c->sock) == STEPS_HUNG)
		return STEPS_HUNG;
	return rpal_result(c, &ret) ? how : -1;
}

/* The counter of how the kernel resolves what was interrupted there. */
static const char *resolved_as(enum steps_event event, const struct step *s)
{
	static const char *const regions[STEPS_REGIONS] = {
		[AT_A] = "abort_a", [AT_G0] = "abort_g0",
		[AT_G1] = "start_g1", [AT_G2] = "return_g2",
		[AT_G3] = "forward_g3",
	};
	bool of_caller = event == SIGNAL && s->who == CALLER;
	bool of_nested = event == RECEIVER_SIGNAL && s->who == RECEIVER &&
			 s->kind == NESTED;

	return s->nth == 1 && (of_caller || of_nested) ? regions[s->region] :
							 NULL;
}

#define MAX_MISSED	10

static char cell(enum steps_event event, const struct step *s, char *want)
{
	const char *counter = resolved_as(event, s);
	static long nr = 1000;
	unsigned long seen = 0;
	long before = -1, after;
	int how, i;

	*want = '-';
	if (!applies(event, s))
		return '-';
	nr++;
	if (counter)
		before = steps_statistic(counter);
	how = attempt(event, s, nr, want, &seen);
	for (i = 0; how == STEPS_MISSED && i < MAX_MISSED; i++) {
		/*
		 * The kernel had other work for the thread just then, and the
		 * call took another way; or the time was up too early.
		 */
		if (verdict(STEPS_EVENTS, nr) != '.')
			return verdict(STEPS_EVENTS, nr);
		if (event == RECEIVER_TIMEOUT)
			steps->timeout *= 2;
		how = attempt(event, s, nr, want, &seen);
	}
	if (how != STEPS_HIT)
		return how == STEPS_HUNG ? 'H' : how < 0 ? 'D' : 'M';
	if (before >= 0 && steps_statistic(counter) == before)
		return 'R';
	after = afterwards(event, s);
	if (after)
		fprintf(stderr, "# afterwards: %ld\n", after);
	return after ? 'L' : seen ? 'C' : verdict(event, nr);
}

static void print_step(const struct step *s)
{
	fprintf(stderr, "# %-8s %-8s %3x %d %-9s", kinds[s->kind].name,
		s->who == CALLER ? "caller" : "receiver", s->offset, s->nth,
		steps_names[s->region]);
}

static void explain(enum steps_event event, const struct step *s, char want, char got)
{
	print_step(s);
	fprintf(stderr, " %s: %c instead of %c\n", steps_events[event], got, want);
	fprintf(stderr, "#   result %ld, memory %ld, jumped %d, runs %d",
		steps->ret, steps->memory, steps->jumped, steps->runs);
	fprintf(stderr, ", handlers %d (%#lx) and %d (%#lx)",
		steps->caller.handled, steps->caller.handler_bad,
		steps->receiver.handled, steps->receiver.handler_bad);
	fprintf(stderr, ", function %#lx, registers %#lx\n", steps->fn_bad,
		steps->bad);
}

#define MAX_WRONG	10

/* How many cells of a column are wrong. */
static int column(enum steps_event event)
{
	/* A few ticks of the timer. */
	unsigned long timeout = event == RECEIVER_TIMEOUT ? 20000000 :
							    RPAL_WAIT_FOREVER;
	int i, stride, wrong = 0;

	find_steps();
	steps_start_all(timeout);
	stride = matrix->nr / rpal_part_of(matrix->nr);
	for (i = 0; i < matrix->nr && wrong < MAX_WRONG; i += stride) {
		const struct step *s = &matrix->steps[i];
		char want, got = cell(event, s, &want);

		matrix->cells[event][i] = got;
		if (got != want) {
			explain(event, s, want, got);
			wrong++;
			steps_kill_all();
			steps_start_all(timeout);
		} else if (event == KILL_CALLER) {
			steps_replace_caller();
		} else if (event == KILL_RECEIVER || event == RECEIVER_DIES) {
			steps_replace_receiver();
		}
	}
	steps_kill_all();
	return wrong;
}

/* ---- the tests ---- */

#define STEPS_TEST(name)						\
	static void name##_steps(struct __test_metadata *_metadata);	\
	RPAL_PLAIN_TEST(name)						\
	{								\
		const char *why = steps_missing();			\
									\
		if (why)						\
			SKIP(return, "%s", why);			\
		rpal_pin(0);						\
		name##_steps(_metadata);				\
	}								\
	static void							\
	name##_steps(struct __test_metadata *_metadata __maybe_unused)

#define COLUMN(name, event)						\
	static int name##_wrong(void)					\
	{								\
		return column(event);					\
	}								\
	STEPS_TEST(name)						\
	{								\
		EXPECT_EQ(0, name##_wrong());				\
	}

/* All parts are there, but the way out of rpal_wait(2). */
STEPS_TEST(instructions)
{
	int i, fast = 0, in[STEPS_REGIONS] = {};

	find_steps();
	for (i = 0; i < matrix->nr; i++) {
		fast += matrix->steps[i].kind == FAST;
		in[matrix->steps[i].region]++;
	}
	EXPECT_LE(60, fast);
	for (i = 0; i < STEPS_REGIONS; i++) {
		if (i == AT_WAIT || i == AT_REPLY_END)
			continue;
		EXPECT_LT(0, in[i])
			TH_LOG("no instruction of %s", steps_names[i]);
	}
}

COLUMN(caller_signal, SIGNAL)
COLUMN(caller_jumps, LONGJMP)
COLUMN(caller_calls, CALL)
COLUMN(caller_killed, KILL_CALLER)
COLUMN(receiver_killed, KILL_RECEIVER)
COLUMN(receiver_dies, RECEIVER_DIES)
COLUMN(caller_traced, PTRACE_CALLER)
COLUMN(receiver_traced, PTRACE_RECEIVER)
COLUMN(buffer_unmapped, MUNMAP)
COLUMN(window_closed, DETACH)
COLUMN(receiver_signal, RECEIVER_SIGNAL)
COLUMN(receiver_restarts, RECEIVER_RESTART)
COLUMN(receiver_timeout, RECEIVER_TIMEOUT)
COLUMN(caller_stops, STOP_CALLER)
COLUMN(receiver_stops, STOP_RECEIVER)

/* What the columns have found; they have failed for it. */
STEPS_TEST(outcomes)
{
	int i, event;

	EXPECT_LT(0, matrix->nr);
	for (event = 0; event < STEPS_EVENTS; event++)
		fprintf(stderr, "# column %d: %s\n", event + 1, steps_events[event]);
	for (i = 0; i < matrix->nr; i++) {
		print_step(&matrix->steps[i]);
		for (event = 0; event < STEPS_EVENTS; event++)
			fprintf(stderr, " %c", matrix->cells[event][i] ?: ' ');
		fprintf(stderr, "\n");
	}
}

int main(int argc, char **argv)
{
	matrix = mmap(NULL, sizeof(*matrix), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (matrix == MAP_FAILED)
		return KSFT_FAIL;
	return rpal_main(argc, argv, test_harness_run);
}
