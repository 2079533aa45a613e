// SPDX-License-Identifier: MIT OR Apache-2.0

//! A handler whose context the kernel cannot bring back.
//!
//! # Unsafe code
//!
//! What makes it lose it, which no other code can wish for.

#![allow(unsafe_code)]

use rpal::{CallError, Listener, Receiver};

use super::{call, connect, echo_many, handle, socket};

/// First byte of a request: lose the context.
const LOSE: u8 = b'l';

/// Makes a system call with an FS base that no thread has.
fn lose() -> ! {
    // SAFETY: nothing uses thread-local memory between the two instructions, and
    // there is no way on: a service's context that comes to the kernel like that is
    // lost.
    unsafe {
        std::arch::asm!(
            "wrfsbase {zero}",
            "mov eax, 39",
            "syscall",
            "ud2",
            zero = in(reg) 0_u64,
            options(noreturn),
        )
    }
}

/// The server. It is another thread that listens, and that survives if the process does.
pub fn serve() {
    let receiver = Receiver::spawn(|| {
        |request: &[u8], reply: &mut [u8]| {
            if request.first() == Some(&LOSE) {
                lose();
            }
            handle(&mut None, request, reply)
        }
    })
    .unwrap();
    let mut listener = Listener::bind(socket("first")).unwrap();
    panic!("{:?}", listener.run(&[receiver.address()]));
}

/// The client: nobody answers any more.
pub fn lose_it() {
    let connection = connect("first");
    let mut caller = connection.caller().unwrap();
    echo_many(&mut caller, 10);
    assert_eq!(call(&mut caller, &[LOSE]), Err(CallError::PeerDied));
    assert_eq!(call(&mut caller, b"e"), Err(CallError::PeerDied));
}
