// SPDX-License-Identifier: MIT OR Apache-2.0

//! Answers messages by RPAL.
//!
//! ```text
//! rpal run -- echo-server --socket /run/echo [--cpu 0]
//! ```

#![forbid(unsafe_code)]

use std::error::Error;
use std::process::ExitCode;

use rpal::{AppCode, Listener, Receiver};
use rpal_samples::options::Options;
use rpal_samples::{cpu, message};

/// What a client gets for a message that is not as it was sent.
const BAD_MESSAGE: AppCode = AppCode(1);

fn serve() -> Result<(), Box<dyn Error>> {
    let options = Options::from_command_line(&["--socket", "--cpu"])?;
    if let Some(cpu) = options.cpu {
        cpu::pin(cpu)?;
    }
    let receiver = Receiver::spawn(|| {
        |request: &[u8], reply: &mut [u8]| message::answer(request, reply).map_err(|_| BAD_MESSAGE)
    })?;
    Listener::bind(&options.socket)
        .map_err(|error| format!("{}: {error}", options.socket.display()))?
        .run(&[receiver.address()])?;
    Ok(())
}

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo-server: {error}");
            ExitCode::FAILURE
        }
    }
}
