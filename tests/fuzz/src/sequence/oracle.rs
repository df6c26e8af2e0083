//! The rules of design 5, 8, 9 and 10 once more, plain and slow: lists of everything that ever happened, searched from the
//! beginning each time. Nothing of the core is called, and its state is never looked at.

use super::ballots::Ballot;
use super::limits::Limits;
use super::payments::Payment;
use super::universe::{CONFIRMATIONS, MAX_BATCH, MAX_BURNS, Place};
use super::verdict::{Charges, Verdict, Window};
use alys_protocol::bytes::{BatchId, BlockId};
use alys_protocol::rules::Rule;
use bitcoin::block::Header;
use bitcoin::{BlockHash, OutPoint};
use std::ops::Range;

/// What decides beside the request.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub slot: u64,
    pub time: u64,
    /// Window time in milliseconds.
    pub window: u64,
    /// Slots that an earlier run may have signed in.
    pub floor: u64,
    /// Whether the outside counter stands where the state says.
    pub fresh: bool,
}

struct Family {
    burns: Range<u64>,
    inputs: Vec<OutPoint>,
    /// Batch, fee, and what leaves the wallet.
    members: Vec<(BatchId, u64, u64)>,
}

impl Family {
    fn is_of(&self, payment: &Payment) -> bool {
        self.burns == payment.burns && self.inputs == payment.inputs
    }

    /// "a family is charged once, at its largest member"
    fn charged(&self) -> u64 {
        let leaving = self.members.iter().map(|(.., leaving)| *leaving);
        leaving.max().unwrap_or_default()
    }
}

/// The newest mint that was charged.
#[derive(Debug, Clone, Copy)]
struct Minted {
    at: u64,
    from: Place,
    amount: u64,
}

#[derive(Default)]
pub struct Oracle {
    /// Bitcoin's best chain as far as it was shown, from genesis on.
    pub headers: Vec<Header>,
    /// Slot, height of the parent, block.
    votes: Vec<(u64, u64, BlockId)>,
    /// Slot and block.
    proposals: Vec<(u64, BlockId)>,
    families: Vec<Family>,
    pub values: Charges,
    counts: Charges,
    mints: Vec<Minted>,
    newest_mint: Option<Minted>,
    /// What was certainly charged for mints, and the most that may have been.
    pub least_minted: Charges,
    most_minted: Charges,
    /// Whether an officer paused peg-outs.
    pub paused: bool,
    vouched: Vouched,
}

/// What officers vouched for last, if they did.
#[derive(Default)]
struct Vouched {
    /// The window time.
    at: Option<u64>,
    slot_floor: u64,
    /// No burn below is paid any more.
    next_burn: u64,
    /// Votes and proposals before are no repeats any more.
    votes: usize,
    proposals: usize,
}

impl Oracle {
    pub fn vote(&self, limits: &Limits, now: &Moment, ballot: &Ballot) -> Verdict {
        let mut verdict = Verdict::of(now);
        let last = self.votes[self.vouched.votes..].last();
        if last.is_some_and(|(_, _, block)| *block == ballot.block) {
            verdict.repeat = true;
            return verdict;
        }
        let voted = self.votes.iter().map(|(slot, ..)| *slot);
        let slot_is_new = voted
            .chain([now.floor, self.vouched.slot_floor, ballot.parent_slot])
            .all(|slot| ballot.slot > slot);
        verdict.demand(slot_is_new, Rule::SlotMonotonic);
        verdict.demand(ballot.slot <= now.slot + limits.horizon, Rule::SlotHorizon);
        let mut locked = self.votes.iter().map(|(_, parent, _)| *parent);
        verdict.demand(
            locked.all(|height| ballot.parent_height >= height),
            Rule::LongestChain,
        );
        self.deposits(&mut verdict, limits, now, ballot);
        let (least, most) = self.increase(limits, now, ballot);
        let window = Window {
            now: now.window,
            length: limits.mint_window_ms,
            limit: limits.mint_window,
            least: &self.least_minted,
            most: &self.most_minted,
            forgotten: self.vouched.at,
        };
        let paths = ["mint", "mint at the limit", "mint after the window"];
        window.judge(&mut verdict, Rule::MintWindow, least, most, paths);
        if ballot.hostile {
            verdict
                .broken
                .extend([Rule::WithdrawalsExact, Rule::Supply, Rule::Counters]);
        }
        verdict
    }

