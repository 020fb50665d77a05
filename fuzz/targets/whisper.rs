//! Typing notices: what was sealed opens, and nothing else does.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use qpq_core::crypto::whisper::Whisper;
use qpq_fuzz::edits::Edits;
use qpq_proto::ids::{DeviceId, Epoch, GroupId};
use qpq_proto::time::Timestamp;

#[derive(Arbitrary, Debug)]
enum Input {
    Raw(Vec<u8>),
    Edited { at: u64, edits: Edits },
}

const KEY: [u8; 32] = [7; 32];
const GROUP: GroupId = GroupId([1; 16]);
const EPOCH: Epoch = Epoch(5);

fuzz_target!(|input: Input| match input {
    Input::Raw(bytes) => assert!(Whisper::open(&KEY, GROUP, EPOCH, &bytes).is_err()),
    Input::Edited { at, edits } => {
        let whisper = Whisper { group: GROUP, epoch: EPOCH, device: DeviceId([3; 16]), at: Timestamp(at) };
        let sealed = whisper.seal(&KEY, |_| [9; 64]).expect("random numbers");
        assert!(Whisper::open(&KEY, GROUP, EPOCH, &sealed).is_ok());
        let edited = edits.apply(&sealed);
        assert_eq!(Whisper::open(&KEY, GROUP, EPOCH, &edited).is_ok(), edited == sealed);
    }
});
