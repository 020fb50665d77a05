//! What a careless program does: an error code each time, and never anything undefined.
#![allow(unsafe_code, clippy::unwrap_used, clippy::undocumented_unsafe_blocks)]

use std::ffi::{CStr, c_char};
use std::ptr::{null, null_mut};

use qpq::QpqStatus;
use qpq::abi::*;

const EMPTY: QpqBuffer = QpqBuffer { data: null_mut(), len: 0 };
const FOREIGN: QpqClient = 0xdead_beef;

/// The status, and the error's code if there is an error object.
fn ended(status: i32, mut buffer: QpqBuffer) -> (i32, Option<String>) {
    let code = (!buffer.data.is_null()).then(|| {
        let text = unsafe { CStr::from_ptr(buffer.data) };
        assert_eq!(text.to_bytes().len(), buffer.len, "a zero byte follows the text");
        let error: serde_json::Value = serde_json::from_slice(text.to_bytes()).unwrap();
        assert_eq!(error["status"], status);
        assert!(error["text"].as_str().is_some_and(|text| text.len() > 10), "{error}");
        error["code"].as_str().unwrap().to_owned()
    });
    unsafe { qpq_buffer_free(&mut buffer) };
    assert!(buffer.data.is_null() && buffer.len == 0);
    unsafe { qpq_buffer_free(&mut buffer) };
    (status, code)
}

fn expected(status: QpqStatus) -> (i32, Option<String>) {
    (status as i32, Some(status.code().to_owned()))
}

type Enter = unsafe extern "C" fn(*const c_char, usize, *mut QpqClient, *mut QpqBuffer) -> i32;

fn enter(function: Enter, config: &[u8]) -> (i32, Option<String>) {
    let (mut client, mut error) = (7, EMPTY);
    let status = unsafe { function(config.as_ptr().cast(), config.len(), &mut client, &mut error) };
    assert!(client == 0 || status == 0, "no handle with an error");
    ended(status, error)
}

#[test]
fn null_pointers_are_errors() {
    let config = br#"{"home":"/nowhere","password":"p"}"#;
    let (data, len) = (config.as_ptr().cast(), config.len());
    for function in [qpq_open as Enter, qpq_register, qpq_login, qpq_link] {
        let (mut client, mut error) = (7, EMPTY);
        let status = unsafe { function(null(), 10, &mut client, &mut error) };
        assert_eq!((client, ended(status, error)), (0, expected(QpqStatus::NullPointer)));
        let mut error = EMPTY;
        let status = unsafe { function(data, len, null_mut(), &mut error) };
        assert_eq!(ended(status, error), expected(QpqStatus::NullPointer));
        assert_ne!(unsafe { function(data, len, null_mut(), null_mut()) }, 0);
    }
    // There is nowhere else for the code to go.
    let mut client = 7;
    let status = unsafe { qpq_link(data, len, &mut client, null_mut()) };
    assert_eq!((client, status), (0, QpqStatus::NullPointer as i32));
    let mut reply = EMPTY;
    let status = unsafe { qpq_request(FOREIGN, null(), 3, &mut reply) };
    // The handle is looked at first.
    assert_eq!(ended(status, reply), expected(QpqStatus::BadHandle));
    assert_eq!(unsafe { qpq_request(FOREIGN, null(), 0, null_mut()) }, QpqStatus::BadHandle as i32);
    let mut error = EMPTY;
    let status = unsafe { qpq_event_fd(FOREIGN, c"x".as_ptr(), null_mut(), &mut error) };
    assert_eq!(ended(status, error), expected(QpqStatus::NullPointer));
    unsafe { qpq_buffer_free(null_mut()) };
}