    fn deposits(&self, verdict: &mut Verdict, limits: &Limits, now: &Moment, ballot: &Ballot) {
        let tip = self.headers.len().checked_sub(1);
        let known = |height: u32, block: BlockHash| {
            let header = self.headers.get(height as usize);
            header.is_some_and(|header| header.block_hash() == block)
        };
        let depth = |height: u32| match tip {
            Some(tip) if tip >= height as usize => tip - height as usize + 1,
            _higher => 0,
        };
        let deep = |height, block, confirmations: u32| {
            known(height, block) && depth(height) >= confirmations as usize
        };
        if ballot.to != ballot.from {
            verdict.demand(
                known(ballot.from.height, ballot.from.block),
                Rule::DepositOrder,
            );
            verdict.demand(
                deep(ballot.to.height, ballot.to.block, CONFIRMATIONS),
                Rule::DepositDepth,
            );
        }
        for (height, block, _) in &ballot.deposits {
            verdict.demand(
                deep(*height, *block, limits.confirmations),
                Rule::DepositDepth,
            );
        }
        if !ballot.deposits.is_empty() {
            verdict.demand(self.paced(limits, now), Rule::HeaderPace);
        }
    }

    /// Not "the Bitcoin tip lags the clock by more than 3 h or the last k headers took more than twice their expected time".
    fn paced(&self, limits: &Limits, now: &Moment) -> bool {
        let pace = limits.pace as usize;
        let [.., tip] = self.headers.as_slice() else {
            return false;
        };
        let Some(first) = self.headers.len().checked_sub(pace + 1) else {
            return false;
        };
        let took = i64::from(tip.time) - i64::from(self.headers[first].time);
        now.time <= u64::from(tip.time) + 3 * 3600 && took <= 2 * 600 * i64::from(limits.pace)
    }

    /// What a ballot adds to the mint window, at least and at most: of blocks that consume from one place on, only one is in
    /// a chain.
    fn increase(&self, limits: &Limits, now: &Moment, ballot: &Ballot) -> (u64, u64) {
        let minted = ballot.minted();
        let same = self.mints.iter().filter(|mint| mint.from == ballot.from);
        let largest = same.map(|mint| mint.amount).max().unwrap_or_default();
        let newest = self.newest_mint.filter(|newest| {
            newest.from == ballot.from && now.window - newest.at <= limits.mint_window_ms
        });
        let charged = newest.map_or(0, |newest| newest.amount);
        (
            minted.saturating_sub(largest),
            minted.saturating_sub(charged),
        )
    }

    pub fn voted(&mut self, limits: &Limits, now: &Moment, ballot: &Ballot) {
        let (least, most) = self.increase(limits, now, ballot);
        let mint = Minted {
            at: now.window,
            from: ballot.from,
            amount: ballot.minted(),
        };
        self.least_minted.add(now.window, least);
        self.most_minted.add(now.window, most);
        if most > 0 {
            self.newest_mint = Some(mint);
        }
        self.mints.push(mint);
        self.votes
            .push((ballot.slot, ballot.parent_height, ballot.block));
    }

    /// A proposal of member 0, of four.
    pub fn propose(
        &self,
        limits: &Limits,
        now: &Moment,
        genesis: u64,
        slot: u64,
        block: BlockId,
    ) -> Verdict {
        let mut verdict = Verdict::of(now);
        if self.proposals[self.vouched.proposals..]
            .last()
            .is_some_and(|(_, last)| *last == block)
        {
            verdict.repeat = true;
            return verdict;
        }
        let signed = self.proposals.iter().map(|(slot, _)| *slot);
        let slot_is_new = signed
            .chain([now.floor, self.vouched.slot_floor, genesis])
            .all(|signed| slot > signed);
        verdict.demand(slot_is_new, Rule::SlotMonotonic);
        verdict.demand(slot.is_multiple_of(4), Rule::Leader);
        verdict.demand(slot <= now.slot + limits.horizon, Rule::SlotHorizon);
        verdict
    }

    pub fn proposed(&mut self, slot: u64, block: BlockId) {
        self.proposals.push((slot, block));
    }

