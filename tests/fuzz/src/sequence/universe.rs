//! What sequences are made of: Bitcoin's headers on several branches, and the honest and hostile requests of several side
//! chains. What a request says is written down beside it when it is made, for the oracle.

use crate::bitcoin_kit::{Miner, feed};
use crate::blocks::{Block, coinbase, output, spend};
use crate::fixtures::pegout::{Plan, outpoint, record_of, request, transaction};
use crate::fixtures::{Honest, Link, spec};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{BatchId, BlockId, EvmAddress};
use alys_protocol::execution::Withdrawal;
use alys_protocol::peg::{Cursor, WHOLE_BLOCK};
use alys_protocol::signer::{ApproveRequest, BitcoinHeaderBytes, DepositProof, PegOutRequest};
use alys_protocol::spec::Chain;
use alys_protocol::units::{BtcHeight, BurnSequence, Gwei, Sats};
use alys_signer_core::btc::HeaderChain;
use bitcoin::block::Header;
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::{BlockHash, OutPoint};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Height of the checkpoint.
pub const CHECKPOINT: u32 = 150;
/// Confirmations that the chain spec demands.
pub const CONFIRMATIONS: u32 = 3;
/// Most payments and value in one batch.
pub const MAX_BURNS: u64 = 4;
pub const MAX_BATCH: u64 = 3 * LARGE;
/// A large payment.
pub const LARGE: u64 = 90_000_000;
/// Rate of the first replacement.
pub const REPLACED_RATE: u64 = 9_000;
/// Blocks that a reorganisation of the signer's headers may take.
pub const MAX_REORG: u32 = 10;
/// What the deposits up to Bitcoin block 155 mint, and those up to 162.
pub const MINTED_155: u64 = 300_000_000;
pub const MINTED_162: u64 = 361_000_000;

/// Where the signer's headers may stand at the start; none: not opened.
pub const STARTS: [Option<u32>; 5] = [Some(170), None, Some(152), Some(157), Some(165)];

/// A place in Bitcoin: height, block, first transaction not consumed.
pub type Place = (u32, BlockHash, u32);

pub struct Ballot {
    pub request: ApproveRequest,
    /// Whether the block mints or records what it may not.
    pub hostile: bool,
    pub block: BlockId,
    pub slot: u64,
    pub parent_slot: u64,
    pub parent_height: u64,
    pub from: Place,
    pub to: Place,
    /// Height, block and amount of each deposit.
    pub deposits: Vec<(u32, BlockHash, u64)>,
}

impl Ballot {
    /// What it mints.
    pub fn minted(&self) -> u64 {
        self.deposits.iter().map(|(.., sats)| sats).sum()
    }
}

pub struct Payment {
    pub request: PegOutRequest,
    pub batch: BatchId,
    pub burns: std::ops::Range<u64>,
    pub amounts: Vec<u64>,
    pub inputs: Vec<OutPoint>,
    pub rate: u64,
    pub fee: u64,
    /// What leaves the wallet.
    pub leaving: u64,
    pub replaces: bool,
    /// Hash of the Bitcoin block whose work is over the burns, as a big-endian number.
    pub work: [u8; 32],
}

pub struct Universe {
    pub chain: Chain,
    /// Bitcoin's branches, each from genesis on; the first is the main one.
    pub branches: Vec<Vec<Header>>,
    pub starts: Vec<HeaderChain>,
    pub ballots: Vec<Ballot>,
    pub payments: Vec<Payment>,
}

pub static UNIVERSE: LazyLock<Universe> = LazyLock::new(Universe::new);

impl Universe {
    fn new() -> Self {
        let wallet = Chain::new(spec(None)).unwrap();
        let script = wallet.wallet().script_pubkey().as_bytes().to_vec();
        let bitcoin = Bitcoin::new(&script);
        let mut spec = spec(None);
        let checkpoint = bitcoin.branches[0].headers[CHECKPOINT as usize];
        spec.bitcoin.start_height = BtcHeight::new(CHECKPOINT);
        spec.bitcoin.start_hash = checkpoint.block_hash();
        spec.deposits.confirmations = CONFIRMATIONS;
        spec.pegout.max_sats = Sats::new(LARGE - 1);
        spec.pegout.max_batch_value_sats = Sats::new(MAX_BATCH);
        spec.pegout.max_burns = u32::try_from(MAX_BURNS).unwrap();
        let chain = Chain::new(spec).unwrap();
        let starts = STARTS.map(|height| {
            let mut headers = HeaderChain::default();
            if let Some(height) = height {
                let miner = &bitcoin.branches[0];
                let client = miner.client(CHECKPOINT, MAX_REORG);
                feed(&client, &mut headers, &miner.bytes(0, height)).unwrap();
            }
            headers
        });
        Self {
            ballots: ballots(&chain, &bitcoin),
            payments: payments(&chain),
            chain,
            starts: starts.into(),
            branches: bitcoin
                .branches
                .into_iter()
                .map(|miner| miner.headers)
                .collect(),
        }
    }
}

