// SPDX-License-Identifier: GPL-2.0
/*
 * One call of rpal_stress: a message with a number and a checksum goes there
 * and comes back, and the ledger says how often it was carried out.
 */
#include "rpal_stress.h"

uint64_t stress_sum(const struct stress_msg *m)
{
	uint64_t sum = m->seq * 31 + m->id;
	uint32_t i;

	sum = sum * 0x100000001b3 ^ m->kind;
	sum = sum * 0x100000001b3 ^ m->arg;
	sum = sum * 0x100000001b3 ^ m->words;
	sum = sum * 0x100000001b3 ^ m->reply;
	for (i = 0; i < m->words; i++)
		sum = (sum ^ m->data[i]) * 0x100000001b3;
	return sum;
}

void stress_reply(struct stress_msg *m)
{
	uint32_t i;

	m->reply = 1;
	for (i = 0; i < m->words; i++)
		m->data[i] = ~m->data[i];
	m->sum = stress_sum(m);
}

struct stress_entry *stress_entry(unsigned int id, uint64_t seq)
{
	return &sh->ledger[id % (MAX_SERVICES * NR_THREADS)][seq % LEDGER];
}

bool stress_target(struct stress_target *to, int below)
{
	struct stress_service_dir *own = &sh->service[my_service], *peer;
	struct stress_thread_dir *r;
	int tries;

	/* Many callers per receiver: one of them gets half of all calls. */
	for (tries = 0; tries < 20; tries++) {
		bool hot = tries == 0 && pick(&me->rng, 2);

		to->service = hot ? READ_ONCE(sh->hot) :
			      pick(&me->rng, sh->services);
		to->level = hot ? 0 : pick(&me->rng, below);
		if (to->service == my_service)
			continue;
		peer = &sh->service[to->service];
		r = &peer->thread[to->level];
		/* The lives first: what changes afterwards is a cause. */
		to->life = __atomic_load_n(&peer->life, __ATOMIC_ACQUIRE);
		to->receiver = __atomic_load_n(&r->life, __ATOMIC_ACQUIRE);
		to->there = __atomic_load_n(&own->link[to->service],
					    __ATOMIC_ACQUIRE);
		to->back = __atomic_load_n(&peer->link[my_service],
					   __ATOMIC_ACQUIRE);
		to->ctl = (void *)READ_ONCE(r->ctl);
		if (to->life & to->receiver & to->there & to->back & 1)
			return true;
	}
	return false;
}

static bool peer_changed(const struct stress_target *to)
{
	struct stress_service_dir *peer = &sh->service[to->service];

	return __atomic_load_n(&peer->life, __ATOMIC_ACQUIRE) != to->life ||
	       __atomic_load_n(&peer->thread[to->level].life,
			       __ATOMIC_ACQUIRE) != to->receiver;
}

static bool link_changed(const struct stress_target *to)
{
	struct stress_service_dir *own = &sh->service[my_service];
	struct stress_service_dir *peer = &sh->service[to->service];

	return __atomic_load_n(&own->link[to->service], __ATOMIC_ACQUIRE) !=
	       to->there ||
	       __atomic_load_n(&peer->link[my_service], __ATOMIC_ACQUIRE) !=
	       to->back;
}

/* A result that is no answer: it needs a reason. */
static void excuse(const struct stress_target *to, uint64_t seq, long ret)
{
	if (ret == -EPIPE && peer_changed(to))
		count(C_epipe);
	else if (ret == -ENOTCONN && (link_changed(to) || peer_changed(to)))
		count(C_enotconn);
	else if (ret == (long)(seq << R_BITS | R_UNREACHABLE) &&
		 (link_changed(to) || peer_changed(to)))
		count(C_unreachable);
	else
		stress_bad(P_CAUSE,
			   "call %u/%lu to %d/%d gave %ld for no reason: lives %u %u, links %u %u",
			   my_id(), seq, to->service, to->level, ret, to->life,
			   to->receiver, to->there, to->back);
}

