//! Random histories of deposits, burns, batches, confirmations and forks: value is conserved, no coin is spent twice, every
//! burn is paid exactly once, and what the leader builds always passes the validator.
#![allow(
    clippy::unwrap_used,
    reason = "tests may unwrap; clippy.toml allows it in test functions only, not in their helpers"
)]

mod kit;

use alys_chain::{Unspent, reconcile};
use alys_protocol::bytes::EvmAddress;
use alys_protocol::peg::fee_share;
use alys_protocol::units::{Sats, SatsPerKvb};
use bitcoin::{OutPoint, Transaction};
use kit::bitcoin_chain::Bitcoin;
use kit::side_chain::{BurnRequest, Side, Step};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone)]
enum Event {
    Deposit {
        sats: u64,
        form: u8,
    },
    Mine {
        count: u8,
    },
    Block {
        burns: Vec<u64>,
        rate: u64,
        pow: bool,
        tips: u64,
    },
    Replace {
        rate: u64,
    },
    Broadcast {
        newest: bool,
    },
    BitcoinReorg {
        depth: u8,
    },
    SideFork {
        depth: u8,
    },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1_000u64..60_000_000, 0u8..8).prop_map(|(sats, form)| Event::Deposit { sats, form }),
        4 => (1u8..4).prop_map(|count| Event::Mine { count }),
        1 => Just(Event::Mine { count: 60 }),
        8 => (proptest::collection::vec(20_000u64..30_000_000, 0..3), 500u64..25_000, any::<bool>(), 0u64..1 << 50)
            .prop_map(|(burns, rate, pow, tips)| Event::Block { burns, rate, pow, tips }),
        2 => (1_000u64..20_000).prop_map(|rate| Event::Replace { rate }),
        4 => any::<bool>().prop_map(|newest| Event::Broadcast { newest }),
        1 => (1u8..3).prop_map(|depth| Event::BitcoinReorg { depth }),
        1 => (1u8..3).prop_map(|depth| Event::SideFork { depth }),
    ]
}

struct World {
    bitcoin: Bitcoin,
    side: Side,
    mempool: Vec<Transaction>,
    number: u32,
    /// Side height below which blocks are signed for: batches recorded there may be on Bitcoin.
    signed: usize,
}

impl World {
    fn new() -> Self {
        Self {
            bitcoin: Bitcoin::new(),
            side: Side::new(),
            mempool: Vec::new(),
            number: 0,
            signed: 0,
        }
    }

    fn deposit(&mut self, sats: u64, form: u8) {
        self.number += 1;
        let address = EvmAddress::new([form; 20]);
        let mut transaction = kit::deposit(self.number, sats, address);
        match form {
            // Nobody named.
            0 => drop(transaction.output.pop()),
            // Several outputs, one of them too small to count.
            1 => {
                let mut second = transaction.output[0].clone();
                second.value = bitcoin::Amount::from_sat(sats / 2 + 400);
                let mut small = second.clone();
                small.value = bitcoin::Amount::from_sat(700);
                transaction.output.extend([second, small]);
            }
            _ => {}
        }
        self.mempool.push(transaction);
    }

    fn mine(&mut self, count: u8) {
        for round in 0..count {
            let transactions = if round == 0 {
                std::mem::take(&mut self.mempool)
            } else {
                Vec::new()
            };
            self.bitcoin.mine(transactions);
        }
    }

    fn block(&mut self, burns: Vec<u64>, rate: u64, pow: bool, tips: u64) {
        // What is burned must have been minted.
        let evm = self.side.tip().evm;
        let mut left = evm.withdrawn - evm.base_fees - evm.burned - evm.vault;
        let first = self.side.peg().next_sequence().get();
        let mut requests = Vec::new();
        for (sequence, sats) in (first..).zip(burns) {
            let wei = u128::from(sats) * 10_000_000_000;
            if wei <= left {
                left -= wei;
                let script = kit::payee(sequence + 1000);
                requests.push(BurnRequest { script, sats });
            } else {
                break;
            }
        }
        let tips = u128::from(tips).min(left / 2);
        let gas_used = if left > 1_000_000_000 { 21_000 } else { 0 };
        self.side.step(
            &self.bitcoin,
            &Step {
                burns: requests,
                fee_rate: Some(SatsPerKvb::new(rate)),
                replaces: None,
                skips: Vec::new(),
                pow,
                slots: 1,
                tips,
                gas_used,
            },
        );
    }

