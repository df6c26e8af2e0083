//! That burns happened: on this chain, under enough work, by the bridge, for exactly what is claimed (design 10).

use crate::proof::{ExecutionHeader, Log, Receipt, receipt};
use crate::refusal::{equal, refusal};
use alloc::vec::Vec;
use alloy_primitives::{B256, b256};
use alys_protocol::body::Section;
use alys_protocol::bytes::BlockId;
use alys_protocol::header::Header;
use alys_protocol::history::HistoryProof;
use alys_protocol::peg::Burn;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{BurnEvidence, PegOutRequest, PowFinality, Refusal};
use alys_protocol::spec::Chain;

/// Keccak-256 of `PegOutRequested(uint64,address,bytes,uint64)`, the event's first topic.
pub const PEG_OUT_REQUESTED: B256 =
    b256!("c4424b9ce9bf9cdf4031ce4da905d418621156f30388a46a0b58d415047089d7");

/// A burn's log in its proven receipt. That it is the bridge's, and that the transaction succeeded, are two rules more.
#[derive(Debug, Clone, Copy)]
pub struct ProvenLog<'a> {
    receipt: Receipt<'a>,
    log: Log<'a>,
}

/// Finality evidence: the block B with the AuxPoW record, B's parent, T, body branch to the record, history proofs of B
/// and T. B is final, so its record is; none where the batch has no burns.
///
/// Comes after [`super::evidence::finality`], which proves the final header.
///
/// # Errors
/// - a refusal by rule `finality`.
pub fn pow_finality<'a>(
    chain: &Chain,
    request: &'a PegOutRequest,
) -> Result<Option<&'a PowFinality>, Refusal> {
    const RULE: Rule = Rule::Finality;
    let evidence = match (&request.pow, request.burns.is_empty()) {
        (None, true) => return Ok(None),
        (Some(evidence), false) => evidence,
        (Some(_), true) => {
            return Err(refusal(
                RULE,
                "no proof of work where nothing was burned",
                "one",
            ));
        }
        (None, false) => {
            return Err(refusal(RULE, "a proof of work over the burns", "none"));
        }
    };
    let [_, final_header, _] = &request.finality.headers;
    let carrier = &evidence.carrier;
    is_or_below(
        chain,
        RULE,
        "the block with the record",
        final_header,
        carrier,
        evidence.carrier_history.as_ref(),
    )?;
    equal(
        RULE,
        "a parent of the block with the record",
        carrier.parent,
        evidence.carrier_parent.id(),
    )?;
    evidence
        .body_branch
        .verify(
            chain.id(),
            carrier.body_root,
            Section::Pow,
            &Some(&evidence.record),
        )
        .map_err(|error| {
            refusal(
                RULE,
                "the record in the body of the block that carries it",
                error,
            )
        })?;
    let end = &evidence.end;
    equal(RULE, "the record's end", carrier.pow.id, end.id())?;
    equal(
        RULE,
        "the record's end at height",
        carrier.pow.height,
        end.height,
    )?;
    below(
        chain,
        RULE,
        "the record's end",
        carrier,
        end,
        &evidence.end_history,
    )?;
    Ok(Some(evidence))
}

/// Burn evidence: header of the burn's block, history proof to the signer's PoW-final header, execution header whose hash
/// is `execution_hash`, receipt proof, log index. The log is exactly the claimed burn's event.
///
/// `end` is the newest header that the record finalises; the burn's block is that one or below it.
///
/// # Errors
/// - a refusal by rule `burn-proof`.
pub fn burn_proof<'a>(
    chain: &Chain,
    end: &Header,
    evidence: &'a BurnEvidence,
) -> Result<ProvenLog<'a>, Refusal> {
    const RULE: Rule = Rule::BurnProof;
    let (burn, header) = (&evidence.burn, &evidence.header);
    is_or_below(
        chain,
        RULE,
        "the burn's block",
        end,
        header,
        evidence.history.as_ref(),
    )?;
    equal(RULE, "a burn in block", burn.block, header.id())?;
    equal(RULE, "a burn at height", burn.height, header.height)?;
    let execution =
        ExecutionHeader::with_hash(header.execution_hash, &evidence.execution_header)
            .map_err(|error| refusal(RULE, "the execution header of the burn's block", error))?;
    let place = evidence.transaction_index;
    let receipt = receipt(execution.receipts_root, place, &evidence.receipt).map_err(|error| {
        refusal(
            RULE,
            format_args!(
                "receipt {place} of block {} with burn {}",
                burn.block, burn.sequence
            ),
            error,
        )
    })?;
    let log = receipt.log(evidence.log_index).map_err(|error| {
        refusal(
            RULE,
            format_args!("the log of burn {}", burn.sequence),
            error,
        )
    })?;
    is_event_of(burn, &log)?;
    Ok(ProvenLog { receipt, log })
}

