//! What may go wrong, and until when.

use super::random::Random;
use crate::federation::SLOT_MS;

/// Slots of trouble, and slots after the network healed.
pub(super) const TROUBLE_SLOTS: u64 = 40;
pub(super) const CALM_SLOTS: u64 = 40;

/// A family of runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scenario {
    pub(super) members: usize,
    pub(super) byzantine: usize,
    /// Whether Byzantine members go on after the network healed.
    pub(super) throughout: bool,
}

impl Scenario {
    pub(super) const fn new(members: usize, byzantine: usize, throughout: bool) -> Self {
        Self {
            members,
            byzantine,
            throughout,
        }
    }
}

/// How bad one run's network is, drawn from its seed.
#[derive(Debug, Clone)]
pub(super) struct Network {
    drop_percent: u64,
    duplicate_percent: u64,
    slow_percent: u64,
    /// Which side of a partition each member is on.
    side: Vec<u64>,
    calm: bool,
}

impl Network {
    pub(super) fn new(members: usize, random: &mut Random) -> Self {
        Self {
            drop_percent: random.within(0..40),
            duplicate_percent: random.within(0..20),
            slow_percent: random.within(0..30),
            side: vec![0; members],
            calm: false,
        }
    }

    pub(super) fn repartition(&mut self, random: &mut Random) {
        let sides = random.within(1..4);
        for side in &mut self.side {
            *side = random.within(0..sides);
        }
    }

    pub(super) fn heal(&mut self) {
        self.calm = true;
    }

    pub(super) const fn is_calm(&self) -> bool {
        self.calm
    }

    /// When a message arrives, in milliseconds from now: never, once, or twice.
    pub(super) fn delays(&self, from: usize, to: usize, random: &mut Random) -> Vec<u64> {
        if self.calm {
            return vec![random.within(5..200)];
        }
        if self.side[from] != self.side[to] || random.percent(self.drop_percent) {
            return Vec::new();
        }
        let copies = if random.percent(self.duplicate_percent) {
            2
        } else {
            1
        };
        (0..copies)
            .map(|_| {
                if random.percent(self.slow_percent) {
                    random.within(200..5 * SLOT_MS)
                } else {
                    random.within(5..400)
                }
            })
            .collect()
    }
}
