//! The peg's ledger after a block: unspent outputs, batches in flight, burns that wait, and totals.

use crate::shared::Shared;
use alys_protocol::bytes::BatchId;
use alys_protocol::peg::{Burn, Cursor, Unattributable};
use alys_protocol::spec::Chain;
use alys_protocol::units::{BtcHeight, BurnSequence, Sats, SatsPerKvb, SideHeight, Slot, Wei};
use bitcoin::{OutPoint, Txid};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

/// Where an unspent output of the federation's script came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// A deposit that was minted.
    Deposit,
    /// Change of a confirmed batch.
    Change,
    /// A payment that credits nobody; the operators decide what becomes of it.
    Unattributable(Unattributable),
    /// Created by the transaction that halted the peg.
    UnrecordedSpend,
}

/// One unspent output of the federation's script, confirmed below the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Utxo {
    /// Its value.
    pub value: Sats,
    /// Height of the Bitcoin block that created it.
    pub height: BtcHeight,
    /// Where it came from.
    pub origin: Origin,
    /// The family of batches whose input it is, if any.
    pub family: Option<BatchId>,
}

impl Utxo {
    /// Whether a new batch may spend it: not a coinbase's output (immature for 100 blocks, and never paid here on
    /// purpose), and no input of another family.
    pub fn is_selectable(&self) -> bool {
        let coinbase = matches!(
            self.origin,
            Origin::Unattributable(Unattributable::Coinbase)
        );
        !coinbase && self.family.is_none()
    }
}

/// One recorded batch of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its id.
    pub batch: BatchId,
    /// Its transaction.
    pub txid: Txid,
    /// The fee rate that it was built for.
    pub fee_rate: SatsPerKvb,
    /// The fee that it pays.
    pub fee: Sats,
    /// Height of the side block that records it.
    pub height: SideHeight,
}

/// Batches with the same inputs and burns, of which Bitcoin will confirm one. Named by its first member's batch id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Family {
    /// First burn of its range, or the next one where it has none.
    pub first_burn: BurnSequence,
    /// The burns of its range, in order.
    pub burns: Vec<Burn>,
    /// Those of them that it leaves unpaid.
    pub skipped: Vec<BurnSequence>,
    /// Its inputs, in the transaction's order.
    pub inputs: Vec<OutPoint>,
    /// Its batches, oldest first; each pays more than the one before.
    pub members: Vec<Member>,
}

impl Family {
    /// One past the last burn of its range.
    pub fn next_burn(&self) -> BurnSequence {
        self.first_burn.saturating_add(self.burns.len() as u64)
    }

    /// The burns that it pays, in order.
    pub fn paid(&self) -> impl Iterator<Item = &Burn> + Clone {
        let burns = self.burns.iter();
        burns.filter(|burn| !self.skipped.contains(&burn.sequence))
    }

    /// What its skipped burns add up to.
    pub(crate) fn skipped_sats(&self) -> Option<Sats> {
        let burns = self.burns.iter();
        let skipped = burns.filter(|burn| self.skipped.contains(&burn.sequence));
        Sats::checked_sum(skipped.map(|burn| burn.amount))
    }
}

/// When the newest batch was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastBatch {
    /// Slot of the recording block.
    pub slot: Slot,
    /// Its height.
    pub height: SideHeight,
}

/// Why the peg stands still: a transaction that no block records spends the federation's coins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Error)]
#[error(
    "the peg is halted: Bitcoin transaction {txid} (block {height}, place {index}) spends {outpoint}, and no batch records it"
)]
pub struct Halt {
    /// The transaction.
    pub txid: Txid,
    /// The first output of ours that it spends.
    pub outpoint: OutPoint,
    /// Height of its Bitcoin block.
    pub height: BtcHeight,
    /// Its place there.
    pub index: u32,
}

/// Sums over all blocks so far.
///
/// The unspent outputs hold `minted + unattributable - paid_out - bitcoin_fees - lost`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Deposits minted.
    pub minted: Sats,
    /// Outputs received that credit nobody.
    pub unattributable: Sats,
    /// Burned on the side chain.
    pub burned: Sats,
    /// Burned amounts of the burns that confirmed batches have paid.
    pub settled: Sats,
    /// What confirmed batches paid for them: `settled` less the burners' shares of fees.
    pub paid_out: Sats,
    /// Burned amounts that confirmed batches left unpaid; they stay locked.
    pub skipped: Sats,
    /// Fees of confirmed batches.
    pub bitcoin_fees: Sats,
    /// Value spent by an unrecorded transaction.
    pub lost: Sats,
    /// Base fees burned on the side chain.
    pub base_fees: Wei,
}

/// The peg after a block. Clones share their maps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PegState {
    pub(crate) cursor: Cursor,
    pub(crate) utxos: Shared<BTreeMap<OutPoint, Utxo>>,
    pub(crate) families: Shared<BTreeMap<BatchId, Family>>,
    /// Burns that are in no batch yet, gap-free up to `next_sequence`.
    pub(crate) queue: Shared<BTreeMap<BurnSequence, Burn>>,
    pub(crate) next_sequence: BurnSequence,
    pub(crate) last_batch: Option<LastBatch>,
    pub(crate) totals: Totals,
    pub(crate) halt: Option<Halt>,
}

