//! Rule `bundle`: which blocks a record finalises.

use crate::refusal::{equal, refusal};
use crate::vote::final_of_three;
use alys_protocol::body::PowRecord;
use alys_protocol::header::Header;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{PowEvidence, Refusal};
use alys_protocol::spec::Chain;
use alys_protocol::units::SideHeight;

const RULE: Rule = Rule::Bundle;

/// Bundle = the child of `parent.pow.id` up to T, with T <= F(B).
///
/// T is `header.pow.id` at `header.pow.height`; both ends are in the history of the carrying block B. F(B) is known from
/// above: it is the parent's parent where that one, the parent and `ancestors` show it, and below it where they do not.
///
/// # Errors
/// - a refusal by rule `bundle`.
pub fn bundle<'a>(
    chain: &Chain,
    header: &Header,
    parent: &Header,
    ancestors: &[Header],
    record: Option<&'a PowRecord>,
    evidence: Option<&PowEvidence>,
) -> Result<Option<&'a PowRecord>, Refusal> {
    let (record, evidence) = match (record, evidence) {
        (None, None) => return Ok(None),
        (Some(record), Some(evidence)) => (record, evidence),
        (None, Some(_)) => return Err(refusal(RULE, "no range where there is no record", "one")),
        (Some(_), None) => return Err(refusal(RULE, "the range that the record names", "none")),
    };
    let (claimed, before) = (header.pow, parent.pow);
    let highest = highest_final(parent, ancestors);
    if claimed.height <= before.height || claimed.height > highest {
        return Err(refusal(
            RULE,
            format_args!(
                "an end above height {}, which is final, and at most {highest}, the newest that may be",
                before.height
            ),
            claimed.height,
        ));
    }
    let end = evidence.end.id();
    equal(RULE, "the range's end", claimed.id, end)?;
    equal(
        RULE,
        "an end at height",
        claimed.height,
        evidence.end.height,
    )?;
    let ancestor = |what: &str, height, id, proof: &alys_protocol::history::HistoryProof| {
        proof
            .verify(chain.id(), header.history_root, header.height, height, id)
            .map_err(|error| {
                refusal(
                    RULE,
                    format_args!(
                        "the range's {what} {id} at height {height} of the block's history"
                    ),
                    error,
                )
            })
    };
    ancestor("end", claimed.height, end, &evidence.end_history)?;
    let first = before.height.saturating_add(1);
    ancestor("start", first, record.start, &evidence.start_history)?;
    Ok(Some(record))
}

/// The newest height that can be final for a child of `parent`: of any three blocks up to the parent, the second.
fn highest_final(parent: &Header, ancestors: &[Header]) -> SideHeight {
    // Where the newest three are not in consecutive slots, the next three to look at end one block below.
    final_of_three(parent, ancestors).unwrap_or_else(|| parent.height.saturating_sub(2))
}
