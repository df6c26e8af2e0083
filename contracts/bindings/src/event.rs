//! `PegOutRequested`, decoded strictly: one encoding only, and nothing that the Bridge could not have emitted.

use crate::predeploy::BRIDGE_ADDRESS;
use crate::script::is_payable;
use alloy_primitives::{Address, B256};
use alloy_sol_types::SolEvent;
use alys_protocol::bytes::EvmAddress;
use alys_protocol::units::{BurnSequence, Sats};
use bitcoin::{Script, ScriptBuf};
use thiserror::Error;

/// The first topic of the event: the hash of `PegOutRequested(uint64,address,bytes,uint64)`.
pub const PEG_OUT_REQUESTED_TOPIC: B256 = crate::abi::Bridge::PegOutRequested::SIGNATURE_HASH;

/// Topics of the event: its hash, the sequence, the sender.
const TOPICS: usize = 3;
/// Bytes before the script: offset, amount, length.
const HEAD: usize = 96;

/// A burn, as the Bridge logs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PegOutRequested {
    /// Gap-free number, from 0.
    pub sequence: BurnSequence,
    /// The account that called the Bridge; may be a contract.
    pub sender: EvmAddress,
    /// Where to pay: one of the five standard templates.
    pub script_pubkey: ScriptBuf,
    /// How much was burned.
    pub amount: Sats,
}

/// A log that the Bridge did not emit as `PegOutRequested`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The event has three topics.
    #[error("PegOutRequested: expected {TOPICS} topics, found {0}")]
    TopicCount(usize),
    /// Another event.
    #[error("PegOutRequested: expected first topic {PEG_OUT_REQUESTED_TOPIC}, found {0}")]
    Signature(B256),
    /// The sequence is a `uint64`.
    #[error("PegOutRequested: expected a sequence of 64 bits, found {0}")]
    Sequence(B256),
    /// The sender is an address.
    #[error("PegOutRequested: expected a sender of 160 bits, found {0}")]
    Sender(B256),
    /// The script has at most 34 bytes, so that the data is 160 bytes long, or less by a word.
    #[error("PegOutRequested: expected {expected} bytes of data, found {found}")]
    DataLength {
        /// What the script's length asks for, or the least that there can be.
        expected: usize,
        /// What there is.
        found: usize,
    },
    /// The script starts right behind the two fields.
    #[error("PegOutRequested: expected the script at offset 0x40, found {0}")]
    Offset(B256),
    /// The amount is a `uint64`.
    #[error("PegOutRequested: expected an amount of 64 bits, found {0}")]
    Amount(B256),
    /// The script's length is beyond every template's.
    #[error("PegOutRequested: expected a script of at most 34 bytes, found a length of {0}")]
    ScriptLength(B256),
    /// What is behind the script must be zero.
    #[error("PegOutRequested: expected zeros behind the script, found {0:02x?}")]
    Padding(Vec<u8>),
    /// No template of those that the Bridge accepts.
    #[error("PegOutRequested: expected a script of P2PKH, P2SH, P2WPKH, P2WSH or P2TR, found {}", .0.to_hex_string())]
    Script(ScriptBuf),
}

/// Decodes a log of any contract: `None` unless the Bridge itself emitted it (regression A3: whoever else emits the event,
/// it means nothing).
///
/// # Errors
/// - [`DecodeError`] where the Bridge's log is not what its code emits: the node runs another contract there.
pub fn decode_bridge_log(
    emitter: Address,
    topics: &[B256],
    data: &[u8],
) -> Result<Option<PegOutRequested>, DecodeError> {
    if emitter != BRIDGE_ADDRESS {
        return Ok(None);
    }
    decode_peg_out_requested(topics, data).map(Some)
}

/// Decodes the event's topics and data. The caller has made sure that the Bridge emitted them, or uses
/// [`decode_bridge_log`].
///
/// # Errors
/// - [`DecodeError`], one variant for each way to differ from what the Bridge emits.
pub fn decode_peg_out_requested(
    topics: &[B256],
    data: &[u8],
) -> Result<PegOutRequested, DecodeError> {
    let [signature, sequence, sender] = topics else {
        return Err(DecodeError::TopicCount(topics.len()));
    };
    if *signature != PEG_OUT_REQUESTED_TOPIC {
        return Err(DecodeError::Signature(*signature));
    }
    let sequence = word_to_u64(sequence).ok_or(DecodeError::Sequence(*sequence))?;
    let sender = word_to_address(sender).ok_or(DecodeError::Sender(*sender))?;
    let (script_pubkey, amount) = decode_data(data)?;
    Ok(PegOutRequested {
        sequence: BurnSequence::new(sequence),
        sender,
        script_pubkey,
        amount: Sats::new(amount),
    })
}

/// `(bytes scriptPubKey, uint64 sats)`, in the one way that Solidity's ABI encoder writes it.
fn decode_data(data: &[u8]) -> Result<(ScriptBuf, u64), DecodeError> {
    let too_short = DecodeError::DataLength {
        expected: HEAD,
        found: data.len(),
    };
    let (head, tail) = data.split_at_checked(HEAD).ok_or(too_short)?;
    let [offset, amount, length] = words(head);
    if word_to_u64(&offset) != Some(64) {
        return Err(DecodeError::Offset(offset));
    }
    let amount = word_to_u64(&amount).ok_or(DecodeError::Amount(amount))?;
    let length = word_to_u64(&length)
        .and_then(|length| usize::try_from(length).ok())
        .filter(|length| *length <= LONGEST_SCRIPT)
        .ok_or(DecodeError::ScriptLength(length))?;
    let padded = length.next_multiple_of(32);
    if tail.len() != padded {
        return Err(DecodeError::DataLength {
            expected: HEAD + padded,
            found: data.len(),
        });
    }
    let (script, padding) = tail.split_at(length);
    if padding.iter().any(|byte| *byte != 0) {
        return Err(DecodeError::Padding(padding.to_vec()));
    }
    let script = Script::from_bytes(script);
    if !is_payable(script) {
        return Err(DecodeError::Script(script.to_owned()));
    }
    Ok((script.to_owned(), amount))
}

/// P2WSH and P2TR.
const LONGEST_SCRIPT: usize = 34;
const _: () = assert!(
    LONGEST_SCRIPT <= alys_protocol::peg::MAX_BURN_SCRIPT_BYTES,
    "every burn fits the ledger's record of it"
);

/// The first words of `bytes`; zeros where it has fewer.
fn words<const N: usize>(bytes: &[u8]) -> [B256; N] {
    let mut chunks = bytes.chunks_exact(32);
    std::array::from_fn(|_| chunks.next().map(B256::from_slice).unwrap_or_default())
}

fn word_to_u64(word: &B256) -> Option<u64> {
    let (zeros, number) = word.split_last_chunk::<8>()?;
    zeros
        .iter()
        .all(|byte| *byte == 0)
        .then(|| u64::from_be_bytes(*number))
}

fn word_to_address(word: &B256) -> Option<EvmAddress> {
    let (zeros, address) = word.split_last_chunk::<20>()?;
    zeros
        .iter()
        .all(|byte| *byte == 0)
        .then(|| EvmAddress::new(*address))
}