static void check_ledger(struct stress_entry *e, uint64_t seq, bool answered)
{
	uint32_t begun = __atomic_load_n(&e->begun, __ATOMIC_ACQUIRE);
	uint32_t ended = __atomic_load_n(&e->ended, __ATOMIC_ACQUIRE);

	if (begun > 1 || ended > 1)
		stress_bad(P_DOUBLED, "call %u/%lu was begun %u, ended %u times",
			   my_id(), seq, begun, ended);
	if (answered && (!begun || !ended))
		stress_bad(P_LOST, "call %u/%lu was answered, begun %u, ended %u times",
			   my_id(), seq, begun, ended);
}

static void check_reply(const struct stress_msg *in,
			const struct stress_msg *out)
{
	uint32_t i;

	if (out->seq != in->seq || out->id != in->id ||
	    out->words != in->words || out->reply != 1 ||
	    out->sum != stress_sum(out)) {
		stress_bad(P_TORN, "reply to %u/%lu of %u words is %u/%lu of %u, sum %#lx",
			   in->id, in->seq, in->words, out->id, out->seq,
			   out->words, out->sum);
		return;
	}
	for (i = 0; i < in->words; i++)
		if (out->data[i] != ~in->data[i])
			break;
	if (i < in->words)
		stress_bad(P_TORN, "reply to %u/%lu differs in word %u",
			   in->id, in->seq, i);
}

bool stress_call(const struct stress_target *to, enum kind kind,
		 unsigned int words, struct stress_msg *in,
		 struct stress_msg *out)
{
	unsigned int id = my_id();
	/* It survives this process, so that no number is used twice. */
	uint64_t seq = __atomic_add_fetch(&sh->next_seq[id], 1,
					  __ATOMIC_RELAXED);
	struct stress_entry *e = stress_entry(id, seq);
	uint64_t data = seq ^ (uint64_t)id << 48;
	uint32_t i;
	long ret;

	in->seq = seq;
	in->id = id;
	in->kind = kind;
	in->arg = next_random(&me->rng);
	in->words = words;
	in->reply = 0;
	for (i = 0; i < words; i++)
		in->data[i] = next_random(&data);
	in->sum = stress_sum(in);
	out->seq = 0;
	out->sum = 0;
	e->failed = 0;
	e->begun = 0;
	e->ended = 0;
	__atomic_store_n(&e->seq, seq, __ATOMIC_RELEASE);

	/* Those with buffers on the stack are not to be left. */
	if (in == me->in)
		WRITE_ONCE(me->in_call, true);
	ret = rpal_gate(to->ctl, (unsigned long)in, words,
			(unsigned long)id << 48 | seq, (unsigned long)out);
	if (in == me->in)
		WRITE_ONCE(me->in_call, false);
	if (ret >= 0 && (uint64_t)ret >> R_BITS != seq) {
		stress_bad(P_LOST, "call %u/%lu got the answer of call %ld",
			   id, seq, ret >> R_BITS);
		return false;
	}
	if (ret < 0 || (ret & R_UNREACHABLE)) {
		e->failed = ret;
		check_ledger(e, seq, false);
		excuse(to, seq, ret);
		return false;
	}
	check_ledger(e, seq, true);
	check_reply(in, out);
	count(C_calls);
	if (ret & R_UNNESTED)
		count(C_unnested);
	return !(ret & R_UNNESTED);
}

bool stress_small_call(int below, uint64_t *rng)
{
	struct {
		struct stress_msg m;
		uint64_t data[SMALL_WORDS];
	} in, out;
	struct stress_target to;

	if (!stress_target(&to, below))
		return true;
	return stress_call(&to, pick(rng, 2) ? K_NOTHING : K_SYSCALL,
			   1 + pick(rng, SMALL_WORDS), &in.m, &out.m);
}
