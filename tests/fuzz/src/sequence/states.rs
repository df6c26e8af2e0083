//! Steps in the life of the state: restarts, the outside counter, and what officers say.

use super::{Run, pick};
use alys_protocol::bytes::{CounterTag, Digest};
use alys_protocol::rules::Rule;
use alys_protocol::units::{BtcHeight, BurnSequence, SideHeight, Slot, StatementNumber};
use alys_signer_core::Durable;
use alys_signer_core::admin::statement::{Act, Governed, Moment, Statement, Vouched, obey};
use alys_signer_core::admin::{OfficerKey, Officers};
use alys_signer_core::clock::WindowTime;
use alys_signer_core::freshness::{CounterMark, CounterValue};
use alys_signer_core::state::AdminState;
use serde::{Serialize, de::DeserializeOwned};

/// The officers, two of whom are a quorum.
const OFFICERS: [OfficerKey; 3] = [
    OfficerKey::new([1; 32]),
    OfficerKey::new([2; 32]),
    OfficerKey::new([3; 32]),
];
/// Slots that a floor may be beyond what a lost state can have signed: a day.
const MOST_SILENT_SLOTS: u64 = 24 * 3600 / 2;

impl Run {
    /// A restart finds what was kept.
    pub(super) fn restart(&mut self) {
        let stored = self.headers.get().stored();
        if let Some(stored) = stored {
            let loaded = self.signer.bitcoin().load(None, &stored).unwrap();
            assert_eq!(&loaded, self.headers.get());
            self.headers = Durable::trust_loaded(loaded);
        }
        self.votes = kept(&self.votes);
        self.payments = kept(&self.payments);
        self.clocks.restart();
        self.reached.note("restart");
    }

    /// A run before this one may have signed up to a vote's slot, or one less.
    pub(super) fn floor(&mut self, b: u8, c: u8) {
        let ballot = pick(&self.universe.ballots, b);
        let floor = ballot.slot - u64::from(c % 2);
        self.freshness.floor = self.freshness.floor.max(Slot::new(floor));
    }

    pub(super) fn counter(&mut self, b: u8) {
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

    /// The states as they are now, for a copy to be restored.
    pub(super) fn remember(&mut self) {
        let (votes, payments) = (self.votes.get().clone(), self.payments.get().clone());
        self.copy = Some((votes, payments, self.oracle.paused));
    }

    /// A statement of officers: pause, resume, or, for a copy that is put in place of the states, that it is fresh.
    pub(super) fn statement(&mut self, b: u8, c: u8) {
        let now = self.moment();
        let (highest, lock, next_burn) = self.oracle.marks();
        let reach = now.slot + self.limits.horizon;
        let most = reach + MOST_SILENT_SLOTS;
        // Officers go by all votes, whatever this signer's clock says.
        let floor = [reach + 1, reach, most, most + 1][usize::from(b / 4 % 4)].max(highest + 1);
        let challenge = Digest::new([4; 32]);
        let given = (b / 16 % 4 != 3).then_some(challenge);
        let fresh = Vouched {
            challenge,
            slot_floor: Slot::new(floor),
            lock: SideHeight::new(lock),
            next_burn: BurnSequence::new(next_burn),
        };
        let (act, needed) = match b % 4 {
            0 => (Act::Pause, 1),
            1 => (Act::Resume, 2),
            _fresh => (Act::Fresh(fresh), 2),
        };
        let officers = Officers::new(2, &OFFICERS).unwrap();
        let signed = &OFFICERS[..usize::from(c % 4).min(3)];
        let number = self.statements + u64::from(c / 4 % 2);
        let statement = Statement {
            chain_id: self.universe.chain.id(),
            member: self.signer.member(),
            number: StatementNumber::new(number),
            act,
        };
        let moment = Moment {
            chain: self.universe.chain.id(),
            member: self.signer.member(),
            challenge: given,
            slot: Slot::new(now.slot),
            window: WindowTime::from_millis(now.window),
            horizon_slots: self.limits.horizon,
            bitcoin_start: BtcHeight::new(0),
        };
        let (vote, pegout, paused) = match (act, &self.copy) {
            (Act::Fresh(_), Some(copy)) => copy.clone(),
            _present => {
                let (votes, payments) = (self.votes.get().clone(), self.payments.get().clone());
                (votes, payments, self.oracle.paused)
            }
        };
        let states = Governed {
            admin: AdminState {
                statement: StatementNumber::new(self.statements),
                ..AdminState::default()
            },
            vote,
            pegout,
            bitcoin: self.headers.get().clone(),
        };
        let mut broken = Vec::new();
        let mut demand = |holds: bool, rule| {
            if !holds {
                broken.push(rule);
            }
        };
        demand(signed.len() >= needed, Rule::Quorum);
        demand(number > self.statements, Rule::Iteration);
        let answers = given.is_some() && floor > reach && floor <= most;
        demand(answers || b % 4 < 2, Rule::Fresh);
        let governed = match obey(&states, &moment, &officers, &statement, signed) {
            Ok(governed) => governed,
            Err(refusal) => {
                assert!(
                    broken.contains(&refusal.rule),
                    "{refusal}; the oracle has {broken:?}"
                );
                return;
            }
        };
        assert!(broken.is_empty(), "a statement in force against {broken:?}");
        self.statements = number;
        self.votes = Durable::trust_loaded(governed.vote);
        self.payments = Durable::trust_loaded(governed.pegout);
        match act {
            Act::Pause => self.oracle.paused = true,
            Act::Resume => self.oracle.paused = false,
            Act::Skip(_) | Act::Anchor(_) => unreachable!("none is made here"),
            Act::Fresh(_) => {
                self.oracle.paused = paused;
                self.oracle.vouched(now.window, floor);
                self.reached.note("vouched");
            }
        }
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
