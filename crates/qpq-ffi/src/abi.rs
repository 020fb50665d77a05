//! The functions that C calls: the only place with pointers. Each checks them, and leaves the rest to safe code.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::sync::Arc;
use std::time::Duration;

use zeroize::{Zeroize as _, Zeroizing};

use crate::config::{Config, How};
use crate::guard::guarded;
use crate::handles::Open;
use crate::instance::Instance;
use crate::link::Link;
use crate::status::{Failure, QpqStatus};
use crate::{handles, request};

/// A client that is open. It is a number and not a pointer: a stale or foreign one gives QPQ_STATUS_BAD_HANDLE. 0 is never one.
pub type QpqClient = u64;

/// The version of this header. A library with another number cannot be used with it.
pub const QPQ_ABI_VERSION: u32 = 1;

/// Bytes that belong to the library: JSON text in UTF-8, followed by a zero byte that `len` does not count. Give them back
/// with qpq_buffer_free. Empty (NULL and 0) when there is nothing.
#[repr(C)]
#[derive(Debug)]
pub struct QpqBuffer {
    pub data: *mut c_char,
    pub len: usize,
}

/// The ABI version of the library that is loaded, to be compared with QPQ_ABI_VERSION.
#[unsafe(no_mangle)]
pub extern "C" fn qpq_abi_version() -> u32 {
    QPQ_ABI_VERSION
}

/// The version of the library, such as "0.1.0". Not to be freed.
#[unsafe(no_mangle)]
pub extern "C" fn qpq_version() -> *const c_char {
    VERSION.as_ptr()
}

/// The stable name of a status, such as "offline"; "unknown" for a number that is none. Not to be freed.
#[unsafe(no_mangle)]
pub extern "C" fn qpq_status_code(status: i32) -> *const c_char {
    QpqStatus::numbered(status).map_or(c"unknown", QpqStatus::c_code).as_ptr()
}

/// Opens the profile in a directory. Needs no connection; qpq_connect makes one.
///
/// `config` is a JSON object: "home" (the directory) and "password", and if wanted "server" ("HOST:PORT"), "ca_cert" (a file:
/// trust only this) and "fingerprint" (pin this certificate). A directory can be open once: a second handle, or another
/// process, gets QPQ_STATUS_PROFILE_IN_USE.
///
/// On success `*client` is the handle. On failure it is 0, and `*error` (which may be NULL) is the error object.
///
/// # Safety
/// `config` points to `len` bytes; `client` and `error` point to writable variables.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qpq_open(
    config: *const c_char,
    len: usize,
    client: *mut QpqClient,
    error: *mut QpqBuffer,
) -> i32 {
    // SAFETY: as this function's.
    unsafe { enter(How::Open, config, len, client, error) }
}

/// Makes an account on the server and a profile for it, opens that and connects. `config` as for qpq_open, with "name" and, if
/// the server asks for it, "invite". The same call again finishes a registration that was interrupted. Blocks for as long
/// as the server takes, but not for ever.
///
/// # Safety
/// As qpq_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qpq_register(
    config: *const c_char,
    len: usize,
    client: *mut QpqClient,
    error: *mut QpqBuffer,
) -> i32 {
    // SAFETY: as this function's.
    unsafe { enter(How::Register, config, len, client, error) }
}

/// Proves the password of the account to the server, opens the profile and connects. `config` as for qpq_open, with "name".
///
/// With "recovery_phrase" (24 words) it brings the account back when all devices are lost: into a directory without a profile,
/// with "password" as the new one. All other devices are locked out. The same call again finishes what was interrupted.
///
/// # Safety
/// As qpq_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qpq_login(
    config: *const c_char,
    len: usize,
    client: *mut QpqClient,
    error: *mut QpqBuffer,
) -> i32 {
    // SAFETY: as this function's.
    unsafe { enter(How::Login, config, len, client, error) }
}

/// Makes a directory without a profile a further device of an account. `config` as for qpq_open, with "device_name" if wanted;
/// the password is for the new profile.
///
/// On success `*reply` has the "code" (and a "link" for a QR code) that another device of the account is to be given, and
/// `*client` is a handle that takes the requests "link_wait" (answers with the number to be compared on both) and "link_accept"
/// (waits until the other device has approved). After that it is the handle of a client that is open and connected. qpq_cancel
/// and qpq_close are for it as for any other.
///
/// # Safety
/// As qpq_open; `reply` points to a writable variable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qpq_link(
    config: *const c_char,
    len: usize,
    client: *mut QpqClient,
    reply: *mut QpqBuffer,
) -> i32 {
    // SAFETY: as this function's.
    let config = unsafe { text("config", config, len) };
    let outcome = guarded(|| {
        if client.is_null() || reply.is_null() {
            return Err(null("client and reply"));
        }
        let (link, code) = Link::begin(Config::parse(config?)?)?;
        Ok((handles::insert(Open::Link(Arc::new(link))), code))
    });
    let status = status(&outcome);
    let (handle, reply_text) = outcome.unwrap_or_else(|failure| (0, failure.object()));
    if !client.is_null() {
        // SAFETY: not null, and writable as this function asks for.
        unsafe { client.write(handle) };
    }
    // SAFETY: as this function's.
    unsafe { give(reply, Some(reply_text)) };
    status
}

