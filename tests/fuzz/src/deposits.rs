//! Deposits: a Bitcoin block made from the input, proofs of its transactions, whole or changed, and what the signer makes
//! of them. The oracle knows the block, so that it only asks whether each part of a proof is the true one; roots and
//! transactions are the `bitcoin` crate's.

use crate::bitcoin_kit::{LATE, Miner};
use crate::blocks::{Block, coinbase, output, spend};
use crate::fixtures::Honest;
use crate::reached::Reached;
use crate::sequence::flip;
use alys_protocol::body::Body;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::EvmAddress;
use alys_protocol::peg::{ConsumedTransaction, Cursor, WHOLE_BLOCK, decode_stripped};
use alys_protocol::signer::DepositProof;
use alys_protocol::spec::Chain;
use alys_protocol::units::{BtcHeight, Sats};
use alys_signer_core::btc::{HeaderChain, Headers as _, LightClient};
use alys_signer_core::mint::deposit::deposits;
use bitcoin::{BlockHash, Transaction, TxOut};
use std::sync::LazyLock;

/// Accepting paths that the corpus must reach.
pub const PATHS: &[&str] = &[
    "nothing",
    "one deposit",
    "several deposits",
    "a deposit of several outputs",
    "a deposit at the minimum",
    "a deposit in hex",
    "a cursor within the block",
    "just deep enough",
];

/// Height of the block with the transactions.
const HEIGHT: u32 = 151;

static START: LazyLock<(Chain, Miner, LightClient, HeaderChain)> = LazyLock::new(|| {
    let miner = Miner::regtest(HEIGHT - 1);
    let (client, headers) = miner.fed(HEIGHT - 1, 10);
    (Honest::of_four().chain, miner, client, headers)
});

/// What a signer is shown.
type Shown = (
    BoundedVec<ConsumedTransaction, { alys_protocol::body::MAX_CONSUMED }>,
    BoundedVec<DepositProof, { alys_protocol::signer::MAX_DEPOSIT_PROOFS }>,
);

/// Twelve bytes of setup, then a byte for each transaction after the coinbase.
pub fn run(bytes: &[u8]) -> Reached {
    let mut reached = Reached::default();
    let Some((setup, recipes)) = bytes.split_first_chunk::<12>() else {
        return reached;
    };
    let &[
        depth,
        policy,
        from,
        to,
        shown,
        swap,
        high,
        low,
        bit,
        kind,
        place,
        _,
    ] = setup;
    let (chain, miner, client, start) = &*START;
    let block = Block(
        std::iter::once(coinbase(1, vec![made_output(chain, 0)]))
            .chain(
                (0u8..)
                    .zip(recipes.iter().take(40))
                    .map(|(salt, recipe)| made(chain, salt, *recipe)),
            )
            .collect(),
    );
    let mined = Mined::new(miner, client, start, &block, u32::from(depth % 12));
    let count = block.0.len();
    // Which of the transactions are consumed, and which of those are shown with a proof.
    let consumed: Vec<usize> = (1..count)
        .filter(|at| shown % 4 != 3 || at % 2 == 1)
        .collect();
    let proven: Vec<usize> = consumed
        .iter()
        .copied()
        .filter(|at| recipe_of(recipes, *at).deposits() || shown / 4 % 8 == 7)
        .collect();
    let honest: Shown = (
        bounded(
            consumed
                .iter()
                .map(|at| block.consumed(HEIGHT, mined.hash, *at)),
        ),
        bounded(proven.iter().map(|at| {
            let number = consumed.iter().position(|other| other == at).unwrap();
            block.proof(*at, u32::try_from(number).unwrap())
        })),
    );
    let flipped = usize::from(u16::from_be_bytes([high, low]));
    let shown = match kind % 8 {
        0..=2 => honest,
        3 | 4 => flip(&honest, flipped, bit).unwrap_or(honest),
        _structured => changed(honest, &block, usize::from(place), swap),
    };
    let next = |choice: u8| match choice {
        0..=127 => WHOLE_BLOCK,
        other => u32::from(other - 128),
    };
    let below = miner.tip().block_hash();
    let mut header = chain.genesis().clone();
    let mut parent = header.clone();
    parent.bitcoin = match from {
        0..=127 => cursor(HEIGHT - 1, below, WHOLE_BLOCK),
        128..=250 => cursor(HEIGHT, mined.hash, u32::from(from - 128)),
        // Of a chain that is not Bitcoin's any more.
        _reorganised => cursor(HEIGHT - 1, mined.hash, WHOLE_BLOCK),
    };
    header.bitcoin = cursor(HEIGHT, mined.hash, next(to));
    let body = Body {
        consumed: shown.0.clone(),
        ..Body::default()
    };
    let confirmations = [6, 7, 9][usize::from(policy % 3)];
    let judged = deposits(
        chain,
        &mined.headers,
        confirmations,
        &header,
        &parent,
        &body,
        &shown.1,
    );
    let expected = mined.expected(
        chain,
        confirmations,
        &parent.bitcoin,
        &header.bitcoin,
        &shown,
    );
    assert_eq!(judged.as_ref().ok(), expected.as_ref(), "{judged:?}");
    let Some(minted) = expected else {
        return reached;
    };
    reached.note(match minted.len() {
        0 => "nothing",
        1 => "one deposit",
        _more => "several deposits",
    });
    if minted.is_empty() {
        return reached;
    }
    let places = || {
        shown
            .1
            .iter()
            .map(|proof| shown.0[proof.consumed as usize].index as usize)
    };
    let any = |test: fn(&Recipe) -> bool| places().any(|at| test(&recipe_of(recipes, at)));
    reached.note_if(
        any(|recipe| recipe.outputs > 1),
        "a deposit of several outputs",
    );
    reached.note_if(any(|recipe| recipe.amount == 1), "a deposit at the minimum");
    reached.note_if(any(|recipe| recipe.form > 0), "a deposit in hex");
    reached.note_if(
        header.bitcoin.next_tx != WHOLE_BLOCK,
        "a cursor within the block",
    );
    reached.note_if(
        u32::from(depth % 12) + 1 == confirmations,
        "just deep enough",
    );
    reached
}

