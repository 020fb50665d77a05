//! Short texts that people and servers send, or hand to each other: user names, ids, links, codes, recovery phrases.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qpq_core::crypto::phrase;
use qpq_core::link::LinkCode;
use qpq_proto::account::UserName;
use qpq_proto::ids::{DeviceId, GroupId, IdentityId};

#[path = "../../crates/qpq-client/src/contact_link.rs"]
mod contact_link;
mod error {
    pub use qpq_core::error::Error;
}
use contact_link::ContactLink;

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
    if let Ok(link) = text.parse::<ContactLink>() {
        assert_eq!(link.to_string().parse::<ContactLink>().expect("own link"), link);
    }
    if let Ok(code) = text.parse::<LinkCode>() {
        let shown = code.to_string();
        assert_eq!(shown.parse::<LinkCode>().expect("own code").to_string(), shown);
    }
    if let Ok(entropy) = phrase::entropy(text) {
        assert_eq!(*phrase::entropy(&phrase::words(&entropy)).expect("own words"), *entropy);
    }
});
