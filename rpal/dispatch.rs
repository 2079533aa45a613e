// SPDX-License-Identifier: GPL-2.0

//! Where `rpal/syscalls.c` goes on.

use crate::{
    call,
    descriptor,
    exec,
    thread,
    wait, //
};
use kernel::{
    ffi::{
        c_int,
        c_long, //
    },
    prelude::*, //
};

fn code(result: Result<i64>) -> c_long {
    match result {
        Ok(v) => v as c_long,
        Err(e) => e.to_errno() as c_long,
    }
}

#[no_mangle]
extern "C" fn rpal_sys_arm(arg: usize, size: usize) -> c_long {
    code(exec::arm(arg, size).map(|()| 0))
}

#[no_mangle]
extern "C" fn rpal_sys_service(arg: usize, size: usize) -> c_long {
    code(descriptor::info(arg, size).map(|()| 0))
}

#[no_mangle]
extern "C" fn rpal_sys_attach(fd: c_int, arg: usize, size: usize) -> c_long {
    code(descriptor::attach(fd, arg, size).map(|()| 0))
}

#[no_mangle]
extern "C" fn rpal_sys_detach(fd: c_int) -> c_long {
    code(descriptor::detach(fd).map(|()| 0))
}

#[no_mangle]
extern "C" fn rpal_sys_thread(arg: usize, size: usize) -> c_long {
    code(thread::control(arg, size).map(|()| 0))
}

#[no_mangle]
extern "C" fn rpal_sys_wait(entry: usize, cookie: usize, timeout: u64, fd: c_int) -> c_long {
    code(wait::wait(entry as u64, cookie as u64, timeout, fd))
}

#[no_mangle]
extern "C" fn rpal_sys_call(peer: usize, a0: usize, a1: usize, a2: usize, a3: usize) -> c_long {
    code(call::call(peer, [a0, a1, a2, a3].map(|a| a as u64)))
}

#[no_mangle]
extern "C" fn rpal_sys_await(ticket: usize) -> c_long {
    code(call::await_reply(ticket as u64))
}

#[no_mangle]
extern "C" fn rpal_sys_reply(result: c_long) -> c_long {
    code(wait::reply(result as i64))
}

/// `rpal_release(2)`: the hook of system call entry has done it already.
#[no_mangle]
extern "C" fn rpal_sys_release() -> c_long {
    code(thread::Thread::current().map(|_| 0))
}
