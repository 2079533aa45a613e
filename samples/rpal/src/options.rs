// SPDX-License-Identifier: MIT OR Apache-2.0

//! The programs' options: each is `--name value`.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// The options of all four programs; each program takes some of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// `--socket PATH`: where the server listens.
    pub socket: PathBuf,
    /// `--cpu N`: the CPU to stay on.
    pub cpu: Option<usize>,
    /// `--messages N`: how many messages to exchange.
    pub messages: u64,
    /// `--system-calls N`: how many of a second kind, for which the receiver
    /// makes a system call.
    pub system_calls: u64,
    /// `--marker FILE`: tracefs's `trace_marker`, to mark the exchange in.
    pub marker: Option<PathBuf>,
}

/// What is wrong with the options.
#[derive(Debug, PartialEq, Eq)]
pub enum OptionError {
    /// There is no such option.
    Unknown(OsString),
    /// The option's value is missing.
    Missing(OsString),
    /// The option's value is not a number, or not one that makes sense.
    NotANumber(OsString),
    /// `--socket` is missing.
    NoSocket,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "no such option: {}", name.to_string_lossy()),
            Self::Missing(name) => write!(f, "{} needs a value", name.to_string_lossy()),
            Self::NotANumber(name) => write!(f, "{} needs a number", name.to_string_lossy()),
            Self::NoSocket => f.write_str("--socket is missing"),
        }
    }
}

impl std::error::Error for OptionError {}

impl Options {
    /// The options on this program's command line, of which it takes those
    /// named in `taken`.
    ///
    /// # Errors
    ///
    /// See [`OptionError`].
    pub fn from_command_line(taken: &[&str]) -> Result<Self, OptionError> {
        Self::parse(taken, std::env::args_os().skip(1))
    }

    fn parse(
        taken: &[&str],
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, OptionError> {
        let mut options = Self {
            socket: PathBuf::new(),
            cpu: None,
            messages: 1_000_000,
            system_calls: 0,
            marker: None,
        };
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            if !taken.iter().any(|taken| name == *taken) {
                return Err(OptionError::Unknown(name));
            }
            let Some(value) = arguments.next() else {
                return Err(OptionError::Missing(name));
            };
            let number = value.to_str().and_then(|value| value.parse::<u64>().ok());
            match (name.to_str(), number) {
                (Some("--socket"), _) => options.socket = value.into(),
                (Some("--marker"), _) => options.marker = Some(value.into()),
                (Some("--cpu"), Some(cpu)) => options.cpu = usize::try_from(cpu).ok(),
                (Some("--messages"), Some(count)) if count > 0 => options.messages = count,
                (Some("--system-calls"), Some(count)) => options.system_calls = count,
                _ => return Err(OptionError::NotANumber(name)),
            }
        }
        if options.socket.as_os_str().is_empty() {
            return Err(OptionError::NoSocket);
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, OptionError> {
        Options::parse(
            &["--socket", "--cpu", "--messages"],
            arguments.iter().map(OsString::from),
        )
    }

    #[test]
    fn options_have_values_and_defaults() {
        let options = parse(&["--socket", "/run/x", "--cpu", "1"]).unwrap();
        assert_eq!(options.socket, PathBuf::from("/run/x"));
        assert_eq!(options.cpu, Some(1));
        assert_eq!(options.messages, 1_000_000);
        assert_eq!(options.marker, None);
    }

    #[test]
    fn wrong_options_are_told_apart() {
        assert_eq!(parse(&[]), Err(OptionError::NoSocket));
        assert_eq!(
            parse(&["--socket"]),
            Err(OptionError::Missing("--socket".into()))
        );
        assert_eq!(
            parse(&["--marker", "x"]),
            Err(OptionError::Unknown("--marker".into()))
        );
        for count in ["many", "0", "-1"] {
            assert_eq!(
                parse(&["--messages", count]),
                Err(OptionError::NotANumber("--messages".into()))
            );
        }
    }
}
