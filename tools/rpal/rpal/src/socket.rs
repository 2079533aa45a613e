// SPDX-License-Identifier: MIT OR Apache-2.0

//! What Unix sockets can do and the standard library does not offer:
//! descriptor passing, the peer's process number, polling.
//!
//! # Unsafe code
//!
//! The calls into the C library, and the control message that carries a
//! descriptor.

#![allow(unsafe_code)]

use std::mem::{size_of, zeroed, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rpal_sys::Errno;

/// A control buffer for a few descriptors, aligned for its header.
#[repr(C, align(8))]
struct Control([MaybeUninit<u8>; 64]);

const FD_LEN: u32 = size_of::<RawFd>() as u32;

// SAFETY: CMSG_SPACE and CMSG_LEN compute on their argument alone.
const CONTROL_SPACE: usize = unsafe { libc::CMSG_SPACE(FD_LEN) } as usize;
const _: () = assert!(CONTROL_SPACE <= size_of::<Control>());

/// Turns the C library's answer into a length.
fn check(ret: isize) -> Result<usize, Errno> {
    usize::try_from(ret).map_err(|_| Errno::last())
}

/// Sends `bytes` in one piece, with `fd` if there is one.
pub(crate) fn send(
    socket: &UnixStream,
    bytes: &[u8],
    fd: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut control = Control([MaybeUninit::zeroed(); 64]);
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: all zeros is a valid, empty `msghdr`.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if let Some(fd) = fd {
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = CONTROL_SPACE;
        // SAFETY: the control buffer is large enough and aligned for one
        // header with one descriptor behind it, so the first header exists.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(FD_LEN) as usize;
            libc::CMSG_DATA(header)
                .cast::<RawFd>()
                .write_unaligned(fd.as_raw_fd());
        }
    }
    let sent = loop {
        // SAFETY: `message` refers to `part`, `bytes` and `control`, which outlive
        // the call, with their own lengths; sending only reads them.
        match check(unsafe {
            libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
        }) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    if sent == bytes.len() {
        Ok(())
    } else {
        Err(Errno::PROTO)
    }
}

/// Receives up to `bytes.len()` bytes as they were sent, in one piece, and the
/// descriptor that came with them. Of several descriptors, the last one is
/// kept and the others are closed. A signal ends neither the wait nor the
/// socket's limit on it, which a system call that is interrupted begins anew.
///
/// `EMFILE`: one was sent, and none arrived. There were too many open files, or a
/// security module did not let this process have it; the kernel does not say which.
pub(crate) fn receive(
    socket: &UnixStream,
    bytes: &mut [u8],
) -> Result<(usize, Option<OwnedFd>), Errno> {
    let (begin, limit) = (Instant::now(), socket.read_timeout()?);
    let mut interrupted = false;
    let received = loop {
        match receive_once(socket, bytes) {
            Err(Errno::INTR) => {}
            other => break other,
        }
        if let Some(limit) = limit {
            let left = limit.saturating_sub(begin.elapsed());
            if left.is_zero() {
                break Err(Errno::AGAIN);
            }
            socket.set_read_timeout(Some(left))?;
            interrupted = true;
        }
    };
    if interrupted {
        socket.set_read_timeout(limit)?;
    }
    received
}

fn receive_once(socket: &UnixStream, bytes: &mut [u8]) -> Result<(usize, Option<OwnedFd>), Errno> {
    let mut control = Control([MaybeUninit::zeroed(); 64]);
    let mut part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: all zeros is a valid, empty `msghdr`.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>();
    // SAFETY: `message` refers to `part`, `bytes` and `control`, which outlive
    // the call, with their own lengths; any byte pattern is valid in them.
    let received = check(unsafe {
        libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC)
    })?;

    let mut fd = None;
    // SAFETY: the kernel left a well-formed list of headers in `control` and
    // its length in `message`; the CMSG macros stay within that. Every
    // descriptor in it is new in this process and owned by nobody, and each is
    // taken into an `OwnedFd` once.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let payload = (*header).cmsg_len - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                for index in 0..payload / size_of::<RawFd>() {
                    fd = Some(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    if fd.is_none() && message.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(Errno::MFILE);
    }
    Ok((received, fd))
}