/// Bytes that are no stored ledger.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeStateError {
    /// No bytes.
    #[error("expected a peg ledger, found no bytes")]
    Empty,
    /// Another version.
    #[error("expected peg ledger version {expected}, found {found}", expected = PegState::VERSION)]
    Version {
        /// The version found.
        found: u8,
    },
    /// Not the encoding of one ledger.
    #[error("expected the encoding of one peg ledger, found {length} other bytes")]
    Malformed {
        /// Length found.
        length: usize,
    },
    /// The ledger cannot be encoded.
    #[error("the peg ledger cannot be encoded")]
    Encode,
}

impl PegState {
    /// Version of [`PegState::encode`].
    pub const VERSION: u8 = 2;

    /// The ledger after genesis.
    pub fn genesis(chain: &Chain) -> Self {
        Self {
            cursor: chain.genesis().bitcoin,
            utxos: Shared::default(),
            families: Shared::default(),
            queue: Shared::default(),
            next_sequence: BurnSequence::ZERO,
            last_batch: None,
            totals: Totals::default(),
            halt: None,
        }
    }

    /// Every Bitcoin transaction before this position is consumed.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// The federation's unspent outputs, inputs of unconfirmed batches included.
    pub fn utxos(&self) -> &BTreeMap<OutPoint, Utxo> {
        &self.utxos
    }

    /// Batches that no Bitcoin block before the cursor confirms yet, by the id of the family's first batch.
    pub fn families(&self) -> &BTreeMap<BatchId, Family> {
        &self.families
    }

    /// The family that a batch belongs to and the family's id, while no member is confirmed.
    pub fn family_of(&self, batch: BatchId) -> Option<(BatchId, &Family)> {
        self.families
            .iter()
            .find(|(_, family)| family.members.iter().any(|member| member.batch == batch))
            .map(|(id, family)| (*id, family))
    }

    /// Recorded batches that Bitcoin may still confirm, with their inputs' values. An input that an unrecorded transaction
    /// has spent leaves its family behind here, but none of its batches can confirm any more: these are left out.
    pub fn pending_batches(&self) -> BTreeMap<BatchId, Vec<Sats>> {
        let value = |input| self.utxos.get(input).map(|utxo| utxo.value);
        self.families
            .values()
            .filter_map(|family| {
                let values: Vec<Sats> = family.inputs.iter().map(value).collect::<Option<_>>()?;
                Some(
                    family
                        .members
                        .iter()
                        .map(move |member| (member.batch, values.clone())),
                )
            })
            .flatten()
            .collect()
    }

    /// The newest batches of the families of which nothing was recorded in the last `patience` blocks up to `height`, the
    /// one that waits longest first.
    pub fn stuck_batches(&self, height: SideHeight, patience: u64) -> Vec<BatchId> {
        let newest = self
            .families
            .values()
            .filter_map(|family| family.members.last());
        let mut stuck: Vec<&Member> = newest
            .filter(|newest| height >= newest.height.saturating_add(patience))
            .collect();
        stuck.sort_by_key(|newest| newest.height);
        stuck.into_iter().map(|newest| newest.batch).collect()
    }

    /// Burns that are in no batch yet, in order.
    pub fn queue(&self) -> impl ExactSizeIterator<Item = &Burn> {
        self.queue.values()
    }

    /// The first burn that is in no batch yet: [`Header::next_burn`](alys_protocol::header::Header::next_burn).
    pub fn next_burn(&self) -> BurnSequence {
        self.queue
            .first_key_value()
            .map_or(self.next_sequence, |(sequence, _)| *sequence)
    }

    /// The sequence that the next burn of the bridge must have.
    pub fn next_sequence(&self) -> BurnSequence {
        self.next_sequence
    }

    /// When the newest batch was recorded.
    pub fn last_batch(&self) -> Option<LastBatch> {
        self.last_batch
    }

    /// Sums over all blocks so far.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Why the peg stands still, if it does.
    pub fn halt(&self) -> Option<&Halt> {
        self.halt.as_ref()
    }

    /// The value of all unspent outputs.
    pub fn held(&self) -> Option<Sats> {
        Sats::checked_sum(self.utxos.values().map(|utxo| utxo.value))
    }

    /// The versioned encoding for storage.
    ///
    /// # Errors
    /// - [`DecodeStateError::Encode`] never for a ledger that fits in memory.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeStateError> {
        postcard::to_extend(self, vec![Self::VERSION]).map_err(|_| DecodeStateError::Encode)
    }

    /// The reverse of [`PegState::encode`].
    ///
    /// # Errors
    /// - [`DecodeStateError`] where the bytes are no ledger of this version.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeStateError> {
        let malformed = DecodeStateError::Malformed {
            length: bytes.len(),
        };
        match bytes.split_first() {
            None => Err(DecodeStateError::Empty),
            Some((&Self::VERSION, rest)) => match postcard::take_from_bytes(rest) {
                Ok((state, [])) => Ok(state),
                Ok(_) | Err(_) => Err(malformed),
            },
            Some((&found, _)) => Err(DecodeStateError::Version { found }),
        }
    }
}
