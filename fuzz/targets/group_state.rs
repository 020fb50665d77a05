//! The state in a group's context, written by its admins and read by the server and all members.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qpq_proto::groups::GroupState;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(state) = GroupState::decode(bytes) {
        assert_eq!(GroupState::decode(&state.encode()), Ok(state));
    }
});
