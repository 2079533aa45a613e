// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the kernel has counted for each task of a process.

use std::fs;
use std::io;

/// How often a task has been switched away from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// Because it slept (`voluntary_ctxt_switches`, `nvcsw`).
    pub voluntary: u64,
    /// Because another task was to run (`nonvoluntary_ctxt_switches`,
    /// `nivcsw`).
    pub involuntary: u64,
}

/// One task's number and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Task number.
    pub tid: u32,
    /// Its switches so far.
    pub switches: Switches,
}

impl Switches {
    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?
                .trim()
                .parse()
                .ok()
        };
        Some(Self {
            voluntary: field("voluntary_ctxt_switches")?,
            involuntary: field("nonvoluntary_ctxt_switches")?,
        })
    }
}

/// All tasks of process `pid`, in the order of their numbers. One that ends
/// meanwhile may be missing.
///
/// # Errors
///
/// `ENOENT` if there is no such process; `InvalidData` if the kernel tells
/// something else than expected.
pub fn tasks_of(pid: u32) -> io::Result<Vec<Task>> {
    let mut tasks = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let entry = entry?;
        let tid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
            .ok_or(io::ErrorKind::InvalidData)?;
        let status = match fs::read_to_string(entry.path().join("status")) {
            Err(e) if has_ended(&e) => continue,
            status => status?,
        };
        let switches = Switches::parse(&status).ok_or(io::ErrorKind::InvalidData)?;
        tasks.push(Task { tid, switches });
    }
    tasks.sort_by_key(|task| task.tid);
    Ok(tasks)
}

/// Is this what reading about a task gives that is no more?
fn has_ended(error: &io::Error) -> bool {
    // Between open() and read() it is ESRCH.
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_counts_are_found_and_told_apart() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n";
        let expected = Switches {
            voluntary: 12,
            involuntary: 3,
        };
        assert_eq!(Switches::parse(status), Some(expected));
        assert_eq!(Switches::parse("Name:\tx\n"), None);
    }

    #[test]
    fn this_thread_is_among_this_process_tasks() {
        let tasks = tasks_of(std::process::id()).unwrap();
        assert!(tasks.iter().any(|task| task.tid == std::process::id()));
        assert!(tasks_of(0).is_err());
    }
}