fn cursor(height: u32, hash: BlockHash, next_tx: u32) -> Cursor {
    Cursor {
        height: BtcHeight::new(height),
        hash,
        next_tx,
    }
}

fn bounded<T, const MAX: usize>(items: impl Iterator<Item = T>) -> BoundedVec<T, MAX> {
    BoundedVec::new(items.collect()).ok().unwrap()
}

/// What a byte makes a transaction of.
struct Recipe {
    /// Outputs to the federation.
    outputs: u8,
    /// Below the minimum, at it, above it, or so much that a sum overflows.
    amount: u8,
    /// How the address is written; from 3 on, wrongly or not at all.
    form: u8,
}

impl Recipe {
    fn of(byte: u8) -> Self {
        Self {
            outputs: byte % 4,
            amount: byte / 4 % 4,
            form: byte / 16 % 8,
        }
    }

    fn sats(&self, minimum: u64) -> u64 {
        [minimum - 1, minimum, minimum + 12_345, u64::MAX / 2][usize::from(self.amount)]
    }

    /// Whether it is a deposit by design 8, of outputs that add up.
    fn deposits(&self) -> bool {
        self.outputs > 0
            && self.form < 3
            && match self.amount {
                0 => false,
                3 => self.outputs < 3,
                _middle => true,
            }
    }

    fn minted(&self, minimum: u64) -> u64 {
        u64::from(self.outputs) * self.sats(minimum)
    }
}

/// Transactions of a recipe: place 0 is the coinbase.
fn recipe_of(recipes: &[u8], place: usize) -> Recipe {
    Recipe::of(recipes[place - 1])
}

fn address(salt: u8) -> [u8; 20] {
    let mut bytes = [0xab; 20];
    bytes[0] = salt;
    bytes
}

