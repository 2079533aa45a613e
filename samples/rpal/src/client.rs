// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a client measures and prints.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::bench::{one_ways, round_trips, BenchError, Transport, WARM_UP};
use crate::clock::Clock;
use crate::message::Ask;
use crate::options::Options;
use crate::report::Report;
use crate::task::{tasks_of, Task};

/// The time one way is that of a second run with this part of the messages,
/// so that the first is free of clock readings. Its mean is steady long before,
/// and a full run over a socket takes minutes under emulation.
const ONE_WAY_PART: u64 = 10;

/// Why a client ended before its time.
#[derive(Debug)]
pub enum ClientError<E> {
    /// A measurement failed.
    Bench(BenchError<E>),
    /// Something about the process failed.
    Os(io::Error),
}

impl<E> From<BenchError<E>> for ClientError<E> {
    fn from(error: BenchError<E>) -> Self {
        Self::Bench(error)
    }
}

impl<E> From<io::Error> for ClientError<E> {
    fn from(error: io::Error) -> Self {
        Self::Os(error)
    }
}

impl<E: fmt::Display> fmt::Display for ClientError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bench(error) => error.fmt(f),
            Self::Os(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for ClientError<E> {}

/// Exchanges what `options` ask for by `transport`, with the server that is
/// process `server`, and prints the results.
///
/// # Errors
///
/// See [`ClientError`].
pub fn run<T: Transport>(
    mechanism: &str,
    transport: &mut T,
    server: u32,
    options: &Options,
) -> Result<(), ClientError<T::Error>> {
    let is_echo = |answer| answer == 0;
    round_trips(transport, Ask::Echo, WARM_UP, is_echo)?;
    match &options.marker {
        Some(marker) => marked(transport, server, options.messages, marker),
        None => measured(mechanism, transport, server, options),
    }
}

/// Exchanges messages between two marks in the kernel's trace, and prints
/// whose events are to be looked for between them.
///
/// The second mark is itself a system call of this client's.
fn marked<T: Transport>(
    transport: &mut T,
    server: u32,
    messages: u64,
    marker: &Path,
) -> Result<(), ClientError<T::Error>> {
    let mut marker: File = OpenOptions::new().write(true).open(marker)?;
    for (side, pid) in [("client", std::process::id()), ("server", server)] {
        for task in tasks_of(pid)? {
            println!("TASK {side} {}", task.tid);
        }
    }
    marker.write_all(b"rpal-echo: begin")?;
    let exchanged = round_trips(transport, Ask::Echo, messages, |answer| answer == 0);
    marker.write_all(b"rpal-echo: end")?;
    exchanged?;
    Ok(())
}

fn measured<T: Transport>(
    mechanism: &str,
    transport: &mut T,
    server: u32,
    options: &Options,
) -> Result<(), ClientError<T::Error>> {
    let clock = Clock::calibrate();
    let report = Report::new(mechanism, server, &clock)?;
    let messages = options.messages;

    let before = both_sides(server)?;
    let ticks = round_trips(transport, Ask::Echo, messages, |answer| answer == 0)?;
    let after = both_sides(server)?;
    let round_trip = clock.mean_of_rounds(ticks, messages);

    let one_way_messages = messages.div_ceil(ONE_WAY_PART);
    let ticks = one_ways(transport, one_way_messages)?;
    let one_way = clock.mean_of_spans(ticks, one_way_messages);
    println!(
        "{}",
        report.echo(messages, round_trip, one_way_messages, one_way)
    );

    for (side, before) in before {
        // A task that came or went meanwhile took no part.
        if let Some((_, after)) = after.iter().find(|(_, after)| after.tid == before.tid) {
            println!("{}", report.switches(messages, side, &before, after));
        }
    }

    if options.system_calls > 0 {
        let count = options.system_calls;
        let is_server = |answer| answer == u64::from(server);
        let ticks = round_trips(transport, Ask::ProcessId, count, is_server)?;
        let mean = clock.mean_of_rounds(ticks, count);
        println!("{}", report.system_call(count, mean));
    }
    Ok(())
}

/// All tasks of this process and of the server's.
fn both_sides(server: u32) -> io::Result<Vec<(&'static str, Task)>> {
    let client = tasks_of(std::process::id())?;
    let server = tasks_of(server)?;
    Ok(client
        .into_iter()
        .map(|task| ("client", task))
        .chain(server.into_iter().map(|task| ("server", task)))
        .collect())
}
