// SPDX-License-Identifier: MIT OR Apache-2.0

//! The clock: the processor's time-stamp counter, and what one tick of it is.
//!
//! Under QEMU with `-icount`, virtual time goes by with the instructions that
//! the guest executes, and so does the time-stamp counter: ticks are then
//! instructions in disguise, and repeat to a few parts in a thousand whatever
//! the host does. On real hardware, and in QEMU without `-icount`, they are not.
//! [`Clock::calibrate`] finds out which of the two it is, by running two loops
//! whose instructions are known in number and very different in kind: if both
//! take the same number of ticks per instruction, ticks count instructions.
//!
//! # Unsafe code
//!
//! The instruction that reads the counter, and the loops.

#![allow(unsafe_code)]

use std::arch::asm;

/// Reads the time-stamp counter.
///
/// The fence makes instructions before it finish first; it costs nothing
/// under emulation, and [`Clock`] subtracts what the reading itself takes.
#[inline]
#[must_use]
pub fn now() -> u64 {
    // SAFETY: every x86-64 processor has both instructions, they touch no
    // memory, and Linux lets programs read the counter unless a program asked
    // for a signal instead (PR_SET_TSC).
    unsafe {
        core::arch::x86_64::_mm_lfence();
        core::arch::x86_64::_rdtsc()
    }
}

/// What ticks are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    /// Each tick stands for this many instructions.
    Instructions(f64),
    /// Ticks do not count instructions.
    Ticks,
}

/// A calibrated clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    unit: Unit,
    reading: u64,
}

/// Iterations of the long loops; the short ones have a tenth. Short enough
/// that most runs are over before a timer interrupts them.
const LONG: u64 = 20_000;
const SHORT: u64 = LONG / 10;

/// By how much the two loops may differ for ticks to count as instructions.
/// Where they do not, the multiplications take several times as long.
const TOLERANCE: f64 = 0.001;

/// How often each loop is run; the quickest counts, as interruptions only add.
const ROUNDS: usize = 20;

/// Two instructions per iteration, each dependent on the one before.
#[inline(never)]
fn count_down(iterations: u64) {
    // SAFETY: changes one register and the flags.
    unsafe {
        asm!(
            "2:",
            "dec {n}",
            "jnz 2b",
            n = inout(reg) iterations => _,
            options(nomem, nostack),
        );
    }
}

/// Ten instructions per iteration, eight of them multiplications that wait
/// for one another.
#[inline(never)]
fn multiply(iterations: u64) {
    // SAFETY: changes two registers and the flags.
    unsafe {
        asm!(
            "2:",
            "imul {x}, {x}",
            "imul {x}, {x}",
            "imul {x}, {x}",
            "imul {x}, {x}",
            "imul {x}, {x}",
            "imul {x}, {x}",
            "imul {x}, {x}",
            "imul {x}, {x}",
            "dec {n}",
            "jnz 2b",
            n = inout(reg) iterations => _,
            x = inout(reg) 3_u64 => _,
            options(nomem, nostack),
        );
    }
}

/// Ticks per instruction of a loop with `per_iteration` instructions: the
/// difference between a long run and a short one, so that what surrounds the
/// loop cancels out.
fn slope(body: fn(u64), per_iteration: u64) -> f64 {
    let quickest = |iterations| {
        (0..ROUNDS)
            .map(|_| {
                let start = now();
                body(iterations);
                now() - start
            })
            .min()
            .unwrap_or(0)
    };
    let ticks = quickest(LONG).saturating_sub(quickest(SHORT));
    ticks as f64 / ((LONG - SHORT) * per_iteration) as f64
}

impl Clock {
    /// Finds out what a tick is and how many of them a reading takes. Takes
    /// about five million instructions.
    #[must_use]
    pub fn calibrate() -> Self {
        let (counting, multiplying) = (slope(count_down, 2), slope(multiply, 10));
        let unit = if (counting / multiplying - 1.0).abs() < TOLERANCE {
            Unit::Instructions(2.0 / (counting + multiplying))
        } else {
            Unit::Ticks
        };
        let reading = (0..1000)
            .map(|_| {
                let first = now();
                now() - first
            })
            .min()
            .unwrap_or(0);
        Self { unit, reading }
    }

    /// What ticks are.
    #[must_use]
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// Ticks between two readings with nothing in between: what one reading
    /// adds to a span.
    #[must_use]
    pub fn reading(&self) -> u64 {
        self.reading
    }

    /// The mean of `count` spans of `ticks` together, each of which was timed
    /// by a reading at its end, in units of [`unit_name`](Self::unit_name).
    #[must_use]
    pub fn mean_of_spans(&self, ticks: u64, count: u64) -> f64 {
        let reading = self.reading.saturating_mul(count);
        self.scale(ticks.saturating_sub(reading)) / count as f64
    }

    /// The mean of `count` rounds that took `ticks` together, timed by one
    /// reading before and one behind all of them.
    #[must_use]
    pub fn mean_of_rounds(&self, ticks: u64, count: u64) -> f64 {
        self.scale(ticks.saturating_sub(self.reading)) / count as f64
    }

    fn scale(&self, ticks: u64) -> f64 {
        match self.unit {
            Unit::Instructions(per_tick) => ticks as f64 * per_tick,
            Unit::Ticks => ticks as f64,
        }
    }

    /// Name of the unit for people.
    #[must_use]
    pub fn unit_name(&self) -> &'static str {
        match self.unit {
            Unit::Instructions(_) => "guest instructions",
            Unit::Ticks => "TSC ticks",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Clock = Clock {
        unit: Unit::Instructions(0.5),
        reading: 10,
    };

    #[test]
    fn spans_lose_one_reading_each_and_rounds_one_together() {
        assert_eq!(CLOCK.mean_of_spans(3000, 100), 10.0);
        assert_eq!(CLOCK.mean_of_rounds(3010, 100), 15.0);
        assert_eq!(CLOCK.mean_of_spans(0, 100), 0.0);
    }

    #[test]
    fn calibration_ends_and_is_consistent() {
        let clock = Clock::calibrate();
        assert!(clock.mean_of_rounds(u64::from(u32::MAX), 1) > 0.0);
        match clock.unit() {
            Unit::Instructions(per_tick) => assert!(per_tick > 0.0),
            Unit::Ticks => assert_eq!(clock.unit_name(), "TSC ticks"),
        }
    }

    #[test]
    fn the_counter_advances() {
        let first = now();
        count_down(1000);
        assert!(now() > first);
    }
}
