//! Claim C3, the decision: batches that no final block recorded, and work that was not done over their burns.

use crate::burns::{link, three};
use crate::federation::{Federation, edit};
use crate::support::fixtures::Honest;
use crate::support::fixtures::evidence::reseal;
use crate::support::fixtures::pegout::{self, Plan};
use alys_protocol::body::Section;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{Digest, EvmAddress};
use alys_protocol::header::Header;
use alys_protocol::rules::Rule;
use alys_protocol::signer::PegOutRequest;
use alys_protocol::units::{BurnSequence, ChainId, Epoch, SatsPerKvb, SideHeight};
use bitcoin::ScriptBuf;

/// Regression A11: work that no final block decided, or another than it decided.
pub(crate) fn a11_batches_that_are_not_recorded_or_not_final() {
    let mut federation = Federation::new();
    let request = federation.batch(&three(0));
    federation.honest.grow(2);
    let mut thief = request.record.clone();
    let mut transaction = request.record.decode_transaction().unwrap();
    transaction.output[0].script_pubkey = ScriptBuf::from_bytes(vec![0x51]);
    thief.transaction = BoundedVec::new(bitcoin::consensus::serialize(&transaction)).unwrap();
    let height = request.recording.height.get();
    let last = federation.height();
    let older = federation.honest.certificate(request.recording.id());
    let newer = federation
        .honest
        .certificate(federation.honest.tip().header.id());
    let two = {
        let mut certificate = request.finality.certificate.clone();
        edit(&mut certificate.signers, |bits| bits[0] = 0b0110);
        certificate
    };
    let other_history = federation.honest.history_proof(last, 2);
    let before = link(&federation, height - 1).header.clone();
    let after = link(&federation, height + 1).header.clone();
    let stranger = federation.on_a_fork(|honest| {
        honest.links.truncate(1);
        pegout::request(honest, &Plan::simple(0, 9))
    });
    let gap = federation.on_a_fork(|honest| {
        honest.extend(2, |_| ());
        honest.grow(1);
        let from = usize::try_from(last).unwrap();
        let headers = [from, from + 1, from + 2].map(|at| honest.links[at].header.clone());
        let certificate = honest.certificate(headers[2].id());
        let history = honest.history_proof(last + 1, height);
        (headers, certificate, history)
    });
    const RECORDED: Rule = Rule::BatchRecorded;
    const FINAL: Rule = Rule::Finality;
    federation.refuses_payments_and_repeats(
        &request,
        &[
            (Rule::Chain, "another chain", &|r| {
                r.recording.chain_id = ChainId::new(1)
            }),
            (Rule::Epoch, "another epoch", &|r| {
                r.recording.epoch = Epoch::new(7)
            }),
            (RECORDED, "another payee", &|r| r.record = thief.clone()),
            (RECORDED, "another rate", &|r| {
                r.record.fee_rate = SatsPerKvb::new(4_999)
            }),
            (RECORDED, "as a replacement", &|r| {
                r.record.replaces = Some(r.record.id(r.recording.chain_id))
            }),
            (RECORDED, "fewer burns", &|r| {
                r.record.next_burn = BurnSequence::new(2)
            }),
            (RECORDED, "branch swapped", &|r| {
                r.body_branch.siblings.swap(0, 1)
            }),
            (RECORDED, "branch forged", &|r| {
                r.body_branch.siblings[0] = Digest::ZERO
            }),
            (RECORDED, "the block before", &|r| {
                r.recording = before.clone()
            }),
            (RECORDED, "the block after", &|r| {
                r.recording = after.clone()
            }),
            (RECORDED, "another parent", &|r| {
                r.recording_parent = after.clone()
            }),
            (RECORDED, "a parent that paid less", &|r| {
                r.recording_parent.next_burn = BurnSequence::new(1)
            }),
            (RECORDED, "a block that pays more", &|r| {
                r.recording.next_burn = BurnSequence::new(9)
            }),
            (RECORDED, "another chain's record", &|r| {
                r.record = stranger.record.clone();
                r.values = stranger.values.clone();
            }),
            (FINAL, "another chain's finality", &|r| {
                r.finality = stranger.finality.clone()
            }),
            (FINAL, "an older certificate", &|r| {
                r.finality.certificate = older.clone()
            }),
            (FINAL, "a newer certificate", &|r| {
                r.finality.certificate = newer.clone()
            }),
            (FINAL, "a certificate of two members", &|r| {
                r.finality.certificate = two.clone()
            }),
            (FINAL, "a certificate of nobody", &|r| {
                edit(&mut r.finality.certificate.signers, |bits| bits[0] = 0);
            }),
            (FINAL, "a certificate of all", &|r| {
                edit(&mut r.finality.certificate.signers, |bits| bits[0] = 0b1111);
            }),
            (FINAL, "headers swapped", &|r| r.finality.headers.swap(0, 1)),
            (FINAL, "one header thrice", &|r| {
                r.finality.headers = [(); 3].map(|()| r.finality.headers[2].clone());
            }),
            (FINAL, "headers that skip a block", &|r| {
                r.finality.headers[0] = before.clone()
            }),
            (FINAL, "slots that are not consecutive", &|r| {
                (r.finality.headers, r.finality.certificate) = (gap.0.clone(), gap.1.clone());
                r.recording_history = Some(gap.2.clone());
            }),
            (FINAL, "no history", &|r| r.recording_history = None),
            (FINAL, "another history", &|r| {
                r.recording_history = Some(other_history.clone())
            }),
            (FINAL, "a history cut off", &|r| {
                let history = r.recording_history.as_mut().unwrap();
                edit(&mut history.siblings, |hashes| hashes.push(Digest::ZERO));
            }),
        ],
    );
    federation.serves();
}

