//! Rules of area `vote`: what may be proposed and approved.
//!
//! Each rule is a pure function under the rule's name; the sentence above it is the design's.

mod execution;

pub use crate::proof::ExecutionHeader;
pub use execution::{execution_header, withdrawals_root};

use crate::refusal::{equal, refusal};
use alys_protocol::body::Body;
use alys_protocol::bytes::BlockId;
use alys_protocol::header::Header;
use alys_protocol::history::Peaks;
use alys_protocol::rules::Rule;
use alys_protocol::signer::Refusal;
use alys_protocol::spec::Chain;
use alys_protocol::units::{MemberId, SideHeight, Slot};
use core::cmp::Ordering;

/// The header is of this chain and of a known version.
///
/// # Errors
/// - a refusal by rule `chain`.
pub fn chain(chain: &Chain, header: &Header) -> Result<(), Refusal> {
    equal(
        Rule::Chain,
        "header version",
        Header::VERSION,
        header.version,
    )?;
    equal(Rule::Chain, "chain id", chain.id(), header.chain_id)
}

/// The header is of this epoch.
///
/// # Errors
/// - a refusal by rule `epoch`.
pub fn epoch(chain: &Chain, header: &Header) -> Result<(), Refusal> {
    equal(Rule::Epoch, "epoch", chain.spec().epoch, header.epoch)
}

/// `leader = roster[slot mod n]`: a proposal is signed only in the member's own slot.
///
/// # Errors
/// - a refusal by rule `leader`.
pub fn leader(chain: &Chain, member: MemberId, slot: Slot) -> Result<(), Refusal> {
    equal(
        Rule::Leader,
        "a slot led by member",
        member,
        chain.roster().leader(slot),
    )
}

/// `slot > last voted slot` and `slot > the parent's slot`.
///
/// # Errors
/// - a refusal by rule `slot-monotonic`.
pub fn slot_monotonic(last: Slot, parent: Slot, slot: Slot) -> Result<(), Refusal> {
    if slot <= last {
        return Err(refusal(
            Rule::SlotMonotonic,
            format_args!("a slot above {last}, which was signed last"),
            slot,
        ));
    }
    if slot <= parent {
        return Err(refusal(
            Rule::SlotMonotonic,
            format_args!("a slot above the parent's, {parent}"),
            slot,
        ));
    }
    Ok(())
}

/// A signer refuses slots beyond a horizon past its clock, so that a lying node cannot burn its future.
///
/// # Errors
/// - a refusal by rule `slot-horizon`.
pub fn slot_horizon(now: Slot, horizon: u64, slot: Slot) -> Result<(), Refusal> {
    let last = now.saturating_add(horizon);
    if slot > last {
        return Err(refusal(
            Rule::SlotHorizon,
            format_args!("a slot of at most {last}: the clock is in slot {now}"),
            slot,
        ));
    }
    Ok(())
}

/// The parent's certificate is verified; exactly one sits in the body, and none where the parent is genesis.
///
/// # Errors
/// - a refusal by rule `parent-certified`.
pub fn parent_certified(
    chain: &Chain,
    header: &Header,
    parent: BlockId,
    body: &Body,
) -> Result<(), Refusal> {
    const RULE: Rule = Rule::ParentCertified;
    equal(RULE, "the header of parent", header.parent, parent)?;
    let Some(certificate) = &body.parent_certificate else {
        return equal(
            RULE,
            "a certificate in the body, or the genesis parent",
            chain.genesis_id(),
            parent,
        );
    };
    if parent == chain.genesis_id() {
        return Err(refusal(
            RULE,
            "no certificate of genesis",
            format_args!("one of {}", certificate.block),
        ));
    }
    certificate
        .verify(chain.id(), chain.roster(), parent)
        .map_err(|error| {
            refusal(
                RULE,
                format_args!("a quorum's certificate of {parent}"),
                error,
            )
        })
}

/// The lock: `parent.height >= the highest certified height seen`.
///
/// # Errors
/// - a refusal by rule `longest-chain`.
pub fn longest_chain(lock: SideHeight, parent: SideHeight) -> Result<(), Refusal> {
    if parent < lock {
        return Err(refusal(
            Rule::LongestChain,
            format_args!("a parent at height {lock} or above, which is certified"),
            parent,
        ));
    }
    Ok(())
}

