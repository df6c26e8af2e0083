//! Rules `deposit-proof`, `deposit-depth`, `deposit-order` and `deposit-script`: what Bitcoin mints (design 8, claim C2).

use crate::btc::Headers;
use crate::refusal::{equal, refusal};
use alloc::borrow::ToOwned as _;
use alloc::string::ToString as _;
use alloc::vec::Vec;
use alys_protocol::body::Body;
use alys_protocol::bytes::{Digest, EvmAddress};
use alys_protocol::header::Header;
use alys_protocol::peg::{
    Attribution, ConsumedTransaction, Cursor, Unattributable, attribute, decode_stripped,
};
use alys_protocol::rules::Rule;
use alys_protocol::signer::{DepositProof, Refusal};
use alys_protocol::spec::Chain;
use alys_protocol::units::{BtcHeight, Sats};
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::{BlockHash, Transaction};
use core::fmt;

/// What the consumed transactions with a proof mint, in Bitcoin's order, after every rule on deposits: the deposits that
/// `withdrawals-exact` and `supply` compare with.
///
/// `confirmations` are the policy's. The new cursor has the spec's, and with it every deposit, which lies before it; a
/// stricter policy holds deposits only, since leaders move the cursor as early as the spec lets them. A consumed
/// transaction without a proof mints nothing; that none
/// is left out is what nodes check, since a signer cannot tell a deposit from an unrecorded spend, which halts the peg.
///
/// # Errors
/// - a refusal by rule `deposit-order`, `deposit-depth`, `deposit-proof` or `deposit-script`.
pub fn deposits(
    chain: &Chain,
    bitcoin: &impl Headers,
    confirmations: u32,
    header: &Header,
    parent: &Header,
    body: &Body,
    proofs: &[DepositProof],
) -> Result<Vec<(EvmAddress, Sats)>, Refusal> {
    let proven = deposit_order(&parent.bitcoin, &header.bitcoin, &body.consumed, proofs)?;
    if header.bitcoin != parent.bitcoin {
        deposit_cursor(bitcoin, &parent.bitcoin)?;
        deposit_depth(
            bitcoin,
            chain.spec().deposits.confirmations,
            header.bitcoin.height,
            header.bitcoin.hash,
        )?;
    }
    proven
        .into_iter()
        .map(|(consumed, proof)| {
            deposit_depth(bitcoin, confirmations, consumed.height, consumed.block)?;
            deposit_proof(bitcoin, consumed, proof)?;
            deposit_script(chain, consumed)
        })
        .collect()
}

/// Positions strictly increase, at or after the parent's cursor and before this header's. Gives each proof its consumed
/// transaction: in their order, none twice (regression A2).
///
/// # Errors
/// - a refusal by rule `deposit-order`.
pub fn deposit_order<'a>(
    parent: &Cursor,
    cursor: &Cursor,
    consumed: &'a [ConsumedTransaction],
    proofs: &'a [DepositProof],
) -> Result<Vec<(&'a ConsumedTransaction, &'a DepositProof)>, Refusal> {
    const RULE: Rule = Rule::DepositOrder;
    let first = Position(parent.height, parent.next_tx);
    let end = Position(cursor.height, cursor.next_tx);
    let mut last = None;
    for transaction in consumed {
        let position = Position::of(transaction);
        if position < first || position >= end {
            return Err(refusal(
                RULE,
                format_args!("a consumed transaction from {first} to before {end}"),
                position,
            ));
        }
        match last {
            Some(last) if position <= last => {
                return Err(refusal(RULE, format_args!("one after {last}"), position));
            }
            Some(_) | None => last = Some(position),
        }
    }
    let mut rest = consumed.iter().zip(0u32..);
    proofs
        .iter()
        .map(|proof| {
            rest.find(|(_, place)| *place == proof.consumed)
                .map(|(transaction, _)| (transaction, proof))
                .ok_or_else(|| {
                    refusal(
                        RULE,
                        format_args!(
                            "proofs of some of the {} consumed transactions, in their order",
                            consumed.len()
                        ),
                        format_args!("another one of number {}", proof.consumed),
                    )
                })
        })
        .collect()
}