    fn replace(&mut self, rate: u64) {
        let newest = self
            .side
            .peg()
            .families()
            .values()
            .next()
            .and_then(|family| family.members.last());
        let Some(newest) = newest else { return };
        let replaces = Some(newest.batch);
        let rate = Some(SatsPerKvb::new(rate));
        // Fails where the rate is too low or the interval not over: then the block has no batch.
        self.side.step(
            &self.bitcoin,
            &Step {
                fee_rate: rate,
                replaces,
                slots: 3,
                pow: true,
                ..Step::default()
            },
        );
    }

    /// Broadcasts one member of each family: the recording block is final from now on.
    fn broadcast(&mut self, newest: bool) {
        let spent: BTreeSet<OutPoint> = self
            .mempool
            .iter()
            .chain(self.bitcoin.blocks.iter().flat_map(|block| &block.txdata))
            .flat_map(|transaction| &transaction.input)
            .map(|input| input.previous_output)
            .collect();
        let mut broadcast = Vec::new();
        for family in self.side.peg().families().values() {
            if family.inputs.iter().any(|input| spent.contains(input)) {
                continue;
            }
            let member = if newest {
                family.members.last()
            } else {
                family.members.first()
            }
            .unwrap();
            broadcast.push(member.batch);
        }
        for entry in &self.side.entries {
            let record = entry
                .block
                .as_ref()
                .and_then(|block| block.body.batch.as_ref());
            if let Some(record) = record
                && broadcast.contains(&record.id(kit::chain().id()))
            {
                self.mempool.push(record.decode_transaction().unwrap());
            }
        }
        if !broadcast.is_empty() {
            self.signed = self.side.entries.len();
        }
    }

    /// A reorganisation of fewer blocks than the confirmations; transactions return to the mempool.
    fn bitcoin_reorg(&mut self, depth: u8) {
        let back = self.bitcoin.disconnect(depth.into());
        self.mempool = back.into_iter().chain(self.mempool.drain(..)).collect();
        for _ in 0..=depth {
            self.bitcoin.mine(Vec::new());
        }
    }

