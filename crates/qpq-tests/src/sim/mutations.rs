//! Is the simulator worth anything? Every deliberate defect must be found.

use qpq_proto::mutation::{Mutation, set};

use super::{Failure, Options, run};

/// Runs seeds from 0 on with a defect, until one of them finds it. None: it got away.
pub fn hunt(mutation: Mutation, seeds: u64) -> Option<Failure> {
    set(Some(mutation));
    let found = (0..seeds).find_map(|seed| run(seed, &Options::default()).err());
    set(None);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_defect_is_found() {
        for mutation in Mutation::ALL {
            assert!(hunt(mutation, 1000).is_some(), "{mutation:?} was not found");
        }
    }
}