fn made(chain: &Chain, salt: u8, recipe: u8) -> Transaction {
    let recipe = Recipe::of(recipe);
    let minimum = chain.spec().deposits.min_sats.get();
    let mut outputs: Vec<TxOut> = (0..recipe.outputs)
        .map(|_| made_output(chain, recipe.sats(minimum)))
        .collect();
    let raw = address(salt);
    let digits: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = match recipe.form {
        0 => [&[0x6a, 0x14], &raw[..]].concat(),
        1 => [&[0x6a, 0x28], digits.as_bytes()].concat(),
        2 => [
            &[0x6a, 0x2a],
            b"0x".as_slice(),
            digits.to_uppercase().as_bytes(),
        ]
        .concat(),
        3 => [&[0x6a, 0x13], &raw[..19]].concat(),
        4 => [&[0x6a, 0x14], &raw[..], &[0]].concat(),
        5 => [&[0x6a, 0x28], b"0x".as_slice(), &digits.as_bytes()[2..]].concat(),
        6 => {
            outputs.push(output(&[0x6a], 0));
            [&[0x6a, 0x14], &raw[..]].concat()
        }
        _none => return spend(u32::from(salt), padded(outputs)),
    };
    outputs.push(output(&name, 0));
    spend(u32::from(salt), outputs)
}

/// A transaction has an output.
fn padded(mut outputs: Vec<TxOut>) -> Vec<TxOut> {
    if outputs.is_empty() {
        // Sixty-four bytes in all.
        outputs.push(output(&[0x51; 4], 600));
    }
    outputs
}

fn made_output(chain: &Chain, sats: u64) -> TxOut {
    output(chain.wallet().script_pubkey().as_bytes(), sats)
}

/// Swaps parts of proofs for true parts of others, and repeats, drops or reorders them.
fn changed((consumed, proofs): Shown, block: &Block, place: usize, swap: u8) -> Shown {
    let (mut consumed, mut proofs) = (consumed.to_vec(), proofs.to_vec());
    let (shown, listed) = (proofs.len(), consumed.len());
    if shown == 0 || listed == 0 {
        return (bounded(consumed.into_iter()), bounded(proofs.into_iter()));
    }
    let (at, other) = (place % shown, (place / 7) % block.0.len());
    let number = proofs[at].consumed as usize;
    match swap % 12 {
        0 => proofs[at].branch = bounded(block.branch(other).into_iter()),
        1 => consumed[number].index = u32::try_from(other).unwrap(),
        // The place in which a repeated last node would prove it again (CVE-2012-2459).
        2 => {
            let behind = (block.0.len() + place / 7) % 64;
            consumed[number].index = u32::try_from(behind).unwrap();
            proofs[at].branch = bounded(block.branch(behind).into_iter());
        }
        3 => {
            proofs[at].coinbase = block
                .consumed(HEIGHT, consumed[number].block, other)
                .bytes
                .to_vec()
                .try_into()
                .unwrap()
        }
        4 => proofs[at].coinbase_branch = bounded(block.branch(other).into_iter()),
        5 => proofs.insert(at, proofs[at].clone()),
        6 => consumed.insert(number, consumed[number].clone()),
        7 => proofs.reverse(),
        8 => consumed.reverse(),
        9 => drop(consumed.remove(place % listed)),
        10 => {
            let mut longer = proofs[at].branch.to_vec();
            longer.extend(proofs[at].branch.first().copied());
            proofs[at].branch = bounded(longer.into_iter().take(32));
            proofs[at].coinbase_branch = proofs[at].branch.clone();
        }
        _height => consumed[number].height = consumed[number].height.saturating_add(1),
    }
    (bounded(consumed.into_iter()), bounded(proofs.into_iter()))
}

/// The signer's chain with the block in it.
struct Mined<'a> {
    block: &'a Block,
    hash: BlockHash,
    below: BlockHash,
    confirmations: u32,
    headers: HeaderChain,
}

impl<'a> Mined<'a> {
    fn new(
        miner: &Miner,
        client: &LightClient,
        start: &HeaderChain,
        block: &'a Block,
        above: u32,
    ) -> Self {
        let mut fresh = miner.fork(HEIGHT - 1);
        let header = fresh.child(fresh.tip().time + 600, |header| {
            header.merkle_root = block.root()
        });
        fresh.headers.push(header);
        fresh.grow(above, 0);
        let mut headers = start.clone();
        let batch = fresh.bytes(HEIGHT, fresh.height());
        let update = client.judge(&headers, &batch, Some(LATE)).unwrap().unwrap();
        headers.apply(&update).unwrap();
        assert_eq!(headers.tip(), Some(fresh.tip_of()));
        Self {
            block,
            hash: header.block_hash(),
            below: miner.tip().block_hash(),
            confirmations: above + 1,
            headers,
        }
    }

