// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sends messages by RPAL and prints what they cost.
//!
//! ```text
//! rpal run -- echo-client --socket /run/echo [--cpu 0] [--messages 1000000]
//!             [--system-calls 100000] [--marker /sys/kernel/tracing/trace_marker]
//! ```

#![forbid(unsafe_code)]

use std::error::Error;
use std::process::ExitCode;

use rpal::{CallError, Caller, Connection};
use rpal_samples::bench::Transport;
use rpal_samples::message::LEN;
use rpal_samples::options::Options;
use rpal_samples::{client, cpu};

/// Calls by RPAL.
struct Rpal(Caller);

impl Transport for Rpal {
    type Error = CallError;

    #[inline]
    fn exchange(&mut self, request: &[u8; LEN], reply: &mut [u8; LEN]) -> Result<(), CallError> {
        if self.0.call(request, reply)? == LEN {
            Ok(())
        } else {
            Err(CallError::Garbled)
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let options = Options::from_command_line(&[
        "--socket",
        "--cpu",
        "--messages",
        "--system-calls",
        "--marker",
    ])?;
    if let Some(cpu) = options.cpu {
        cpu::pin(cpu)?;
    }
    let connection = Connection::connect(&options.socket)
        .map_err(|error| format!("{}: {error}", options.socket.display()))?;
    let server = connection.peer_pid()?;
    let mut transport = Rpal(connection.caller()?);
    client::run("rpal", &mut transport, server, &options)?;
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo-client: {error}");
            ExitCode::FAILURE
        }
    }
}
