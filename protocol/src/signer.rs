//! Messages between a node, or provisioning, and a signer: the same bytes over TLS and over serial (design 4 and 10).
//!
//! A frame is the message's length as u32, big-endian, then its postcard encoding. Every sequence is bounded. Requests
//! carry the evidence with which a signer proves to itself what it signs.

use crate::bls::{BlsPublicKeyBytes, BlsSignature};
use crate::body::{Body, BodyBranch, PowRecord};
use crate::bounded::BoundedVec;
use crate::bytes::{Digest, SpecDigest, byte_string};
use crate::certificate::{Certificate, MAX_MEMBERS};
use crate::execution::Withdrawal;
use crate::header::Header;
use crate::history::{HistoryProof, Peaks};
use crate::peg::{
    BatchRecord, Burn, MAX_BATCH_BURNS, MAX_BATCH_INPUTS, MAX_TRANSACTION_BYTES, block_hash,
};
use crate::rules::Rule;
use crate::spec::SchnorrPublicKeyBytes;
use crate::units::{
    BtcHeight, BurnSequence, ChainId, Epoch, MemberId, Sats, SideHeight, Slot, StatementNumber,
};
use alloc::boxed::Box;
use alloc::string::String;
use bitcoin::BlockHash;
use bitcoin::consensus::Encodable as _;
use serde::{Deserialize, Serialize};

byte_string!(
    /// A BIP-340 signature.
    SchnorrSignature[64]
);

/// Version of the messages; a signer answers another one with [`ProtocolError::Version`].
pub const PROTOCOL_VERSION: u16 = 1;
/// Bytes of one frame at most, its length field not included.
pub const MAX_FRAME_BYTES: usize = 8 << 20;

/// Bytes of an execution header's RLP at most.
pub const MAX_EXECUTION_HEADER_BYTES: usize = 2048;
/// Bytes of one Merkle-Patricia node at most (a leaf may hold a receipt with many logs).
pub const MAX_TRIE_NODE_BYTES: usize = 1 << 18;
/// Nodes of one Merkle-Patricia proof at most: the keys are 32 bytes.
pub const MAX_TRIE_NODES: usize = 65;
/// Hashes in a Bitcoin Merkle branch at most.
pub const MAX_BITCOIN_BRANCH: usize = 32;
/// Bitcoin headers in one request at most.
pub const MAX_BITCOIN_HEADERS: usize = 2016;

/// Bytes of an officers' statement at most.
pub const MAX_STATEMENT_BYTES: usize = 16 << 10;
/// Bytes of one officer's signature file at most; minisign's own are about 300.
pub const MAX_SIGNATURE_BYTES: usize = 4 << 10;
/// Officers who decide about a signer at most.
pub const MAX_OFFICERS: usize = 32;

/// Burns that officers agreed to skip and that a signer remembers at most.
pub const MAX_SKIPS: usize = 64;

/// Withdrawals in one request to approve at most.
pub const MAX_REQUEST_WITHDRAWALS: usize = 4096;
/// Deposits with their proofs in one request to approve at most. A chain spec allows no more in one block.
pub const MAX_DEPOSIT_PROOFS: usize = 1024;

// Whatever a chain spec allows fits: deposits, the miner's fee, and each member's.
const _: () = assert!(MAX_DEPOSIT_PROOFS + MAX_MEMBERS < MAX_REQUEST_WITHDRAWALS);

/// The RLP of an execution block's header.
pub type ExecutionHeaderBytes = BoundedVec<u8, MAX_EXECUTION_HEADER_BYTES>;
/// The nodes of a Merkle-Patricia proof, root first.
pub type TrieProof = BoundedVec<BoundedVec<u8, MAX_TRIE_NODE_BYTES>, MAX_TRIE_NODES>;

/// A request with the version of the messages it is written in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestEnvelope {
    /// [`PROTOCOL_VERSION`] of the sender.
    pub version: u16,
    /// What is asked.
    pub request: Request,
}

