//! Requests changed so that no rule can allow them.

use alys_protocol::bounded::BoundedVec;
use alys_protocol::signer::{ApproveRequest, PegOutRequest};
use alys_protocol::units::BurnSequence;
use serde::{Serialize, de::DeserializeOwned};

/// From this choice on, requests are changed.
pub const SPOILED: u8 = 128;

/// Flips one bit of a message's encoding; none where that is no message any more, or the same one.
pub fn flip<T: Serialize + DeserializeOwned + PartialEq>(
    message: &T,
    place: usize,
    bit: u8,
) -> Option<T> {
    let mut bytes = postcard::to_allocvec(message).unwrap();
    let place = place % bytes.len();
    bytes[place] ^= 1 << (bit % 8);
    let (changed, rest) = postcard::take_from_bytes::<T>(&bytes).ok()?;
    (rest.is_empty() && changed != *message).then_some(changed)
}

/// False where nothing changed.
pub fn vote(request: &mut ApproveRequest, choice: u8, place: u8) -> bool {
    let before = request.clone();
    match choice {
        ..SPOILED => return false,
        128..=135 => request.body.parent_certificate = None,
        136..=143 => request.header.slot = request.header.slot.saturating_add(1),
        144..=151 => request.parent.slot = request.parent.slot.saturating_add(1),
        152..=159 => request.execution_header = BoundedVec::empty(),
        160..=167 => request.header.next_burn = BurnSequence::new(9),
        168..=175 => request.deposits = BoundedVec::empty(),
        176..=183 => {
            let mut proofs = request.deposits.to_vec();
            proofs.reverse();
            request.deposits = BoundedVec::new(proofs).unwrap();
        }
        184..=191 => {
            // The same deposit twice (regression A2).
            let mut proofs = request.deposits.to_vec();
            proofs.extend(proofs.last().cloned());
            request.deposits = BoundedVec::new(proofs).unwrap();
        }
        192..=215 => {
            let proofs = flip(&request.deposits, usize::from(place) * 7, choice);
            request.deposits = proofs.unwrap_or_default();
        }
        216.. => {
            let at = usize::from(place) * 61 + usize::from(choice);
            if let Some(changed) = flip(request, at, choice) {
                *request = changed;
            }
        }
    }
    *request != before
}

/// False where nothing changed.
pub fn batch(request: &mut PegOutRequest, choice: u8, place: u8) -> bool {
    let before = request.clone();
    match choice {
        ..SPOILED => return false,
        128..=143 => request.burns = BoundedVec::empty(),
        144..=159 => request.pow = None,
        160..=175 => request.finality.headers.swap(0, 1),
        176..=191 => request.recording.slot = request.recording.slot.saturating_add(1),
        192..=207 => request.record.next_burn = BurnSequence::new(99),
        208.. => {
            let at = usize::from(place) * 61 + usize::from(choice);
            if let Some(changed) = flip(request, at, choice) {
                *request = changed;
            }
        }
    }
    *request != before
}
