//! The durable state: one head record, small records of votes, and large ones that the head refers to.
//!
//! The head is one journal item, so everything that it holds or refers to changes at once. A large record is written to its
//! spare place first; then the head names that place. Votes are made every slot, so a vote is a record of its own of 60
//! bytes. It counts only with the head of its own generation: whatever writes the head makes all older ones void, and the
//! head holds what they said.

use crate::headers::HeaderMap;
use crate::journal::{Journal, JournalError};
use crate::layout::Layout;
use alloc::vec::Vec;
use alys_protocol::units::{SideHeight, Slot};
use alys_signer_core::clock::ClockState;
use alys_signer_core::freshness::Lease;
use alys_signer_core::state::{AdminState, PegOutState, Proposed, Vote, VoteState};
use bitcoin::hashes::{Hash as _, sha256};
use core::cell::RefCell;
use embedded_storage::nor_flash::NorFlash;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Version of all records.
const FORMAT: u8 = 1;

const HEAD: u16 = 0;
const VOTE: u16 = 1;
const PROPOSED: u16 = 2;

/// Bytes of a large record in one item.
const CHUNK: usize = 2000;
/// Bytes of the peg-outs' state at most. What is older is forgotten, oldest first, as the core forgets it beyond 256
/// families.
pub(crate) const MAX_PEGOUT_BYTES: usize = 32 << 10;

/// A large record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blob {
    /// Chain spec and officers.
    Provisioned,
    /// Policy file and signatures.
    Policy,
    /// [`PegOutState`].
    PegOut,
}

impl Blob {
    const fn place(self, spare: bool) -> u16 {
        let blob = match self {
            Self::Provisioned => 0x1000,
            Self::Policy => 0x2000,
            Self::PegOut => 0x3000,
        };
        if spare { blob | 0x800 } else { blob }
    }
}

/// Where a large record is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct BlobRef {
    spare: bool,
    length: u32,
    digest: [u8; 32],
}

/// The head record.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Head {
    format: u8,
    /// Grows with each head.
    generation: u32,
    pub(crate) lease: Lease,
    pub(crate) clock: ClockState,
    pub(crate) admin: AdminState,
    /// As it was when the head was written.
    pub(crate) vote: VoteState,
    pub(crate) provisioned: BlobRef,
    pub(crate) policy: BlobRef,
    pub(crate) pegout: BlobRef,
    pub(crate) headers: HeaderMap,
}

/// The part of a vote's state that changes with every vote.
#[derive(Serialize, Deserialize)]
struct VoteRecord {
    generation: u32,
    last_slot: Slot,
    lock: SideHeight,
    voted: Option<Vote>,
}

#[derive(Serialize, Deserialize)]
struct ProposedRecord {
    generation: u32,
    proposed: Option<Proposed>,
}

/// Reads and writes the state.
#[derive(Debug)]
pub(crate) struct Store<'a, F> {
    head: Journal<'a, F>,
    blobs: Journal<'a, F>,
}

impl<'a, F: NorFlash> Store<'a, F> {
    pub(crate) fn new(flash: &'a RefCell<F>, layout: &Layout) -> Self {
        Self {
            head: Journal::new(flash, &layout.head),
            blobs: Journal::new(flash, &layout.blobs),
        }
    }

    /// The head with the newest vote; none on a device that was never provisioned.
    pub(crate) fn load(&self) -> Result<Option<Head>, JournalError> {
        let Some(bytes) = self.head.load(HEAD)? else {
            return Ok(None);
        };
        let mut head: Head = decoded(&bytes)?;
        if head.format != FORMAT {
            return Err(JournalError::Damaged);
        }
        if let Some(bytes) = self.head.load(VOTE)? {
            let record: VoteRecord = decoded(&bytes)?;
            if record.generation == head.generation {
                head.vote.last_slot = record.last_slot;
                head.vote.lock = record.lock;
                head.vote.voted = record.voted;
            }
        }
        if let Some(bytes) = self.head.load(PROPOSED)? {
            let record: ProposedRecord = decoded(&bytes)?;
            if record.generation == head.generation {
                head.vote.proposed = record.proposed;
            }
        }
        Ok(Some(head))
    }