    fn side_fork(&mut self, depth: u8) {
        let keep = self
            .side
            .entries
            .len()
            .saturating_sub(depth.into())
            .max(self.signed)
            .max(1);
        self.side.entries.truncate(keep);
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Deposit { sats, form } => self.deposit(sats, form),
            Event::Mine { count } => self.mine(count),
            Event::Block {
                burns,
                rate,
                pow,
                tips,
            } => self.block(burns, rate, pow || self.needs_pow(), tips),
            Event::Replace { rate } => self.replace(rate),
            Event::Broadcast { newest } => self.broadcast(newest),
            Event::BitcoinReorg { depth } => self.bitcoin_reorg(depth),
            Event::SideFork { depth } => self.side_fork(depth),
        }
    }

    fn needs_pow(&self) -> bool {
        let parent = self.side.parent();
        alys_chain::check_distance(kit::chain(), &parent.header.pow, parent.implied_final).is_err()
    }

    fn check_invariants(&self) {
        let peg = self.side.peg();
        assert_eq!(peg.halt(), None);
        // The ledger is Bitcoin's own set of unspent outputs, up to the cursor.
        let expected = self.bitcoin.unspent(peg.cursor());
        let found: BTreeMap<_, _> = peg
            .utxos()
            .iter()
            .map(|(outpoint, utxo)| (*outpoint, (utxo.value, utxo.height)))
            .collect();
        assert_eq!(found, expected);
        let at_tip = self.bitcoin.unspent(&alys_protocol::peg::Cursor {
            height: self.bitcoin.tip(),
            ..*peg.cursor()
        });
        let unspent = at_tip
            .into_iter()
            .map(|(outpoint, (value, height))| Unspent {
                outpoint,
                value,
                height,
            });
        assert_eq!(reconcile(peg, unspent), Vec::new());
        // To the last wei.
        let supply = self.side.supply();
        assert_eq!(supply.unexplained, 0, "{supply:?}");
        // No coin is an input of two families, and reservations are exactly the families' inputs.
        let mut reserved = BTreeMap::new();
        for (id, family) in peg.families() {
            for input in &family.inputs {
                assert_eq!(reserved.insert(*input, Some(*id)), None);
            }
        }
        for (outpoint, utxo) in peg.utxos() {
            assert_eq!(
                utxo.family,
                reserved.get(outpoint).copied().flatten(),
                "{outpoint}"
            );
        }
        // Burns are gap-free: in a family or in the queue.
        assert_eq!(peg.next_burn(), self.side.tip().peg.next_burn());
        let mut next = peg.next_burn();
        for burn in peg.queue() {
            assert_eq!(burn.sequence, next);
            next = next.checked_add(1).unwrap();
        }
        assert_eq!(next, peg.next_sequence());
    }

    /// Goes on until every burn is paid, then compares all payments with all burns.
    fn settle(&mut self) {
        // Enough for whatever is owed, in one coin.
        self.deposit(2_000_000_000, 7);
        for _round in 0..400 {
            self.broadcast(true);
            self.mine(4);
            self.block(Vec::new(), 1_000, true, 0);
            self.block(Vec::new(), 1_000, true, 0);
            self.check_invariants();
            let peg = self.side.peg();
            if peg.families().is_empty() && peg.queue().len() == 0 {
                break;
            }
        }
        let peg = self.side.peg();
        assert_eq!((peg.families().len(), peg.queue().len()), (0, 0));
        let mut paid: BTreeMap<Vec<u8>, Vec<Sats>> = BTreeMap::new();
        for output in self
            .bitcoin
            .blocks
            .iter()
            .flat_map(|block| &block.txdata)
            .flat_map(|transaction| &transaction.output)
        {
            paid.entry(output.script_pubkey.to_bytes())
                .or_default()
                .push(Sats::new(output.value.to_sat()));
        }
        for burn in self.side.entries.iter().flat_map(|entry| &entry.burns) {
            let payments = &paid[&burn.script_pubkey.to_vec()];
            assert_eq!(payments.len(), 1, "burn {} is paid once", burn.sequence);
            let share = burn.amount.get() - payments[0].get();
            let highest = fee_share(Sats::new(20 * 1000), 1).get();
            assert!(share > 0 && share < highest, "a fee share of {share}");
        }
    }
}

/// What a run has seen, so that the test cannot pass by doing nothing.
#[derive(Debug, Default)]
struct Seen {
    batches: usize,
    replacements: usize,
    refreshes: usize,
    paid: usize,
    mints: usize,
    forks: usize,
}

impl Seen {
    fn count(&mut self, world: &World) {
        for entry in &world.side.entries {
            let record = entry
                .block
                .as_ref()
                .and_then(|block| block.body.batch.as_ref());
            if let Some(record) = record {
                self.batches += 1;
                self.replacements += usize::from(record.replaces.is_some());
                self.refreshes += usize::from(record.burns() == 0);
            }
            self.paid += entry.burns.len();
        }
        self.mints += usize::from(world.side.peg().totals().minted > Sats::ZERO);
    }
}

#[test]
fn value_is_conserved_and_every_burn_is_paid_once() {
    let config = Config {
        cases: 200,
        ..Config::with_source_file(file!())
    };
    let seen = RefCell::new(Seen::default());
    TestRunner::new(config)
        .run(&proptest::collection::vec(event(), 1..100), |events| {
            let mut world = World::new();
            for event in events {
                let fork = matches!(event, Event::SideFork { .. });
                let height = world.side.entries.len();
                world.apply(event);
                world.check_invariants();
                let forked = fork && world.side.entries.len() < height;
                seen.borrow_mut().forks += usize::from(forked);
            }
            world.settle();
            seen.borrow_mut().count(&world);
            Ok(())
        })
        .unwrap();
    let seen = seen.into_inner();
    let least = [
        seen.batches,
        seen.replacements,
        seen.refreshes,
        seen.paid,
        seen.mints,
        seen.forks,
    ]
    .into_iter()
    .min();
    assert!(least > Some(5), "{seen:?}");
    println!("{seen:?}");
}
