// SPDX-License-Identifier: GPL-2.0

//! Host tests of the RPAL modules that have no kernel types.
//!
//! The modules are the very files that the kernel crate is made of. There is nothing here but
//! tests:
//!
//! - `uapi`: the constants are those of the UAPI header;
//! - `lease_unit`, `lease_withheld`, `lease_prop`: every transition, from the `lease_states`, and
//!   arbitrary words at every access;
//! - `model`: all reachable states of a receiver and its callers, step by step;
//! - `explore`: interleavings of single accesses under the C11 memory model, by loom;
//! - `slots_prop`, `keys_prop`: random sequences against a naive model.
//!
//! `tests/park` is a crate of its own: the kernel's sleep of a receiver that waits for a descriptor,
//! too, with the kernel's calls and replies, by loom.
//!
//! `model` has unbounded histories but whole steps; `explore` has bounded histories but goes down
//! to single accesses and their orderings. These, and `tests/park`, also run with a known mistake
//! put in, and must find it.

#[cfg(test)]
#[path = "../../../../rpal/keys.rs"]
mod keys;
#[cfg(test)]
#[path = "../../../../rpal/lease.rs"]
mod lease;
#[cfg(test)]
#[path = "../../../../rpal/lease_outcome.rs"]
mod lease_outcome;
#[cfg(test)]
#[path = "../../../../rpal/lease_word.rs"]
mod lease_word;
#[cfg(test)]
#[path = "../../../../rpal/slots.rs"]
mod slots;

#[cfg(test)]
mod explore;
#[cfg(test)]
mod keys_prop;
#[cfg(test)]
mod lease_prop;
#[cfg(test)]
mod lease_states;
#[cfg(test)]
mod lease_unit;
#[cfg(test)]
mod lease_withheld;
#[cfg(test)]
mod model;
#[cfg(test)]
mod slots_prop;
#[cfg(test)]
mod uapi;
