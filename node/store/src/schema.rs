//! Every table of the node's database: its name, its keys and its values.

use alys_protocol::block::Proposal;
use alys_protocol::bytes::{BatchId, BlockId, Digest, SpecDigest};
use alys_protocol::certificate::Certificate;
use alys_protocol::signer::{BurnEvidence, SchnorrSignature};
use alys_protocol::units::{BurnSequence, MemberId, SideHeight};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Version of the schema below; a change of a table's meaning raises it and adds a migration.
pub const SCHEMA_VERSION: u32 = 2;

/// A key, as bytes whose order is the keys' order.
pub trait Key {
    /// The bytes.
    fn to_bytes(&self) -> Vec<u8>;
}

/// A table: a name and the types of its entries.
pub trait Table {
    /// Name of the column family.
    const NAME: &'static str;
    /// What entries are found by.
    type Key: Key;
    /// What an entry holds.
    type Value: Serialize + DeserializeOwned;
}

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident = $text:literal: $key:ty => $value:ty;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy)]
            pub enum $name {}
            impl Table for $name {
                const NAME: &'static str = $text;
                type Key = $key;
                type Value = $value;
            }
        )*
        /// Names of all tables.
        pub const TABLES: &[&str] = &[$($text),*];
    };
}

tables! {
    /// Every valid block with its leader's signature.
    Blocks = "blocks": BlockId => Proposal;
    /// A certificate of each certified block.
    Certificates = "certificates": BlockId => Certificate;
    /// The peg ledger after a block, in the encoding of the chain crate; kept for recent blocks.
    Ledgers = "ledgers": BlockId => Vec<u8>;
    /// The final chain: the block at each height.
    FinalChain = "final-chain": SideHeight => BlockId;
    /// Inner nodes of the final chain's history, leaves included.
    HistoryNodes = "history-nodes": HistoryPlace => Digest;
    /// The burns of a block with their proofs, kept because execution clients prune.
    Burns = "burns": BlockId => Vec<BurnEvidence>;
    /// The Bitcoin transaction that settled a burn, as its txid's bytes.
    Payments = "payments": BurnSequence => [u8; 32];
    /// Verified peg-out shares: one signature per input.
    Shares = "shares": ShareKey => Vec<SchnorrSignature>;
    /// Which block recorded a batch.
    Batches = "batches": BatchId => BlockId;
    /// Where the node stands.
    Positions = "positions": Position => BlockId;
    /// The newest final block with all that its descendants' rules need, in the encoding of the consensus crate.
    Root = "root": Only => Vec<u8>;
    /// Blocks above the final one, to be put in again at the next start.
    Recent = "recent": RecentKey => ();
    /// The chain that the database belongs to.
    Spec = "spec": Only => SpecDigest;
    /// The schema's version.
    Version = "version": Only => u32;
}

/// The one key of a table with one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Only;

/// A block that the node remembers by role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The certified head.
    Head,
    /// The newest final block.
    Final,
    /// The newest block finalised by proof of work.
    PowFinal,
    /// The final block that carries the newest proof-of-work record.
    PowCarrier,
}

/// A block that is not final, in order of height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentKey {
    /// Its height.
    pub height: SideHeight,
    /// Its id.
    pub id: BlockId,
}

/// A node of the history's mountain range: the first leaf below it and its height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryPlace {
    /// Height of the first block below the node.
    pub first: u64,
    /// 0 for a leaf.
    pub level: u32,
}

/// A member's shares of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareKey {
    /// The batch.
    pub batch: BatchId,
    /// The member.
    pub member: MemberId,
}

impl Key for BlockId {
    fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
}

impl Key for BatchId {
    fn to_bytes(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }
}

impl Key for SideHeight {
    fn to_bytes(&self) -> Vec<u8> {
        self.get().to_be_bytes().to_vec()
    }
}

impl Key for BurnSequence {
    fn to_bytes(&self) -> Vec<u8> {
        self.get().to_be_bytes().to_vec()
    }
}

impl Key for HistoryPlace {
    fn to_bytes(&self) -> Vec<u8> {
        [&self.level.to_be_bytes()[..], &self.first.to_be_bytes()].concat()
    }
}

impl Key for RecentKey {
    fn to_bytes(&self) -> Vec<u8> {
        [&self.height.get().to_be_bytes()[..], self.id.as_bytes()].concat()
    }
}

impl RecentKey {
    /// Reads a key of [`Recent`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (height, id) = bytes.split_first_chunk()?;
        Some(Self {
            height: SideHeight::new(u64::from_be_bytes(*height)),
            id: BlockId::new(id.try_into().ok()?),
        })
    }
}

impl Key for ShareKey {
    fn to_bytes(&self) -> Vec<u8> {
        [&self.batch.as_bytes()[..], &self.member.get().to_be_bytes()].concat()
    }
}

impl Key for Position {
    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Head => vec![0],
            Self::Final => vec![1],
            Self::PowFinal => vec![2],
            Self::PowCarrier => vec![3],
        }
    }
}

impl Key for Only {
    fn to_bytes(&self) -> Vec<u8> {
        Vec::new()
    }
}