/// Headers as a request has them.
pub fn encoded(headers: &[Header]) -> Vec<BitcoinHeaderBytes> {
    headers.iter().map(alys_signer_core::btc::encode).collect()
}

struct Bitcoin {
    branches: Vec<Miner>,
    /// The blocks with deposits, by hash, each with its height.
    blocks: BTreeMap<BlockHash, (u32, Block)>,
}

impl Bitcoin {
    fn new(script: &[u8]) -> Self {
        let mut blocks = BTreeMap::new();
        let mut grow =
            |miner: &mut Miner, to: u32, spacing: u32, salt: u8, paid: &[(u32, &[u64])]| {
                while miner.height() < to {
                    let time = miner.tip().time + spacing;
                    let height = miner.height() + 1;
                    let Some((_, amounts)) = paid.iter().find(|(at, _)| *at == height) else {
                        miner.mine(time, salt);
                        continue;
                    };
                    let block = block(script, height, salt, amounts);
                    let header = miner.child(time, |header| header.merkle_root = block.root());
                    miner.headers.push(header);
                    blocks.insert(header.block_hash(), (height, block));
                }
            };
        let mut main = Miner::regtest(CHECKPOINT);
        let paid: [(u32, &[u64]); 5] = [
            (151, &[100_000_000]),
            (153, &[100_000_000, 50_000_000]),
            (155, &[50_000_000]),
            (158, &[1_000_000]),
            (162, &[60_000_000]),
        ];
        grow(&mut main, 230, 600, 0, &paid);
        // One that competes at 160; one from below the checkpoint; one that is too slow; one at the limit of a
        // reorganisation from 230.
        let mut branches = Vec::new();
        for (fork, to, spacing, salt) in [
            (160, 176, 600, 1),
            (149, 160, 600, 2),
            (170, 186, 1_500, 3),
            (220, 232, 600, 4),
        ] {
            let mut branch = main.fork(fork);
            grow(&mut branch, to, spacing, salt, &[(162, &[70_000_000])]);
            branches.push(branch);
        }
        branches.insert(0, main);
        Self { branches, blocks }
    }

    /// What concerns the federation on a branch from one place to before another.
    fn consumed(&self, branch: usize, from: Place, to: Place) -> Vec<(u32, BlockHash, usize)> {
        let mut found = Vec::new();
        for height in from.0..=to.0 {
            let hash = self.branches[branch].headers[height as usize].block_hash();
            let Some((_, block)) = self.blocks.get(&hash) else {
                continue;
            };
            // The coinbase and the last one pay somebody else.
            for place in 1..block.0.len() - 1 {
                let at = (height, u32::try_from(place).unwrap());
                if at >= (from.0, from.2) && at < (to.0, to.2) {
                    found.push((height, hash, place));
                }
            }
        }
        found
    }
}

fn recipient(height: u32, place: usize) -> EvmAddress {
    let mut bytes = [height as u8; 20];
    bytes[0] = place as u8;
    EvmAddress::new(bytes)
}

fn block(script: &[u8], height: u32, salt: u8, amounts: &[u64]) -> Block {
    let elsewhere = || vec![output(&[0x51, 0x20, salt], 1_000)];
    let mut transactions = vec![coinbase(salt, elsewhere())];
    for (place, sats) in (1usize..).zip(amounts) {
        let name = [&[0x6a, 0x14], &recipient(height, place).to_bytes()[..]].concat();
        let outputs = vec![output(script, *sats), output(&name, 0)];
        transactions.push(spend(height * 10 + place as u32, outputs));
    }
    transactions.push(spend(height * 10 + 9, elsewhere()));
    Block(transactions)
}

