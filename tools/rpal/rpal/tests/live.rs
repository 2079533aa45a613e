// SPDX-License-Identifier: MIT OR Apache-2.0

//! The library on a kernel that has RPAL: two or three real services.
//!
//! Each test starts this very program again, as services that play a role in
//! it. On a kernel without RPAL the tests say so and pass.

use std::env;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rpal::{
    arm_child, AppCode, CallError, Caller, ConnectError, Connection, Listener, Protection,
    Receiver, Service, ServiceError,
};

#[path = "live/events.rs"]
mod events;
#[path = "live/lost.rs"]
mod lost;

/// Names the role that this process plays, and the directory of the test.
const ROLE: &str = "RPAL_LIVE_ROLE";
const DIRECTORY: &str = "RPAL_LIVE_DIRECTORY";

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// First byte of a request: what the handler is to do.
const ECHO: u8 = b'e';
const PANIC: u8 = b'p';
const PROCESS_ID: u8 = b'i';
const THREAD_AND_HEAP: u8 = b't';
const REFUSE: u8 = b'r';
const EXIT: u8 = b'x';
const PASS_ON: u8 = b'n';
/// The next byte says which permission to wait for: in user mode, or asleep.
const SPIN: u8 = b's';
const DOZE: u8 = b'd';

/// This process's address for a service of the test.
fn socket(name: &str) -> PathBuf {
    Path::new(&env::var_os(DIRECTORY).expect("the test tells its directory")).join(name)
}

/// How many permissions to go on this server has noticed.
static PERMITTED: AtomicU8 = AtomicU8::new(0);

/// The file whose existence is permission `number`.
fn permission(number: u8) -> PathBuf {
    socket(&format!("permission-{number}"))
}

/// Looks for permissions, for handlers that make no system call.
fn notice_permissions() {
    thread::spawn(|| loop {
        let next = PERMITTED.load(Ordering::Relaxed) + 1;
        if permission(next).exists() {
            PERMITTED.store(next, Ordering::Relaxed);
        }
        thread::sleep(Duration::from_millis(1));
    });
}

/// A server whose handler does what it is asked to, at `name`.
fn serve(name: &str, receivers: usize) -> ! {
    let addresses: Vec<_> = (0..receivers)
        .map(|_| {
            Receiver::spawn(|| {
                let mut next: Option<Caller> = None;
                move |request: &[u8], reply: &mut [u8]| handle(&mut next, request, reply)
            })
            .expect("a receiver can be made")
            .address()
        })
        .collect();
    let mut listener = Listener::bind(socket(name)).expect("the path is free");
    panic!("{:?}", listener.run(&addresses));
}

fn handle(next: &mut Option<Caller>, request: &[u8], reply: &mut [u8]) -> Result<usize, AppCode> {
    match request.first() {
        Some(&ECHO) => {
            reply[..request.len()].copy_from_slice(request);
            Ok(request.len())
        }
        Some(&PANIC) => panic!("as asked"),
        Some(&PROCESS_ID) => {
            reply[..4].copy_from_slice(&std::process::id().to_le_bytes());
            Ok(4)
        }
        Some(&THREAD_AND_HEAP) => {
            // Allocates enough for mmap, starts a thread, touches new pages.
            let sum = thread::spawn(|| vec![1_u8; 1 << 22].iter().map(|b| u64::from(*b)).sum())
                .join()
                .unwrap_or(0_u64);
            reply[..8].copy_from_slice(&sum.to_le_bytes());
            Ok(8)
        }
        Some(&SPIN) => {
            while PERMITTED.load(Ordering::Relaxed) < request[1] {
                std::hint::spin_loop();
            }
            reply.fill(b'!');
            Ok(reply.len())
        }
        Some(&DOZE) => {
            while !permission(request[1]).exists() {
                thread::sleep(Duration::from_millis(1));
            }
            reply.fill(b'!');
            Ok(reply.len())
        }
        Some(&REFUSE) => Err(AppCode(7)),
        Some(&EXIT) => std::process::exit(0),
        Some(&PASS_ON) => {
            if next.is_none() {
                let connection = Connection::connect(socket("second")).map_err(|_| AppCode(1))?;
                *next = Some(connection.caller().map_err(|_| AppCode(2))?);
            }
            let caller = next.as_mut().ok_or(AppCode(3))?;
            caller.call(&request[1..], reply).map_err(|_| AppCode(4))
        }
        _ => Err(AppCode(0)),
    }
}

