//! What happens in a round.

use std::time::Duration;

use super::Faults;
use crate::dice::Dice;

/// Four people.
pub const PEOPLE: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// What somebody does in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A REPL that is fed through a pipe.
    Writer,
    /// `qpq recv --follow`.
    Follower,
    /// `qpq send`, again and again.
    OneShots,
}

/// Drawn before the round, so that it depends on nothing but the seed and the number of the round.
#[derive(Clone, Debug)]
pub struct Plan {
    pub roles: [Role; 4],
    /// How long there is load at least.
    pub load: Duration,
    /// When the kills happen.
    pub moment: Duration,
    pub server: bool,
    /// The server is killed again this long after it was started again.
    pub again: Option<Duration>,
    pub clients: Vec<usize>,
    /// These writers rename the group under load, so that commits are under way as well.
    pub renames: Vec<usize>,
}

impl Plan {
    pub fn draw(seed: u64, round: u32, faults: Faults) -> Self {
        let mut dice = Dice::new(seed.wrapping_mul(0x1_0000_0001).wrapping_add(u64::from(round)));
        // Every few rounds everybody has another role.
        let shift = (round / 4) as usize;
        let roles = [0, 1, 2, 3].map(|person: usize| ROLES[(person + shift) % ROLES.len()]);
        let load = dice.between(&LOAD);
        let server = faults == Faults::PowerCuts || dice.chance(60);
        let mut clients: Vec<usize> = (0..PEOPLE.len()).filter(|_| dice.chance(25)).collect();
        if !server && clients.is_empty() {
            clients.push(dice.below(PEOPLE.len() as u64) as usize);
        }
        // Whoever only listens learns of a server that was restarted with the next keep-alive, after 15 s. That is worth
        // a look now and then.
        if server && !dice.chance(5) {
            clients.extend((0..PEOPLE.len()).filter(|person| roles[*person] == Role::Follower));
        }
        clients.sort_unstable();
        clients.dedup();
        Self {
            roles,
            load,
            moment: dice.between(&(Duration::ZERO..load)),
            server,
            again: (server && dice.chance(25)).then(|| dice.between(&START)),
            clients,
            renames: (0..PEOPLE.len()).filter(|person| roles[*person] == Role::Writer && dice.chance(30)).collect(),
        }
    }
}

const ROLES: [Role; 4] = [Role::Writer, Role::Writer, Role::Follower, Role::OneShots];

const LOAD: std::ops::Range<Duration> = Duration::from_millis(150)..Duration::from_millis(600);

/// A start takes about this long.
const START: std::ops::Range<Duration> = Duration::ZERO..Duration::from_millis(150);
