// SPDX-License-Identifier: MIT OR Apache-2.0

//! Answers messages over a Unix stream socket, waiting with epoll: what a
//! careful programmer writes today, and the baseline.
//!
//! ```text
//! echo-uds-server --socket /run/echo-uds [--cpu 0]
//! ```

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;

use rpal_samples::cpu;
use rpal_samples::epoll::Epoll;
use rpal_samples::message::{self, LEN};
use rpal_samples::options::Options;

/// Token of the listening socket; clients have larger ones.
const LISTENER: u64 = 0;

/// One client, and as much of its next request as has come.
struct Client {
    socket: UnixStream,
    request: [u8; LEN],
    filled: usize,
}

impl Client {
    fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            request: [0; LEN],
            filled: 0,
        }
    }

    /// Reads what is there and answers a request that is complete; false if
    /// the client is to be dropped.
    ///
    /// One read per wake-up: a client has one message in flight, and should
    /// there be more, a level-triggered wait tells so.
    fn serve(&mut self) -> io::Result<bool> {
        match self.socket.read(&mut self.request[self.filled..]) {
            Ok(0) => return Ok(false),
            Ok(len) => self.filled += len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
        if self.filled == LEN {
            self.filled = 0;
            let mut reply = [0; LEN];
            if message::answer(&self.request, &mut reply).is_err() {
                return Ok(false);
            }
            // A client that lets its socket fill up is in breach of one
            // message in flight, and is dropped.
            self.socket.write_all(&reply)?;
        }
        Ok(true)
    }
}

fn serve() -> Result<(), Box<dyn Error>> {
    let options = Options::from_command_line(&["--socket", "--cpu"])?;
    if let Some(cpu) = options.cpu {
        cpu::pin(cpu)?;
    }
    let listener = UnixListener::bind(&options.socket)
        .map_err(|error| format!("{}: {error}", options.socket.display()))?;
    listener.set_nonblocking(true)?;
    let mut epoll = Epoll::new()?;
    epoll.add(&listener, LISTENER)?;
    let mut clients = HashMap::new();
    let mut next_token = LISTENER;
    let mut newcomer = false;
    loop {
        for token in epoll.wait()? {
            if token == LISTENER {
                newcomer = true;
            } else if let Some(client) = clients.get_mut(&token) {
                if !Client::serve(client).unwrap_or(false) {
                    clients.remove(&token);
                }
            }
        }
        if std::mem::take(&mut newcomer) {
            match listener.accept() {
                Ok((socket, _)) => {
                    socket.set_nonblocking(true)?;
                    next_token += 1;
                    epoll.add(&socket, next_token)?;
                    clients.insert(next_token, Client::new(socket));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo-uds-server: {error}");
            ExitCode::FAILURE
        }
    }
}