/// The log's address is the bridge's: whoever else emits the event, it means nothing (regression A3). Calls through other
/// contracts count.
///
/// # Errors
/// - a refusal by rule `burn-emitter`.
pub fn burn_emitter(chain: &Chain, proven: &ProvenLog<'_>) -> Result<(), Refusal> {
    equal(
        Rule::BurnEmitter,
        "a log of the bridge",
        chain.spec().execution.bridge,
        proven.log.address,
    )
}

/// The burn's transaction succeeded.
///
/// # Errors
/// - a refusal by rule `burn-status`.
pub fn burn_status(proven: &ProvenLog<'_>) -> Result<(), Refusal> {
    equal(
        Rule::BurnStatus,
        "receipt status",
        1,
        u8::from(proven.receipt.succeeded()),
    )
}

/// `Bridge.requestPegOut` burns and emits `(sequence, sender, scriptPubKey, sats)`.
///
/// What Solidity writes for the claimed burn is made and compared, so there is nothing to decode.
fn is_event_of(burn: &Burn, log: &Log<'_>) -> Result<(), Refusal> {
    const RULE: Rule = Rule::BurnProof;
    let (topics, data) = event(burn);
    let mut found = log.topics();
    for (name, expected) in ["signature", "sequence", "sender"].into_iter().zip(topics) {
        let what = format_args!("{name} {expected} in the event of burn {}", burn.sequence);
        match found.next() {
            Some(found) if expected == *found => {}
            Some(found) => return Err(refusal(RULE, what, B256::new(*found))),
            None => return Err(refusal(RULE, what, "fewer topics")),
        }
    }
    if found.next().is_some() {
        return Err(refusal(RULE, "an event with three topics", "more"));
    }
    if data != log.data {
        return Err(refusal(
            RULE,
            format_args!(
                "an event that burns {} sat for {:x}",
                burn.amount,
                bitcoin::Script::from_bytes(&burn.script_pubkey)
            ),
            format_args!("{} bytes of other data", log.data.len()),
        ));
    }
    Ok(())
}

/// Topics and data of a burn's event in Solidity's ABI: sequence and sender are indexed, `(bytes, uint64)` are not.
fn event(burn: &Burn) -> ([B256; 3], Vec<u8>) {
    let number = |value: u64| B256::left_padding_from(&value.to_be_bytes());
    let script = &*burn.script_pubkey;
    let mut data = Vec::new();
    for word in [64, burn.amount.get(), script.len() as u64] {
        data.extend_from_slice(number(word).as_slice());
    }
    data.extend_from_slice(script);
    data.resize(data.len().next_multiple_of(32), 0);
    let topics = [
        PEG_OUT_REQUESTED,
        number(burn.sequence.get()),
        B256::left_padding_from(burn.sender.as_bytes()),
    ];
    (topics, data)
}

/// `header` is `of` or one of its ancestors.
fn is_or_below(
    chain: &Chain,
    rule: Rule,
    what: &str,
    of: &Header,
    header: &Header,
    history: Option<&HistoryProof>,
) -> Result<(), Refusal> {
    match history {
        Some(proof) => below(chain, rule, what, of, header, proof),
        None => {
            let (of, id): (BlockId, BlockId) = (of.id(), header.id());
            if of == id {
                return Ok(());
            }
            Err(refusal(
                rule,
                format_args!("a history proof, or {of} as {what},"),
                id,
            ))
        }
    }
}

/// `header` is an ancestor of `of`.
fn below(
    chain: &Chain,
    rule: Rule,
    what: &str,
    of: &Header,
    header: &Header,
    proof: &HistoryProof,
) -> Result<(), Refusal> {
    proof
        .verify(
            chain.id(),
            of.history_root,
            of.height,
            header.height,
            header.id(),
        )
        .map_err(|error| {
            refusal(
                rule,
                format_args!("{what} in the history of block {}", of.height),
                error,
            )
        })
}
