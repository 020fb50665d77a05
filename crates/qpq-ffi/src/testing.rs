//! The C functions as safe Rust, for the tests of other crates: what a binding in another language does.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char};
use std::os::fd::{BorrowedFd, RawFd};
use std::ptr::null_mut;
use std::time::Duration;

use serde_json::{Value, json};

use crate::abi::{self, QpqBuffer, QpqClient};

/// An open client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(pub QpqClient);

/// The error object.
pub type Refusal = Value;

type Enter = unsafe extern "C" fn(*const c_char, usize, *mut QpqClient, *mut QpqBuffer) -> i32;

impl Handle {
    /// `qpq_open`
    ///
    /// # Errors
    /// The error object.
    pub fn open(config: &Value) -> Result<Self, Refusal> {
        Self::enter(abi::qpq_open, config)
    }

    /// `qpq_register`
    ///
    /// # Errors
    /// The error object.
    pub fn register(config: &Value) -> Result<Self, Refusal> {
        Self::enter(abi::qpq_register, config)
    }

    /// `qpq_login`
    ///
    /// # Errors
    /// The error object.
    pub fn login(config: &Value) -> Result<Self, Refusal> {
        Self::enter(abi::qpq_login, config)
    }

    /// `qpq_link`: the handle, and the code to show.
    ///
    /// # Errors
    /// The error object.
    pub fn link(config: &Value) -> Result<(Self, Value), Refusal> {
        let (config, mut handle) = (config.to_string(), 0);
        // SAFETY: pointers to a text of this length and to variables of ours.
        let call = |reply: &mut _| unsafe { abi::qpq_link(config.as_ptr().cast(), config.len(), &mut handle, reply) };
        let (status, reply) = with_buffer(call);
        let reply = reply.unwrap_or_else(|| bare(status));
        if status == 0 { Ok((Self(handle), reply)) } else { Err(reply) }
    }

    fn enter(function: Enter, config: &Value) -> Result<Self, Refusal> {
        let (config, mut handle) = (config.to_string(), 0);
        let (status, error) =
            // SAFETY: pointers to a text of this length and to variables of ours.
            with_buffer(|error| unsafe { function(config.as_ptr().cast(), config.len(), &mut handle, error) });
        if status == 0 { Ok(Self(handle)) } else { Err(error.unwrap_or_else(|| bare(status))) }
    }

    /// `qpq_connect`
    ///
    /// # Errors
    /// The error object.
    pub fn connect(self) -> Result<(), Refusal> {
        check(abi::qpq_connect(self.0), None)
    }

    /// `qpq_request`
    ///
    /// # Errors
    /// The error object.
    pub fn request(self, request: &Value) -> Result<Value, Refusal> {
        let request = request.to_string();
        // SAFETY: pointers to a text of this length and to a variable of ours.
        let call = |reply: &mut _| unsafe { abi::qpq_request(self.0, request.as_ptr().cast(), request.len(), reply) };
        let (status, reply) = with_buffer(call);
        let reply = reply.unwrap_or_else(|| bare(status));
        if status == 0 { Ok(reply) } else { Err(reply) }
    }

    /// `qpq_next_event`; none when nothing came in time.
    ///
    /// # Errors
    /// The error object.
    pub fn next_event(self, consumer: &str, timeout: Duration) -> Result<Option<Value>, Refusal> {
        let (consumer, timeout) = (c_string(consumer), u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX));
        // SAFETY: pointers to a C string and to a variable of ours.
        let call = |event: &mut _| unsafe { abi::qpq_next_event(self.0, consumer.as_ptr(), timeout, event) };
        match with_buffer(call) {
            (0 | 1, event) => Ok(event),
            (status, error) => Err(error.unwrap_or_else(|| bare(status))),
        }
    }

    /// `qpq_acknowledge`
    ///
    /// # Errors
    /// The error object.
    pub fn acknowledge(self, consumer: &str, position: u64) -> Result<(), Refusal> {
        let consumer = c_string(consumer);
        // SAFETY: pointers to a C string and to a variable of ours.
        let call = |error: &mut _| unsafe { abi::qpq_acknowledge(self.0, consumer.as_ptr(), position, error) };
        let (status, error) = with_buffer(call);
        check(status, error)
    }

    /// `qpq_event_fd`
    ///
    /// # Errors
    /// The error object.
    pub fn event_fd(self, consumer: &str) -> Result<BorrowedFd<'static>, Refusal> {
        let (consumer, mut fd): (_, RawFd) = (c_string(consumer), -1);
        // SAFETY: pointers to a C string and to variables of ours.
        let call = |error: &mut _| unsafe { abi::qpq_event_fd(self.0, consumer.as_ptr(), &mut fd, error) };
        let (status, error) = with_buffer(call);
        check(status, error)?;
        // SAFETY: the library keeps it open as long as the client is, and tests do not use it for longer.
        Ok(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// `qpq_cancel`
    ///
    /// # Errors
    /// The error object.
    pub fn cancel(self) -> Result<(), Refusal> {
        check(abi::qpq_cancel(self.0), None)
    }

    /// `qpq_close`
    ///
    /// # Errors
    /// The error object.
    pub fn close(self) -> Result<(), Refusal> {
        check(abi::qpq_close(self.0), None)
    }
}

fn check(status: i32, error: Option<Value>) -> Result<(), Refusal> {
    if status == 0 { Ok(()) } else { Err(error.unwrap_or_else(|| bare(status))) }
}

fn bare(status: i32) -> Value {
    // SAFETY: it answers a constant.
    let code = unsafe { CStr::from_ptr(abi::qpq_status_code(status)) };
    json!({"type": "error", "code": code.to_string_lossy(), "status": status})
}

/// Takes what a call puts into its buffer, and gives the buffer back.
fn with_buffer(call: impl FnOnce(&mut QpqBuffer) -> i32) -> (i32, Option<Value>) {
    let mut buffer = QpqBuffer { data: null_mut(), len: 0 };
    let status = call(&mut buffer);
    let value = (!buffer.data.is_null()).then(|| {
        // SAFETY: the library filled it with this many bytes.
        let bytes = unsafe { std::slice::from_raw_parts(buffer.data.cast::<u8>(), buffer.len) };
        serde_json::from_slice(bytes).unwrap_or_else(|error| json!({"not json": error.to_string()}))
    });
    // SAFETY: the library filled it, and nobody else has it.
    unsafe { abi::qpq_buffer_free(&mut buffer) };
    (status, value)
}

fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}
