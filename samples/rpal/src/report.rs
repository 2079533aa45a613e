// SPDX-License-Identifier: MIT OR Apache-2.0

//! Results, for people and for programs.
//!
//! Each result is one line, `RESULT ` and a JSON object.

use std::io;

use crate::clock::Clock;
use crate::message::LEN;
use crate::task::Task;

/// Means of one exchange, in the clock's unit.
#[derive(Clone, Copy, Debug)]
pub struct Echo<'a> {
    /// `rpal` or `uds_epoll`.
    pub mechanism: &'a str,
    /// How many messages.
    pub messages: u64,
    /// From before a message is sent until the receiver has it.
    pub one_way: f64,
    /// From before a message is built until its reply is checked.
    pub round_trip: f64,
    /// Whether both ends were on one CPU.
    pub cpus: &'a str,
}

impl Echo<'_> {
    /// The result as a line.
    #[must_use]
    pub fn line(&self, clock: &Clock) -> String {
        format!(
            "RESULT {{\"bench\":\"echo\",\"mechanism\":\"{}\",\"bytes\":{LEN},\"messages\":{},\
             \"one_way\":{:.1},\"round_trip\":{:.1},\"unit\":\"{}\",\"cpus\":\"{}\"}}",
            self.mechanism,
            self.messages,
            self.one_way,
            self.round_trip,
            clock.unit_name(),
            self.cpus,
        )
    }
}

/// The line for messages whose receiver makes a system call.
#[must_use]
pub fn system_call_line(
    mechanism: &str,
    messages: u64,
    round_trip: f64,
    clock: &Clock,
    cpus: &str,
) -> String {
    format!(
        "RESULT {{\"bench\":\"echo_system_call\",\"mechanism\":\"{mechanism}\",\"bytes\":{LEN},\
         \"messages\":{messages},\"round_trip\":{round_trip:.1},\"unit\":\"{}\",\
         \"cpus\":\"{cpus}\"}}",
        clock.unit_name(),
    )
}

/// The line for one task's switches during `messages` messages.
#[must_use]
pub fn switches_line(
    mechanism: &str,
    messages: u64,
    side: &str,
    before: &Task,
    after: &Task,
) -> String {
    format!(
        "RESULT {{\"bench\":\"steady_state\",\"mechanism\":\"{mechanism}\",\"messages\":{messages},\
         \"side\":\"{side}\",\"task\":{},\"nvcsw_before\":{},\"nvcsw_after\":{},\
         \"nivcsw_before\":{},\"nivcsw_after\":{}}}",
        before.tid,
        before.switches.voluntary,
        after.switches.voluntary,
        before.switches.involuntary,
        after.switches.involuntary,
    )
}

/// `same` if this thread and task `other` may run on the same one CPU only,
/// `two` if on different ones, `any` if not pinned.
///
/// # Errors
///
/// `ESRCH` if there is no such task.
pub fn cpus(other: u32) -> io::Result<&'static str> {
    let (here, there) = (crate::cpu::allowed(0)?, crate::cpu::allowed(other)?);
    Ok(match (&here[..], &there[..]) {
        ([here], [there]) if here == there => "same",
        ([_], [_]) => "two",
        _ => "any",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Switches;

    #[test]
    fn switches_are_told_before_and_after() {
        let task = |voluntary| Task {
            tid: 9,
            switches: Switches {
                voluntary,
                involuntary: 1,
            },
        };
        assert_eq!(
            switches_line("rpal", 5, "client", &task(2), &task(3)),
            "RESULT {\"bench\":\"steady_state\",\"mechanism\":\"rpal\",\"messages\":5,\
             \"side\":\"client\",\"task\":9,\"nvcsw_before\":2,\"nvcsw_after\":3,\
             \"nivcsw_before\":1,\"nivcsw_after\":1}"
        );
    }

    #[test]
    fn a_thread_shares_its_cpus_with_itself() {
        let answer = cpus(0).unwrap();
        assert!(answer == "same" || answer == "any");
    }
}
