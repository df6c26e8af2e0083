//! Officers' statements as they come over the wire: TOML with minisign signatures (design 10, `alys_signer_core::admin::statement`).
//!
//! ```toml
//! chain_id = 212121
//! member = 3
//! number = 6          # above the last that the signer accepted
//! act = "pause"       # or "resume"
//! ```
//!
//! or, to vouch for a state that no outside counter shows to be the newest, in place of the last line
//!
//! ```toml
//! [act.fresh]
//! challenge = "0x..."     # as the signer gave it
//! slot_floor = 901000000  # it votes and proposes only above
//! lock = 1200             # height from the newest certificates of q live signers
//! next_burn = 17          # one past the highest burn that any signed batch has
//! ```
//!
//! or, to let batches leave a burn unpaid, `act.skip = { burn = 12 }`; or, where the signer cannot follow Bitcoin any more
//! (a reorganisation too deep for its policy), `act.anchor = { height = 870000, hash = "..." }`.

use crate::audit::entry::Inputs;
use crate::policy_file::TrustedOfficers;
use alys_protocol::bytes::{CounterTag, Digest};
use alys_protocol::rules::Rule;
use alys_protocol::signer::{ProtocolError, Refusal, SignedStatement};
use alys_signer_core::Signer;
use alys_signer_core::admin::statement::{Act, Governed, Moment, Statement, obey};
use alys_signer_core::freshness::{Freshness, Lease};

/// Reads a statement; nobody's signature was looked at yet.
///
/// # Errors
/// - [`ProtocolError::Malformed`] where it is none.
pub fn parse(text: &[u8]) -> Result<Statement, ProtocolError> {
    let malformed = |reason: &dyn core::fmt::Display| {
        ProtocolError::Malformed(format!("expected an officers' statement: {reason}"))
    };
    let text = core::str::from_utf8(text).map_err(|error| malformed(&error))?;
    toml::from_str(text).map_err(|error| malformed(&error))
}

/// What a signer knows in the moment of a statement.
pub(crate) fn moment(signer: &Signer, inputs: &Inputs, challenge: Option<Digest>) -> Moment {
    Moment {
        chain: signer.chain().id(),
        member: signer.member(),
        challenge,
        slot: inputs.slot,
        window: inputs.window,
        horizon_slots: signer.policy().slot_horizon_slots,
        bitcoin_start: signer.chain().spec().bitcoin.start_height,
    }
}

/// Judges a statement: the states after it, and where it vouches, the lease to take.
///
/// `tag` is the fresh one of such a lease.
///
/// # Errors
/// - the refusal of the first rule; by `quorum` where a signature is no officer's or does not verify.
pub(crate) fn judge(
    states: &Governed,
    moment: &Moment,
    officers: &TrustedOfficers,
    statement: &Statement,
    signed: &SignedStatement,
    (freshness, tag): (&Freshness, CounterTag),
) -> Result<(Governed, Option<Lease>), Refusal> {
    let texts = signed
        .signatures
        .iter()
        .map(|text| core::str::from_utf8(text).unwrap_or_default());
    let signers = officers
        .signers(&signed.text, texts)
        .map_err(|found| Refusal {
            rule: Rule::Quorum,
            expected: "signatures of officers under the statement".to_owned(),
            found,
        })?;
    let next = obey(states, moment, officers.officers(), statement, &signers)?;
    let lease = match &statement.act {
        Act::Pause | Act::Resume | Act::Skip(_) | Act::Anchor(_) => None,
        Act::Fresh(vouched) => {
            // Without a counter the lease's own mark counts, for this run of the process.
            let from = freshness.outside.unwrap_or(freshness.lease.counter);
            let lease = freshness.lease.vouched(from, vouched.slot_floor, tag);
            Some(lease.ok_or_else(|| Refusal {
                rule: Rule::Counter,
                expected: "an outside counter with a value left".to_owned(),
                found: from.to_string(),
            })?)
        }
    };
    Ok((next, lease))
}