/// One block of a side chain: slots after its parent, and the branch, height and next transaction of its cursor.
type Step = (u64, Option<(usize, u32, u32)>);

fn ballots(chain: &Chain, bitcoin: &Bitcoin) -> Vec<Ballot> {
    let to = |height| Some((0, height, WHOLE_BLOCK));
    let chains: [&[Step]; 6] = [
        &[
            (1, None),
            (1, to(151)),
            (1, to(153)),
            (2, to(155)),
            (1, to(158)),
            (1, to(162)),
        ],
        &[
            (2, None),
            (1, to(155)),
            (1, None),
            (1, to(158)),
            (3, to(162)),
            (1, to(175)),
        ],
        &[
            (1, None),
            (1, to(151)),
            (2, Some((0, 153, 2))),
            (1, to(153)),
            (1, None),
        ],
        &[
            (3, None),
            (1, to(155)),
            (1, Some((1, 162, WHOLE_BLOCK))),
            (1, None),
        ],
        &[
            (1, None),
            (1, None),
            (1, None),
            (1, None),
            (1, None),
            (1, None),
        ],
        &[(4, None), (1, to(151)), (1, None), (2, None)],
    ];
    let mut ballots = Vec::new();
    for steps in chains {
        let mut honest = Honest::new(chain.clone());
        for (number, step) in steps.iter().enumerate() {
            for hostile in 0..if number == 1 { 5 } else { 0 } {
                ballots.push(ballot(&honest, bitcoin, *step, Some(hostile)).1);
            }
            let (link, honest_one) = ballot(&honest, bitcoin, *step, None);
            ballots.push(honest_one);
            honest.links.push(link);
        }
    }
    ballots
}

fn place_of(cursor: &Cursor) -> Place {
    (cursor.height.get(), cursor.hash, cursor.next_tx)
}

/// A child of the tip that consumes Bitcoin as `step` says, and its request; `hostile` is how it breaks the rules.
fn ballot(honest: &Honest, bitcoin: &Bitcoin, step: Step, hostile: Option<u8>) -> (Link, Ballot) {
    let parent = honest.tip().header.clone();
    let from = place_of(&parent.bitcoin);
    let (slots, cursor) = step;
    let (branch, to) = cursor.map_or((0, from), |(branch, height, next_tx)| {
        let hash = bitcoin.branches[branch].headers[height as usize].block_hash();
        (branch, (height, hash, next_tx))
    });
    let mut consumed = Vec::new();
    let mut proofs: Vec<DepositProof> = Vec::new();
    let mut withdrawals = Vec::new();
    let mut deposits = Vec::new();
    let found = bitcoin.consumed(branch, from, to);
    for (number, (height, hash, place)) in (0u32..).zip(found) {
        let (_, block) = &bitcoin.blocks[&hash];
        let sats = block.0[place].output[0].value.to_sat();
        consumed.push(block.consumed(height, hash, place));
        proofs.push(block.proof(place, number));
        withdrawals.push(Withdrawal {
            index: ((parent.height.get() + 1) << 16) + u64::from(number),
            validator_index: 0,
            address: recipient(height, place),
            amount: Gwei::new(sats * 10),
        });
        deposits.push((height, hash, sats));
    }
    let broke = hostile.is_none_or(|how| spoil_mint(how, parent.height.get(), &mut withdrawals));
    let link = honest.child_of(parent.height.get(), slots, |link| {
        link.header.bitcoin = Cursor {
            height: BtcHeight::new(to.0),
            hash: to.1,
            next_tx: to.2,
        };
        link.body.consumed = BoundedVec::new(consumed).unwrap();
        link.withdrawals = withdrawals;
        if !broke {
            // Nothing to spoil: a burn that no batch pays is skipped instead.
            link.header.next_burn = BurnSequence::new(1);
        }
    });
    let mut request = honest.approve(&link);
    request.deposits = BoundedVec::new(proofs).unwrap();
    let ballot = Ballot {
        hostile: hostile.is_some(),
        block: link.header.id(),
        slot: link.header.slot.get(),
        parent_slot: parent.slot.get(),
        parent_height: parent.height.get(),
        from,
        to,
        deposits,
        request,
    };
    (link, ballot)
}

