//! Node and signer agree without having code in common: every batch that the chain's builder makes passes the signer's
//! rules on transactions, and no other transaction in its place does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests may unwrap; clippy.toml allows it in test functions only, not in their helpers"
)]

use alys_chain::{
    Family, Halt, LastBatch, Member, NoBatch, Origin, PegState, Totals, Utxo, next_batch,
    replacement, replacement_rate,
};
use alys_protocol::bls::SecretKey;
use alys_protocol::body::BodyBranch;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{BatchId, BlockId, Digest, EvmAddress};
use alys_protocol::certificate::Certificate;
use alys_protocol::execution::{BRIDGE, SYSTEM_CONTRACTS};
use alys_protocol::peg::{BatchRecord, Burn, Unattributable};
use alys_protocol::rules::Rule;
use alys_protocol::signer::{BurnEvidence, FinalityEvidence, PegOutRequest, Refusal};
use alys_protocol::spec::{Chain, SchnorrPublicKeyBytes};
use alys_protocol::units::{BtcHeight, BurnSequence, Sats, SatsPerKvb, SideHeight, Slot};
use alys_provision::{MemberCard, MemberParameters, Parameters, Regtest, assemble};
use alys_signer_core::Policy;
use alys_signer_core::clock::WindowTime;
use alys_signer_core::pegout::evidence::burn_sequence;
use alys_signer_core::pegout::{limits, transaction};
use alys_signer_core::state::{self, BurnRange, FamilyMember, PegOutState};
use bitcoin::hashes::Hash as _;
use bitcoin::secp256k1::{Keypair, Secp256k1};
use bitcoin::{Amount, BlockHash, OutPoint, ScriptBuf, Sequence, Transaction, TxOut, Txid};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The devnet's chain with limits that a few coins and burns reach.
static CHAIN: LazyLock<Chain> = LazyLock::new(|| {
    let card = |seed: u8| {
        let bls = SecretKey::from_seed(&[seed; 32]).unwrap();
        let schnorr = Keypair::from_seckey_slice(&Secp256k1::new(), &[seed; 32]).unwrap();
        MemberCard {
            bls: bls.public_key().to_bytes(),
            bls_possession: bls.prove_possession(),
            schnorr: SchnorrPublicKeyBytes::new(schnorr.x_only_public_key().0.serialize()),
        }
    };
    let members = || (1u8..=4).map(|seed| (format!("member-{seed}"), seed));
    let parameters = Parameters::regtest(Regtest {
        chain_id: alys_provision::parameters::REGTEST_CHAIN_ID,
        genesis_ms: 1_700_000_000_000,
        start_height: BtcHeight::new(101),
        start_hash: BlockHash::from_byte_array([5; 32]),
        recovery_keys: (101..104).map(|seed| card(seed).schnorr).collect(),
        members: members()
            .map(|(name, seed)| MemberParameters {
                name,
                fee_recipient: EvmAddress::new([seed; 20]),
            })
            .collect(),
        max_blocks_without_pow: 60,
    });
    let cards = members().map(|(name, seed)| (name, card(seed))).collect();
    let mut spec = assemble(parameters, &cards).unwrap();
    spec.pegout.max_inputs = 5;
    spec.pegout.max_burns = 4;
    spec.pegout.max_batch_value_sats = Sats::new(1_500_000_000);
    Chain::new(spec).unwrap()
});

const SLOT: Slot = Slot::new(1 << 40);
const CURSOR: u32 = 20_000;
/// A height whose coins are near the recovery timelock of 12,960 blocks when the cursor is at [`CURSOR`].
const NEAR_TIMELOCK: u32 = CURSOR - 12_900;

