//! What the chain decided: the batch is recorded, the record is final, and its burns are the next ones.

use crate::refusal::{equal, refusal};
use crate::state::{BurnRange, MAX_GAPS, PegOutState};
use alys_protocol::body::Section;
use alys_protocol::header::Header;
use alys_protocol::peg::BatchRecord;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{BurnEvidence, PegOutRequest, Refusal};
use alys_protocol::spec::Chain;
use alys_protocol::units::{BurnSequence, SideHeight};

/// Only a batch that a block's body records: the record is in the recording body, and the recording header and its
/// parent span exactly its burns.
///
/// # Errors
/// - a refusal by rule `batch-recorded`.
pub fn batch_recorded(chain: &Chain, request: &PegOutRequest) -> Result<(), Refusal> {
    const RULE: Rule = Rule::BatchRecorded;
    let (record, recording) = (&request.record, &request.recording);
    equal(
        RULE,
        "the recording header's parent",
        recording.parent,
        request.recording_parent.id(),
    )?;
    request
        .body_branch
        .verify(
            chain.id(),
            recording.body_root,
            Section::Batch,
            &Some(record),
        )
        .map_err(|error| refusal(RULE, "the batch in the body of the recording header", error))?;
    // The voting rule `counters` asked the same of the recording block; here it binds the evidence.
    let parent_next = request.recording_parent.next_burn;
    let (first, end) = match record.replaces {
        Some(_replaced) => (parent_next, parent_next),
        None => (record.first_burn, record.next_burn),
    };
    equal(
        RULE,
        "a recording header's parent with next burn",
        first,
        parent_next,
    )?;
    equal(
        RULE,
        "a recording header with next burn",
        end,
        recording.next_burn,
    )
}

/// The recording block is final: three headers with parent links in consecutive slots, one certificate of the third,
/// and the recording header is the second or in the second's history.
///
/// # Errors
/// - a refusal by rule `finality`.
pub fn finality(chain: &Chain, request: &PegOutRequest) -> Result<(), Refusal> {
    const RULE: Rule = Rule::Finality;
    let [first, second, third] = &request.finality.headers;
    let (second_id, third_id) = (second.id(), third.id());
    equal(
        RULE,
        "a second header with parent",
        first.id(),
        second.parent,
    )?;
    equal(RULE, "a third header with parent", second_id, third.parent)?;
    consecutive(first, second)?;
    consecutive(second, third)?;
    if first.height == SideHeight::ZERO {
        return Err(refusal(RULE, "three headers above genesis", first.height));
    }
    request
        .finality
        .certificate
        .verify(chain.id(), chain.roster(), third_id)
        .map_err(|error| {
            refusal(
                RULE,
                format_args!("a quorum's certificate of {third_id}"),
                error,
            )
        })?;
    let (recording, recording_id) = (&request.recording, request.recording.id());
    let Some(proof) = &request.recording_history else {
        return equal(
            RULE,
            "a history proof, or the final header as recording header,",
            second_id,
            recording_id,
        );
    };
    proof
        .verify(
            chain.id(),
            second.history_root,
            second.height,
            recording.height,
            recording_id,
        )
        .map_err(|error| {
            refusal(
                RULE,
                "the recording header in the history of the final one",
                error,
            )
        })
}

fn consecutive(parent: &Header, child: &Header) -> Result<(), Refusal> {
    if parent.slot.checked_add(1) != Some(child.slot) {
        return Err(refusal(
            Rule::Finality,
            format_args!("the slot after {}", parent.slot),
            child.slot,
        ));
    }
    if parent.height.checked_add(1) != Some(child.height) {
        return Err(refusal(
            Rule::Finality,
            format_args!("the height after {}", parent.height),
            child.height,
        ));
    }
    Ok(())
}

/// Burns follow each other without gaps: the evidence has exactly the record's burns, in order, and none of them is in
/// another batch that was signed.
///
/// A signer that missed batches goes on at a later one, since rule `batch-recorded` has shown that the recording
/// header's parent starts there; what it jumped over it may still sign later.
///
/// # Errors
/// - a refusal by rule `burn-sequence`.
pub fn burn_sequence(
    state: &PegOutState,
    record: &BatchRecord,
    burns: &[BurnEvidence],
) -> Result<(), Refusal> {
    const RULE: Rule = Rule::BurnSequence;
    equal(
        RULE,
        "evidence of burns:",
        record.burns(),
        burns.len() as u64,
    )?;
    if record.first_burn > record.next_burn {
        return Err(refusal(
            RULE,
            format_args!("an end at or after burn {}", record.first_burn),
            record.next_burn,
        ));
    }
    for (place, evidence) in (0u64..).zip(burns) {
        let expected = record.first_burn.saturating_add(place);
        equal(RULE, "burn", expected, evidence.burn.sequence)?;
    }
    // Replacements pay burns that their family has: rule `replacement`.
    if record.replaces.is_some() || record.first_burn == record.next_burn {
        return Ok(());
    }
    let range = BurnRange {
        first: record.first_burn,
        next: record.next_burn,
    };
    if range.first >= state.next_burn || state.gaps.iter().any(|gap| contains(gap, &range)) {
        return Ok(());
    }
    Err(refusal(
        RULE,
        format_args!(
            "burns from {} on, or ones that no signed batch has",
            state.next_burn
        ),
        format_args!("burns {} to before {}", range.first, range.next),
    ))
}

fn contains(gap: &BurnRange, range: &BurnRange) -> bool {
    gap.first <= range.first && range.next <= gap.next
}

impl PegOutState {
    /// Marks burns as paid by a signed batch; rule `burn-sequence` has allowed them.
    pub fn pay(&mut self, range: BurnRange) {
        if range.first == range.next {
            return;
        }
        if range.first >= self.next_burn {
            self.remember_gap(self.next_burn, range.first);
            self.next_burn = range.next;
            return;
        }
        let Some(place) = self.gaps.iter().position(|gap| contains(gap, &range)) else {
            return;
        };
        let gap = self.gaps.remove(place);
        self.remember_gap(gap.first, range.first);
        self.remember_gap(range.next, gap.next);
    }

    fn remember_gap(&mut self, first: BurnSequence, next: BurnSequence) {
        if first >= next {
            return;
        }
        self.gaps.push(BurnRange { first, next });
        self.gaps.sort_unstable_by_key(|gap| gap.first);
        if self.gaps.len() > MAX_GAPS {
            self.gaps.remove(0);
        }
    }
}