/// What a signer may be asked; which of it by whom, the role of the asker's certificate decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Who the signer is and where it stands.
    Status,
    /// The leader's signature under its own proposal.
    SignProposal(Box<Header>),
    /// A vote.
    Approve(Box<ApproveRequest>),
    /// Schnorr signatures for a recorded batch.
    SignPegOut(Box<PegOutRequest>),
    /// Bitcoin headers, each the child of the one before, for the signer's own header chain.
    BitcoinHeaders(BoundedVec<BitcoinHeaderBytes, MAX_BITCOIN_HEADERS>),
    /// What officers need to know to vouch for the signer's state (design 10).
    Challenge,
    /// What officers say: pause, resume, or that the state is fresh.
    Statement(Box<SignedStatement>),
}

/// A statement and its signatures, as officers' files have them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedStatement {
    /// The statement, TOML.
    pub text: BoundedVec<u8, MAX_STATEMENT_BYTES>,
    /// Minisign signatures of exactly these bytes.
    pub signatures: BoundedVec<BoundedVec<u8, MAX_SIGNATURE_BYTES>, MAX_OFFICERS>,
}

byte_string!(
    /// A Bitcoin block header's consensus encoding.
    BitcoinHeaderBytes[80]
);

impl From<&bitcoin::block::Header> for BitcoinHeaderBytes {
    fn from(header: &bitcoin::block::Header) -> Self {
        let mut bytes = [0u8; Self::LENGTH];
        // A header has 80 bytes: the array cannot be too short.
        let _written = header.consensus_encode(&mut bytes.as_mut_slice());
        Self::new(bytes)
    }
}

/// A request to approve a block, with what proves that it may be approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApproveRequest {
    /// The block to approve.
    pub header: Header,
    /// Its body, under `header.body_root`; it carries the parent's certificate.
    pub body: Body,
    /// The parent's header.
    pub parent: Header,
    /// The history of the parent, which bags to the parent's root.
    pub parent_history: Peaks,
    /// The parent's parent and that one's parent, nearest first, as far as they exist: they show what is final.
    pub ancestors: BoundedVec<Header, 2>,
    /// RLP of the execution header whose hash is `header.execution_hash`.
    pub execution_header: ExecutionHeaderBytes,
    /// The withdrawals of the execution payload.
    pub withdrawals: BoundedVec<Withdrawal, MAX_REQUEST_WITHDRAWALS>,
    /// One proof for each deposit among the consumed transactions, in their order.
    pub deposits: BoundedVec<DepositProof, MAX_DEPOSIT_PROOFS>,
    /// The vault's balance at the parent, where fees are distributed.
    pub fees: Option<FeesProof>,
    /// What the proof-of-work record refers to, where there is one.
    pub pow: Option<PowEvidence>,
}

/// A transaction's place in a Bitcoin block, proven against the block's header (design 8, SPV).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepositProof {
    /// The transaction's place among the body's consumed transactions.
    pub consumed: u32,
    /// Merkle branch of the transaction, lowest first.
    pub branch: BoundedVec<Digest, MAX_BITCOIN_BRANCH>,
    /// The block's coinbase without witnesses: its path is as long, which rules out a 64-byte inner node.
    pub coinbase: BoundedVec<u8, MAX_TRANSACTION_BYTES>,
    /// Merkle branch of the coinbase.
    pub coinbase_branch: BoundedVec<Digest, MAX_BITCOIN_BRANCH>,
}

/// The vault's balance at the parent block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeesProof {
    /// RLP of the parent's execution header.
    pub execution_header: ExecutionHeaderBytes,
    /// Account proof of the vault under its state root.
    pub account: TrieProof,
}

/// The range that a proof-of-work record finalises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowEvidence {
    /// The last block of the range, whose id is `header.pow.id`.
    pub end: Header,
    /// That block in the history of the carrying block.
    pub end_history: HistoryProof,
    /// The range's first block in the same history.
    pub start_history: HistoryProof,
}

