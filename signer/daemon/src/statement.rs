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

/// Says in plain language what a statement does.
pub fn explain(statement: &Statement) -> String {
    let Statement {
        chain_id,
        member,
        number,
        act,
    } = statement;
    let to = format!("Statement {number} to the signer of member {member} of chain {chain_id}:");
    match act {
        Act::Pause => format!(
            "{to}\nPAUSE. It signs no peg-out until a quorum of officers resumes. Votes go on.\n\
             One officer's signature is enough."
        ),
        Act::Resume => {
            format!("{to}\nRESUME. It signs peg-outs again. A quorum of officers must sign.")
        }
        Act::Fresh(vouched) => format!(
            "{to}\nTHE STATE IS FRESH. It signs again although no outside counter shows that its state is the newest:\n\
             - no vote and no proposal up to slot {floor};\n\
             - no vote for a block on top of one below height {lock}, which must be the height of the newest\n  \
               certificates that a quorum of live signers has seen;\n\
             - no payment of any burn below {next_burn}, which must be one past the highest in any signed batch;\n\
             - no peg-out and no mint until a whole window has passed.\n\
             None of these marks can be lowered again. A quorum of officers must sign. Whoever signs has made sure that\n\
             no other copy of this signer runs; if it was paused after the copy was made, pause it again.",
            floor = vouched.slot_floor,
            lock = vouched.lock,
            next_burn = vouched.next_burn,
        ),
    }
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
        Act::Pause | Act::Resume => None,
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