/// The height is the parent's plus one.
///
/// # Errors
/// - a refusal by rule `height`.
pub fn height(parent: SideHeight, height: SideHeight) -> Result<(), Refusal> {
    if parent.checked_add(1) != Some(height) {
        return Err(refusal(
            Rule::Height,
            format_args!("the parent's height {parent} plus one"),
            height,
        ));
    }
    Ok(())
}

/// The parent's peaks bag to the parent's root; with the parent's id appended they bag to this header's root.
///
/// # Errors
/// - a refusal by rule `history`.
pub fn history(
    chain: &Chain,
    header: &Header,
    parent: &Header,
    parent_id: BlockId,
    peaks: &Peaks,
) -> Result<(), Refusal> {
    const RULE: Rule = Rule::History;
    peaks
        .check_shape()
        .map_err(|error| refusal(RULE, "peaks that fit their number of leaves", error))?;
    equal(
        RULE,
        "a parent history of leaves",
        parent.height.get(),
        peaks.leaves(),
    )?;
    equal(
        RULE,
        "peaks that bag to the parent's root",
        parent.history_root,
        peaks.root(chain.id()),
    )?;
    let appended = peaks
        .append(chain.id(), parent_id)
        .map_err(|error| refusal(RULE, "a history with room for the parent", error))?;
    equal(
        RULE,
        "history root",
        appended.root(chain.id()),
        header.history_root,
    )
}

/// Cursor, next burn, proof of work and fees equal the parent's unless the body record that changes them is in the
/// evidence; they never decrease.
///
/// The cursor may also move over Bitcoin blocks in which nothing concerns the federation.
///
/// # Errors
/// - a refusal by rule `counters`.
pub fn counters(
    chain: &Chain,
    header: &Header,
    parent: &Header,
    body: &Body,
) -> Result<(), Refusal> {
    const RULE: Rule = Rule::Counters;
    let root = body
        .root(chain.id())
        .map_err(|error| refusal(RULE, "a body", error))?;
    equal(RULE, "body root", root, header.body_root)?;
    cursor(header, parent, body)?;
    next_burn(header, parent, body)?;
    pow(header, parent, body)
}

fn cursor(header: &Header, parent: &Header, body: &Body) -> Result<(), Refusal> {
    const RULE: Rule = Rule::Counters;
    let show = |header: &Header| {
        let cursor = header.bitcoin;
        alloc::format!("{} {} tx {}", cursor.height, cursor.hash, cursor.next_tx)
    };
    match header.bitcoin.cmp_position(&parent.bitcoin) {
        Ordering::Greater
            if header.bitcoin.height > parent.bitcoin.height
                || header.bitcoin.hash == parent.bitcoin.hash =>
        {
            Ok(())
        }
        Ordering::Equal if header.bitcoin.hash == parent.bitcoin.hash => equal(
            RULE,
            "no consumed transactions where the cursor stays, so",
            0,
            body.consumed.len(),
        ),
        Ordering::Greater | Ordering::Equal | Ordering::Less => Err(refusal(
            RULE,
            format_args!("a cursor at or after {} of the same chain", show(parent)),
            show(header),
        )),
    }
}

/// A batch spans exactly `parent.next_burn` to `next_burn`; a replacement leaves `next_burn` unchanged.
fn next_burn(header: &Header, parent: &Header, body: &Body) -> Result<(), Refusal> {
    const RULE: Rule = Rule::Counters;
    let Some(batch) = &body.batch else {
        return equal(
            RULE,
            "without a batch next_burn",
            parent.next_burn,
            header.next_burn,
        );
    };
    if batch.first_burn > batch.next_burn {
        return Err(refusal(
            RULE,
            format_args!(
                "a batch that ends at or after its first burn {}",
                batch.first_burn
            ),
            batch.next_burn,
        ));
    }
    if batch.replaces.is_some() {
        equal(
            RULE,
            "with a replacement next_burn",
            parent.next_burn,
            header.next_burn,
        )?;
        if batch.next_burn > parent.next_burn {
            return Err(refusal(
                RULE,
                format_args!("a replacement of burns below {}", parent.next_burn),
                batch.next_burn,
            ));
        }
        return Ok(());
    }
    equal(
        RULE,
        "a batch from burn",
        parent.next_burn,
        batch.first_burn,
    )?;
    equal(
        RULE,
        "next_burn at the batch's end",
        batch.next_burn,
        header.next_burn,
    )
}

