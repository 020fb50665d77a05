//! What happens to a packet.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::dice::Dice;

/// Chances are in percent. The default is fair: every packet passes once, at once.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    pub loss: u64,
    pub duplication: u64,
    /// Each packet is held for some time of this range, which also changes the order.
    pub delay: Range<Duration>,
}

/// Which directions lead nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hole {
    #[default]
    Closed,
    ToServer,
    ToClient,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToServer,
    ToClient,
}

/// The weather over all flows.
pub struct Sky {
    state: Mutex<State>,
    addresses: watch::Sender<u64>,
}

struct State {
    weather: Weather,
    hole: Hole,
    allowance: Option<(Direction, usize)>,
    dice: Dice,
    lost: u64,
    passed: u64,
}

impl Sky {
    pub fn new(seed: u64) -> Self {
        let state = State {
            weather: Weather::default(),
            hole: Hole::Closed,
            allowance: None,
            dice: Dice::new(seed),
            lost: 0,
            passed: 0,
        };
        Self { state: Mutex::new(state), addresses: watch::Sender::new(0) }
    }

    pub fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    pub fn set_hole(&self, hole: Hole) {
        let mut state = self.state();
        (state.hole, state.allowance) = (hole, None);
    }

    pub fn hole(&self) -> Hole {
        self.state().hole
    }

    /// A hole opens when so many bytes have passed.
    pub fn set_allowance(&self, direction: Direction, bytes: usize) {
        self.state().allowance = Some((direction, bytes));
    }

    pub fn change_addresses(&self) {
        self.addresses.send_modify(|count| *count += 1);
    }

    pub fn address_changes(&self) -> watch::Receiver<u64> {
        self.addresses.subscribe()
    }

    pub fn lost(&self) -> u64 {
        self.state().lost
    }

    pub fn passed(&self) -> u64 {
        self.state().passed
    }

    /// How long each copy of a packet is held; none when it is lost.
    pub fn copies(&self, direction: Direction, bytes: usize) -> Vec<Duration> {
        let mut state = self.state();
        let State { weather, hole, allowance, dice, lost, passed } = &mut *state;
        if let Some((of, left)) = allowance
            && *of == direction
        {
            match left.checked_sub(bytes) {
                Some(rest) => *left = rest,
                None => (*hole, *allowance) = (Hole::Both, None),
            }
        }
        let swallowed = match *hole {
            Hole::Closed => false,
            Hole::ToServer => direction == Direction::ToServer,
            Hole::ToClient => direction == Direction::ToClient,
            Hole::Both => true,
        };
        if swallowed || dice.chance(weather.loss) {
            *lost += 1;
            return Vec::new();
        }
        *passed += bytes as u64;
        let count = if dice.chance(weather.duplication) { 2 } else { 1 };
        (0..count).map(|_| dice.between(&weather.delay)).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fair_sky_passes_everything_and_a_hole_nothing_of_its_direction() {
        let sky = Sky::new(1);
        assert_eq!(sky.copies(Direction::ToServer, 100), [Duration::ZERO]);
        sky.set_hole(Hole::ToServer);
        assert!(sky.copies(Direction::ToServer, 100).is_empty());
        assert_eq!(sky.copies(Direction::ToClient, 100), [Duration::ZERO]);
        assert_eq!((sky.lost(), sky.passed()), (1, 200));
    }

    #[test]
    fn a_hole_opens_after_so_many_bytes() {
        let sky = Sky::new(1);
        sky.set_allowance(Direction::ToServer, 250);
        for passes in [true, true, false, false] {
            assert_eq!(sky.copies(Direction::ToClient, 1000).len(), usize::from(sky.hole() == Hole::Closed));
            assert_eq!(sky.copies(Direction::ToServer, 100).len(), usize::from(passes));
        }
        sky.set_hole(Hole::Closed);
        assert_eq!(sky.copies(Direction::ToServer, 1000).len(), 1);
    }

    #[test]
    fn bad_weather_loses_and_doubles_some() {
        let sky = Sky::new(2);
        sky.set_weather(Weather { loss: 20, duplication: 10, delay: Duration::ZERO..Duration::from_millis(5) });
        let copies: Vec<usize> = (0..1000).map(|_| sky.copies(Direction::ToClient, 100).len()).collect();
        for (count, expected) in [(0, 150..250), (2, 50..120)] {
            let found = copies.iter().filter(|copies| **copies == count).count();
            assert!(expected.contains(&found), "{found} times {count} copies");
        }
    }
}
