//! Burns from receipts: what the bridge itself logged, in order and without gaps (design 9, regressions A3 and A4).

use crate::ledger::PegState;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{BlockId, Digest, EvmAddress};
use alys_protocol::peg::Burn;
use alys_protocol::spec::Chain;
use alys_protocol::units::{BurnSequence, Sats, SideHeight};
use bitcoin::{Script, ScriptBuf};
use thiserror::Error;

/// keccak-256 of `PegOutRequested(uint64,address,bytes,uint64)`. A test compares it with the contract's bindings.
pub const PEG_OUT_REQUESTED_TOPIC: Digest = Digest::new([
    0xc4, 0x42, 0x4b, 0x9c, 0xe9, 0xbf, 0x9c, 0xdf, 0x40, 0x31, 0xce, 0x4d, 0xa9, 0x05, 0xd4, 0x18,
    0x62, 0x11, 0x56, 0xf3, 0x03, 0x88, 0xa4, 0x6a, 0x0b, 0x58, 0xd4, 0x15, 0x04, 0x70, 0x89, 0xd7,
]);

/// Bytes of the longest template that the bridge accepts: P2WSH and P2TR.
const LONGEST_SCRIPT: usize = 34;

/// A log, as the execution client reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log<'a> {
    /// The contract that emitted it.
    pub address: EvmAddress,
    /// Its indexed words; the first names the event.
    pub topics: &'a [Digest],
    /// The rest, ABI-encoded.
    pub data: &'a [u8],
}

/// A transaction's receipt, as far as burns need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt<'a> {
    /// Whether the transaction succeeded. Where not, it burned nothing.
    pub succeeded: bool,
    /// Its logs, in order.
    pub logs: Vec<Log<'a>>,
}

/// Receipts that do not continue the ledger. Each one means that this node, its execution client or the contract is not
/// the one that the spec describes: nothing is ever skipped.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BurnError {
    /// A receipt is missing or extra (regression A12).
    #[error("expected {expected} receipts, one for each transaction, found {found}")]
    Receipts {
        /// Transactions in the block.
        expected: usize,
        /// Receipts found.
        found: usize,
    },
    /// The bridge logged something else.
    #[error("expected PegOutRequested with 3 topics from the bridge, found topics {found:?}")]
    Event {
        /// The topics.
        found: Vec<Digest>,
    },
    /// A topic is wider than its type.
    #[error("expected {expected} in a topic of PegOutRequested, found {found}")]
    Topic {
        /// The type.
        expected: &'static str,
        /// The topic.
        found: Digest,
    },
    /// The data is not the one ABI encoding of `(bytes, uint64)`.
    #[error("PegOutRequested: expected {expected} in its data, found {found} bytes that differ")]
    Data {
        /// What is expected where it differs.
        expected: &'static str,
        /// Length of the data.
        found: usize,
    },
    /// A gap or a repetition.
    #[error("expected burn {expected}, found {found}")]
    Sequence {
        /// The sequence that continues the queue.
        expected: BurnSequence,
        /// The sequence found.
        found: BurnSequence,
    },
    /// The contract refuses such amounts, so this is another contract.
    #[error("expected burn {sequence} of {minimum} to {maximum} sat, found {found}")]
    Amount {
        /// The burn.
        sequence: BurnSequence,
        /// The spec's minimum.
        minimum: Sats,
        /// The spec's maximum.
        maximum: Sats,
        /// The amount found.
        found: Sats,
    },
    /// The contract refuses such scripts, so this is another contract.
    #[error(
        "expected burn {sequence} to P2PKH, P2SH, P2WPKH, P2WSH or P2TR, and not to the federation, found {}",
        found.to_hex_string()
    )]
    Script {
        /// The burn.
        sequence: BurnSequence,
        /// The script found.
        found: ScriptBuf,
    },
    /// The sums do not fit.
    #[error("the burned total does not fit 64 bits")]
    Overflow,
}

