//! What officers say about one signer: pause its peg-outs, resume them, or vouch for a state that no outside counter
//! shows to be the newest (design 10).
//!
//! The judge and the effects only; reading the text, verifying signatures and the challenge's life are the shell's part.

mod explain;

pub use explain::explain;

use super::{OfficerKey, Officers, quorum};
use crate::btc::{Checkpoint, HeaderChain};
use crate::clock::WindowTime;
use crate::refusal::{equal, refusal};
use crate::state::{AdminState, PegOutState, VoteState};
use crate::watermarks::Watermarks;
use alys_protocol::bytes::Digest;
use alys_protocol::rules::Rule;
use alys_protocol::signer::Refusal;
use alys_protocol::units::{
    BtcHeight, BurnSequence, ChainId, MemberId, SideHeight, Slot, StatementNumber,
};
use serde::{Deserialize, Serialize};

/// Slots that a floor may be beyond what a lost state can have signed: a day of 2 s. The signer is silent up to the floor,
/// and no later statement lowers it.
pub const MAX_FLOOR_SLOTS: u64 = 43_200;

/// One statement, as its file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The chain.
    pub chain_id: ChainId,
    /// Whose signer it is for: officers may have several.
    pub member: MemberId,
    /// Its number; each one that a signer accepts is above the one before.
    pub number: StatementNumber,
    /// What it says.
    pub act: Act,
}

/// What a statement says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// No peg-outs from now on; one officer suffices.
    Pause,
    /// Peg-outs again; takes a quorum.
    Resume,
    /// The state may be old, and from these marks on it is safe; takes a quorum.
    Fresh(Vouched),
    /// A burn need not be paid; takes a quorum, and those of enough other members.
    Skip(Skipped),
    /// The signer's chain of Bitcoin headers starts anew from this block; takes a quorum.
    Anchor(Checkpoint),
}

/// Which burn is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skipped {
    /// Its number. It must be in a final block: until then another burn may get it.
    pub burn: BurnSequence,
}

/// What officers vouch for, after they looked at what other signers and the chain show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vouched {
    /// The nonce that the signer gave, so that the statement fits this run of it and no later copy.
    pub challenge: Digest,
    /// The signer votes and proposes only above this slot.
    pub slot_floor: Slot,
    /// The height from the newest certificates of q live signers.
    pub lock: SideHeight,
    /// One past the highest burn that any signed batch has.
    pub next_burn: BurnSequence,
}

impl Vouched {
    /// The marks that the states are raised to.
    pub const fn marks(&self) -> Watermarks {
        Watermarks {
            last_slot: self.slot_floor,
            lock: self.lock,
            next_burn: self.next_burn,
        }
    }
}

/// What the signer knows in the moment of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The chain it signs for.
    pub chain: ChainId,
    /// The member whose keys it holds.
    pub member: MemberId,
    /// The challenge it gave and that was not used; none where there is none.
    pub challenge: Option<Digest>,
    /// The clock's slot.
    pub slot: Slot,
    /// Time of the rolling windows.
    pub window: WindowTime,
    /// The policy's slots past the clock's that may be signed for.
    pub horizon_slots: u64,
    /// Where the chain spec starts to look at Bitcoin.
    pub bitcoin_start: BtcHeight,
}

/// The states that a statement reads and changes, written together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Governed {
    /// Which statements were accepted.
    pub admin: AdminState,
    /// Votes.
    pub vote: VoteState,
    /// Peg-outs.
    pub pegout: PegOutState,
    /// Bitcoin's headers.
    pub bitcoin: HeaderChain,
}

/// Judges a statement and gives the states after it. `signed` are the officers whose signatures of its text verify.
///
/// # Errors
/// - the first rule's refusal: `chain`, `quorum`, `iteration`, for [`Act::Fresh`] `fresh`, and for
///   [`Act::Anchor`] `reorg-depth`.
pub fn obey(
    states: &Governed,
    moment: &Moment,
    officers: &Officers,
    statement: &Statement,
    signed: &[OfficerKey],
) -> Result<Governed, Refusal> {
    judge(&states.admin, moment, officers, statement, signed)?;
    let admin = AdminState {
        statement: statement.number,
        ..match &statement.act {
            Act::Skip(skipped) => states.admin.with_skip(skipped.burn),
            Act::Pause | Act::Resume | Act::Fresh(_) | Act::Anchor(_) => states.admin.clone(),
        }
    };
    let (vote, pegout) = (&states.vote, &states.pegout);
    let (vote, pegout) = match &statement.act {
        Act::Pause => (vote.clone(), pegout.with_paused(true)),
        Act::Resume => (vote.clone(), pegout.with_paused(false)),
        Act::Skip(_) | Act::Anchor(_) => (vote.clone(), pegout.clone()),
        Act::Fresh(vouched) => (
            vote.raised(&vouched.marks(), moment.window),
            pegout.raised(&vouched.marks(), moment.window),
        ),
    };
    let bitcoin = match &statement.act {
        Act::Anchor(checkpoint) => HeaderChain::anchored(*checkpoint),
        Act::Pause | Act::Resume | Act::Fresh(_) | Act::Skip(_) => states.bitcoin.clone(),
    };
    Ok(Governed {
        admin,
        vote,
        pegout,
        bitcoin,
    })
}

