//! What the methods answer. Amounts have their unit in the name; ids are hex.

use alys_protocol::bytes::{BatchId, BlockId, EvmAddress, ExecutionHash, SpecDigest};
use alys_protocol::units::{
    BtcHeight, BurnSequence, ChainId, Epoch, MemberId, PowCount, Sats, SatsPerKvb, SideHeight, Slot,
};
use serde::{Deserialize, Serialize};

/// A block's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockPlace {
    /// Height.
    pub height: SideHeight,
    /// Id.
    pub id: BlockId,
}

/// A block as `getheadblock` and its relatives show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockInfo {
    /// Id: the tagged hash of the header.
    pub id: BlockId,
    /// Height.
    pub height: SideHeight,
    /// Slot in which it was proposed.
    pub slot: Slot,
    /// Unix time in seconds.
    pub timestamp: u64,
    /// The member that proposed it.
    pub leader: MemberId,
    /// The parent's id.
    pub parent: BlockId,
    /// The execution block.
    pub execution_hash: ExecutionHash,
    /// Whether a certificate of it is known.
    pub certified: bool,
    /// Members that approved it, where a certificate is known.
    pub approved_by: Vec<MemberId>,
    /// Whether it is final (Streamlet).
    pub r#final: bool,
    /// Whether proof of work has finalised it.
    pub pow_final: bool,
    /// Bitcoin height consumed up to.
    pub bitcoin_height: BtcHeight,
    /// Transactions in the execution payload.
    pub transactions: usize,
    /// Withdrawals: mints and fee payments.
    pub withdrawals: usize,
    /// Whether it carries a proof-of-work record.
    pub has_pow_record: bool,
    /// The batch recorded here, if any.
    pub batch: Option<BatchId>,
}

/// What `getnodestatus` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Program and version.
    pub software: String,
    /// Name of the chain.
    pub chain: String,
    /// EIP-155 chain id.
    pub chain_id: ChainId,
    /// Digest of the chain spec.
    pub spec: SpecDigest,
    /// The federation's term.
    pub epoch: Epoch,
    /// The member this node works for, if any.
    pub member: Option<MemberId>,
    /// The certified head.
    pub head: BlockPlace,
    /// The newest final block.
    pub r#final: BlockPlace,
    /// The newest PoW-final block.
    pub pow_final: BlockPlace,
    /// Proof-of-work records so far.
    pub pow_count: PowCount,
    /// The present slot.
    pub slot: Slot,
    /// Slots since genesis without a certified block on the head's chain.
    pub missed_slots: u64,
    /// Connected peers on the same chain.
    pub peers: usize,
    /// This node's network addresses, with its peer id.
    pub addresses: Vec<String>,
    /// EVM JSON-RPC of the execution client.
    pub evm_rpc: String,
    /// Plain sentences about what is wrong now; empty when all is well.
    pub problems: Vec<String>,
}

/// What `getpegstatus` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PegStatus {
    /// Bitcoin height consumed up to, at the head.
    pub bitcoin_height: BtcHeight,
    /// Value of all unspent outputs of the federation, in satoshi.
    pub held_sats: Sats,
    /// Unspent outputs.
    pub utxos: usize,
    /// Deposits minted so far.
    pub minted_sats: Sats,
    /// Outputs that credit nobody.
    pub unattributable_sats: Sats,
    /// Burned on the side chain so far.
    pub burned_sats: Sats,
    /// Burned amounts that confirmed batches have settled.
    pub settled_sats: Sats,
    /// Burned amounts that confirmed batches left unpaid, as officers agreed.
    pub skipped_sats: Sats,
    /// Paid to burners by confirmed batches.
    pub paid_out_sats: Sats,
    /// Bitcoin fees of confirmed batches.
    pub bitcoin_fees_sats: Sats,
    /// Wei of base fees that are burned for ever, as decimal text.
    pub base_fees_wei: String,
    /// The next burn that is in no batch yet.
    pub next_burn: BurnSequence,
    /// The sequence that the next burn will have.
    pub next_sequence: BurnSequence,
    /// Batches that are recorded and not confirmed yet.
    pub pending: Vec<PendingBatch>,
    /// Why the peg stands still, if it does.
    pub halted: Option<String>,
    /// Outputs that credit nobody, for the operators.
    pub unattributable: Vec<UnattributableOutput>,
}

/// A recorded batch that Bitcoin has not confirmed yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingBatch {
    /// Its id.
    pub id: BatchId,
    /// Its Bitcoin transaction.
    pub txid: String,
    /// First burn it pays.
    pub first_burn: BurnSequence,
    /// One past the last burn it pays.
    pub next_burn: BurnSequence,
    /// Fee rate of the newest member of its family.
    pub fee_rate_sats_per_kvb: SatsPerKvb,
    /// Members whose shares are known.
    pub shares: Vec<MemberId>,
    /// Whether the transaction was handed to the Bitcoin node.
    pub broadcast: bool,
}

/// An output to the federation that credits nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnattributableOutput {
    /// `txid:vout`.
    pub outpoint: String,
    /// Its value.
    pub value_sats: Sats,
    /// Why it credits nobody.
    pub reason: String,
}

/// Where a burn's payment stands, as `getpegout` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PegOutStatus {
    /// The burn.
    pub sequence: BurnSequence,
    /// `burned` (waits for proof of work), `queued`, `recorded`, `signed`, `broadcast` or `settled`.
    pub stage: PegOutStage,
    /// The Bitcoin transaction, once there is one.
    pub txid: Option<String>,
}

/// The stages of a peg-out, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PegOutStage {
    /// Burned; waits until proof of work finalises its block.
    Burned,
    /// Payable; waits for a batch.
    Queued,
    /// In a recorded batch; waits for finality and signatures.
    Recorded,
    /// Handed to the Bitcoin node.
    Broadcast,
    /// Its batch is buried as deep as a deposit must be.
    Settled,
    /// Officers agreed to leave it unpaid: what was burned stays locked.
    Skipped,
}

/// What `getdepositaddress` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepositAddress {
    /// The federation's address.
    pub address: String,
    /// The OP_RETURN data to add, as hex: the 20 bytes of the account to credit.
    pub op_return: Option<String>,
    /// The smallest output that counts.
    pub min_sats: Sats,
    /// Bitcoin confirmations before the mint.
    pub confirmations: u32,
}

/// A share that waits for a block, as `getqueuedpow` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedPow {
    /// Bundle hash in display order.
    pub hash: String,
    /// The last block that it finalises.
    pub end: BlockPlace,
    /// Who is paid.
    pub fee_recipient: EvmAddress,
}