/// Makes the execution block mint something else than the deposits; false where there is none to change.
fn spoil_mint(how: u8, parent: u64, withdrawals: &mut Vec<Withdrawal>) -> bool {
    let index = ((parent + 1) << 16) + withdrawals.len() as u64;
    let extra = |address, amount| Withdrawal {
        index,
        validator_index: 0,
        address,
        amount,
    };
    match (how, withdrawals.last().copied()) {
        (0, None) => withdrawals.push(extra(EvmAddress::new([3; 20]), Gwei::new(1))),
        (0, Some(last)) => withdrawals.push(extra(last.address, last.amount)),
        (1, Some(last)) => {
            let more = Gwei::new(last.amount.get() + 1);
            withdrawals.last_mut().unwrap().amount = more;
        }
        (2, Some(_)) => drop(withdrawals.pop()),
        (3, Some(_)) => withdrawals.last_mut().unwrap().address = EvmAddress::new([3; 20]),
        (4, Some(_)) => withdrawals.last_mut().unwrap().index += 1,
        _nothing => return false,
    }
    true
}

fn plan(first: u64, coin: u8, amounts: &[u64]) -> Plan {
    Plan {
        amounts: amounts.to_vec(),
        inputs: vec![(outpoint(coin), amounts.iter().sum::<u64>() + 3_000_000)],
        ..Plan::simple(first, coin)
    }
}

fn payments(chain: &Chain) -> Vec<Payment> {
    // One chain that pays burns 0 to 4 in order, and replaces the first two batches.
    let mut honest = Honest::new(chain.clone());
    let first = plan(0, 1, &[LARGE]);
    let second = plan(1, 2, &[LARGE, LARGE]);
    let mut payments = vec![
        payment(&mut honest, &first),
        payment(&mut honest, &second),
        payment(&mut honest, &plan(3, 3, &[2_000_000, LARGE])),
    ];
    for (of, plan, rate) in [
        (0, &first, REPLACED_RATE),
        (0, &first, 7_000),
        (0, &first, 12_000),
        (1, &second, 5_007),
        (1, &second, REPLACED_RATE),
    ] {
        let again = Plan {
            rate,
            replaces: Some(payments[of].batch),
            ..plan.clone()
        };
        payments.push(payment(&mut honest, &again));
    }
    // Others that pay the same burns or spend the same coins otherwise, and batches at the chain's limits and above.
    let small = [2_000_000; 5];
    for (first, coin, amounts) in [
        (0, 4, &[LARGE][..]),
        (0, 1, &[LARGE, LARGE]),
        (1, 1, &[LARGE]),
        (2, 5, &[LARGE, LARGE, LARGE]),
        (5, 6, &[LARGE, LARGE]),
        (7, 7, &[LARGE]),
        (5, 8, &[LARGE, LARGE, LARGE, 1_000_000]),
        (5, 9, &small[..4]),
        (5, 10, &small),
    ] {
        let mut rival = Honest::new(chain.clone());
        rival.grow(2);
        rival.extend(1, |link| {
            link.header.next_burn = BurnSequence::new(first);
            // A batch that another signer signed.
            link.body.batch = (first > 0).then(|| {
                let before = plan(0, 11, &vec![2_000_000; usize::try_from(first).unwrap()]);
                record_of(&before, &transaction(chain, &before))
            });
        });
        payments.push(payment(&mut rival, &plan(first, coin, amounts)));
    }
    payments
}

fn payment(honest: &mut Honest, plan: &Plan) -> Payment {
    let request = request(honest, plan);
    let made = transaction(&honest.chain, plan);
    let spent: u64 = plan.inputs.iter().map(|(_, sats)| sats).sum();
    let sats: Vec<u64> = made
        .output
        .iter()
        .map(|output| output.value.to_sat())
        .collect();
    let change = sats.get(plan.amounts.len()).copied().unwrap_or_default();
    let bytes = &request.pow.as_ref().unwrap().record.auxpow;
    // Namecoin's serialisation ends with the Bitcoin header.
    let mut work = sha256d::Hash::hash(&bytes[bytes.len() - 80..]).to_byte_array();
    work.reverse();
    Payment {
        batch: request.record.id(honest.chain.id()),
        burns: plan.first_burn..plan.first_burn + plan.amounts.len() as u64,
        amounts: plan.amounts.clone(),
        inputs: plan.inputs.iter().map(|(coin, _)| *coin).collect(),
        rate: plan.rate,
        fee: spent - sats.iter().sum::<u64>(),
        leaving: spent - change,
        replaces: plan.replaces.is_some(),
        work,
        request,
    }
}
