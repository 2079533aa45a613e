// SPDX-License-Identifier: MIT OR Apache-2.0

//! A service that serves calls and a socket in one thread.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rpal::{Caller, Errno, Listener, Receiver, ServeError, Woken};

use super::{
    call, connect, echo_many, handle, notice_permissions, permission, socket, PATIENCE, PERMITTED,
};

/// First byte of a request: how many events has the thread been told of?
const EVENTS: u8 = b'v';
/// The same, but not before permission 1.
const HOLD: u8 = b'h';

/// Has a call begun that holds the thread? Its handler makes no system call.
static HELD: AtomicBool = AtomicBool::new(false);

/// The file whose existence says so.
const HELD_FILE: &str = "held";

/// The server: sends each byte back, until the other side closes the socket.
pub fn serve() {
    let events = Rc::new(Cell::new(0_u32));
    let told = Rc::clone(&events);
    let mut receiver = Receiver::new(move |request: &[u8], reply: &mut [u8]| {
        match request.first() {
            Some(&EVENTS) => {}
            Some(&HOLD) => {
                HELD.store(true, Ordering::Relaxed);
                while PERMITTED.load(Ordering::Relaxed) < 1 {
                    std::hint::spin_loop();
                }
            }
            _ => return handle(&mut None, request, reply),
        }
        reply[..4].copy_from_slice(&told.get().to_le_bytes());
        Ok(4)
    })
    .unwrap();
    notice_permissions();
    thread::spawn(|| {
        while !HELD.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
        fs::write(socket(HELD_FILE), b"").unwrap();
    });
    let door = UnixListener::bind(socket("events")).unwrap();
    door.set_nonblocking(true).unwrap();
    // The last: who can call finds the other socket, too.
    let mut listener = Listener::bind(socket("first")).unwrap();
    let address = receiver.address();
    thread::spawn(move || panic!("{:?}", listener.run(&[address])));

    // Being told without a reason makes the accept and the reads below fail.
    let mut serve = |stream: &dyn std::os::fd::AsFd, timeout| {
        receiver.serve_until_readable(stream.as_fd(), timeout)
    };
    assert_eq!(serve(&door, None), Ok(Woken::Readable));
    let (mut stream, _) = door.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    // The client waits for a first byte before it sends any.
    assert_eq!(
        serve(&stream, Some(Duration::from_millis(5))),
        Ok(Woken::Timeout)
    );
    stream.write_all(&[0]).unwrap();
    let mut byte = [0];
    loop {
        assert_eq!(serve(&stream, None), Ok(Woken::Readable));
        if stream.read(&mut byte).unwrap() == 0 {
            break;
        }
        events.set(events.get() + 1);
        stream.write_all(&byte).unwrap();
    }
}

fn events(caller: &mut Caller) -> u32 {
    u32::from_le_bytes(call(caller, &[EVENTS]).unwrap().try_into().unwrap())
}

/// The client: calls, and writes to the socket.
pub fn call_and_write() {
    let connection = connect("first");
    let mut caller = connection.caller().unwrap();
    echo_many(&mut caller, 10);
    let mut stream = UnixStream::connect(socket("events")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    for number in 1..=200_u8 {
        stream.write_all(&[number]).unwrap();
        // Calls come at the same time, or none does.
        if number % 2 == 0 {
            echo_many(&mut caller, 20);
        }
        stream.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [number]);
        assert_eq!(events(&mut caller), number.into());
        echo_many(&mut caller, 3);
    }
    // What happens in the middle of a call is told after it, and not forgotten.
    let told = thread::scope(|scope| {
        let held = scope.spawn(|| call(&mut connection.caller().unwrap(), &[HOLD]));
        let start = Instant::now();
        while !socket(HELD_FILE).exists() {
            assert!(start.elapsed() < PATIENCE);
            thread::sleep(Duration::from_millis(1));
        }
        stream.write_all(&[201]).unwrap();
        // So late that the kernel takes the context back.
        thread::sleep(Duration::from_millis(50));
        stream.set_nonblocking(true).unwrap();
        let early = stream.read(&mut byte).map_err(|error| error.kind());
        assert_eq!(early, Err(ErrorKind::WouldBlock));
        stream.set_nonblocking(false).unwrap();
        fs::write(permission(1), b"").unwrap();
        held.join().unwrap().unwrap()
    });
    assert_eq!(told, 200_u32.to_le_bytes());
    stream.read_exact(&mut byte).unwrap();
    assert_eq!(byte, [201]);
    assert_eq!(events(&mut caller), 201);
    echo_many(&mut caller, 10);
}

/// Descriptors that cannot be waited for, and one that can.
pub fn wait_in_vain() {
    let mut receiver = Receiver::new(|_: &[u8], _: &mut [u8]| Ok(0)).unwrap();
    let path = socket("file");
    let file = File::create(&path).unwrap();
    let directory = File::open(path.parent().unwrap()).unwrap();
    for file in [file, directory] {
        assert_eq!(
            receiver.serve_until_readable(&file, None),
            Err(ServeError::NotPollable)
        );
    }
    let path_only = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(&path)
        .unwrap();
    assert_eq!(
        receiver.serve_until_readable(&path_only, None),
        Err(ServeError::Os(Errno::BADF))
    );
    let (one, other) = UnixStream::pair().unwrap();
    let soon = Some(Duration::from_millis(5));
    assert_eq!(
        receiver.serve_until_readable(&one, soon),
        Ok(Woken::Timeout)
    );
    drop(other);
    assert_eq!(
        receiver.serve_until_readable(&one, None),
        Ok(Woken::Readable)
    );
}
