//! What one run consists of: how many take part, how long it goes, and how much harm is done. All of it from the seed.

use std::fmt;
use std::str::FromStr;

use super::agenda::SECOND;
use super::random::Random;

/// How to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Print what happens.
    pub trace: bool,
    /// Devices are set back to older backups of themselves, the server to older snapshots, and members post commits that
    /// nobody can apply.
    pub disasters: bool,
    /// Kill a device at this transaction, counted over all of them, and do no other harm.
    pub kill: Option<Kill>,
}

/// Where a device is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    pub transaction: u64,
    pub moment: Moment,
}

/// When, around one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    BeforeCommit,
    BeforeEffects,
    /// Some effects have left, and others have not.
    BetweenEffects,
}

impl Moment {
    pub const ALL: [Self; 3] = [Self::BeforeCommit, Self::BeforeEffects, Self::BetweenEffects];

    fn word(self) -> &'static str {
        match self {
            Self::BeforeCommit => "before-commit",
            Self::BeforeEffects => "before-effects",
            Self::BetweenEffects => "between-effects",
        }
    }
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transaction, self.moment.word())
    }
}

impl FromStr for Kill {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected a number, a colon, and before-commit, before-effects or between-effects".to_owned();
        let (transaction, word) = text.split_once(':').ok_or_else(expected)?;
        let transaction = transaction.parse().map_err(|_| expected())?;
        let moment = Moment::ALL.into_iter().find(|moment| moment.word() == word).ok_or_else(expected)?;
        Ok(Self { transaction, moment })
    }
}

/// The plan of one run. Chances are of a thousand.
#[derive(Clone, Debug)]
pub struct Plan {
    pub people: usize,
    pub groups: u64,
    pub actions: u64,
    /// Receipts are sent, and people react to messages.
    pub receipts: bool,
    /// Most microseconds between two actions.
    pub pause: u64,
    /// Microseconds between the ticks of a device.
    pub tick: u64,
    /// Most microseconds that a message is under way.
    pub latency: u64,
    /// Calls overtake each other.
    pub reorders: bool,
    pub loss: u64,
    pub duplicates: u64,
    /// The server has no time for a call just now.
    pub refusals: u64,
    /// Of an action: a connection breaks.
    pub cuts: u64,
    /// Of a transaction: the device is killed around it.
    pub kills: u64,
    /// Of an action: the server is killed.
    pub crashes: u64,
    /// Of an action: a device goes offline for a while.
    pub absences: u64,
    /// Of an action: a device is set back.
    pub device_restores: u64,
    /// Of an action: the server is set back.
    pub server_restores: u64,
    /// Of a commit: it is spoilt in a way that the server cannot see.
    pub poisons: u64,
}

impl Plan {
    /// The plan of a seed: every tenth run is calm, the others suffer from some kinds of harm each.
    pub fn new(options: &Options, random: &mut Random) -> Self {
        let mut plan = Self {
            people: random.between(3, 6) as usize,
            groups: random.between(1, 3),
            actions: random.between(60, 180),
            receipts: false,
            pause: random.between(1, 8) * SECOND,
            tick: random.between(1, 10) * SECOND,
            latency: [SECOND / 1000, SECOND / 50, SECOND / 5, 2 * SECOND][random.below(4) as usize],
            reorders: random.chance(300),
            loss: 0,
            duplicates: 0,
            refusals: 0,
            cuts: 0,
            kills: 0,
            crashes: 0,
            absences: 0,
            device_restores: 0,
            server_restores: 0,
            poisons: 0,
        };
        if options.kill.is_some() {
            plan.actions = plan.actions.min(80);
            return plan;
        }
        if random.chance(100) {
            return plan;
        }
        let mut some = |most: u64| if random.chance(600) { random.between(1, most) } else { 0 };
        plan.loss = some(30);
        plan.duplicates = some(60);
        plan.refusals = some(40);
        plan.cuts = some(60);
        plan.kills = some(30);
        plan.crashes = some(15);
        plan.absences = some(50);
        if options.disasters {
            plan.device_restores = some(15);
            plan.server_restores = some(10);
            plan.poisons = some(100);
        }
        plan
    }

    /// From here on nobody does any harm.
    pub fn heal(&mut self) {
        self.loss = 0;
        self.duplicates = 0;
        self.refusals = 0;
        self.cuts = 0;
        self.kills = 0;
        self.crashes = 0;
        self.absences = 0;
        self.device_restores = 0;
        self.server_restores = 0;
        self.poisons = 0;
    }
}