/// Starts to connect, and connects again by itself from then on. Returns at once; the request "status" tells how it stands.
#[unsafe(no_mangle)]
pub extern "C" fn qpq_connect(client: QpqClient) -> i32 {
    let outcome = guarded(|| {
        handles::find(client)?.client().connect();
        Ok(())
    });
    status(&outcome)
}

/// Everything that is not a function of its own: sending, groups, people, settings. `request` is a JSON object with "op" and
/// what belongs to it, and "timeout_ms" for how long to wait for the server (15000 if left out; 0 to wait for nothing). The book
/// lists them under "Requests".
///
/// `*reply` is the reply, or the error object. What is stored when the call returns is durable, also when it timed out.
///
/// # Safety
/// `request` points to `len` bytes; `reply` is NULL or points to a writable variable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qpq_request(
    client: QpqClient,
    request: *const c_char,
    len: usize,
    reply: *mut QpqBuffer,
) -> i32 {
    // SAFETY: as this function's.
    let request = unsafe { text("request", request, len) };
    let outcome = guarded(|| match handles::open(client)? {
        Open::Client(instance) => request::perform(client, &instance, request?),
        Open::Link(link) => link.perform(client, request?),
    });
    let status = status(&outcome);
    // SAFETY: as this function's.
    unsafe { give(reply, Some(outcome.unwrap_or_else(|failure| failure.object()))) };
    status
}

/// The next event after the last one that was returned to this consumer. Waits up to `timeout_ms`: 0 looks and does not wait.
/// QPQ_STATUS_NO_EVENT when nothing came.
///
/// `consumer` is a name of your choice (1 to 64 bytes) under which the position is stored in the profile. A new one begins with
/// the first event of the profile. An event that was returned and not acknowledged comes again the next time that the
/// profile is opened, so a program that is killed misses none.
///
/// Several threads may wait with one consumer, each event goes to one of them; or each with its own, then each gets all.
///
/// # Safety
/// `consumer` is a C string; `event` is NULL or points to a writable variable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qpq_next_event(
    client: QpqClient,
    consumer: *const c_char,
    timeout_ms: u32,
    event: *mut QpqBuffer,
) -> i32 {
    // SAFETY: as this function's.
    let consumer = unsafe { c_text("consumer", consumer) };
    let outcome = guarded(|| {
        let instance = handles::find(client)?;
        instance.consumer(consumer?)?.next(Duration::from_millis(timeout_ms.into()))
    });
    let status = match &outcome {
        Ok(None) => QpqStatus::NoEvent as i32,
        Ok(Some(_)) | Err(_) => status(&outcome),
    };
    // SAFETY: as this function's.
    unsafe { give(event, outcome.unwrap_or_else(|failure| Some(failure.object()))) };
    status
}

/// Stores that this consumer has dealt with everything up to `position` (of an event): it does not come again.
///
/// # Safety
/// `consumer` is a C string; `error` is NULL or points to a writable variable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qpq_acknowledge(
    client: QpqClient,
    consumer: *const c_char,
    position: u64,
    error: *mut QpqBuffer,
) -> i32 {
    // SAFETY: as this function's.
    let consumer = unsafe { c_text("consumer", consumer) };
    let outcome = guarded(|| handles::find(client)?.consumer(consumer?)?.acknowledge(position));
    // SAFETY: as this function's.
    unsafe { conclude(outcome, error) }
}

/// A file descriptor for event loops (poll, epoll, select, asyncio): readable when qpq_next_event is worth calling, with a
/// timeout of 0, until it returns QPQ_STATUS_NO_EVENT. Do not read from it and do not close it: it belongs to the client, and is
/// closed some time after qpq_close. Take it out of your loop before that.
///
/// # Safety
/// `consumer` is a C string; `fd` and `error` point to writable variables, `error` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qpq_event_fd(
    client: QpqClient,
    consumer: *const c_char,
    fd: *mut i32,
    error: *mut QpqBuffer,
) -> i32 {
    // SAFETY: as this function's.
    let consumer = unsafe { c_text("consumer", consumer) };
    let outcome = guarded(|| {
        if fd.is_null() {
            return Err(null("fd"));
        }
        handles::find(client)?.consumer(consumer?)?.descriptor()
    });
    let outcome = outcome.map(|descriptor| {
        // SAFETY: not null, and writable as this function asks for.
        unsafe { fd.write(descriptor) };
    });
    // SAFETY: as this function's.
    unsafe { conclude(outcome, error) }
}

/// Ends all calls that wait at this moment in other threads: they return QPQ_STATUS_CANCELED. Calls that begin later wait as usual.
#[unsafe(no_mangle)]
pub extern "C" fn qpq_cancel(client: QpqClient) -> i32 {
    let outcome = guarded(|| {
        match handles::open(client)? {
            Open::Client(instance) => instance.client().interrupt(),
            Open::Link(link) => link.interrupt(),
        }
        Ok(())
    });
    status(&outcome)
}