fn judge(
    admin: &AdminState,
    moment: &Moment,
    officers: &Officers,
    statement: &Statement,
    signed: &[OfficerKey],
) -> Result<(), Refusal> {
    equal(
        Rule::Chain,
        "a statement for chain",
        moment.chain,
        statement.chain_id,
    )?;
    equal(
        Rule::Chain,
        "a statement for the signer of member",
        moment.member,
        statement.member,
    )?;
    match statement.act {
        Act::Pause => any_officer(officers, signed)?,
        Act::Resume | Act::Fresh(_) | Act::Skip(_) | Act::Anchor(_) => quorum(officers, signed)?,
    }
    number(admin.statement, statement.number)?;
    match statement.act {
        Act::Pause | Act::Resume | Act::Skip(_) => Ok(()),
        Act::Fresh(vouched) => vouching(moment, &vouched),
        Act::Anchor(checkpoint) => anchoring(moment.bitcoin_start, checkpoint.height),
    }
}

/// One officer signed.
///
/// # Errors
/// - a refusal by rule `quorum`.
fn any_officer(officers: &Officers, signed: &[OfficerKey]) -> Result<(), Refusal> {
    if signed.iter().any(|key| officers.keys.contains(key)) {
        return Ok(());
    }
    Err(refusal(
        Rule::Quorum,
        format_args!("a signature of any of {} officers", officers.count()),
        0,
    ))
}

/// A statement's number strictly increases, so that none counts twice: an old `resume` never undoes a new `pause`.
///
/// # Errors
/// - a refusal by rule `iteration`.
fn number(last: StatementNumber, found: StatementNumber) -> Result<(), Refusal> {
    if found > last {
        return Ok(());
    }
    Err(refusal(
        Rule::Iteration,
        format_args!("a statement's number above {last}"),
        found,
    ))
}

/// The statement answers this run's challenge, and its floor is above every slot that a lost state can have signed in,
/// which rule `slot-horizon` kept at most the horizon past the clock, but not so far that the signer stays silent.
///
/// # Errors
/// - a refusal by rule `fresh`.
fn vouching(moment: &Moment, vouched: &Vouched) -> Result<(), Refusal> {
    let Some(challenge) = moment.challenge else {
        return Err(refusal(
            Rule::Fresh,
            "an answer to a challenge that this signer gave",
            "one where no challenge is open",
        ));
    };
    equal(
        Rule::Fresh,
        "an answer to challenge",
        challenge,
        vouched.challenge,
    )?;
    let reach = moment.slot.saturating_add(moment.horizon_slots);
    let most = reach.saturating_add(MAX_FLOOR_SLOTS);
    if vouched.slot_floor > reach && vouched.slot_floor <= most {
        return Ok(());
    }
    Err(refusal(
        Rule::Fresh,
        format_args!(
            "a slot floor above slot {} and {} slots of horizon, by at most {MAX_FLOOR_SLOTS}",
            moment.slot, moment.horizon_slots
        ),
        vouched.slot_floor,
    ))
}

/// A chain never starts below the block that all members agreed to start from: what is older is no deposit's.
///
/// # Errors
/// - a refusal by rule `reorg-depth`.
fn anchoring(start: BtcHeight, height: BtcHeight) -> Result<(), Refusal> {
    if height >= start {
        return Ok(());
    }
    Err(refusal(
        Rule::ReorgDepth,
        format_args!("a checkpoint not below the chain spec's start at height {start}"),
        format_args!("height {height}"),
    ))
}

impl PegOutState {
    /// After one officer paused, or a quorum resumed.
    #[must_use]
    pub fn with_paused(&self, paused: bool) -> Self {
        Self {
            paused,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests;
