//! Sequences of requests to one signer, of headers for its chain, and of moving clocks, beside a plain, slow oracle.

mod ballots;
mod clocks;
pub mod header_rules;
mod limits;
mod moves;
mod oracle;
mod payments;
mod spoil;
mod states;
mod universe;
mod verdict;

pub use self::spoil::flip;

use self::ballots::Ballot;
use self::clocks::Clocks;
use self::limits::Limits;
use self::oracle::{Moment, Oracle};
use self::universe::{STARTS, UNIVERSE, Universe};
use self::verdict::Verdict;
use crate::fixtures::{GENESIS_SLOT, bls_key, schnorr_key, x_only};
use crate::reached::Reached;
use alys_protocol::bytes::CounterTag;
use alys_protocol::signer::{ApproveRequest, Refusal};
use alys_protocol::units::Slot;
use alys_signer_core::btc::{HeaderChain, Headers as _, UnixTime};
use alys_signer_core::clock::WindowTime;
use alys_signer_core::freshness::{CounterMark, CounterValue, Freshness, Lease};
use alys_signer_core::signer::Context;
use alys_signer_core::state::{PegOutState, VoteState};
use alys_signer_core::{Durable, Signer};
use std::convert::Infallible;

/// Accepting paths that the corpus must reach.
pub const PATHS: &[&str] = &[
    "vote",
    "vote repeated",
    "mint",
    "mint at the limit",
    "mint after the window",
    "batch",
    "batch repeated",
    "batch replaced",
    "batch at the limit",
    "batch after the window",
    "payments at the limit",
    "proposal",
    "headers opened",
    "headers extended",
    "headers reorganised",
    "restart",
    "vouched",
    "vote after officers vouched",
    "batch after officers vouched",
];

/// Bytes that choose where a run starts, and those of a step.
const SETUP: usize = 5;
const STEP: usize = 4;
const MAX_STEPS: usize = 40;

/// Four bytes choose the limits and one the signer's headers; then each four are a step.
pub fn run(bytes: &[u8]) -> Reached {
    let Some((setup, steps)) = bytes.split_first_chunk::<SETUP>() else {
        return Reached::default();
    };
    let mut run = Run::new(&UNIVERSE, *setup);
    for step in steps.chunks_exact(STEP).take(MAX_STEPS) {
        run.step([step[0], step[1], step[2], step[3]]);
    }
    run.reached
}

struct Run {
    universe: &'static Universe,
    limits: Limits,
    signer: Signer,
    headers: Durable<HeaderChain>,
    votes: Durable<VoteState>,
    payments: Durable<PegOutState>,
    clocks: Clocks,
    freshness: Freshness,
    /// An old copy of the states, and whether peg-outs were paused in it.
    copy: Option<(VoteState, PegOutState, bool)>,
    /// The last statement of officers in force.
    statements: u64,
    oracle: Oracle,
    reached: Reached,
}

impl Run {
    fn new(universe: &'static Universe, setup: [u8; SETUP]) -> Self {
        let [a, b, c, d, start] = setup;
        let limits = Limits::chosen(universe, u32::from_le_bytes([a, b, c, d]));
        let policy = limits.policy(universe);
        let bls = bls_key(0).public_key().to_bytes();
        let schnorr = x_only(&schnorr_key(0));
        let signer = Signer::new(universe.chain.clone(), policy, &bls, &schnorr).unwrap();
        let start = usize::from(start) % STARTS.len();
        let main = &universe.branches[0];
        let known = STARTS[start].map_or(0, |height| height as usize + 1);
        let mut oracle = Oracle::default();
        oracle.headers.extend_from_slice(&main[..known]);
        let mark = CounterMark {
            value: CounterValue::new(5),
            tag: CounterTag::new([5; 16]),
        };
        Self {
            universe,
            limits,
            signer,
            headers: Durable::trust_loaded(universe.starts[start].clone()),
            votes: Durable::trust_loaded(VoteState::default()),
            payments: Durable::trust_loaded(PegOutState::default()),
            clocks: Clocks::new(GENESIS_SLOT + 1000, u64::from(main[171].time)),
            freshness: Freshness {
                lease: Lease {
                    counter: mark,
                    ..Lease::default()
                },
                outside: Some(mark),
                floor: Slot::new(0),
            },
            copy: None,
            statements: 0,
            oracle,
            reached: Reached::default(),
        }
    }

    fn step(&mut self, [operation, a, b, c]: [u8; STEP]) {
        match operation % 16 {
            0..=4 => self.vote(a, b, c),
            5..=8 => self.pay(a, b, c),
            9 => self.propose(a, b),
            10 | 11 => self.feed(a, b, c),
            12 => self.live(a),
            13 => self.set_slot(a, b),
            14 => self.set_time(a, b, c),
            _last => match a % 8 {
                0 => self.restart(),
                1 => self.floor(b, c),
                2 | 3 => self.counter(b),
                4 => self.remember(),
                _others => self.statement(b, c),
            },
        }
    }