/// Process number of the program at the other end when it connected, or when
/// it began to listen; zero if it is not visible from here.
pub(crate) fn peer_pid(socket: &UnixStream) -> Result<u32, Errno> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `peer`, which has that
    // size and is valid for any bit pattern.
    let ret = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut len,
        )
    };
    check(ret as isize)?;
    Ok(u32::try_from(peer.pid).unwrap_or(0))
}

/// Sleeps until at least one of `fds` is readable or has ended, and leaves in
/// `ready` which ones. An interruption by a signal is not an end of the sleep.
pub(crate) fn wait_readable(fds: &[BorrowedFd<'_>], ready: &mut Vec<bool>) -> Result<(), Errno> {
    let mut polled: Vec<libc::pollfd> = fds
        .iter()
        .map(|fd| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    loop {
        // SAFETY: the pointer and the length are those of one live vector.
        let ret = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, -1) };
        match check(ret as isize) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    ready.clear();
    ready.extend(polled.iter().map(|fd| fd.revents != 0));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::again;
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;

    #[test]
    fn a_descriptor_arrives_with_its_bytes_and_close_on_exec() {
        let (left, right) = UnixStream::pair().unwrap();
        let (mut reader, writer) = UnixStream::pair().unwrap();
        send(&left, b"hello", Some(writer.as_fd())).unwrap();
        drop(writer);

        let mut bytes = [0; 16];
        let (len, fd) = receive(&right, &mut bytes).unwrap();
        assert_eq!(&bytes[..len], b"hello");
        let fd = fd.expect("a descriptor came along");
        // SAFETY: asks for a flag of an open descriptor.
        let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        drop(fd);
        assert_eq!(
            reader.read(&mut bytes).unwrap(),
            0,
            "the last copy is closed"
        );
    }

    #[test]
    fn bytes_arrive_without_a_descriptor() {
        let (left, right) = UnixStream::pair().unwrap();
        send(&left, b"x", None).unwrap();
        let mut bytes = [0; 4];
        let (len, fd) = receive(&right, &mut bytes).unwrap();
        assert_eq!((len, bytes[0]), (1, b'x'));
        assert!(fd.is_none());
    }

    #[test]
    fn a_descriptor_for_which_there_is_no_room_is_missed() {
        const HERE: &str = "socket::tests::a_descriptor_for_which_there_is_no_room_is_missed";
        // The limit is all threads'.
        if !again::here() {
            assert!(again::test(HERE).status.success());
            return;
        }
        let (left, right) = UnixStream::pair().unwrap();
        send(&left, b"hello", Some(left.as_fd())).unwrap();
        // SAFETY: all zeros is a valid limit.
        let mut limit: libc::rlimit = unsafe { zeroed() };
        // SAFETY: a live structure for the kernel to write, and to read.
        unsafe {
            libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
            limit.rlim_cur = 0;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
        assert_eq!(receive(&right, &mut [0; 16]).err(), Some(Errno::MFILE));
    }

    #[test]
    fn a_closed_peer_is_an_error_not_a_signal() {
        let (left, right) = UnixStream::pair().unwrap();
        drop(right);
        assert_eq!(send(&left, b"x", None), Err(Errno::PIPE));
        assert_eq!(receive(&left, &mut [0; 4]).unwrap().0, 0);
    }

    #[test]
    fn the_peer_is_this_process() {
        let (left, _right) = UnixStream::pair().unwrap();
        assert_eq!(peer_pid(&left), Ok(std::process::id()));
        let file = File::open("/dev/null").unwrap();
        let not_a_socket = UnixStream::from(OwnedFd::from(file));
        assert!(peer_pid(&not_a_socket).is_err());
    }

    #[test]
    fn readable_ones_are_told_from_the_others() {
        let (left, right) = UnixStream::pair().unwrap();
        let (quiet, _other) = UnixStream::pair().unwrap();
        send(&left, b"x", None).unwrap();
        let mut ready = Vec::new();
        wait_readable(&[quiet.as_fd(), right.as_fd()], &mut ready).unwrap();
        assert_eq!(ready, [false, true]);
    }
}