/// A ledger in its stored form, field by field: what builds it in a node is tested there.
fn ledger(
    utxos: BTreeMap<OutPoint, Utxo>,
    families: BTreeMap<BatchId, Family>,
    queue: &[Burn],
) -> PegState {
    let mut cursor = CHAIN.genesis().bitcoin;
    cursor.height = BtcHeight::new(CURSOR);
    let burns: BTreeMap<BurnSequence, Burn> = queue
        .iter()
        .map(|burn| (burn.sequence, burn.clone()))
        .collect();
    let next = queue
        .last()
        .map_or(BurnSequence::new(100), |burn| burn.sequence);
    let stored = (
        cursor,
        utxos,
        families,
        burns,
        next.saturating_add(1),
        None::<LastBatch>,
        Totals::default(),
        None::<Halt>,
    );
    let bytes = postcard::to_extend(&stored, vec![PegState::VERSION]).unwrap();
    PegState::decode(&bytes).expect("the ledger's stored form changed")
}

/// A random ledger and fee rate.
#[derive(Debug, Clone)]
struct World {
    coins: Vec<(u64, u32, Origin)>,
    /// Amounts, and which template each is paid to.
    burns: Vec<(u64, u8)>,
    first_burn: u64,
    rate: u64,
    /// Only one coin, worth so much more than the burns: this is where change becomes dust.
    exact: Option<u64>,
}

fn worlds() -> impl Strategy<Value = World> {
    let value = prop_oneof![
        10_000u64..100_000,
        100_000u64..5_000_000,
        5_000_000u64..2_000_000_000
    ];
    let height = prop_oneof![4 => Just(CURSOR - 500), 1 => Just(NEAR_TIMELOCK), 1 => Just(NEAR_TIMELOCK + 1)];
    let origin = prop_oneof![
        4 => Just(Origin::Deposit),
        2 => Just(Origin::Change),
        1 => Just(Origin::Unattributable(Unattributable::NoRecipient)),
        1 => Just(Origin::Unattributable(Unattributable::Coinbase)),
    ];
    let amount = prop_oneof![
        3 => 500_000u64..2_000_000,
        2 => 2_000_000u64..100_000_000,
        1 => 100_000_000u64..=1_000_000_000
    ];
    let rate = prop_oneof![
        Just(1_000u64),
        1_000u64..20_000,
        20_000u64..=100_000,
        Just(100_000u64)
    ];
    (
        proptest::collection::vec((value, height, origin), 1..12),
        proptest::collection::vec((amount, 0u8..5), 0..7),
        0u64..1 << 40,
        rate,
        prop_oneof![3 => Just(None), 1 => (0u64..660).prop_map(Some)],
    )
        .prop_map(|(coins, burns, first_burn, rate, exact)| World {
            coins,
            burns,
            first_burn,
            rate,
            exact,
        })
}

/// A script of each template that the Bridge lets through.
fn script(template: u8, number: u64) -> Vec<u8> {
    let filled = |prefix: &[u8], length: usize, suffix: &[u8]| {
        let mut hash = vec![0x77; length];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        [prefix, &hash, suffix].concat()
    };
    match template {
        0 => filled(&[0x76, 0xa9, 20], 20, &[0x88, 0xac]),
        1 => filled(&[0xa9, 20], 20, &[0x87]),
        2 => filled(&[0x00, 20], 20, &[]),
        3 => filled(&[0x00, 32], 32, &[]),
        _taproot => filled(&[0x51, 32], 32, &[]),
    }
}

impl World {
    fn burns(&self) -> Vec<Burn> {
        (self.first_burn..)
            .zip(&self.burns)
            .map(|(sequence, (amount, template))| Burn {
                sequence: BurnSequence::new(sequence),
                sender: EvmAddress::new([9; 20]),
                script_pubkey: BoundedVec::new(script(*template, sequence)).unwrap(),
                amount: Sats::new(*amount),
                height: SideHeight::new(7),
                block: BlockId::ZERO,
            })
            .collect()
    }