/// Connects as soon as the server listens.
fn connect(name: &str) -> Connection {
    let start = Instant::now();
    loop {
        match Connection::connect(socket(name)) {
            Ok(connection) => return connection,
            Err(ConnectError::Socket(_)) if start.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

fn call(caller: &mut Caller, request: &[u8]) -> Result<Vec<u8>, CallError> {
    let mut reply = vec![0; 70_000];
    let len = caller.call(request, &mut reply)?;
    reply.truncate(len);
    Ok(reply)
}

fn echo_many(caller: &mut Caller, count: u32) {
    for number in 0..count {
        let mut request = [ECHO; 32];
        request[1..5].copy_from_slice(&number.to_le_bytes());
        assert_eq!(call(caller, &request).unwrap(), request);
    }
}

/// Plays `role` if this process was started for one.
fn play(role: &str) {
    match role {
        "server" => serve("first", 1),
        "server that stalls" => {
            notice_permissions();
            serve("first", 1)
        }
        "second" => serve("second", 1),
        "server of four" => serve("first", 4),
        "everything" => everything(),
        "nested" => nested(),
        "crowd" => crowd(),
        "death" => death(),
        "reconnect" => reconnect(),
        "late" => late(),
        "server with a socket" => events::serve(),
        "calls and a socket" => events::call_and_write(),
        "files" => events::wait_in_vain(),
        "server that is lost" => lost::serve(),
        "lose" => lost::lose_it(),
        other => panic!("no such role: {other}"),
    }
}

fn everything() {
    let connection = connect("first");
    let mut caller = connection.caller().unwrap();
    let server = connection.peer_pid().unwrap();
    echo_many(&mut caller, 1000);
    assert_eq!(
        call(&mut caller, &[PROCESS_ID]).unwrap(),
        server.to_le_bytes()
    );
    echo_many(&mut caller, 10);
    assert_eq!(call(&mut caller, &[PANIC]), Err(CallError::Panicked));
    echo_many(&mut caller, 10);
    assert_eq!(
        call(&mut caller, &[THREAD_AND_HEAP]).unwrap(),
        (1_u64 << 22).to_le_bytes()
    );
    assert_eq!(
        call(&mut caller, &[REFUSE]),
        Err(CallError::App(AppCode(7)))
    );
    assert_eq!(
        call(&mut caller, &vec![ECHO; 65_537]),
        Err(CallError::RequestTooLong)
    );
    assert_eq!(caller.call(&[], &mut []), Err(CallError::App(AppCode(0))));
    for len in [1, 7, 15, 16, 17, 31, 32, 33, 255, 256, 257, 4097, 65_536] {
        let mut request: Vec<u8> = (0..len).map(|byte| byte as u8).collect();
        request[0] = ECHO;
        assert_eq!(call(&mut caller, &request).unwrap(), request, "{len}");
    }
    assert_eq!(
        caller.call(&[ECHO; 8], &mut [0; 4]),
        Err(CallError::Panicked),
        "the handler indexes beyond its room"
    );
    echo_many(&mut caller, 10);
}

fn nested() {
    let connection = connect("first");
    drop(connect("second"));
    let mut caller = connection.caller().unwrap();
    for _ in 0..100 {
        assert_eq!(call(&mut caller, &[PASS_ON, ECHO, 5]).unwrap(), [ECHO, 5]);
        echo_many(&mut caller, 3);
    }
}

/// Several threads at one receiver, and at four.
fn crowd() {
    let connections = [connect("first"), connect("first"), connect("first")];
    thread::scope(|scope| {
        for connection in connections.iter().cycle().take(6) {
            scope.spawn(|| {
                let mut caller = connection.caller().unwrap();
                for _ in 0..20 {
                    echo_many(&mut caller, 200);
                    call(&mut caller, &[PROCESS_ID]).unwrap();
                }
            });
        }
    });
}

fn death() {
    let connection = connect("first");
    let mut caller = connection.caller().unwrap();
    echo_many(&mut caller, 10);
    assert_eq!(call(&mut caller, &[EXIT]), Err(CallError::PeerDied));
    for _ in 0..1000 {
        assert_eq!(call(&mut caller, &[ECHO]), Err(CallError::PeerDied));
    }
}

fn reconnect() {
    for _ in 0..20 {
        let connection = connect("first");
        let again = connect("first");
        echo_many(&mut connection.caller().unwrap(), 10);
        drop(connection);
        echo_many(&mut again.caller().unwrap(), 10);
    }
}

/// Calls with a deadline, some of which are late.
///
/// Nothing here is about how late: a call may miss its deadline before it begins.
fn late() {
    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }
    fn in_time() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }
    let connection = connect("first");
    let mut caller = connection.caller().unwrap();
    let mut reply = [1; 32];
    for number in 0..1000_u32 {
        let mut request = [ECHO; 16];
        request[1..5].copy_from_slice(&number.to_le_bytes());
        assert_eq!(
            caller.call_until(&request, &mut reply, in_time()),
            Ok(request.len())
        );
        assert_eq!(reply[..16], request);
    }
    reply = [1; 32];
    for (number, how) in [(1, SPIN), (2, DOZE)] {
        // Until it has begun: then the next call waits for it in vain.
        loop {
            assert_eq!(
                caller.call_until(&[how, number], &mut reply, soon()),
                Err(CallError::TimedOut)
            );
            if caller.call_until(&[REFUSE], &mut reply, soon()) == Err(CallError::TimedOut) {
                break;
            }
        }
        std::fs::write(permission(number), b"").unwrap();
        // Answered, which shows that the late ones are over.
        assert_eq!(
            caller.call_until(&[REFUSE], &mut reply, in_time()),
            Err(CallError::App(AppCode(7)))
        );
        assert_eq!(reply, [1; 32]);
    }
    // As long as a receiver stalls, there is an end to late calls.
    let mut late = 0;
    while caller.call_until(&[DOZE, 3], &mut reply, soon()) == Err(CallError::TimedOut) {
        late += 1;
    }
    // One whose time was over before it began, on a busy machine, takes no place.
    assert!((16..64).contains(&late), "{late}");
    // That its time is over before it begins may happen here, too.
    assert!(matches!(
        caller.call_until(&[ECHO], &mut reply, soon()),
        Err(CallError::TooManyLate | CallError::TimedOut)
    ));
    let mut other = connection.caller().unwrap();
    assert_eq!(
        other.call_until(&[DOZE, 3], &mut reply, soon()),
        Err(CallError::TimedOut)
    );
    std::fs::write(permission(3), b"").unwrap();
    for caller in [&mut caller, &mut other] {
        reply = [1; 32];
        assert_eq!(
            caller.call_until(&[ECHO, 5], &mut reply, in_time()),
            Ok(2),
            "the receiver is there again"
        );
        assert_eq!(reply[..3], [ECHO, 5, 1]);
        echo_many(caller, 10);
    }
}

/// The services of a test, killed when it is over.
///
/// One test at a time: there are few protection keys, and two services that
/// got the same one cannot attach each other.
struct Cast {
    directory: PathBuf,
    servers: Vec<Child>,
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

impl Cast {
    fn new(name: &str) -> Option<Self> {
        if Service::current().err() == Some(ServiceError::NoRpal) {
            eprintln!("skipped: the kernel does not have RPAL");
            return None;
        }
        let directory = env::temp_dir().join(format!("rpal-live-{name}-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        Some(Self {
            directory,
            servers: Vec::new(),
            _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner),
        })
    }

    fn start(&self, role: &str) -> io::Result<Child> {
        let mut command = Command::new(env::current_exe()?);
        command
            .args(["--exact", "a_role", "--nocapture"])
            .env(ROLE, role)
            .env(DIRECTORY, &self.directory);
        arm_child(&mut command, Protection::Keys).spawn()
    }

    fn serve(&mut self, role: &str) {
        let server = self.start(role).unwrap();
        self.servers.push(server);
    }

    /// Lets a client play its role to the end.
    fn client(&self, role: &str) {
        succeed(role, self.start(role).unwrap());
    }

    /// Lets the server that was started last come to its own end.
    fn end(&mut self, role: &str) {
        succeed(role, self.servers.pop().unwrap());
    }
}

fn succeed(role: &str, mut child: Child) {
    let status = wait(&mut child).unwrap_or_else(|| {
        let _ = child.kill();
        panic!("{role}: still running")
    });
    assert!(status.success(), "{role}: {status}");
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}

impl Drop for Cast {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Not a test: what the services run.
#[test]
fn a_role() {
    if let Ok(role) = env::var(ROLE) {
        play(&role);
    }
}

#[test]
fn every_kind_of_call_has_its_answer() {
    if let Some(mut cast) = Cast::new("everything") {
        cast.serve("server");
        cast.client("everything");
        cast.client("everything");
    }
}

#[test]
fn a_handler_calls_another_service() {
    if let Some(mut cast) = Cast::new("nested") {
        cast.serve("server");
        cast.serve("second");
        cast.client("nested");
    }
}

#[test]
fn many_threads_share_a_receiver() {
    if let Some(mut cast) = Cast::new("crowd") {
        cast.serve("server");
        cast.client("crowd");
    }
}

#[test]
fn many_threads_share_four_receivers() {
    if let Some(mut cast) = Cast::new("crowd-of-four") {
        cast.serve("server of four");
        cast.client("crowd");
    }
}

#[test]
fn a_server_that_dies_is_an_error() {
    if let Some(mut cast) = Cast::new("death") {
        cast.serve("server");
        cast.client("death");
    }
}

/// Rust's own handler of `SIGSEGV` returns, and the thread would go on.
#[test]
fn a_lost_handler_ends_the_process() {
    if let Some(mut cast) = Cast::new("lost") {
        cast.serve("server that is lost");
        cast.client("lose");
        let status = wait(cast.servers.last_mut().unwrap()).expect("it is over");
        // The library's abort; or, if the call happened to be run by the receiver's own
        // thread, which loses nothing, the instruction behind the system call.
        assert!(
            matches!(status.signal(), Some(libc::SIGABRT | libc::SIGILL)),
            "{status}"
        );
    }
}

#[test]
fn late_calls_end_and_leave_their_buffers_alone() {
    if let Some(mut cast) = Cast::new("late") {
        cast.serve("server that stalls");
        cast.client("late");
    }
}

#[test]
fn connections_come_and_go() {
    if let Some(mut cast) = Cast::new("reconnect") {
        cast.serve("server");
        cast.client("reconnect");
    }
}

#[test]
fn a_client_that_is_killed_leaves_the_server_alive() {
    if let Some(mut cast) = Cast::new("killed") {
        cast.serve("server");
        cast.client("everything");
        for round in 0..10 {
            let mut client = cast.start("crowd").unwrap();
            thread::sleep(Duration::from_millis(20 * round));
            client.kill().unwrap();
            client.wait().unwrap();
        }
        cast.client("everything");
    }
}

#[test]
fn calls_and_a_socket_are_served_by_one_thread() {
    if let Some(mut cast) = Cast::new("events") {
        cast.serve("server with a socket");
        cast.client("calls and a socket");
        // Which sees that the socket was closed.
        cast.end("server with a socket");
    }
}

#[test]
fn what_cannot_be_waited_for_is_an_error() {
    if let Some(cast) = Cast::new("files") {
        cast.client("files");
    }
}