/// A request to sign a batch, with what proves that it must be paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PegOutRequest {
    /// The batch.
    pub record: BatchRecord,
    /// Amounts of the transaction's inputs, all of the federation's script; the sighash covers them.
    pub values: BoundedVec<Sats, MAX_BATCH_INPUTS>,
    /// The header whose body records the batch.
    pub recording: Header,
    /// That header's parent, whose `next_burn` is where the batch starts.
    pub recording_parent: Header,
    /// The record's branch in the recording body.
    pub body_branch: BodyBranch,
    /// That the recording header is final.
    pub finality: FinalityEvidence,
    /// The recording header in the history of `finality.headers[1]`; none where it is that header.
    pub recording_history: Option<HistoryProof>,
    /// That the burns are finalised by proof of work; none where the batch has no burns.
    pub pow: Option<PowFinality>,
    /// The burns, in order.
    pub burns: BoundedVec<BurnEvidence, MAX_BATCH_BURNS>,
}

/// Three certified headers with parent links in consecutive slots: the second is final (design 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalityEvidence {
    /// The three headers, oldest first.
    pub headers: [Header; 3],
    /// Certificate of the third, which implies those of the others.
    pub certificate: Certificate,
}

/// That a header is finalised by proof of work: a record in a final block at or above it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowFinality {
    /// The header that carries the record.
    pub carrier: Header,
    /// Its parent, from which the target follows.
    pub carrier_parent: Header,
    /// The record.
    pub record: PowRecord,
    /// The record's branch in the carrier's body.
    pub body_branch: BodyBranch,
    /// The carrier in the history of `finality.headers[1]`; none where it is that header.
    pub carrier_history: Option<HistoryProof>,
    /// The end of the finalised range.
    pub end: Header,
    /// That end in the carrier's history.
    pub end_history: HistoryProof,
}

/// One burn and its proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BurnEvidence {
    /// The burn.
    pub burn: Burn,
    /// Header of the block that holds it.
    pub header: Header,
    /// That header in the history of the PoW-final header; none where it is that header.
    pub history: Option<HistoryProof>,
    /// RLP of its execution header.
    pub execution_header: ExecutionHeaderBytes,
    /// Place of the transaction in the block.
    pub transaction_index: u32,
    /// Place of the log in the receipt.
    pub log_index: u32,
    /// Proof of the receipt.
    pub receipt: TrieProof,
}

/// A signer's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Request::Status`].
    Status(Box<SignerStatus>),
    /// To [`Request::SignProposal`] and [`Request::Approve`].
    Signature(BlsSignature),
    /// To [`Request::SignPegOut`]: one signature per input.
    Shares(BoundedVec<SchnorrSignature, MAX_BATCH_INPUTS>),
    /// To [`Request::BitcoinHeaders`]: where the signer's header chain stands after them.
    Bitcoin(BitcoinStanding),
    /// A rule forbids it.
    Refused(Refusal),
    /// The request was not understood or not allowed on this connection.
    Error(ProtocolError),
    /// To [`Request::Challenge`].
    Challenge(Box<Challenge>),
    /// To [`Request::Statement`]: it is in force, and written down.
    Stated(StatementNumber),
}

/// What a statement that vouches for a signer's state must answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// The chain.
    pub chain_id: ChainId,
    /// The member whose keys the signer holds.
    pub member: MemberId,
    /// Random; the signer gives the same one until it is used or the process ends.
    pub nonce: Digest,
    /// Slot of the signer's clock.
    pub slot: Slot,
    /// Slots past the clock's that the policy lets it sign for: the floor must be above both together.
    pub horizon_slots: u64,
    /// The statement's number must be above this one.
    pub last_statement: StatementNumber,
}

/// The newest header of a signer's own chain of Bitcoin headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BitcoinTip {
    /// Its height.
    pub height: BtcHeight,
    /// Its hash.
    #[serde(with = "block_hash")]
    pub hash: BlockHash,
}

/// Where a signer's chain of Bitcoin headers stands, so that a node knows what to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BitcoinStanding {
    /// The newest header; none before the chain was opened.
    pub tip: Option<BitcoinTip>,
    /// The lowest height that may still change. Before the chain is opened: the height of the first header that the
    /// first request must have.
    pub from: BtcHeight,
}

/// Why a signer will not sign: which rule, what it expected, what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The rule.
    pub rule: Rule,
    /// What the rule expected.
    pub expected: String,
    /// What it found.
    pub found: String,
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "refused by rule {}: expected {}, found {}",
            self.rule, self.expected, self.found
        )
    }
}