    pub fn pay(&self, limits: &Limits, now: &Moment, payment: &Payment) -> Verdict {
        let mut verdict = Verdict::of(now);
        verdict.demand(!self.paused, Rule::Paused);
        let has = |family: &&Family| family.members.iter().any(|(id, ..)| *id == payment.batch);
        if self.families.iter().any(|family| has(&family)) {
            verdict.repeat = true;
            return verdict;
        }
        let value: u64 = payment.amounts.iter().sum();
        verdict.demand(payment.amounts.len() as u64 <= MAX_BURNS, Rule::TxShape);
        verdict.demand(value <= MAX_BATCH, Rule::CapWindow);
        verdict.demand(payment.rate <= limits.max_rate, Rule::FeeRate);
        verdict.demand(payment.fee <= limits.max_fee, Rule::FeeAbsolute);
        let single = payment
            .amounts
            .iter()
            .all(|amount| *amount <= limits.cap_single);
        verdict.demand(single, Rule::CapSingle);
        verdict.demand(payment.work <= limits.pow_floor, Rule::PowFloor);
        // The evidence ends with the burns' own block, so that no block has passed over them.
        let held = payment
            .amounts
            .iter()
            .any(|amount| *amount >= limits.hold_from);
        verdict.demand(!held || limits.hold_blocks == 0, Rule::Hold);
        // Also of a batch that was signed, if that is forgotten.
        let burns_are_new = payment.replaces || payment.burns.start >= self.vouched.next_burn;
        verdict.demand(burns_are_new, Rule::BurnSequence);
        let own = self
            .families
            .iter()
            .find(|family| payment.replaces && family.is_of(payment));
        for family in &self.families {
            let shares = family
                .inputs
                .iter()
                .any(|coin| payment.inputs.contains(coin));
            let replaces = payment.replaces && family.is_of(payment);
            verdict.demand(replaces || !shares, Rule::Inputs);
            let overlaps = family
                .burns
                .clone()
                .any(|burn| payment.burns.contains(&burn));
            verdict.demand(payment.replaces || !overlaps, Rule::BurnSequence);
        }
        if payment.replaces {
            let highest =
                own.and_then(|family| family.members.iter().map(|(_, fee, _)| *fee).max());
            verdict.demand(
                highest.is_some_and(|highest| payment.fee > highest),
                Rule::Replacement,
            );
            verdict.paths.push("batch replaced");
        }
        let (value, count) = increase(own, payment);
        let window = |limit, charges| Window {
            now: now.window,
            length: limits.window_ms,
            limit,
            least: charges,
            most: charges,
            forgotten: self.vouched.at,
        };
        let paths = ["batch", "batch at the limit", "batch after the window"];
        window(limits.cap_window, &self.values).judge(
            &mut verdict,
            Rule::CapWindow,
            value,
            value,
            paths,
        );
        let paths = [
            "payments",
            "payments at the limit",
            "payments after the window",
        ];
        window(limits.count_window, &self.counts).judge(
            &mut verdict,
            Rule::CountWindow,
            count,
            count,
            paths,
        );
        verdict
    }

    pub fn paid(&mut self, now: &Moment, payment: &Payment) {
        let own = self
            .families
            .iter_mut()
            .find(|family| payment.replaces && family.is_of(payment));
        let (value, count) = increase(own.as_deref(), payment);
        self.values.add(now.window, value);
        self.counts.add(now.window, count);
        let member = (payment.batch, payment.fee, payment.leaving);
        match own {
            Some(family) => family.members.push(member),
            None => self.families.push(Family {
                burns: payment.burns.clone(),
                inputs: payment.inputs.clone(),
                members: vec![member],
            }),
        }
    }

    /// The marks for officers to vouch for: the highest slot and lock of all votes and proposals, and one past the highest
    /// burn of all batches; not below those that they vouched for before.
    pub fn marks(&self) -> (u64, u64, u64) {
        let voted = self.votes.iter().map(|(slot, ..)| *slot);
        let proposed = self.proposals.iter().map(|(slot, _)| *slot);
        let lock = self.votes.iter().map(|(_, parent, _)| *parent).max();
        let burns = self.families.iter().map(|family| family.burns.end);
        (
            voted
                .chain(proposed)
                .chain([self.vouched.slot_floor])
                .max()
                .unwrap_or_default(),
            lock.unwrap_or_default(),
            burns
                .chain([self.vouched.next_burn])
                .max()
                .unwrap_or_default(),
        )
    }

    pub fn was_vouched(&self) -> bool {
        self.vouched.at.is_some()
    }

    /// Officers vouched for an old state, with those marks: silent up to the floor, no burn below twice, full windows, and
    /// nothing is a repeat.
    pub fn vouched(&mut self, window: u64, slot_floor: u64) {
        let (_, _, next_burn) = self.marks();
        self.vouched = Vouched {
            at: Some(window),
            slot_floor,
            next_burn,
            votes: self.votes.len(),
            proposals: self.proposals.len(),
        };
        // A later batch with a forgotten one's coins conflicts with it on Bitcoin.
        self.families.clear();
        self.newest_mint = None;
    }
}

/// What a batch adds to the windows: value and number of payments.
fn increase(own: Option<&Family>, payment: &Payment) -> (u64, u64) {
    match own {
        Some(family) => (payment.leaving.saturating_sub(family.charged()), 0),
        None => (payment.leaving, payment.amounts.len() as u64),
    }
}
