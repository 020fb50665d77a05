//! What two devices of one person say to each other: nothing that is taken may change when it is written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qpq_proto::link::{LinkBundle, LinkHello, LinkOffer};

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 3 {
        0 => {
            if let Ok(offer) = LinkOffer::decode(bytes) {
                assert_eq!(LinkOffer::decode(&offer.encode()).expect("own offer"), offer);
            }
        }
        1 => {
            if let Ok(hello) = LinkHello::decode(bytes) {
                assert_eq!(LinkHello::decode(&hello.encode()).expect("own hello"), hello);
            }
        }
        _ => {
            if let Ok(bundle) = LinkBundle::decode(bytes) {
                let again = LinkBundle::decode(&bundle.encode()).expect("own bundle");
                assert!(again == bundle, "a bundle changes when it is written again");
                drop(bundle.signed_bytes());
            }
        }
    }
});