    fn utxos(&self) -> BTreeMap<OutPoint, Utxo> {
        let owed: u64 = self.burns.iter().take(4).map(|(amount, _)| amount).sum();
        let exact = self
            .exact
            .map(|more| vec![(owed + more, CURSOR - 500, Origin::Deposit)]);
        let coins = exact.as_ref().unwrap_or(&self.coins);
        (0u8..)
            .zip(coins)
            .map(|(number, (value, height, origin))| {
                // Outpoints in no order of value.
                let txid = Txid::from_byte_array([number.wrapping_mul(97); 32]);
                let utxo = Utxo {
                    value: Sats::new(*value),
                    height: BtcHeight::new(*height),
                    origin: *origin,
                    family: None,
                };
                (OutPoint::new(txid, u32::from(number)), utxo)
            })
            .collect()
    }

    fn rate(&self) -> SatsPerKvb {
        SatsPerKvb::new(self.rate)
    }
}

/// A batch as a signer is asked to sign it.
#[derive(Debug, Clone)]
struct Batch {
    transaction: Transaction,
    values: Vec<Sats>,
    record: BatchRecord,
    burns: Vec<Burn>,
}

impl Batch {
    fn new(state: &PegState, record: BatchRecord, burns: &[Burn]) -> Self {
        let transaction = record.decode_transaction().unwrap();
        let values = transaction
            .input
            .iter()
            .map(|input| state.utxos()[&input.previous_output].value)
            .collect();
        Self {
            transaction,
            values,
            burns: burns
                .iter()
                .take(record.burns() as usize)
                .cloned()
                .collect(),
            record,
        }
    }

    /// What the rules on the transaction look at; the rest of the evidence is for others.
    fn request(&self) -> PegOutRequest {
        let header = CHAIN.genesis();
        let mut record = self.record.clone();
        let bytes = bitcoin::consensus::serialize(&self.transaction);
        record.transaction = BoundedVec::new(bytes).unwrap();
        let evidence = |burn: &Burn| BurnEvidence {
            burn: burn.clone(),
            header: header.clone(),
            history: None,
            execution_header: BoundedVec::empty(),
            transaction_index: 0,
            log_index: 0,
            receipt: BoundedVec::empty(),
        };
        PegOutRequest {
            record,
            values: BoundedVec::new(self.values.clone()).unwrap(),
            recording: header.clone(),
            recording_parent: header.clone(),
            body_branch: BodyBranch {
                siblings: [Digest::ZERO; 2],
            },
            finality: FinalityEvidence {
                headers: [header.clone(), header.clone(), header.clone()],
                certificate: Certificate {
                    block: BlockId::ZERO,
                    signers: BoundedVec::empty(),
                    signature: alys_protocol::bls::BlsSignature::ZERO,
                },
            },
            recording_history: None,
            pow: None,
            burns: BoundedVec::new(self.burns.iter().map(evidence).collect()).unwrap(),
        }
    }

    /// The signer's rules on transactions and its limits, in its order; the fee where all hold.
    fn judge(&self, state: &PegOutState) -> Result<Sats, Refusal> {
        let (request, policy) = (self.request(), Policy::of_chain(&CHAIN));
        let batch = transaction::Batch::new(&CHAIN, &request)?;
        burn_sequence(state, &request.record, &request.burns)?;
        transaction::tx_shape(&batch)?;
        transaction::inputs(state, &batch)?;
        transaction::outputs_exact(&batch)?;
        transaction::change(&batch)?;
        transaction::fee_rate(&policy, &batch)?;
        limits::fee_absolute(&policy, &batch)?;
        transaction::replacement(state, &batch)?;
        limits::destination(&policy, &batch)?;
        limits::cap_single(&policy, &batch)?;
        limits::cap_window(&policy, state, WindowTime::ZERO, &batch)?;
        limits::count_window(&policy, state, WindowTime::ZERO, &batch)?;
        Ok(batch.fee())
    }

    fn inputs(&self) -> Vec<OutPoint> {
        let inputs = self.transaction.input.iter();
        inputs.map(|input| input.previous_output).collect()
    }

