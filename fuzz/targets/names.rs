//! Short texts that people and servers send: user names and ids.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qpq_proto::account::UserName;
use qpq_proto::ids::{DeviceId, GroupId, IdentityId};

fuzz_target!(|text: &str| {
    if let Ok(name) = text.parse::<UserName>() {
        assert_eq!(name.as_str(), text);
        assert!((1..=32).contains(&text.len()) && text.is_ascii());
    }
    if let Ok(id) = text.parse::<DeviceId>() {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
    }
    let _ = text.parse::<GroupId>();
    if let Ok(id) = text.parse::<IdentityId>() {
        assert_eq!(id.short().len(), 8);
    }
});