/// The request with its finality shown by three other headers, the second of which has everything in its history.
fn shown_by(honest: &Honest, request: &PegOutRequest, headers: [Header; 3]) -> PegOutRequest {
    let mut shown = request.clone();
    let (of, recorded) = (headers[1].height.get(), request.recording.height.get());
    shown.finality.certificate = honest.certificate(headers[2].id());
    shown.finality.headers = headers;
    shown.recording_history = Some(honest.history_proof(of, recorded));
    let carrier = request.pow.as_ref().map(|pow| pow.carrier.height.get());
    shown.pow = carrier.map(|carrier| honest.pow_finality(of, carrier));
    shown
}

/// Certified blocks that are not three in consecutive slots with parent links above genesis: everything else is right.
pub(crate) fn finality_by_blocks_that_do_not_follow() {
    let mut federation = Federation::new();
    let request = federation.batch(&three(0));
    federation.honest.grow(1);
    let last = federation.height();
    let at = |honest: &Honest, heights: [u64; 3]| {
        heights.map(|height| {
            honest.links[usize::try_from(height).unwrap()]
                .header
                .clone()
        })
    };
    let forgeries = federation.on_a_fork(|honest| {
        let mut found = Vec::new();
        // A slot is left out before the second, then before the third.
        honest.extend(2, |_| ());
        honest.grow(1);
        let headers = at(honest, [last, last + 1, last + 2]);
        found.push((
            "a slot before the second",
            shown_by(honest, &request, headers),
        ));
        honest.extend(2, |_| ());
        let headers = at(honest, [last + 1, last + 2, last + 3]);
        found.push((
            "a slot before the third",
            shown_by(honest, &request, headers),
        ));
        // Two blocks of one slot and height, both certified, and a child of each in the next slot.
        let honest_three = at(honest, [last - 2, last - 1, last]);
        let sibling = |height: u64| {
            let mut sibling = honest.child_of(height - 1, 1, |_| ());
            reseal(&honest.chain, &mut sibling, |header| header.gas_used += 1);
            sibling
        };
        let mut first = honest_three.clone();
        first[0] = sibling(last - 2).header;
        found.push((
            "a first on another branch",
            shown_by(honest, &request, first),
        ));
        let rival = sibling(last - 1);
        honest.links.truncate(usize::try_from(last - 1).unwrap());
        honest.links.push(rival);
        honest.grow(1);
        let mut third = honest_three;
        third[2] = honest.tip().header.clone();
        found.push((
            "a third on another branch",
            shown_by(honest, &request, third),
        ));
        found
    });
    for (what, forged) in forgeries {
        federation.refuses_payment(Rule::Finality, what, &forged);
    }
    federation.pays(&request);
    federation.serves();
}

