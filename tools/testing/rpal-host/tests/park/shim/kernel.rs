// SPDX-License-Identifier: GPL-2.0

//! What the kernel crate has, as far as it is used: errors, vectors, locks and numbers.

pub(crate) mod bindings {
    #![allow(non_upper_case_globals)]

    pub(crate) const __NR_rpal_wait: u32 = 1;
    pub(crate) const __NR_rpal_await: u32 = 2;
    pub(crate) const POLLIN: u32 = 1;
    pub(crate) const RPAL_WAIT_NO_FD: i32 = -1;
}

pub(crate) mod prelude {
    pub(crate) use core::pin::Pin;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Error(i32);

    impl Error {
        pub(crate) const fn to_errno(self) -> i32 {
            self.0
        }
    }

    pub(crate) type Result<T = (), E = Error> = core::result::Result<T, E>;

    pub(crate) const EKEYREVOKED: Error = Error(-128);
    pub(crate) const EPERM: Error = Error(-1);
    pub(crate) const EINTR: Error = Error(-4);
    pub(crate) const EBADF: Error = Error(-9);
    pub(crate) const EAGAIN: Error = Error(-11);
    pub(crate) const EINVAL: Error = Error(-22);
    pub(crate) const EPIPE: Error = Error(-32);
    pub(crate) const EPROTO: Error = Error(-71);
    pub(crate) const ENOBUFS: Error = Error(-105);
    pub(crate) const ETIMEDOUT: Error = Error(-110);
    pub(crate) const ERESTARTSYS: Error = Error(-512);
    pub(crate) const ERESTARTNOINTR: Error = Error(-513);

    pub(crate) struct Flags;
    pub(crate) const GFP_ATOMIC: Flags = Flags;

    /// A vector whose growth may fail. Not here.
    pub(crate) struct KVec<T>(Vec<T>);

    impl<T> KVec<T> {
        pub(crate) const fn new() -> Self {
            Self(Vec::new())
        }
        pub(crate) fn push(&mut self, value: T, _: Flags) -> Result {
            self.0.push(value);
            Ok(())
        }
        pub(crate) fn remove(&mut self, i: usize) -> Result<T> {
            if i < self.0.len() {
                Ok(self.0.remove(i))
            } else {
                Err(EINVAL)
            }
        }
    }

    impl<T> core::ops::Deref for KVec<T> {
        type Target = [T];
        fn deref(&self) -> &[T] {
            &self.0
        }
    }
}

pub(crate) mod sync {
    use loom::sync::{Mutex, MutexGuard};

    pub(crate) use std::sync::Arc;

    pub(crate) mod aref {
        pub(crate) type ARef<T> = std::sync::Arc<T>;
    }

    pub(crate) mod atomic {
        pub(crate) mod ordering {
            pub(crate) struct Relaxed;
        }
    }

    pub(crate) struct SpinLock<T>(Mutex<T>);

    impl<T> SpinLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(Mutex::new(value))
        }
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }
}

pub(crate) mod time {
    pub(crate) struct Delta(i64);

    impl Delta {
        pub(crate) const fn from_nanos(nanos: i64) -> Self {
            Self(nanos)
        }
        pub(crate) const fn as_millis(&self) -> i64 {
            self.0 / 1_000_000
        }
    }
}
