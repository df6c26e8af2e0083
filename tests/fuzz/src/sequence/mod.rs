//! Sequences of requests to one signer, of headers for its chain, and of moving clocks, beside a plain, slow oracle.

mod clocks;
mod header_rules;
mod limits;
mod oracle;
mod spoil;
mod universe;

pub use self::spoil::flip;

use self::clocks::Clocks;
use self::limits::Limits;
use self::oracle::{Moment, Oracle, Verdict};
use self::universe::{Ballot, CHECKPOINT, STARTS, UNIVERSE, Universe, encoded};
use crate::bitcoin_kit::grind;
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
use bitcoin::block::Header;
use serde::{Serialize, de::DeserializeOwned};
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
            _last => match a % 4 {
                0 => self.restart(),
                1 => self.floor(b, c),
                _others => self.counter(b),
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

    /// A stretch of a branch, perhaps with a header on top whose time is at a limit.
    fn feed(&mut self, a: u8, b: u8, c: u8) {
        let branch = pick(&self.universe.branches, a);
        let main = &self.universe.branches[0];
        let fork = branch
            .iter()
            .zip(main)
            .take_while(|(one, other)| one == other)
            .count();
        let from = match b % 4 {
            0 => self.oracle.headers.len(),
            1 => fork,
            2 => 140 + usize::from(c),
            _all => 0,
        };
        let count = match b % 4 {
            3 => CHECKPOINT as usize + 1 + usize::from(c % 64),
            _part => 1 + usize::from(c % 24),
        };
        let from = from.min(branch.len());
        let mut batch = branch[from..(from + count).min(branch.len())].to_vec();
        if let (192.., Some(below)) = (b, batch.last().copied()) {
            let upto = branch.iter().position(|header| *header == below).unwrap();
            let median = header_rules::median(&branch[..=upto]);
            let latest = u32::try_from(self.clocks.time + 7200).unwrap_or(u32::MAX);
            let times = [median, median + 1, latest, latest + 1];
            let mut header = below;
            header.prev_blockhash = below.block_hash();
            header.time = times[usize::from(c % 4)];
            grind(&mut header);
            batch.push(header);
        }
        self.headers(&batch);
    }

    fn headers(&mut self, batch: &[Header]) {
        let before = self.oracle.headers.len();
        let checkpoint = self.signer.bitcoin().checkpoint().hash;
        let time = self.clocks.time;
        let expected = header_rules::judge(&self.oracle.headers, checkpoint, batch, time);
        let now = Some(UnixTime::new(time));
        let decided = self
            .signer
            .bitcoin_headers(&self.headers, now, &encoded(batch));
        let expected = match (&expected, &decided) {
            (Ok(chain), Ok(decision)) => {
                assert_eq!(chain.is_some(), decision.is_new());
                chain
            }
            (Err(broken), Err(refusal)) => {
                assert!(
                    broken.contains(&refusal.rule),
                    "{refusal}; the oracle has {broken:?}"
                );
                return;
            }
            (Ok(_), Err(refusal)) => panic!("good headers are refused: {refusal}"),
            (Err(broken), Ok(_)) => panic!("headers are taken against {broken:?}"),
        };
        let Some(chain) = expected else { return };
        let (state, _) = decided
            .unwrap()
            .persist(|_| Ok::<(), Infallible>(()))
            .unwrap();
        self.headers = state.unwrap();
        let tip = self.headers.get().tip().unwrap();
        assert_eq!(tip.height.get() as usize, chain.len() - 1);
        assert_eq!(tip.hash, chain[chain.len() - 1].block_hash());
        let path = match before {
            0 => "headers opened",
            _ if chain[before - 1] == self.oracle.headers[before - 1] => "headers extended",
            _other => "headers reorganised",
        };
        self.reached.note(path);
        self.oracle.headers.clone_from(chain);
    }

    /// Lets some blocks of the branch that the signer is on come one by one, and the clocks go on with them.
    fn live(&mut self, a: u8) {
        for _block in 0..=a % 16 {
            let own = &self.oracle.headers;
            let goes_on = |branch: &Vec<Header>| match branch.get(..=own.len()) {
                Some([.., last, next]) if own.last() == Some(last) => Some((*last, *next)),
                _other => None,
            };
            let Some((last, next)) = self.universe.branches.iter().find_map(goes_on) else {
                return;
            };
            self.clocks.timer += u64::from(next.time - last.time) * 1000;
            self.clocks.time = self.clocks.time.max(u64::from(next.time) + 30);
            self.headers(&[next]);
            self.moment();
        }
    }

    /// The slot in which a vote comes just in time, or the one before or after.
    fn set_slot(&mut self, a: u8, b: u8) {
        let ballot = pick(&self.universe.ballots, a);
        let earliest = ballot.slot - self.limits.horizon;
        self.clocks.slot = match b % 4 {
            3 => GENESIS_SLOT + 1000,
            near => earliest - 1 + u64::from(near),
        };
    }

    fn set_time(&mut self, a: u8, b: u8, c: u8) {
        let now = self.moment();
        let near = u64::from(b % 3);
        match a % 4 {
            // The tip's lag at the limit.
            0 => {
                if let Some(tip) = self.oracle.headers.last() {
                    self.clocks.time = u64::from(tip.time) + 3 * 3600 - 1 + near;
                }
            }
            // The end of a window.
            1 => {
                let (charges, length) = match c % 2 {
                    0 => (&self.oracle.values, self.limits.window_ms),
                    _one => (&self.oracle.least_minted, self.limits.mint_window_ms),
                };
                // With the grain by which a window may count longer, or without.
                let length = length + length / 24 * u64::from(c / 2 % 2);
                if let Some(oldest) = charges.oldest(now.window, length) {
                    let end = oldest + length + near;
                    self.clocks.timer += end.saturating_sub(now.window);
                }
            }
            2 => self.clocks.timer += u64::from(b) * 60_000,
            _three => {
                let main = &self.universe.branches[0];
                self.clocks.time = u64::from(main[CHECKPOINT as usize].time) + u64::from(b) * 600;
            }
        }
    }

    /// A restart finds what was kept.
    fn restart(&mut self) {
        let stored = self.headers.get().stored();
        if let Some(stored) = stored {
            let loaded = self.signer.bitcoin().load(&stored).unwrap();
            assert_eq!(&loaded, self.headers.get());
            self.headers = Durable::trust_loaded(loaded);
        }
        self.votes = kept(&self.votes);
        self.payments = kept(&self.payments);
        self.clocks.restart();
        self.reached.note("restart");
    }

    /// A run before this one may have signed up to a vote's slot, or one less.
    fn floor(&mut self, b: u8, c: u8) {
        let ballot = pick(&self.universe.ballots, b);
        let floor = ballot.slot - u64::from(c % 2);
        self.freshness.floor = self.freshness.floor.max(Slot::new(floor));
    }

    fn counter(&mut self, b: u8) {
        let mark = self.freshness.lease.counter;
        let with = |value, tag| {
            Some(CounterMark {
                value: CounterValue::new(value),
                tag,
            })
        };
        self.freshness.outside = match b % 8 {
            0 => None,
            1 => with(4, mark.tag),
            2 => with(6, mark.tag),
            3 => with(5, CounterTag::new([6; 16])),
            // What an interrupted start leaves: it goes on with the advance, but signs nothing before.
            4 => with(4, self.freshness.lease.before),
            _most => Some(mark),
        };
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

fn kept<S: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    state: &Durable<S>,
) -> Durable<S> {
    let bytes = postcard::to_allocvec(state.get()).unwrap();
    let loaded: S = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(&loaded, state.get());
    Durable::trust_loaded(loaded)
}

/// An honest request to approve a block that mints.
pub fn a_minting_request() -> ApproveRequest {
    let mut ballots = UNIVERSE.ballots.iter();
    let minting = ballots.find(|ballot| !ballot.hostile && !ballot.deposits.is_empty());
    minting.unwrap().request.clone()
}