    fn has_change(&self) -> bool {
        self.transaction.output.len() > self.burns.len()
    }

    /// Every change of one thing, its name, and the rules of which one must refuse it.
    fn mutations(&self) -> Vec<(String, Self, Vec<Rule>)> {
        use Rule::{Change, FeeRate, Inputs, OutputsExact, Replacement, TxShape};
        let mut all = Vec::new();
        let mut add = |name: String, rules: &[Rule], change: &dyn Fn(&mut Self)| {
            let mut mutated = self.clone();
            change(&mut mutated);
            all.push((name, mutated, rules.to_vec()));
        };
        let burns = self.burns.len();
        // A change of the fee shows at the first payment, or at the change where there is none.
        let fee_shows = if burns > 0 { OutputsExact } else { Change };
        for (place, output) in self.transaction.output.iter().enumerate() {
            let rule = if place < burns { OutputsExact } else { Change };
            for by in [1, -1i64] {
                add(format!("output {place} by {by} sat"), &[rule], &|batch| {
                    let value = &mut batch.transaction.output[place].value;
                    *value = Amount::from_sat(value.to_sat().checked_add_signed(by).unwrap());
                });
            }
            add(
                format!("output {place} to another script"),
                &[rule],
                &|batch| {
                    batch.transaction.output[place].script_pubkey =
                        ScriptBuf::from_bytes(script(4, u64::MAX));
                },
            );
            let next = self.transaction.output.get(place + 1);
            if next.is_some_and(|next| next != output) {
                add(
                    format!("outputs {place} and its next swapped"),
                    &[OutputsExact],
                    &|batch| {
                        batch.transaction.output.swap(place, place + 1);
                    },
                );
            }
        }
        for place in 0..self.values.len() {
            add(
                format!("input {place} dropped"),
                &[fee_shows, Inputs, TxShape],
                &|batch| {
                    batch.transaction.input.remove(place);
                    batch.values.remove(place);
                },
            );
            add(
                format!("input {place} twice"),
                &[Inputs, TxShape],
                &|batch| {
                    let input = batch.transaction.input[place].clone();
                    batch.transaction.input.push(input);
                    batch.values.push(batch.values[place]);
                },
            );
            add(format!("value {place} left out"), &[Inputs], &|batch| {
                batch.values.remove(place);
            });
            add(format!("input {place} final"), &[TxShape], &|batch| {
                batch.transaction.input[place].sequence = Sequence::MAX;
            });
            if self.has_change() {
                add(format!("value {place} 1 sat more"), &[Change], &|batch| {
                    batch.values[place] = batch.values[place].saturating_add(1);
                });
            }
        }
        if self.has_change() {
            let rule = if burns > 0 { OutputsExact } else { TxShape };
            add("change left to the miner".into(), &[rule], &|batch| {
                batch.transaction.output.pop();
            });
        }
        add(
            "an output more".into(),
            &[TxShape, OutputsExact],
            &|batch| {
                batch.transaction.output.push(TxOut {
                    value: Amount::ZERO,
                    script_pubkey: ScriptBuf::from_bytes(vec![0x6a]),
                });
            },
        );
        for by in [1_000, -1_000i64] {
            add(format!("fee rate by {by}"), &[fee_shows], &|batch| {
                let rate = batch.record.fee_rate.get();
                batch.record.fee_rate = SatsPerKvb::new(rate.checked_add_signed(by).unwrap());
            });
        }
        add("version 1".into(), &[TxShape], &|batch| {
            batch.transaction.version = bitcoin::transaction::Version::ONE;
        });
        add("a lock time".into(), &[TxShape], &|batch| {
            batch.transaction.lock_time = bitcoin::absolute::LockTime::from_consensus(1);
        });
        if self.record.replaces.is_some() {
            // A replacement's inputs are reserved for exactly its family.
            for (_, _, rules) in &mut all {
                rules.extend([Inputs, Replacement, FeeRate]);
            }
        }
        all
    }

