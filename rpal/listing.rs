// SPDX-License-Identifier: GPL-2.0

//! Lists for people, in `/sys/kernel/debug/rpal/`. The format is no interface.

use crate::{
    registry::REGISTRY,
    stats, //
};
use kernel::{
    debugfs::{
        Dir,
        File, //
    },
    fmt,
    prelude::*, //
};

fn services(_: &(), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "slot pkey mode uid pid threads windows holders")?;
    let registry = REGISTRY.lock();
    for s in registry.iter() {
        let (threads, windows, holders) = s.counts();
        writeln!(
            f,
            "{} {} {} {} {} {threads} {windows} {holders}",
            s.place.number(),
            s.key.number(),
            if s.unprotected {
                "unprotected"
            } else {
                "protected"
            },
            s.uid,
            s.task.tgid(),
        )?;
    }
    Ok(())
}

fn keys(_: &(), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "key services")?;
    for (key, services) in REGISTRY.lock().keys() {
        writeln!(f, "{key} {services}")?;
    }
    Ok(())
}

fn windows(_: &(), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "holder peer state")?;
    let registry = REGISTRY.lock();
    for s in registry.iter() {
        for number in 0..=u8::MAX {
            if let Some(w) = s.window(number) {
                let state = if w.is_linked() {
                    "open"
                } else if w.peer.is_dead() {
                    "dead"
                } else {
                    "closed"
                };
                writeln!(f, "{} {number} {state}", s.place.number())?;
            }
        }
    }
    Ok(())
}

fn threads(_: &(), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "slot index pid lease queued")?;
    let registry = REGISTRY.lock();
    for s in registry.iter() {
        for index in 0..=u8::MAX {
            if let Some(t) = s.thread(index) {
                let inner = t.inner.lock();
                let (state, queued) = (inner.lease.state(), inner.queue.len());
                drop(inner);
                writeln!(
                    f,
                    "{} {index} {} {state:?} {queued}",
                    s.place.number(),
                    t.task.pid()
                )?;
            }
        }
    }
    Ok(())
}

/// The files, while the module lives.
#[pin_data]
pub(crate) struct Listing {
    dir: Dir,
    #[pin]
    services: File<()>,
    #[pin]
    keys: File<()>,
    #[pin]
    windows: File<()>,
    #[pin]
    threads: File<()>,
    #[pin]
    stats: File<()>,
}

impl Listing {
    pub(crate) fn new(dir: &Dir) -> impl PinInit<Self, Error> + '_ {
        try_pin_init!(Self {
            services <- dir.read_callback_file(c"services", (), &services),
            keys <- dir.read_callback_file(c"keys", (), &keys),
            windows <- dir.read_callback_file(c"windows", (), &windows),
            threads <- dir.read_callback_file(c"threads", (), &threads),
            stats <- dir.read_callback_file(c"stats", (), &stats::show),
            dir: dir.clone(),
        } ? Error)
    }
}