/// The block that the parent's cursor stands in is still in the signer's own header chain: on another branch, the
/// transactions that were consumed may come again ("a reorg deeper than the cursor mints nothing").
///
/// # Errors
/// - a refusal by rule `deposit-order`.
pub fn deposit_cursor(bitcoin: &impl Headers, cursor: &Cursor) -> Result<(), Refusal> {
    let known = bitcoin.hash(cursor.height);
    if known == Some(cursor.hash) {
        return Ok(());
    }
    let found = known.map_or_else(|| "no header there".to_owned(), |hash| hash.to_string());
    Err(refusal(
        Rule::DepositOrder,
        format_args!(
            "the parent's cursor {} at height {} in the signer's chain of Bitcoin headers",
            cursor.hash, cursor.height
        ),
        found,
    ))
}

/// A block is in the signer's own header chain and has `confirmations`, itself the first of them.
///
/// # Errors
/// - a refusal by rule `deposit-depth`.
pub fn deposit_depth(
    bitcoin: &impl Headers,
    confirmations: u32,
    height: BtcHeight,
    block: BlockHash,
) -> Result<(), Refusal> {
    const RULE: Rule = Rule::DepositDepth;
    let depth = bitcoin.depth(height).unwrap_or(0);
    if depth < confirmations {
        return Err(refusal(
            RULE,
            format_args!("{confirmations} confirmations of Bitcoin block {height}"),
            depth,
        ));
    }
    let Some(known) = bitcoin.hash(height) else {
        return Err(refusal(
            RULE,
            "a Bitcoin block whose header is still kept",
            format_args!("height {height}"),
        ));
    };
    if known != block {
        return Err(refusal(
            RULE,
            format_args!("Bitcoin block {known} at height {height}"),
            block,
        ));
    }
    Ok(())
}

/// A transaction's Merkle branch leads to the header's root from the place that it claims, and a real coinbase's of equal
/// length from place 0 does, too; no 64-byte transaction, and no right child equal to its left sibling.
///
/// A 64-byte transaction can be an inner node of the tree and the other way round (CVE-2017-12842): no deposit is as
/// short, and the coinbase fixes the tree's depth. Its null outpoint is 256 bits that no two hashes happen to have, so a
/// coinbase may have 64 bytes; to refuse it would let its miner stop the peg. A row of odd length repeats its last node,
/// so that it could be proven in a second place (CVE-2012-2459, regression N7).
///
/// # Errors
/// - a refusal by rule `deposit-proof`.
pub fn deposit_proof(
    bitcoin: &impl Headers,
    consumed: &ConsumedTransaction,
    proof: &DepositProof,
) -> Result<(), Refusal> {
    const RULE: Rule = Rule::DepositProof;
    let position = Position::of(consumed);
    let no = |expected: fmt::Arguments<'_>, found: &dyn fmt::Display| {
        refusal(RULE, format_args!("{position}: {expected}"), found)
    };
    let (known, hash) = (
        bitcoin.header(consumed.height),
        bitcoin.hash(consumed.height),
    );
    let Some(header) = known.filter(|_| hash == Some(consumed.block)) else {
        return Err(no(
            format_args!("a block of the signer's own header chain"),
            &consumed.block,
        ));
    };
    if consumed.bytes.len() == INNER_NODE_BYTES {
        return Err(no(
            format_args!("a transaction that cannot be an inner node of the tree"),
            &"one of 64 bytes",
        ));
    }
    let (depth, coinbase_depth) = (proof.branch.len(), proof.coinbase_branch.len());
    if depth != coinbase_depth {
        return Err(no(
            format_args!("a coinbase branch of {depth} hashes"),
            &coinbase_depth,
        ));
    }
    let leaves = u32::try_from(depth)
        .ok()
        .and_then(|depth| 1u64.checked_shl(depth))
        .unwrap_or(0);
    if u64::from(consumed.index) >= leaves {
        return Err(no(
            format_args!("a place below {leaves}, given a branch of {depth} hashes"),
            &consumed.index,
        ));
    }
    let root = sha256d::Hash::from_byte_array(header.merkle_root.to_byte_array());
    let check = |what: &str, bytes: &[u8], branch: &[Digest], index: u32| {
        let transaction = stripped(RULE, what, bytes)?;
        let txid = transaction.compute_txid().to_byte_array();
        match merkle_root(txid, branch, index) {
            Ok(found) if found == root => Ok(transaction),
            Ok(found) => Err(no(
                format_args!("a branch of the {what} to Merkle root {root}"),
                &found,
            )),
            Err(level) => Err(no(
                format_args!("a branch of the {what} in which no right child repeats its left"),
                &format_args!("one at level {level}"),
            )),
        }
    };
    let coinbase = check("coinbase", &proof.coinbase, &proof.coinbase_branch, 0)?;
    if !is_coinbase(&coinbase) {
        return Err(no(
            format_args!("a coinbase: one input without an output, and a script of 2 to 100 bytes"),
            &coinbase.compute_txid(),
        ));
    }
    check(
        "transaction",
        &consumed.bytes,
        &proof.branch,
        consumed.index,
    )
    .map(|_transaction| ())
}

