//! The server's configuration file.
#![no_main]

use std::io::Write as _;

use libfuzzer_sys::fuzz_target;
use qpq_fuzz::config::Config;

fuzz_target!(|text: &str| {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("room on the disk");
    match Config::load(Some(file.path())) {
        Ok(config) => config.check().expect("it was checked"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