    /// Writes a head; from now on it counts.
    pub(crate) fn write_head(&self, head: &mut Head) -> Result<(), JournalError> {
        let mut next = head.clone();
        next.format = FORMAT;
        next.generation = head.generation.checked_add(1).ok_or(JournalError::Full)?;
        self.head.store(HEAD, &encoded(&next)?)?;
        *head = next;
        Ok(())
    }

    /// Writes a vote's state: in the small records where they hold all that changed.
    pub(crate) fn write_vote(&self, head: &mut Head, next: &VoteState) -> Result<(), JournalError> {
        let old = &head.vote;
        if next.mint_window != old.mint_window {
            let mut changed = head.clone();
            changed.vote = next.clone();
            self.write_head(&mut changed)?;
            *head = changed;
            return Ok(());
        }
        if next.proposed != old.proposed {
            let record = ProposedRecord {
                generation: head.generation,
                proposed: next.proposed.clone(),
            };
            self.head.store(PROPOSED, &encoded(&record)?)?;
        }
        let voted = |state: &VoteState| (state.last_slot, state.lock, state.voted.clone());
        if voted(next) != voted(old) {
            let record = VoteRecord {
                generation: head.generation,
                last_slot: next.last_slot,
                lock: next.lock,
                voted: next.voted.clone(),
            };
            self.head.store(VOTE, &encoded(&record)?)?;
        }
        head.vote = next.clone();
        Ok(())
    }

    /// Writes a large record to its spare place, and gives what the next head refers to it by.
    pub(crate) fn write_blob(
        &self,
        blob: Blob,
        current: &BlobRef,
        bytes: &[u8],
    ) -> Result<BlobRef, JournalError> {
        let spare = !current.spare;
        for (number, chunk) in (0u16..).zip(bytes.chunks(CHUNK)) {
            self.blobs
                .store(blob.place(spare).saturating_add(number), chunk)?;
        }
        Ok(BlobRef {
            spare,
            length: u32::try_from(bytes.len()).map_err(|_| JournalError::Full)?,
            digest: digest(bytes),
        })
    }

    /// Reads a large record that the head refers to.
    pub(crate) fn read_blob(&self, blob: Blob, at: &BlobRef) -> Result<Vec<u8>, JournalError> {
        let length = usize::try_from(at.length).map_err(|_| JournalError::Damaged)?;
        let mut bytes = Vec::with_capacity(length);
        for number in (0u16..).take(length.div_ceil(CHUNK)) {
            let key = blob.place(at.spare).saturating_add(number);
            let chunk = self.blobs.load(key)?.ok_or(JournalError::Damaged)?;
            bytes.extend_from_slice(&chunk);
        }
        // An older record's last chunk may be longer.
        if bytes.len() != length || digest(&bytes) != at.digest {
            return Err(JournalError::Damaged);
        }
        Ok(bytes)
    }

    /// Reads the peg-outs' state.
    pub(crate) fn pegout(&self, head: &Head) -> Result<PegOutState, JournalError> {
        let bytes = self.read_blob(Blob::PegOut, &head.pegout)?;
        decoded(&bytes)
    }

    /// Writes the peg-outs' state to its spare place.
    pub(crate) fn write_pegout(
        &self,
        head: &Head,
        state: &PegOutState,
    ) -> Result<BlobRef, JournalError> {
        let mut bytes = encoded(state)?;
        if bytes.len() > MAX_PEGOUT_BYTES {
            let mut shorter = state.clone();
            while bytes.len() > MAX_PEGOUT_BYTES && shorter.families.len() > 1 {
                shorter.families.remove(0);
                bytes = encoded(&shorter)?;
            }
        }
        if bytes.len() > MAX_PEGOUT_BYTES {
            return Err(JournalError::Full);
        }
        self.write_blob(Blob::PegOut, &head.pegout, &bytes)
    }
}

pub(crate) fn encoded<T: Serialize>(value: &T) -> Result<Vec<u8>, JournalError> {
    postcard::to_allocvec(value).map_err(|_| JournalError::Full)
}

pub(crate) fn decoded<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, JournalError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(JournalError::Damaged),
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    sha256::Hash::hash(bytes).to_byte_array()
}