/// Two hashes side by side.
const INNER_NODE_BYTES: usize = 64;

/// One mint per transaction: the sum of its outputs to the federation script that are each at least `min_deposit`, for
/// the address in its single OP_RETURN of an exact form. Transaction 0 never deposits.
///
/// # Errors
/// - a refusal by rule `deposit-script`.
pub fn deposit_script(
    chain: &Chain,
    consumed: &ConsumedTransaction,
) -> Result<(EvmAddress, Sats), Refusal> {
    const RULE: Rule = Rule::DepositScript;
    let transaction = stripped(RULE, "transaction", &consumed.bytes)?;
    let attribution = attribute(
        &transaction,
        consumed.index,
        chain.wallet().script_pubkey(),
        chain.spec().deposits.min_sats,
    );
    let found = match attribution {
        Attribution::Deposit { recipient, amount } => return Ok((recipient, amount)),
        Attribution::Unrelated => "no output to it",
        Attribution::Unattributable(reason) => match reason {
            Unattributable::Coinbase => "the block's coinbase",
            Unattributable::BelowMinimum => "no output of the smallest amount",
            Unattributable::NoRecipient => "no OP_RETURN",
            Unattributable::ManyRecipients => "more than one OP_RETURN",
            Unattributable::MalformedRecipient => "an OP_RETURN of another form",
            Unattributable::Overflow => "amounts above 64 bits",
        },
    };
    Err(refusal(
        RULE,
        format_args!(
            "{}: a deposit to the federation's script with one OP_RETURN that names an address",
            Position::of(consumed)
        ),
        found,
    ))
}

/// The bytes that a txid is the hash of.
fn stripped(rule: Rule, what: &str, bytes: &[u8]) -> Result<Transaction, Refusal> {
    let transaction = decode_stripped(bytes)
        .map_err(|error| refusal(rule, format_args!("a {what} without witnesses"), error))?;
    equal(
        rule,
        "a transaction's length in bytes",
        transaction.base_size(),
        bytes.len(),
    )?;
    Ok(transaction)
}

fn is_coinbase(transaction: &Transaction) -> bool {
    match transaction.input.as_slice() {
        [input] => input.previous_output.is_null() && (2..=100).contains(&input.script_sig.len()),
        _other => false,
    }
}

/// The root over a leaf at `index`, or the level at which a right child equals its left sibling.
fn merkle_root(leaf: [u8; 32], branch: &[Digest], index: u32) -> Result<sha256d::Hash, u32> {
    let root = branch
        .iter()
        .zip(0u32..)
        .try_fold(leaf, |node, (sibling, level)| {
            let right = index.checked_shr(level).unwrap_or(0) & 1 == 1;
            let sibling = sibling.to_bytes();
            if right && node == sibling {
                return Err(level);
            }
            let pair = if right {
                [sibling, node]
            } else {
                [node, sibling]
            };
            Ok(sha256d::Hash::hash(pair.as_flattened()).to_byte_array())
        })?;
    Ok(sha256d::Hash::from_byte_array(root))
}

/// A transaction's place in Bitcoin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Position(BtcHeight, u32);

impl Position {
    fn of(consumed: &ConsumedTransaction) -> Self {
        Self(consumed.height, consumed.index)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "transaction {} of Bitcoin block {}", self.1, self.0)
    }
}