/// Why a signer cannot answer at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProtocolError {
    /// The message's version.
    Version {
        /// Version that the signer speaks.
        expected: u16,
        /// Version of the request.
        found: u16,
    },
    /// The frame is no request.
    Malformed(String),
    /// The certificate's role may not ask this.
    Forbidden {
        /// Role of the certificate.
        role: String,
        /// The operation asked for.
        operation: String,
    },
    /// The operation is not offered by this signer.
    Unsupported(String),
    /// The signer's own fault (a disk, a token); nothing was signed.
    Internal(String),
}

/// Who a signer is and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignerStatus {
    /// Program and version.
    pub software: String,
    /// [`PROTOCOL_VERSION`] of the signer.
    pub protocol: u16,
    /// The chain.
    pub chain_id: ChainId,
    /// The federation's term.
    pub epoch: Epoch,
    /// Digest of the spec that the signer was provisioned with.
    pub spec: SpecDigest,
    /// The member whose keys it holds.
    pub member: MemberId,
    /// Its BLS key.
    pub bls: BlsPublicKeyBytes,
    /// Its Schnorr key.
    pub schnorr: SchnorrPublicKeyBytes,
    /// Where its keys live and how, in words.
    pub backend: String,
    /// The slot it voted in last.
    pub last_slot: Slot,
    /// The highest certified height it has seen.
    pub lock: SideHeight,
    /// The first burn it has signed no batch for.
    pub next_burn: BurnSequence,
    /// Its chain of Bitcoin headers.
    pub bitcoin: BitcoinStanding,
    /// The outside counter that tells a restored state from the newest one, in words.
    pub counter: String,
    /// Why it signs nothing, where it does not (rules `fresh` and `counter`).
    pub silent: Option<Refusal>,
    /// Whether officers paused its peg-outs (rule `paused`).
    pub paused: bool,
    /// The last statement of officers that it accepted.
    pub last_statement: StatementNumber,
    /// Burns that its officers agreed to skip, rising.
    pub skips: BoundedVec<BurnSequence, MAX_SKIPS>,
}

/// A message that does not fit a frame, or a frame that is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Too long.
    #[error("expected a frame of at most {MAX_FRAME_BYTES} bytes, found {found}")]
    TooLong {
        /// Length found.
        found: usize,
    },
    /// Not the encoding of one message.
    #[error("not a message: {0}")]
    Malformed(&'static str),
}

/// Encodes a message's frame: length, then postcard.
///
/// # Errors
/// - [`FrameError::TooLong`] above [`MAX_FRAME_BYTES`];
/// - [`FrameError::Malformed`] where it cannot be encoded.
pub fn encode_frame<T: Serialize>(message: &T) -> Result<alloc::vec::Vec<u8>, FrameError> {
    let body =
        postcard::to_allocvec(message).map_err(|_| FrameError::Malformed("cannot be encoded"))?;
    if body.len() > MAX_FRAME_BYTES {
        return Err(FrameError::TooLong { found: body.len() });
    }
    let length =
        u32::try_from(body.len()).map_err(|_| FrameError::TooLong { found: body.len() })?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// Decodes the body of a frame; every byte must belong to the message, and be as [`encode_frame`] writes it: postcard
/// also reads numbers with more bytes than they need.
///
/// # Errors
/// - [`FrameError::TooLong`] above [`MAX_FRAME_BYTES`];
/// - [`FrameError::Malformed`] where it is no message, bytes are left over, or it is written at greater length.
pub fn decode_frame<'a, T: Serialize + Deserialize<'a>>(body: &'a [u8]) -> Result<T, FrameError> {
    if body.len() > MAX_FRAME_BYTES {
        return Err(FrameError::TooLong { found: body.len() });
    }
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => match postcard::to_allocvec(&message) {
            Ok(again) if again == body => Ok(message),
            Ok(_) | Err(_) => Err(FrameError::Malformed("not the shortest encoding of one")),
        },
        Ok(_) => Err(FrameError::Malformed("bytes after the message")),
        Err(_) => Err(FrameError::Malformed("not the encoding of one")),
    }
}

#[cfg(test)]
mod tests;
