//! The ledger as a whole: storage, rebuilding, reconciliation, supply.
#![allow(
    clippy::unwrap_used,
    reason = "tests may unwrap; clippy.toml allows it in test functions only, not in their helpers"
)]

mod kit;

use alys_chain::{DecodeStateError, Discrepancy, EvmSupply, PegState, Unspent, apply, reconcile};
use alys_protocol::bytes::EvmAddress;
use alys_protocol::units::{BtcHeight, Sats, SatsPerKvb, Wei};
use bitcoin::OutPoint;
use bitcoin::hex::FromHex as _;
use kit::bitcoin_chain::Bitcoin;
use kit::side_chain::{BurnRequest, Side, Step};
use kit::{chain, deposit, foreign, payee};

/// Deposits, a batch in flight, and a burn that waits.
fn world() -> (Bitcoin, Side) {
    let mut bitcoin = Bitcoin::new();
    let alice = EvmAddress::new([0xaa; 20]);
    bitcoin.mine(vec![deposit(1, 900_000, alice), deposit(2, 400_000, alice)]);
    bitcoin.mine_empty(2);
    let mut side = Side::new();
    let burn = |number| BurnRequest {
        script: payee(number),
        sats: 100_000,
    };
    let steps = [
        Step::default(),
        Step {
            burns: vec![burn(0), burn(1)],
            gas_used: 50_000,
            ..Step::default()
        },
        Step::default(),
        Step {
            pow: true,
            ..Step::default()
        },
        Step {
            fee_rate: Some(SatsPerKvb::new(1_500)),
            burns: vec![burn(2)],
            ..Step::default()
        },
    ];
    for step in &steps {
        side.step(&bitcoin, step);
    }
    assert_eq!(side.peg().families().len(), 1);
    assert_eq!(side.peg().queue().len(), 1);
    (bitcoin, side)
}

fn unspent(bitcoin: &Bitcoin, side: &Side) -> Vec<Unspent> {
    bitcoin
        .unspent(side.peg().cursor())
        .into_iter()
        .map(|(outpoint, (value, height))| Unspent {
            outpoint,
            value,
            height,
        })
        .collect()
}

#[test]
fn ledgers_that_version_2_wrote_are_read_and_those_before_refused() {
    // `world()`'s ledger, as that version encoded it. A change that breaks this needs a new version and fixture.
    let old = Vec::<u8>::from_hex(include_str!("fixtures/peg-ledger-1.hex").trim()).unwrap();
    // Its blocks are not readable any more, either: the database's schema version says so first.
    let refused = Err(DecodeStateError::Version { found: 1 });
    assert_eq!(PegState::decode(&old), refused);
    let fixture = include_str!("fixtures/peg-ledger-2.hex");
    let bytes = Vec::<u8>::from_hex(fixture.trim()).unwrap();
    let state = PegState::decode(&bytes).unwrap();
    assert_eq!(state.encode().unwrap(), bytes);
    assert_eq!(state.cursor().height, BtcHeight::new(kit::START + 1));
    assert_eq!(state.held(), Some(Sats::new(1_300_000)));
    let (id, family) = state.families().first_key_value().unwrap();
    assert_eq!(family.members[0].batch, *id);
    assert_eq!(family.members[0].fee_rate, SatsPerKvb::new(1_500));
    assert_eq!((family.burns.len(), state.queue().len()), (2, 1));
    assert_eq!(state.totals().burned, Sats::new(300_000));
}

