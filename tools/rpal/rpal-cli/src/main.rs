// SPDX-License-Identifier: MIT OR Apache-2.0

//! `rpal`: starts programs as services, and lists services.

#![forbid(unsafe_code)]

mod command;
mod status;

use std::process::{Command, ExitCode};

use command::{Invocation, USAGE};
use rpal::{arm_and_exec, Errno, ExecError};

/// Exit status for a wrong command line.
const EXIT_USAGE: u8 = 2;
/// Exit status when the program was found and could not be executed, as in
/// `env(1)`.
const EXIT_NOT_EXECUTED: u8 = 126;
/// Exit status when the program was not found, as in `env(1)`.
const EXIT_NOT_FOUND: u8 = 127;

fn main() -> ExitCode {
    let invocation = match Invocation::parse(std::env::args_os().skip(1)) {
        Ok(invocation) => invocation,
        Err(error) => {
            eprintln!("rpal: {error}\n{USAGE}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match invocation {
        Invocation::Help => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Invocation::Status => match status::print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("rpal: {}: {error}", status::DIRECTORY);
                ExitCode::FAILURE
            }
        },
        Invocation::Run {
            protection,
            program,
            arguments,
        } => {
            let error = arm_and_exec(Command::new(&program).args(arguments), protection);
            eprintln!("rpal: {}: {error}", program.to_string_lossy());
            ExitCode::from(match error {
                ExecError::Os(Errno::NOENT) => EXIT_NOT_FOUND,
                _ => EXIT_NOT_EXECUTED,
            })
        }
    }
}