/// Ends the connection and the client's threads, and releases the profile. Calls that wait in other threads end with
/// QPQ_STATUS_CANCELED or QPQ_STATUS_BAD_HANDLE. The handle is stale from now on, so that a second close is QPQ_STATUS_BAD_HANDLE and nothing else.
#[unsafe(no_mangle)]
pub extern "C" fn qpq_close(client: QpqClient) -> i32 {
    let outcome = guarded(|| {
        match handles::remove(client)? {
            Open::Client(instance) => instance.close(),
            Open::Link(link) => link.close(),
        }
        Ok(())
    });
    status(&outcome)
}

/// Gives a buffer back, wiped, and empties it. Nothing happens when it is empty, or NULL.
///
/// # Safety
/// `buffer` is NULL or points to a buffer that this library has filled and that has not been copied elsewhere and freed there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qpq_buffer_free(buffer: *mut QpqBuffer) {
    // SAFETY: null or valid, as this function asks for.
    let Some(buffer) = (unsafe { buffer.as_mut() }) else { return };
    if !buffer.data.is_null() {
        let bytes = std::ptr::slice_from_raw_parts_mut(buffer.data.cast::<u8>(), buffer.len + 1);
        // SAFETY: `give` made it of a box of just this size, and whoever freed it before has emptied it.
        let mut bytes = unsafe { Box::from_raw(bytes) };
        // There may be words of recovery in it.
        bytes.zeroize();
    }
    *buffer = EMPTY;
}

/// # Safety
/// As [`qpq_open`].
unsafe fn enter(how: How, config: *const c_char, len: usize, client: *mut QpqClient, error: *mut QpqBuffer) -> i32 {
    // SAFETY: as this function's.
    let config = unsafe { text("config", config, len) };
    let outcome = guarded(|| {
        if client.is_null() {
            return Err(null("client"));
        }
        let client = Config::parse(config?)?.open(how)?;
        Ok(handles::insert(Open::Client(Arc::new(Instance::new(client)))))
    });
    if !client.is_null() {
        // SAFETY: not null, and writable as this function asks for.
        unsafe { client.write(outcome.as_ref().map_or(0, |handle| *handle)) };
    }
    // SAFETY: as this function's.
    unsafe { conclude(outcome.map(|_| ()), error) }
}

/// # Safety
/// `error` is null or writable.
unsafe fn conclude(outcome: Result<(), Failure>, error: *mut QpqBuffer) -> i32 {
    let status = status(&outcome);
    // SAFETY: as this function's.
    unsafe { give(error, outcome.err().map(|failure| failure.object())) };
    status
}

fn status<T>(outcome: &Result<T, Failure>) -> i32 {
    outcome.as_ref().map_or_else(Failure::status, |_| QpqStatus::Ok) as i32
}

/// Whatever is there already is overwritten, because it may be anything.
///
/// # Safety
/// `out` is null or writable.
unsafe fn give(out: *mut QpqBuffer, text: Option<String>) {
    if out.is_null() {
        return;
    }
    let buffer = text.map_or(EMPTY, |text| {
        let len = text.len();
        let text = Zeroizing::new(text);
        // Of just this size, so that no copy is left behind.
        let mut bytes = Vec::with_capacity(len + 1);
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
        QpqBuffer { data: Box::into_raw(bytes.into_boxed_slice()).cast(), len }
    });
    // SAFETY: not null, and writable as this function asks for.
    unsafe { out.write(buffer) };
}

/// # Safety
/// `data` is null or points to `len` bytes that live and stay as they are until this call's caller returns.
unsafe fn text<'a>(what: &str, data: *const c_char, len: usize) -> Result<&'a str, Failure> {
    if data.is_null() {
        return Err(null(what));
    }
    if len > LARGEST {
        return Err(Failure::bad_input(format!("{what}: at most {LARGEST} bytes are allowed")));
    }
    // SAFETY: not null, and readable as this function asks for.
    let bytes = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) };
    utf8(what, bytes)
}

/// # Safety
/// `data` is null or a C string that lives and stays as it is until this call's caller returns.
unsafe fn c_text<'a>(what: &str, data: *const c_char) -> Result<&'a str, Failure> {
    if data.is_null() {
        return Err(null(what));
    }
    // SAFETY: not null, and terminated as this function asks for.
    utf8(what, unsafe { CStr::from_ptr(data) }.to_bytes())
}

fn utf8<'a>(what: &str, bytes: &'a [u8]) -> Result<&'a str, Failure> {
    std::str::from_utf8(bytes).map_err(|error| Failure::Misuse(QpqStatus::InvalidUtf8, format!("{what}: {error}")))
}

fn null(what: &str) -> Failure {
    Failure::Misuse(QpqStatus::NullPointer, format!("{what} must not be NULL"))
}

const EMPTY: QpqBuffer = QpqBuffer { data: std::ptr::null_mut(), len: 0 };
/// No request is larger: texts have at most 64 KiB. A length that is garbage is found here.
const LARGEST: usize = 1 << 20;
const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => c"",
};