    fn refuses_every_mutation(&self, state: &PegOutState) -> Result<u32, TestCaseError> {
        let mut refused = 0;
        for (name, mutated, rules) in self.mutations() {
            match mutated.judge(state) {
                Err(refusal) if rules.contains(&refusal.rule) => refused += 1,
                other => {
                    let text = format!("{name}: expected a refusal by {rules:?}, found {other:?}");
                    return Err(TestCaseError::fail(text));
                }
            }
        }
        Ok(refused)
    }
}

/// What a signer remembers of a batch that it signed.
fn signed(batch: &Batch, fee: Sats) -> PegOutState {
    let request = batch.request();
    let leaving = transaction::Batch::new(&CHAIN, &request).unwrap().leaving();
    PegOutState {
        families: vec![state::Family {
            burns: BurnRange {
                first: batch.record.first_burn,
                next: batch.record.next_burn,
            },
            inputs: batch.inputs(),
            charged: leaving,
            members: vec![FamilyMember {
                batch: batch.record.id(CHAIN.id()),
                request: Digest::ZERO,
                fee,
                randomness: [0; 32],
            }],
        }],
        ..PegOutState::default()
    }
}

/// The node's ledger after it recorded a batch.
fn recorded(world: &World, batch: &Batch, fee: Sats) -> PegState {
    let id = batch.record.id(CHAIN.id());
    let inputs = batch.inputs();
    let mut utxos = world.utxos();
    for input in &inputs {
        utxos.get_mut(input).unwrap().family = Some(id);
    }
    let family = Family {
        first_burn: batch.record.first_burn,
        burns: batch.burns.clone(),
        skipped: batch.record.skipped.to_vec(),
        inputs,
        members: vec![Member {
            batch: id,
            txid: batch.transaction.compute_txid(),
            fee_rate: batch.record.fee_rate,
            fee,
            height: SideHeight::new(8),
        }],
    };
    let rest = &world.burns()[batch.burns.len()..];
    ledger(utxos, BTreeMap::from([(id, family)]), rest)
}

/// What the cases of a run were, so that a run that tests nothing fails.
#[derive(Default)]
struct Tally {
    batches: Cell<u32>,
    without_change: Cell<u32>,
    without_burns: Cell<u32>,
    replacements: Cell<u32>,
    mutations: Cell<u32>,
    skipping: Cell<u32>,
}

fn count(cell: &Cell<u32>, more: u32) {
    cell.set(cell.get() + more);
}

fn agree(world: &World, tally: &Tally) -> Result<(), TestCaseError> {
    let (burns, fresh) = (world.burns(), PegOutState::default());
    let before = ledger(world.utxos(), BTreeMap::new(), &burns);
    let record = match next_batch(&CHAIN, &before, SideHeight::MAX, SLOT, world.rate(), &[]) {
        Ok(record) => record,
        // What the spec lets burn can be paid at every rate that it lets be paid.
        Err(error @ NoBatch::Unpayable) => return Err(TestCaseError::fail(error.to_string())),
        Err(_) => return Ok(()),
    };
    let batch = Batch::new(&before, record, &burns);
    let fee = batch
        .judge(&fresh)
        .map_err(|refusal| TestCaseError::fail(format!("{refusal}: {batch:?}")))?;
    count(&tally.batches, 1);
    count(&tally.without_change, u32::from(!batch.has_change()));
    count(&tally.without_burns, u32::from(batch.burns.is_empty()));
    count(&tally.mutations, batch.refuses_every_mutation(&fresh)?);
    agree_on_skips(world, &before, tally)?;

    // Signed once, only a replacement at a higher fee may have the inputs.
    let (after, memory) = (recorded(world, &batch, fee), signed(&batch, fee));
    let id = batch.record.id(CHAIN.id());
    let mut again = batch.clone();
    again.record.replaces = Some(id);
    let same_fee = again.judge(&memory).map_err(|refusal| refusal.rule);
    prop_assert_eq!(same_fee, Err(Rule::Replacement));
    let Some(rate) = replacement_rate(&CHAIN, &after, id) else {
        return Ok(());
    };
    let record = replacement(&CHAIN, &after, id, SLOT, rate).unwrap();
    let bumped = Batch::new(&after, record, &batch.burns);
    let higher = bumped
        .judge(&memory)
        .map_err(|refusal| TestCaseError::fail(format!("{refusal}: {bumped:?}")))?;
    prop_assert!(higher > fee);
    prop_assert_eq!(bumped.inputs(), batch.inputs());
    count(&tally.replacements, 1);
    count(&tally.mutations, bumped.refuses_every_mutation(&memory)?);
    Ok(())
}