    fn moment(&mut self) -> Moment {
        let own = &self.oracle.headers;
        let expected = (!own.is_empty()).then(|| header_rules::median(own));
        let chain = self.headers.get();
        let median = chain.tip().and_then(|tip| chain.median_time(tip.height));
        assert_eq!(median.map(|median| median.get()), expected);
        Moment {
            slot: self.clocks.slot,
            time: self.clocks.time,
            window: self.clocks.window(expected),
            floor: self.freshness.floor.get(),
            fresh: self.freshness.outside == Some(self.freshness.lease.counter),
        }
    }

    fn context(&self, now: &Moment) -> Context<'_, HeaderChain> {
        Context {
            slot: Slot::new(now.slot),
            time: UnixTime::new(now.time),
            window: WindowTime::from_millis(now.window),
            bitcoin: self.headers.get(),
            freshness: self.freshness,
            skips: &[],
        }
    }

    fn settle(&mut self, verdict: &Verdict, repeated: &'static str, accepted: &'static str) {
        if verdict.repeat {
            return self.reached.note(repeated);
        }
        self.reached.note(accepted);
        for path in &verdict.paths {
            self.reached.note(path);
        }
    }

    fn vote(&mut self, a: u8, b: u8, c: u8) {
        let universe = self.universe;
        let ballot: &Ballot = pick(&universe.ballots, a);
        let mut request = ballot.request.clone();
        // Two wrongs may make a right: with its proof, a deposit that is not minted is consumed for nothing.
        let changed = !ballot.hostile && spoil::vote(&mut request, b, c);
        let (header, honest) = (&request.header, &ballot.request.header);
        if header != honest && header.bitcoin != honest.bitcoin {
            // A cursor elsewhere in the same block may be as good.
            return;
        }
        let now = self.moment();
        let verdict = self.oracle.vote(&self.limits, &now, ballot);
        // Of a repeat only the header counts.
        let spoiled = changed && !(verdict.repeat && header == honest);
        let decided = self
            .signer
            .approve(&self.votes, &self.context(&now), &request);
        verdict.compare(&told(&decided), spoiled);
        let Ok(decision) = decided else { return };
        let (state, _) = decision.persist(|_| Ok::<(), Infallible>(())).unwrap();
        if let Some(state) = state {
            self.votes = state;
            self.oracle.voted(&self.limits, &now, ballot);
        }
        self.reached
            .note_if(self.oracle.was_vouched(), "vote after officers vouched");
        self.settle(&verdict, "vote repeated", "vote");
    }

    fn pay(&mut self, a: u8, b: u8, c: u8) {
        let universe = self.universe;
        let payment = pick(&universe.payments, a);
        let mut request = payment.request.clone();
        let spoiled = spoil::batch(&mut request, b, c);
        let now = self.moment();
        let verdict = self.oracle.pay(&self.limits, &now, payment);
        let context = self.context(&now);
        let decided = self
            .signer
            .sign_peg_out(&self.payments, &context, [7; 32], &request);
        verdict.compare(&told(&decided), spoiled);
        let Ok(decision) = decided else { return };
        let (state, _) = decision.persist(|_| Ok::<(), Infallible>(())).unwrap();
        if let Some(state) = state {
            self.payments = state;
            self.oracle.paid(&now, payment);
        }
        self.reached
            .note_if(self.oracle.was_vouched(), "batch after officers vouched");
        self.settle(&verdict, "batch repeated", "batch");
    }

    /// Any header of the chain's first epoch may be proposed by its slot's leader.
    fn propose(&mut self, a: u8, b: u8) {
        let universe = self.universe;
        let mut header = pick(&universe.ballots, a).request.header.clone();
        header.slot = header.slot.saturating_add(u64::from(b % 8));
        let now = self.moment();
        let (slot, block) = (header.slot.get(), header.id());
        let verdict = self
            .oracle
            .propose(&self.limits, &now, GENESIS_SLOT, slot, block);
        let decided = self
            .signer
            .sign_proposal(&self.votes, &self.context(&now), &header);
        verdict.compare(&told(&decided), false);
        let Ok(decision) = decided else { return };
        let (state, _) = decision.persist(|_| Ok::<(), Infallible>(())).unwrap();
        if let Some(state) = state {
            self.votes = state;
            self.oracle.proposed(slot, block);
        }
        self.settle(&verdict, "proposal", "proposal");
    }
}

fn pick<T>(items: &[T], choice: u8) -> &T {
    &items[usize::from(choice) % items.len()]
}

/// Whether a decision is new, or the refusal.
fn told<S, I>(
    decided: &Result<alys_signer_core::Decision<S, I>, Refusal>,
) -> Result<bool, Refusal> {
    match decided {
        Ok(decision) => Ok(decision.is_new()),
        Err(refusal) => Err(refusal.clone()),
    }
}

/// An honest request to approve a block that mints.
pub fn a_minting_request() -> ApproveRequest {
    let mut ballots = UNIVERSE.ballots.iter();
    let minting = ballots.find(|ballot| !ballot.hostile && !ballot.deposits.is_empty());
    minting.unwrap().request.clone()
}