    /// Design 8 in plain words: what is minted, or nothing where a part is not the true one.
    fn expected(
        &self,
        chain: &Chain,
        confirmations: u32,
        from: &Cursor,
        to: &Cursor,
        (consumed, proofs): &Shown,
    ) -> Option<Vec<(EvmAddress, Sats)>> {
        let known = |height: BtcHeight, hash| match height.get() {
            HEIGHT => hash == self.hash,
            height => height == HEIGHT - 1 && hash == self.below,
        };
        let positions = || consumed.iter().map(|one| (one.height.get(), one.index));
        let inside = positions().all(|at| {
            at >= (from.height.get(), from.next_tx) && at < (to.height.get(), to.next_tx)
        });
        let all: Vec<_> = positions().collect();
        let rising = all.windows(2).all(|pair| pair[0] < pair[1]);
        let in_order = proofs
            .windows(2)
            .all(|pair| pair[0].consumed < pair[1].consumed)
            && proofs
                .iter()
                .all(|proof| (proof.consumed as usize) < consumed.len());
        // The spec demands six confirmations of the cursor's block.
        let moves = from != to;
        let cursors = !moves
            || (known(from.height, from.hash)
                && known(to.height, to.hash)
                && self.confirmations >= 6);
        if !inside || !rising || !in_order || !cursors {
            return None;
        }
        proofs
            .iter()
            .map(|proof| {
                self.minted(
                    chain,
                    confirmations,
                    &consumed[proof.consumed as usize],
                    proof,
                )
            })
            .collect()
    }

    fn minted(
        &self,
        chain: &Chain,
        confirmations: u32,
        consumed: &ConsumedTransaction,
        proof: &DepositProof,
    ) -> Option<(EvmAddress, Sats)> {
        let place = consumed.index as usize;
        let (block, transaction) = (self.block, self.block.0.get(place)?);
        let true_one = block.consumed(HEIGHT, self.hash, place);
        let true_proof = block.proof(place, proof.consumed);
        let genuine = *consumed == true_one && *proof == true_proof;
        let deep = self.confirmations >= confirmations;
        if !genuine || !deep || place == 0 || true_one.bytes.len() == 64 {
            return None;
        }
        assert_eq!(
            decode_stripped(&consumed.bytes).unwrap().compute_txid(),
            transaction.compute_txid()
        );
        credited(chain, transaction)
    }
}

/// The address and the sum, where the transaction is a deposit.
fn credited(chain: &Chain, transaction: &Transaction) -> Option<(EvmAddress, Sats)> {
    let minimum = chain.spec().deposits.min_sats.get();
    let (mut sum, mut names) = (0u64, Vec::new());
    for output in &transaction.output {
        let (script, sats) = (output.script_pubkey.as_bytes(), output.value.to_sat());
        if script == chain.wallet().script_pubkey().as_bytes() && sats >= minimum {
            sum = sum.checked_add(sats)?;
        }
        if script.first() == Some(&0x6a) {
            names.push(script);
        }
    }
    let [name] = names.as_slice() else {
        return None;
    };
    let digits = match (name[1..].first()?, name.len()) {
        (0x14, 22) => {
            let raw: [u8; 20] = name[2..].try_into().unwrap();
            return (sum > 0).then(|| (EvmAddress::new(raw), Sats::new(sum)));
        }
        (0x28, 42) => &name[2..],
        (0x2a, 44) if name[2..].starts_with(b"0x") => &name[4..],
        _other => return None,
    };
    let text = std::str::from_utf8(digits).ok()?.to_lowercase();
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let hex = text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let raw: Vec<u8> = (0..40).step_by(2).map(byte).collect::<Option<_>>()?;
    (hex && sum > 0).then(|| (EvmAddress::new(raw.try_into().unwrap()), Sats::new(sum)))
}