/// The burns of a block with `transactions` transactions on top of `parent`, from its receipts.
///
/// A log counts by its emitter, `log.address`, whatever called it; logs of other contracts mean nothing.
///
/// # Errors
/// - [`BurnError`], one variant for each way in which the receipts are not what the bridge could have caused.
pub fn burns_of_block(
    chain: &Chain,
    parent: &PegState,
    height: SideHeight,
    block: BlockId,
    transactions: usize,
    receipts: &[Receipt<'_>],
) -> Result<Vec<Burn>, BurnError> {
    if receipts.len() != transactions {
        return Err(BurnError::Receipts {
            expected: transactions,
            found: receipts.len(),
        });
    }
    let mut next = parent.next_sequence();
    let mut burns = Vec::new();
    let logs = receipts
        .iter()
        .filter(|receipt| receipt.succeeded)
        .flat_map(|receipt| &receipt.logs)
        .filter(|log| log.address == chain.spec().execution.bridge);
    for log in logs {
        let (sequence, sender, script_pubkey, amount) =
            decode_peg_out_requested(log.topics, log.data)?;
        let burn = Burn {
            sequence,
            sender,
            script_pubkey: BoundedVec::new(script_pubkey).map_err(|_| BurnError::Data {
                expected: "a script of at most 34 bytes",
                found: log.data.len(),
            })?,
            amount,
            height,
            block,
        };
        check_burn(chain, next, &burn)?;
        next = next.checked_add(1).ok_or(BurnError::Overflow)?;
        burns.push(burn);
    }
    Ok(burns)
}

fn check_burn(chain: &Chain, expected: BurnSequence, burn: &Burn) -> Result<(), BurnError> {
    let sequence = burn.sequence;
    if sequence != expected {
        return Err(BurnError::Sequence {
            expected,
            found: sequence,
        });
    }
    let pegout = &chain.spec().pegout;
    if burn.amount < pegout.min_sats || burn.amount > pegout.max_sats {
        return Err(BurnError::Amount {
            sequence,
            minimum: pegout.min_sats,
            maximum: pegout.max_sats,
            found: burn.amount,
        });
    }
    let script = Script::from_bytes(&burn.script_pubkey);
    let payable = script.is_p2pkh()
        || script.is_p2sh()
        || script.is_p2wpkh()
        || script.is_p2wsh()
        || script.is_p2tr();
    if !payable || script == chain.wallet().script_pubkey().as_script() {
        return Err(BurnError::Script {
            sequence,
            found: script.to_owned(),
        });
    }
    Ok(())
}

/// Decodes the event's topics and data, which the caller knows to be the bridge's: sequence, sender, script, amount.
///
/// Only Solidity's own encoding is accepted: `(bytes, uint64)` with the bytes behind the head, padded with zeros.
///
/// # Errors
/// - [`BurnError::Event`], [`BurnError::Topic`], [`BurnError::Data`] where they are anything else.
pub fn decode_peg_out_requested(
    topics: &[Digest],
    data: &[u8],
) -> Result<(BurnSequence, EvmAddress, Vec<u8>, Sats), BurnError> {
    let [PEG_OUT_REQUESTED_TOPIC, sequence, sender] = topics else {
        return Err(BurnError::Event {
            found: topics.to_vec(),
        });
    };
    let sequence_value = integer(sequence.as_bytes()).ok_or(BurnError::Topic {
        expected: "a uint64",
        found: *sequence,
    })?;
    let sender_value = address(sender.as_bytes()).ok_or(BurnError::Topic {
        expected: "an address",
        found: *sender,
    })?;
    let bad = |expected| BurnError::Data {
        expected,
        found: data.len(),
    };
    let (offset, rest) = word(data).ok_or(bad("an offset"))?;
    let (amount, rest) = word(rest).ok_or(bad("an amount"))?;
    let (length, tail) = word(rest).ok_or(bad("a length"))?;
    if integer(offset) != Some(64) {
        return Err(bad("the offset 64"));
    }
    let amount = integer(amount).ok_or(bad("an amount of 64 bits"))?;
    let length = integer(length)
        .and_then(|length| usize::try_from(length).ok())
        .filter(|length| *length <= LONGEST_SCRIPT)
        .ok_or(bad("a script of at most 34 bytes"))?;
    if tail.len() != length.next_multiple_of(32) {
        return Err(bad("the script padded to words, and nothing else"));
    }
    let (script, padding) = tail.split_at_checked(length).ok_or(bad("the script"))?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(bad("zeros behind the script"));
    }
    Ok((
        BurnSequence::new(sequence_value),
        sender_value,
        script.to_vec(),
        Sats::new(amount),
    ))
}

fn word(bytes: &[u8]) -> Option<(&[u8; 32], &[u8])> {
    bytes.split_first_chunk()
}

fn integer(word: &[u8; 32]) -> Option<u64> {
    let (zeros, number) = word.split_last_chunk::<8>()?;
    zeros
        .iter()
        .all(|byte| *byte == 0)
        .then(|| u64::from_be_bytes(*number))
}

fn address(word: &[u8; 32]) -> Option<EvmAddress> {
    let (zeros, address) = word.split_last_chunk::<20>()?;
    zeros
        .iter()
        .all(|byte| *byte == 0)
        .then(|| EvmAddress::new(*address))
}

impl PegState {
    /// Appends the burns of a block, which continue the queue.
    pub(crate) fn add_burns(&mut self, burns: Vec<Burn>) -> Result<(), BurnError> {
        if burns.is_empty() {
            return Ok(());
        }
        let queue = self.queue.to_mut();
        for burn in burns {
            if burn.sequence != self.next_sequence {
                return Err(BurnError::Sequence {
                    expected: self.next_sequence,
                    found: burn.sequence,
                });
            }
            self.next_sequence = self
                .next_sequence
                .checked_add(1)
                .ok_or(BurnError::Overflow)?;
            self.totals.burned = self
                .totals
                .burned
                .checked_add(burn.amount.get())
                .ok_or(BurnError::Overflow)?;
            queue.insert(burn.sequence, burn);
        }
        Ok(())
    }
}
