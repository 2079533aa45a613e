// SPDX-License-Identifier: MIT OR Apache-2.0

//! The command line.

use std::ffi::OsString;
use std::fmt;

use rpal::Protection;

/// How the program is used.
pub const USAGE: &str = "\
usage: rpal run [--unprotected] [--] PROGRAM [ARGUMENT...]
       rpal status
       rpal help";

/// What the user wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Invocation {
    /// To be told the usage.
    Help,
    /// A list of all services.
    Status,
    /// A program started as a service.
    Run {
        /// How its memory is to be protected.
        protection: Protection,
        /// The program, found by `PATH`.
        program: OsString,
        /// Its arguments.
        arguments: Vec<OsString>,
    },
}

/// What is wrong with a command line.
#[derive(Debug, PartialEq, Eq)]
pub enum UsageError {
    /// There is no command.
    NoCommand,
    /// There is no such command.
    UnknownCommand(OsString),
    /// The command has no such option.
    UnknownOption(OsString),
    /// The command takes no such argument.
    UnexpectedArgument(OsString),
    /// There is no program to run.
    NoProgram,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommand => f.write_str("a command is missing"),
            Self::UnknownCommand(name) => write!(f, "no such command: {}", name.to_string_lossy()),
            Self::UnknownOption(name) => write!(f, "no such option: {}", name.to_string_lossy()),
            Self::UnexpectedArgument(name) => write!(f, "not expected: {}", name.to_string_lossy()),
            Self::NoProgram => f.write_str("a program is missing"),
        }
    }
}

impl Invocation {
    /// Reads the arguments behind the program's own name.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut arguments = arguments.into_iter();
        let command = arguments.next().ok_or(UsageError::NoCommand)?;
        let plain = match command.to_str() {
            Some("run") => return Self::parse_run(arguments),
            Some("status") => Self::Status,
            Some("help" | "--help" | "-h") => Self::Help,
            _ => return Err(UsageError::UnknownCommand(command)),
        };
        match arguments.next() {
            None => Ok(plain),
            Some(argument) => Err(UsageError::UnexpectedArgument(argument)),
        }
    }

    fn parse_run(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut protection = Protection::Keys;
        let program = loop {
            let argument = arguments.next().ok_or(UsageError::NoProgram)?;
            match argument.to_str() {
                Some("--unprotected") => protection = Protection::None,
                Some("--") => break arguments.next().ok_or(UsageError::NoProgram)?,
                Some(option) if option.starts_with('-') => {
                    return Err(UsageError::UnknownOption(argument));
                }
                _ => break argument,
            }
        };
        Ok(Self::Run {
            protection,
            program,
            arguments: arguments.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Invocation, UsageError> {
        Invocation::parse(arguments.iter().map(OsString::from))
    }

    fn run(protection: Protection, program: &str, arguments: &[&str]) -> Invocation {
        Invocation::Run {
            protection,
            program: program.into(),
            arguments: arguments.iter().map(OsString::from).collect(),
        }
    }

    #[test]
    fn run_takes_a_program_and_leaves_its_options_alone() {
        assert_eq!(
            parse(&["run", "--", "server", "--unprotected", "--", "x"]),
            Ok(run(
                Protection::Keys,
                "server",
                &["--unprotected", "--", "x"]
            ))
        );
        assert_eq!(
            parse(&["run", "--unprotected", "server", "-x"]),
            Ok(run(Protection::None, "server", &["-x"]))
        );
        assert_eq!(
            parse(&["run", "--", "--odd-name"]),
            Ok(run(Protection::Keys, "--odd-name", &[]))
        );
    }

    #[test]
    fn wrong_command_lines_are_told_apart() {
        assert_eq!(parse(&[]), Err(UsageError::NoCommand));
        assert_eq!(parse(&["run"]), Err(UsageError::NoProgram));
        assert_eq!(parse(&["run", "--"]), Err(UsageError::NoProgram));
        assert_eq!(
            parse(&["run", "--fast", "x"]),
            Err(UsageError::UnknownOption("--fast".into()))
        );
        assert_eq!(
            parse(&["walk"]),
            Err(UsageError::UnknownCommand("walk".into()))
        );
        assert_eq!(
            parse(&["status", "now"]),
            Err(UsageError::UnexpectedArgument("now".into()))
        );
    }

    #[test]
    fn help_is_a_command_and_an_option() {
        for spelling in ["help", "--help", "-h"] {
            assert_eq!(parse(&[spelling]), Ok(Invocation::Help));
        }
        assert_eq!(parse(&["status"]), Ok(Invocation::Status));
    }
}