/// A batch in the first block: genesis is none of the three.
pub(crate) fn finality_by_genesis() {
    let mut federation = Federation::new();
    let plan = Plan {
        amounts: vec![],
        ..three(0)
    };
    let forged = federation.on_a_fork(|honest| {
        let honest_request = pegout::request(honest, &plan);
        let record = honest_request.record.clone();
        honest.links.truncate(1);
        honest.extend(1, |link| link.body.batch = Some(record));
        honest.grow(1);
        let mut forged = honest_request;
        let headers = [0, 1, 2].map(|place: usize| honest.links[place].header.clone());
        let body = &honest.links[1].body;
        forged.body_branch = body.branch(honest.chain.id(), Section::Batch).unwrap();
        forged.recording_parent = headers[0].clone();
        forged.recording = headers[1].clone();
        forged.recording_history = None;
        forged.finality.certificate = honest.certificate(headers[2].id());
        forged.finality.headers = headers;
        forged
    });
    federation.refuses_payment(Rule::Finality, "genesis, 1 and 2", &forged);
    let honest = federation.batch(&plan);
    federation.pays(&honest);
    federation.serves();
}

/// Proof of work over burns: absent, of other blocks, swapped, forged.
pub(crate) fn work_over_burns_forged_and_swapped() {
    let mut federation = Federation::new();
    let request = federation.batch(&three(0));
    let (of, own) = (
        request.finality.headers[1].height.get(),
        request.pow.as_ref().unwrap().carrier.height.get(),
    );
    let next = federation.on_a_fork(|honest| pegout::request(honest, &Plan::simple(3, 5)));
    let other = next.pow.clone().unwrap();
    let before = link(&federation, own - 1).header.clone();
    let history = federation.honest.history_proof(of, own - 1);
    const FINAL: Rule = Rule::Finality;
    federation.refuses_payments_and_repeats(
        &request,
        &[
            (FINAL, "none", &|r| r.pow = None),
            (FINAL, "of a later chain", &|r| r.pow = Some(other.clone())),
            (FINAL, "another carrier", &|r| {
                r.pow.as_mut().unwrap().carrier = before.clone()
            }),
            (FINAL, "another parent", &|r| {
                r.pow.as_mut().unwrap().carrier_parent = r.recording.clone()
            }),
            (FINAL, "another record", &|r| {
                r.pow.as_mut().unwrap().record = other.record.clone()
            }),
            (FINAL, "a payout to a thief", &|r| {
                r.pow.as_mut().unwrap().record.fee_recipient = EvmAddress::new([0xbd; 20]);
            }),
            (FINAL, "branch swapped", &|r| {
                r.pow.as_mut().unwrap().body_branch.siblings.swap(0, 1)
            }),
            (FINAL, "another end", &|r| {
                r.pow.as_mut().unwrap().end = before.clone()
            }),
            (FINAL, "another end's history", &|r| {
                r.pow.as_mut().unwrap().end_history = history.clone()
            }),
            (FINAL, "no carrier's history", &|r| {
                r.pow.as_mut().unwrap().carrier_history = None
            }),
            (FINAL, "another carrier's history", &|r| {
                r.pow.as_mut().unwrap().carrier_history = Some(history.clone());
            }),
            (FINAL, "a carrier that claims more", &|r| {
                r.pow.as_mut().unwrap().carrier.pow.height = SideHeight::new(99);
            }),
        ],
    );
    federation.serves();
}
