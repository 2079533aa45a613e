// SPDX-License-Identifier: GPL-2.0

//! A caller's steps, by the regions of the gate.

use super::world::{owner, At, Kick, Mutant, Setup, World};
use crate::lease::{Grant, GrantCall};
use crate::lease_word::{self as word, claim, release_fast};

impl World {
    /// The task of caller `i`.
    pub(super) fn caller_steps(&self, setup: &Setup, i: usize, out: &mut Vec<(String, World)>) {
        let caller = self.callers[i];
        let starves = setup.starving && caller.kick == Kick::None;
        let mut add = |name: &str, step: &dyn Fn(&mut World)| {
            let mut next = self.clone();
            step(&mut next);
            out.push((format!("caller {i} {name}"), next));
        };
        if caller.kick != Kick::Evicted {
            match caller.at {
                At::Idle => {
                    add("announces", &|w| w.set(i, At::Announced, true));
                    if setup.slow {
                        add("takes the slow path", &|w| {
                            // The entry hook clears a claim left behind.
                            if w.callers[i].claim {
                                w.release(setup, i);
                            }
                            w.set(i, At::Slow, false);
                        });
                    }
                }
                At::Announced => add("claims", &|w| match w
                    .with(setup, |_, word| claim(word, owner(i)))
                {
                    Ok(_) => w.set(i, At::Claimed, true),
                    Err(_) => w.set(i, At::Idle, false),
                }),
                At::Claimed => add("enters", &|w| w.set(i, At::Body, true)),
                At::Body if starves => {}
                At::Body => add("leaves", &|w| w.set(i, At::Back, true)),
                At::Back => add("releases", &|w| {
                    if setup.mutant == Some(Mutant::PlainStore) {
                        w.word = word::ready(word::seq(w.word).wrapping_add(1));
                        w.set(i, At::Released, true);
                        return;
                    }
                    match w.with(setup, |_, word| release_fast(word, owner(i))) {
                        Ok(()) => w.set(i, At::Released, true),
                        Err(_) => w.set(i, At::NeedRelease, true),
                    }
                }),
                At::Released => add("is done", &|w| w.set(i, At::Idle, false)),
                At::NeedRelease => add("makes rpal_release", &|w| {
                    w.release(setup, i);
                    w.set(i, At::Idle, false);
                }),
                At::Await | At::Slow | At::SlowAsleep | At::Gone => {}
            }
            let in_gate = matches!(caller.at, At::Claimed | At::Body | At::Back);
            if setup.unruly && in_gate {
                add("jumps out", &|w| w.set(i, At::Idle, true));
            }
        }
        match caller.at {
            // The hook on the way to user mode, by region. It may run at any time: a signal, any
            // task work. A system call in the body looks the same.
            At::Body if starves => {}
            At::Body => add("hands over", &|w| {
                w.callers[i].kick = Kick::None;
                match w.with(setup, |lease, word| lease.grant(word)) {
                    Grant::Granted => {
                        w.wake();
                        w.reply_to = Some(i);
                        w.set(i, At::Await, false);
                    }
                    Grant::Stale | Grant::Dead => w.set(i, At::Idle, false),
                }
            }),
            At::Idle if caller.kick == Kick::None && !caller.claim => {}
            At::Idle | At::Announced | At::Claimed | At::Back | At::Released | At::NeedRelease => {
                add("passes the hook", &|w| {
                    w.callers[i].kick = Kick::None;
                    if w.callers[i].claim {
                        w.release(setup, i);
                    }
                    w.set(i, At::Idle, false);
                })
            }
            At::Slow => add("tries in the slow path", &|w| match w
                .with(setup, |lease, word| lease.grant_call(word))
            {
                GrantCall::Granted => {
                    w.wake();
                    w.reply_to = Some(i);
                    w.set(i, At::Await, false);
                }
                GrantCall::Busy => w.set(i, At::SlowAsleep, false),
                GrantCall::Dead => w.set(i, At::Idle, false),
            }),
            At::Await | At::SlowAsleep | At::Gone => {}
        }
        if setup.lose && caller.at == At::Body {
            // The FS base is nobody's, or an oops has ended the task.
            add("loses the context", &|w| {
                w.callers[i].kick = Kick::None;
                w.torn = true;
                if setup.mutant == Some(Mutant::LostReleased) {
                    w.release(setup, i);
                } else if w.with(setup, |lease, word| lease.lose(word, owner(i))) {
                    w.lost = true;
                    w.wake();
                }
                w.set(i, At::Idle, false);
            });
        }
        if setup.unruly {
            let outside = caller.at == At::Idle && !caller.claim;
            if outside || matches!(caller.at, At::Await | At::SlowAsleep) {
                add("is killed", &|w| {
                    w.set(i, At::Gone, false);
                    w.callers[i].kick = Kick::None;
                    if w.reply_to == Some(i) {
                        w.reply_to = None;
                    }
                });
            }
        }
    }
}