#[test]
fn handles_that_are_none_are_errors() {
    for handle in [0, 1, FOREIGN, u64::MAX] {
        let bad = QpqStatus::BadHandle as i32;
        assert_eq!(qpq_connect(handle), bad);
        assert_eq!(qpq_cancel(handle), bad);
        assert_eq!(qpq_close(handle), bad);
        assert_eq!(qpq_close(handle), bad);
        let mut event = EMPTY;
        let status = unsafe { qpq_next_event(handle, c"x".as_ptr(), 0, &mut event) };
        assert_eq!(ended(status, event), expected(QpqStatus::BadHandle));
        let mut error = EMPTY;
        let status = unsafe { qpq_acknowledge(handle, c"x".as_ptr(), 1, &mut error) };
        assert_eq!(ended(status, error), expected(QpqStatus::BadHandle));
        let (mut fd, mut error) = (-7, EMPTY);
        let status = unsafe { qpq_event_fd(handle, c"x".as_ptr(), &mut fd, &mut error) };
        assert_eq!((fd, ended(status, error)), (-7, expected(QpqStatus::BadHandle)));
        for op in [
            r#"{"op":"link_wait"}"#,
            r#"{"op":"link_approve","number":"1"}"#,
            r#"{"op":"change_password","password":"p","new_password":"q"}"#,
            r#"{"op":"delete_account","password":"p","name":"alice"}"#,
        ] {
            let mut reply = EMPTY;
            let status = unsafe { qpq_request(handle, op.as_ptr().cast(), op.len(), &mut reply) };
            assert_eq!(ended(status, reply), expected(QpqStatus::BadHandle), "{op}");
        }
    }
}

#[test]
fn bytes_that_are_no_request_are_errors() {
    let cases: [(&[u8], QpqStatus); 7] = [
        (b"", QpqStatus::BadInput),
        (b"{", QpqStatus::BadInput),
        (b"[]", QpqStatus::BadInput),
        (b"\xff\xfe", QpqStatus::InvalidUtf8),
        (b"{\"home\":\"\xc3\"}", QpqStatus::InvalidUtf8),
        (br#"{"home":"/nowhere/at/all","password":"p","more":1}"#, QpqStatus::BadInput),
        (br#"{"home":"/nowhere/at/all","password":"p"}"#, QpqStatus::NoProfile),
    ];
    for (config, status) in cases {
        assert_eq!(enter(qpq_open, config), expected(status), "{}", String::from_utf8_lossy(config));
    }
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().display();
    let cases = [
        (format!(r#"{{"home":"{home}","password":"p","device_name":7}}"#), QpqStatus::BadInput),
        (format!(r#"{{"home":"{home}","password":""}}"#), QpqStatus::BadInput),
        (format!(r#"{{"home":"{home}","password":"p","recovery_phrase":"x"}}"#), QpqStatus::BadInput),
        (format!(r#"{{"home":"{home}","password":"p","fingerprint":"12"}}"#), QpqStatus::BadInput),
    ];
    for (config, status) in cases {
        assert_eq!(enter(qpq_link, config.as_bytes()), expected(status), "{config}");
    }
    assert_eq!(enter(qpq_link, b"{\"home\":\"\xc3\"}"), expected(QpqStatus::InvalidUtf8));
    let (mut client, mut error) = (0, EMPTY);
    // A length that cannot be meant is not believed.
    let status = unsafe { qpq_open(c"{}".as_ptr(), usize::MAX, &mut client, &mut error) };
    assert_eq!(ended(status, error), expected(QpqStatus::BadInput));
}

#[test]
fn versions_and_codes_are_texts() {
    assert_eq!(qpq_abi_version(), QPQ_ABI_VERSION);
    let text = |pointer| unsafe { CStr::from_ptr(pointer) }.to_str().unwrap();
    assert_eq!(text(qpq_version()), env!("CARGO_PKG_VERSION"));
    assert_eq!(text(qpq_status_code(20)), "offline");
    for strange in [-1, 2, 1000, i32::MIN] {
        assert_eq!(text(qpq_status_code(strange)), "unknown");
    }
}
