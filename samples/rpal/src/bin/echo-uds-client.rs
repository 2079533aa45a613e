// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sends messages over a Unix stream socket, waiting with epoll, and prints
//! what they cost.
//!
//! ```text
//! echo-uds-client --socket /run/echo-uds [--cpu 0] [--messages 1000000]
//!                 [--system-calls 100000] [--marker /sys/kernel/tracing/trace_marker]
//! ```

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use rpal_samples::bench::Transport;
use rpal_samples::epoll::Epoll;
use rpal_samples::message::{self, Ask, LEN};
use rpal_samples::options::Options;
use rpal_samples::{client, cpu};

/// Sends by a socket and waits with epoll.
struct UdsEpoll {
    socket: UnixStream,
    epoll: Epoll,
}

impl UdsEpoll {
    fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let epoll = Epoll::new()?;
        epoll.add(&socket, 0)?;
        Ok(Self { socket, epoll })
    }

    /// The server's process number, as it tells itself.
    fn server(&mut self) -> Result<u32, Box<dyn Error>> {
        let mut reply = [0; LEN];
        self.exchange(&message::request(0, Ask::ProcessId), &mut reply)?;
        Ok(u32::try_from(message::check_reply(&reply, 0)?)?)
    }
}

impl Transport for UdsEpoll {
    type Error = io::Error;

    fn exchange(&mut self, request: &[u8; LEN], reply: &mut [u8; LEN]) -> io::Result<()> {
        // With one message in flight there is always room for it.
        self.socket.write_all(request)?;
        let mut filled = 0;
        while filled < LEN {
            let _the_one_socket = self.epoll.wait()?;
            match self.socket.read(&mut reply[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => filled += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
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
    let socket = UnixStream::connect(&options.socket)
        .map_err(|error| format!("{}: {error}", options.socket.display()))?;
    let mut transport = UdsEpoll::new(socket)?;
    let server = transport.server()?;
    client::run("uds_epoll", &mut transport, server, &options)?;
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo-uds-client: {error}");
            ExitCode::FAILURE
        }
    }
}