/// The same with a burn in the middle left out, and of its replacement; never without the record's word for it.
fn agree_on_skips(world: &World, before: &PegState, tally: &Tally) -> Result<(), TestCaseError> {
    let (burns, fresh) = (world.burns(), PegOutState::default());
    let skips: Vec<_> = burns
        .get(burns.len() / 2)
        .map(|burn| burn.sequence)
        .into_iter()
        .collect();
    let rate = world.rate();
    let Ok(record) = next_batch(&CHAIN, before, SideHeight::MAX, SLOT, rate, &skips) else {
        return Ok(());
    };
    if record.skipped.is_empty() {
        return Ok(());
    }
    let batch = Batch::new(before, record, &burns);
    let judged = |batch: &Batch, state: &PegOutState| {
        let judged = batch.judge(state);
        judged.map_err(|refusal| TestCaseError::fail(format!("{refusal}: {batch:?}")))
    };
    let fee = judged(&batch, &fresh)?;
    count(&tally.skipping, 1);
    let mut silent = batch.clone();
    silent.record.skipped = alys_protocol::bounded::BoundedVec::empty();
    prop_assert!(silent.judge(&fresh).is_err());
    let (after, memory) = (recorded(world, &batch, fee), signed(&batch, fee));
    let id = batch.record.id(CHAIN.id());
    let Some(rate) = replacement_rate(&CHAIN, &after, id) else {
        return Ok(());
    };
    let record = replacement(&CHAIN, &after, id, SLOT, rate).unwrap();
    prop_assert_eq!(&record.skipped, &batch.record.skipped);
    let bumped = Batch::new(&after, record, &batch.burns);
    prop_assert!(judged(&bumped, &memory)? > fee);
    Ok(())
}

#[test]
fn signers_accept_what_nodes_build_and_nothing_in_its_place() {
    let tally = Tally::default();
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&worlds(), |world| agree(&world, &tally))
        .unwrap_or_else(|error| panic!("{error}"));
    let tallied = [
        ("batches", &tally.batches, 500),
        ("batches without change", &tally.without_change, 30),
        ("batches without burns", &tally.without_burns, 30),
        ("replacements", &tally.replacements, 300),
        ("mutations", &tally.mutations, 20_000),
        ("batches that skip a burn", &tally.skipping, 300),
    ];
    for (what, found, least) in tallied {
        let found = found.get();
        println!("{what}: {found}");
        assert!(
            found >= least,
            "expected at least {least} {what}, found {found}"
        );
    }
}

/// One constant each, as far as crates may share them.
#[test]
fn addresses_of_contracts_are_the_same_everywhere() {
    use alys_execution::genesis as system;
    assert_eq!(alys_contracts::BRIDGE_EVM_ADDRESS, BRIDGE);
    assert_eq!(
        SYSTEM_CONTRACTS,
        [
            system::BEACON_ROOTS,
            system::HISTORY_STORAGE,
            system::WITHDRAWAL_REQUESTS,
            system::CONSOLIDATION_REQUESTS,
        ]
    );
    assert_eq!(
        CHAIN.spec().execution.vault,
        alys_protocol::execution::VAULT
    );
}
