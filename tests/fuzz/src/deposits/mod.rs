//! Deposits: a Bitcoin block made from the input, proofs of its transactions, whole or changed, and what the signer makes
//! of them. The oracle knows the block, so that it only asks whether each part of a proof is the true one; roots and
//! transactions are the `bitcoin` crate's.

mod mined;
mod recipe;

use self::mined::Mined;
use self::recipe::{Recipe, made, made_output, recipe_of};
use crate::bitcoin_kit::Miner;
use crate::blocks::{Block, coinbase};
use crate::fixtures::Honest;
use crate::reached::Reached;
use crate::sequence::flip;
use alys_protocol::body::{Body, MAX_CONSUMED};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::peg::{ConsumedTransaction, Cursor, WHOLE_BLOCK};
use alys_protocol::signer::{DepositProof, MAX_DEPOSIT_PROOFS};
use alys_protocol::spec::Chain;
use alys_protocol::units::BtcHeight;
use alys_signer_core::btc::{HeaderChain, LightClient};
use alys_signer_core::mint::deposit::deposits;
use bitcoin::BlockHash;
use serde::{Deserialize, Serialize};
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
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Shown {
    consumed: BoundedVec<ConsumedTransaction, MAX_CONSUMED>,
    proofs: BoundedVec<DepositProof, MAX_DEPOSIT_PROOFS>,
}

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
    let number_of = |at: &usize| consumed.iter().position(|other| other == at).unwrap();
    let honest = Shown {
        consumed: bounded(
            consumed
                .iter()
                .map(|at| block.consumed(HEIGHT, mined.hash, *at)),
        ),
        proofs: bounded(
            proven
                .iter()
                .map(|at| block.proof(*at, u32::try_from(number_of(at)).unwrap())),
        ),
    };
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
        consumed: shown.consumed.clone(),
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
        &shown.proofs,
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
            .proofs
            .iter()
            .map(|proof| shown.consumed[proof.consumed as usize].index as usize)
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

/// Swaps parts of proofs for true parts of others, and repeats, drops or reorders them.
fn changed(honest: Shown, block: &Block, place: usize, swap: u8) -> Shown {
    let (mut consumed, mut proofs) = (honest.consumed.to_vec(), honest.proofs.to_vec());
    let (shown, listed) = (proofs.len(), consumed.len());
    if shown == 0 || listed == 0 {
        return honest;
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
    Shown {
        consumed: bounded(consumed.into_iter()),
        proofs: bounded(proofs.into_iter()),
    }
}
