// SPDX-License-Identifier: GPL-2.0

//! The service descriptor: consent that can be passed on.
//!
//! An anonymous inode of a class of its own, so that security modules see who receives one.

use crate::{
    ctl::MAX_THREADS,
    gate,
    service::Service,
    uapi,
    window, //
};
use kernel::{
    bindings,
    fs::file::{
        File,
        FileDescriptorReservation,
        LocalFile, //
    },
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        ArcBorrow, //
    }, //
};

/// Operations that may be shared by all threads.
#[repr(transparent)]
struct Fops(bindings::file_operations);

// SAFETY: never written.
unsafe impl Sync for Fops {}

static FOPS: Fops = Fops(bindings::file_operations {
    release: Some(release),
    llseek: Some(bindings::noop_llseek),
    ..pin_init::zeroed()
});

/// The last reference to a descriptor goes.
///
/// # Safety
///
/// `file` was opened by [`open`], and this is called once.
unsafe extern "C" fn release(
    _: *mut bindings::inode,
    file: *mut bindings::file,
) -> kernel::ffi::c_int {
    // SAFETY: `open` stored a reference, and this is its file's end.
    drop(unsafe { Arc::from_raw((*file).private_data.cast_const().cast::<Service>()) });
    0
}

/// Opens a descriptor of `service`.
///
/// `EMFILE`, `ENFILE`, `ENOMEM`, or what a security module says. May sleep.
fn open(service: &Arc<Service>) -> Result<(FileDescriptorReservation, ARef<File>)> {
    let fd = FileDescriptorReservation::get_unused_fd_flags(bindings::O_CLOEXEC)?;
    let private = Arc::into_raw(service.clone());
    // SAFETY: the name and the operations are static.
    let file = kernel::error::from_err_ptr(unsafe {
        bindings::anon_inode_create_getfile(
            c"[rpal]".as_char_ptr(),
            &FOPS.0,
            private.cast_mut().cast(),
            bindings::O_RDWR as i32,
            core::ptr::null(),
        )
    })
    .inspect_err(|_| {
        // SAFETY: no file took the reference.
        drop(unsafe { Arc::from_raw(private) });
    })?;
    let file = core::ptr::NonNull::new(file).ok_or(ENOMEM)?;
    // SAFETY: the new file has one reference, which is ours.
    Ok((fd, unsafe { ARef::from_raw(file.cast()) }))
}

/// The service that descriptor `fd` of the current process stands for.
///
/// `EBADF`: it is no service descriptor.
fn service(fd: i32) -> Result<Arc<Service>> {
    let file = LocalFile::fget(u32::try_from(fd).map_err(|_| EBADF)?)?;
    // SAFETY: the file is referenced. With our operations its private data is a service.
    unsafe {
        let file = file.as_ptr();
        if !core::ptr::eq((*file).f_op, &FOPS.0) {
            return Err(EBADF);
        }
        Ok(ArcBorrow::from_raw((*file).private_data.cast_const().cast::<Service>()).into())
    }
}

/// `rpal_service(2)`.
///
/// `ENXIO`: the caller lives in no service; `EINVAL`: unknown flags; the errors of [`open`] and
/// [`uapi::read`]; `EFAULT`. May sleep.
pub(crate) fn info(addr: usize, size: usize) -> Result {
    const FD: u64 = bindings::RPAL_SERVICE_FD as u64;

    let mut arg: uapi::ServiceInfo = uapi::read(addr, size)?;
    if arg.flags & !FD != 0 {
        return Err(EINVAL);
    }
    let own = Service::current()?;
    let gate = gate::page()?;
    let opened = if arg.flags & FD != 0 {
        Some(open(&own)?)
    } else {
        None
    };
    arg.fd = opened
        .as_ref()
        .map_or(-1, |(fd, _)| fd.reserved_fd() as i32);
    arg.slot = own.place.number().into();
    arg.pkey = own.key.number().into();
    arg.pkru = own.pkru;
    arg.mode = if own.unprotected {
        bindings::RPAL_MODE_UNPROTECTED
    } else {
        0
    };
    arg.max_threads = MAX_THREADS as u32;
    arg.slot_start = own.place.start() as u64;
    arg.ctl_start = own.area_addr.0 as u64;
    arg.gate_call = gate.call() as u64;
    arg.gate_wait = gate.wait() as u64;
    arg.gate_copy = gate.copy() as u64;
    uapi::write(addr, size, &arg)?;
    if let Some((fd, file)) = opened {
        fd.fd_install(file);
    }
    Ok(())
}

/// `rpal_attach(2)`.
///
/// `EBADF`: `fd` is no service descriptor; `ENXIO`: the caller lives in no service; `EINVAL`:
/// unknown flags; the errors of [`window::attach`] and [`uapi::read`]; `EFAULT`. May sleep.
pub(crate) fn attach(fd: i32, addr: usize, size: usize) -> Result {
    let mut arg: uapi::Attach = uapi::read(addr, size)?;
    if arg.flags != 0 {
        return Err(EINVAL);
    }
    let own = Service::current()?;
    let peer = service(fd)?;
    window::attach(&own, &peer)?;
    arg.slot = peer.place.number().into();
    arg.pkey = peer.key.number().into();
    arg.slot_start = peer.place.start() as u64;
    arg.ctl_start = peer.area_addr.0 as u64;
    uapi::write(addr, size, &arg).inspect_err(|_| {
        let _ = window::detach(&own, &peer);
    })
}

/// `rpal_detach(2)`.
///
/// `EBADF`, `ENXIO` as above; `ENOTCONN`: not attached. May sleep.
pub(crate) fn detach(fd: i32) -> Result {
    let own = Service::current()?;
    window::detach(&own, &service(fd)?)
}
