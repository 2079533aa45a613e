// SPDX-License-Identifier: MIT OR Apache-2.0

//! Results, for people and for programs.
//!
//! Each result is one line for people and one for programs: `RESULT ` and an
//! object.

use std::io;

use crate::clock::Clock;
use crate::message::LEN;
use crate::task::Task;

/// Who measured what with whom.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// `rpal` or `uds_epoll`.
    pub mechanism: &'a str,
    /// Name of the unit of time.
    pub unit: &'a str,
    /// Whether both ends were on one CPU: see [`cpus`].
    pub cpus: &'a str,
}

impl<'a> Report<'a> {
    /// A report on `mechanism`, between this thread and task `server`, by
    /// `clock`.
    ///
    /// # Errors
    ///
    /// `ESRCH` if there is no such task.
    pub fn new(mechanism: &'a str, server: u32, clock: &Clock) -> io::Result<Self> {
        Ok(Self {
            mechanism,
            unit: clock.unit_name(),
            cpus: cpus(server)?,
        })
    }

    /// The means of two runs: from before a message is built until its reply is
    /// checked, of `messages`; and from before one is sent until the receiver
    /// has it, of `one_way_messages`.
    #[must_use]
    pub fn echo(
        &self,
        messages: u64,
        round_trip: f64,
        one_way_messages: u64,
        one_way: f64,
    ) -> String {
        let Self {
            mechanism,
            unit,
            cpus,
        } = self;
        format!(
            "{mechanism}: {messages} messages of {LEN} bytes: one way {one_way:.1}, \
             round trip {round_trip:.1} {unit}\n\
             RESULT {{\"bench\":\"echo\",\"mechanism\":\"{mechanism}\",\"bytes\":{LEN},\
             \"messages\":{messages},\"one_way\":{one_way:.1},\"round_trip\":{round_trip:.1},\
             \"unit\":\"{unit}\",\"cpus\":\"{cpus}\",\
             \"one_way_messages\":{one_way_messages}}}"
        )
    }

    /// The mean of `messages` messages for each of which the receiver makes one
    /// system call.
    #[must_use]
    pub fn system_call(&self, messages: u64, round_trip: f64) -> String {
        let Self {
            mechanism,
            unit,
            cpus,
        } = self;
        format!(
            "{mechanism}: {messages} messages whose receiver makes one system call: \
             round trip {round_trip:.1} {unit}\n\
             RESULT {{\"bench\":\"echo_system_call\",\"mechanism\":\"{mechanism}\",\
             \"bytes\":{LEN},\"messages\":{messages},\"round_trip\":{round_trip:.1},\
             \"unit\":\"{unit}\",\"cpus\":\"{cpus}\"}}"
        )
    }

    /// What the kernel counted for one task before and after `messages`
    /// messages.
    #[must_use]
    pub fn switches(&self, messages: u64, side: &str, before: &Task, after: &Task) -> String {
        let Self {
            mechanism, cpus, ..
        } = self;
        let (tid, old, new) = (before.tid, before.switches, after.switches);
        format!(
            "{mechanism}: {side}, task {tid}, during {messages} messages: \
             nvcsw {} -> {}, nivcsw {} -> {}\n\
             RESULT {{\"bench\":\"steady_state\",\"mechanism\":\"{mechanism}\",\
             \"messages\":{messages},\"side\":\"{side}\",\"task\":{tid},\
             \"nvcsw_before\":{},\"nvcsw_after\":{},\
             \"nivcsw_before\":{},\"nivcsw_after\":{},\
             \"unit\":\"switches\",\"cpus\":\"{cpus}\"}}",
            old.voluntary,
            new.voluntary,
            old.involuntary,
            new.involuntary,
            old.voluntary,
            new.voluntary,
            old.involuntary,
            new.involuntary,
        )
    }
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

    const REPORT: Report<'_> = Report {
        mechanism: "rpal",
        unit: "guest instructions",
        cpus: "same",
    };

    #[test]
    fn an_echo_is_one_line_for_people_and_one_object() {
        assert_eq!(
            REPORT.echo(50, 2.0, 5, 1.25),
            "rpal: 50 messages of 32 bytes: one way 1.2, round trip 2.0 guest instructions\n\
             RESULT {\"bench\":\"echo\",\"mechanism\":\"rpal\",\"bytes\":32,\"messages\":50,\
             \"one_way\":1.2,\"round_trip\":2.0,\"unit\":\"guest instructions\",\
             \"cpus\":\"same\",\"one_way_messages\":5}"
        );
    }

    #[test]
    fn switches_are_told_before_and_after() {
        let task = |voluntary| Task {
            tid: 9,
            switches: Switches {
                voluntary,
                involuntary: 1,
            },
        };
        let text = REPORT.switches(5, "client", &task(2), &task(3));
        let (people, program) = text.split_once('\n').unwrap();
        assert!(people.ends_with("nvcsw 2 -> 3, nivcsw 1 -> 1"));
        assert!(program.contains("\"nvcsw_before\":2,\"nvcsw_after\":3"));
        assert!(program.contains("\"nivcsw_before\":1,\"nivcsw_after\":1"));
    }

    #[test]
    fn a_thread_shares_its_cpus_with_itself() {
        let answer = cpus(0).unwrap();
        assert!(answer == "same" || answer == "any");
    }
}
