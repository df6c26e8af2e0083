//! Watermarks of another state, imported while the signer does not run.

use super::entry::{Blob, BlobKind, Changed, Event, Raised, UnixMillis};
use super::journal::{Class, Journal};
use super::{AuditError, recorder::Audited};
use crate::store::audited as stored;
use crate::store::{Store, Stored};
use alys_protocol::units::ChainId;
use alys_signer_core::clock::{ClockState, WindowTime};
use alys_signer_core::state::{PegOutState, VoteState};
use alys_signer_core::watermarks::Watermarks;
use redb::WriteTransaction;

/// Raises the states to `watermarks` and records that, in one transaction. Returns where they stand then: nothing is
/// ever lowered.
///
/// # Errors
/// - [`AuditError`] where state or log cannot be read or written.
pub fn import(
    store: &Store,
    chain: ChainId,
    watermarks: &Watermarks,
    now: UnixMillis,
) -> Result<Watermarks, AuditError> {
    let window = store.read::<ClockState>()?.time;
    let transaction = store.begin()?;
    let mut journal = Journal::open(&transaction, chain)?;
    let importing = Importing {
        transaction: &transaction,
        chain,
        watermarks,
        window,
    };
    let (vote, vote_change) = importing.raise(&mut journal, VoteState::raised)?;
    let (pegout, pegout_change) = importing.raise(&mut journal, PegOutState::raised)?;
    let raised = Raised {
        watermarks: *watermarks,
        window,
        states: vec![vote_change, pegout_change],
    };
    journal.append(now, Event::Raised(Box::new(raised)))?;
    journal.close()?;
    transaction.commit()?;
    Ok(Watermarks::of(&vote, &pegout))
}

struct Importing<'a> {
    transaction: &'a WriteTransaction,
    chain: ChainId,
    watermarks: &'a Watermarks,
    window: WindowTime,
}

impl Importing<'_> {
    /// One state: read, raised, written, with the one before kept for replay.
    fn raise<S: Audited + Stored>(
        &self,
        journal: &mut Journal<'_>,
        raised: impl FnOnce(&S, &Watermarks, WindowTime) -> S,
    ) -> Result<(S, Changed), AuditError> {
        let (bytes, state) = stored::load::<S>(self.transaction)?;
        let next = raised(&state, self.watermarks, self.window);
        let after = stored::encode(&next)?;
        stored::write_bytes(self.transaction, S::KEY, &after)?;
        let kind = BlobKind::State(S::NAME);
        let digest = |bytes| Blob { kind, bytes }.digest(self.chain);
        let change = Changed {
            name: S::NAME,
            before: digest(bytes.clone()),
            after: digest(after),
        };
        let blob = Blob { kind, bytes };
        journal.store(Class::Kept, change.before, blob)?;
        Ok((next, change))
    }
}