/// A record adds one to the count and finalises at least one block below this one; fees are paid with a record only.
fn pow(header: &Header, parent: &Header, body: &Body) -> Result<(), Refusal> {
    const RULE: Rule = Rule::Counters;
    if body.pow.is_none() {
        equal(
            RULE,
            "without a record proof-of-work count",
            parent.pow.count,
            header.pow.count,
        )?;
        equal(
            RULE,
            "without a record PoW-final height",
            parent.pow.height,
            header.pow.height,
        )?;
        equal(
            RULE,
            "without a record PoW-final id",
            parent.pow.id,
            header.pow.id,
        )?;
        return equal(
            RULE,
            "without a record distributed fees of",
            parent.fees_distributed,
            header.fees_distributed,
        );
    }
    if parent.pow.count.checked_add(1) != Some(header.pow.count) {
        return Err(refusal(
            RULE,
            format_args!(
                "with a record the parent's proof-of-work count {} plus one",
                parent.pow.count
            ),
            header.pow.count,
        ));
    }
    if header.pow.height <= parent.pow.height || header.pow.height >= header.height {
        return Err(refusal(
            RULE,
            format_args!(
                "with a record a PoW-final height above {} and below {}",
                parent.pow.height, header.height
            ),
            header.pow.height,
        ));
    }
    if header.fees_distributed < parent.fees_distributed {
        return Err(refusal(
            RULE,
            format_args!("distributed fees of at least {}", parent.fees_distributed),
            header.fees_distributed,
        ));
    }
    Ok(())
}

/// The newest height that a chain's last blocks show as final: of three certified blocks with parent links in
/// consecutive slots, the second. Genesis is never one of the three.
///
/// `newest` must be certified, which implies that the others are. `None` where they show nothing.
pub fn final_of_three(newest: &Header, ancestors: &[Header]) -> Option<SideHeight> {
    let [second, first] = ancestors else {
        return None;
    };
    let linked = newest.parent == second.id() && second.parent == first.id();
    let consecutive = first.slot.checked_add(1) == Some(second.slot)
        && second.slot.checked_add(1) == Some(newest.slot);
    let heights = first.height.checked_add(1) == Some(second.height)
        && second.height.checked_add(1) == Some(newest.height);
    (linked && consecutive && heights && first.height > SideHeight::ZERO).then_some(second.height)
}

/// The parent's parent and that one's parent are shown, as far as there are any above genesis: a node that hid them would
/// hide what is final, and with it that a record is due.
///
/// # Errors
/// - a refusal by rule `pow-distance`.
pub fn ancestors(parent: &Header, ancestors: &[Header]) -> Result<(), Refusal> {
    let due = parent.height.saturating_sub(1).get().min(2);
    if (ancestors.len() as u64) < due {
        return Err(refusal(
            Rule::PowDistance,
            format_args!("{due} ancestors of the parent"),
            ancestors.len(),
        ));
    }
    let mut child = parent;
    for ancestor in ancestors {
        equal(
            Rule::PowDistance,
            "an ancestor with id",
            child.parent,
            ancestor.id(),
        )?;
        child = ancestor;
    }
    Ok(())
}

/// A block needs a record if and only if `F(block) - parent.pow.height > max_blocks_without_pow`.
///
/// `known_final` is a lower bound of F(block): a signer that saw only a part of the chain may know less than the nodes,
/// so it refuses a record's absence, never its presence.
///
/// # Errors
/// - a refusal by rule `pow-distance`.
pub fn pow_distance(
    chain: &Chain,
    known_final: SideHeight,
    parent: &Header,
    body: &Body,
) -> Result<(), Refusal> {
    let distance = known_final.saturating_sub(parent.pow.height.get()).get();
    let maximum = chain.spec().mining.max_blocks_without_pow;
    if distance > maximum && body.pow.is_none() {
        return Err(refusal(
            Rule::PowDistance,
            format_args!("a proof-of-work record: more than {maximum} final blocks lack one"),
            format_args!("none, and {distance} such blocks"),
        ));
    }
    Ok(())
}
