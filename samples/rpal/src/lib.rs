// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the echo programs share.
//!
//! Four programs, started separately: `echo-server` and `echo-client` over
//! RPAL, `echo-uds-server` and `echo-uds-client` over a Unix stream socket with
//! epoll. Both pairs exchange the same messages ([`message`]), run the same
//! measurements ([`mod@bench`]) and count with the same clock ([`clock`]), so that
//! what differs is the mechanism.

#![deny(unsafe_code)]

pub mod bench;
pub mod client;
pub mod clock;
pub mod cpu;
pub mod epoll;
pub mod message;
pub mod options;
pub mod report;
pub mod task;