#[test]
fn other_bytes_are_no_ledger() {
    let (_, side) = world();
    let bytes = side.peg().encode().unwrap();
    assert_eq!(PegState::decode(&bytes).as_ref(), Ok(side.peg()));
    assert_eq!(PegState::decode(&[]), Err(DecodeStateError::Empty));
    let other = [&[9][..], &bytes[1..]].concat();
    assert_eq!(
        PegState::decode(&other),
        Err(DecodeStateError::Version { found: 9 })
    );
    for cut in [1, 40, bytes.len() - 1] {
        let found = PegState::decode(&bytes[..cut]);
        assert_eq!(found, Err(DecodeStateError::Malformed { length: cut }));
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(PegState::decode(&longer).is_err());
}

#[test]
fn a12_the_ledger_is_rebuilt_from_blocks_alone() {
    let (_, side) = world();
    let mut state = PegState::genesis(chain());
    for pair in side.entries.windows(2) {
        let block = pair[1].block.as_ref().unwrap();
        let burns = pair[1].burns.clone();
        let applied = apply(chain(), &pair[0].header, &state, block, burns).unwrap();
        state = applied.state;
    }
    assert_eq!(state, *side.peg());
    // From another ledger, the same block does not apply.
    let last = side.tip().block.as_ref().unwrap();
    let parent = &side.entries[side.entries.len() - 2].header;
    let genesis = PegState::genesis(chain());
    assert!(apply(chain(), parent, &genesis, last, Vec::new()).is_err());
}

#[test]
fn a12_the_ledger_is_compared_with_bitcoins_own_set() {
    let (mut bitcoin, side) = world();
    let peg = side.peg();
    let all = unspent(&bitcoin, &side);
    assert_eq!(all.len(), 2);
    assert_eq!(reconcile(peg, all.clone()), []);
    // A coin that no batch spends is gone; one that a batch spends may be.
    let reserved = |coin: &Unspent| peg.utxos()[&coin.outpoint].family.is_some();
    let without = |reserved_too: bool| {
        let keep = all.iter().filter(|coin| reserved(coin) != reserved_too);
        reconcile(peg, keep.copied())
    };
    assert!(matches!(without(false)[..], [Discrepancy::Missing { .. }]));
    assert_eq!(without(true), []);
    // A coin with another value.
    let mut other = all.clone();
    other[0].value = Sats::new(1);
    assert_eq!(
        reconcile(peg, other.clone()),
        [Discrepancy::Different(other[0])]
    );
    // A coin that the ledger lacks: below the cursor it is wrong, above it is only new.
    let extra = |height| Unspent {
        outpoint: OutPoint {
            vout: 7,
            ..foreign(7)
        },
        value: Sats::new(5),
        height: BtcHeight::new(height),
    };
    let cursor = peg.cursor().height.get();
    let with = |height| reconcile(peg, all.iter().copied().chain([extra(height)]));
    assert_eq!(with(cursor), [Discrepancy::Unknown(extra(cursor))]);
    assert_eq!(with(cursor + 1), []);
    bitcoin.mine_empty(1);
}

#[test]
fn supply_is_explained_to_the_wei() {
    let (mut bitcoin, mut side) = world();
    let before = side.supply();
    assert_eq!(before.unexplained, 0);
    let sat = 10_000_000_000;
    assert_eq!(before.held, 1_300_000 * sat);
    assert_eq!(before.owed, 300_000 * sat);
    assert_eq!(before.base_fees, 350_000);
    assert_eq!(before.circulating, 1_000_000 * sat - 350_000);
    assert_eq!(before.surplus(), 350_000);
    // The batch confirms: what its burners paid for the fee is what it cost, up to rounding.
    let block = side.tip().block.clone().unwrap();
    bitcoin.mine(vec![
        block.body.batch.unwrap().decode_transaction().unwrap(),
    ]);
    bitcoin.mine_empty(2);
    side.step(&bitcoin, &Step::default());
    let after = side.supply();
    assert_eq!(after.unexplained, 0);
    assert_eq!(after.owed, 100_000 * sat);
    let rounding = after.fee_shares - after.bitcoin_fees;
    assert!((0..2 * sat).contains(&rounding), "{rounding}");
    assert_eq!(after.surplus(), 350_000 + rounding);
    // A mint out of nowhere is not explained.
    let evm = side.tip().evm;
    let forged = side.peg().supply(&EvmSupply {
        total: Wei::new(evm.withdrawn - evm.base_fees - evm.burned + 1),
        fees_distributed: Wei::ZERO,
    });
    assert_eq!(forged.unexplained, -1);
}
