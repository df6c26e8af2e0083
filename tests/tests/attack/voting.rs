//! Claim C1: whatever the nodes send, and in whatever order, the signer's votes never conflict.

use crate::federation::{Federation, unix_now};
use crate::harness::count_refused;
use crate::support::fixtures::evidence::reseal;
use crate::support::fixtures::pegout;
use alloy_primitives::B256;
use alys_protocol::header::Header;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{Reply, Request};
use alys_protocol::units::{BurnSequence, ChainId, Epoch, Slot};

/// Regression A10: two blocks in one slot, whichever is asked for first.
pub(crate) fn a10_two_blocks_in_one_slot() {
    let mut federation = Federation::new();
    federation.honest.grow(2);
    let first = federation.child(|_| ());
    let mut second = first.clone();
    reseal(&federation.honest.chain, &mut second, |execution| {
        execution.state_root = B256::repeat_byte(9);
    });
    let (first_request, second_request) = (
        federation.honest.approve(&first),
        federation.honest.approve(&second),
    );
    let vote = federation.signs(&first_request);
    federation.refuses_vote(Rule::SlotMonotonic, "the other block", &second_request);
    // A repeat gives what is out already and nothing more, even with the evidence swapped for the other block's.
    let mut swapped = first_request.clone();
    swapped.execution_header = second_request.execution_header.clone();
    assert_eq!(federation.signs(&swapped), vote);
    federation.refuses_vote(
        Rule::SlotMonotonic,
        "the other block again",
        &second_request,
    );
    federation.honest.links.push(first);
    federation.serves();
}

/// Blocks of one slot, and batches of one burn, asked for at once over many connections: one of each is signed.
pub(crate) fn a10_conflicting_requests_at_once() {
    let mut federation = Federation::new();
    federation.honest.grow(2);
    let mut winner = None;
    let votes: Vec<_> = (0..20u8)
        .map(|number| {
            let mut link = federation.child(|_| ());
            reseal(&federation.honest.chain, &mut link, |execution| {
                execution.state_root = B256::repeat_byte(0x60 + number);
            });
            let request = federation.honest.approve(&link);
            (link, Request::Approve(Box::new(request)))
        })
        .collect();
    let requests = votes.iter().map(|(_, request)| request.clone()).collect();
    let replies = federation.signer.ask_at_once(requests);
    for (reply, (link, request)) in replies.into_iter().zip(votes) {
        match reply {
            Reply::Refused(refusal) if refusal.rule == Rule::SlotMonotonic => count_refused(),
            Reply::Signature(_) if winner.is_none() => winner = Some((link, request)),
            other => panic!("expected one signature and else rule slot-monotonic, found {other:?}"),
        }
    }
    let (link, request) = winner.expect("one vote");
    let repeated = federation.signer.ask(request);
    assert!(matches!(repeated, Reply::Signature(_)), "{repeated:?}");
    federation.honest.links.push(link);
    let payments = (1..=20u8)
        .map(|coin| {
            let request = federation
                .on_a_fork(|honest| pegout::request(honest, &pegout::Plan::simple(0, coin)));
            Request::SignPegOut(Box::new(request))
        })
        .collect();
    let mut paid = 0;
    for reply in federation.signer.ask_at_once(payments) {
        match reply {
            Reply::Refused(refusal) if refusal.rule == Rule::BurnSequence => count_refused(),
            Reply::Shares(_) => paid += 1,
            other => panic!("expected shares once and else rule burn-sequence, found {other:?}"),
        }
    }
    assert_eq!(paid, 1);
    federation.serves();
}

/// Slots that were passed over may not be voted in later, and a lower parent not extended.
pub(crate) fn a10_lower_slots_and_lower_parents() {
    let mut federation = Federation::new();
    federation.honest.grow(4);
    let late = federation.honest.child_of(4, 10, |_| ());
    let early = federation.honest.child_of(4, 9, |_| ());
    // On block 3, in a slot of its own, after the vote on block 4.
    let fork = federation.honest.child_of(3, 40, |_| ());
    let [late_request, early_request, fork_request] =
        [&late, &early, &fork].map(|link| federation.honest.approve(link));
    federation.signs(&late_request);
    federation.refuses_vote(Rule::SlotMonotonic, "a slot below", &early_request);
    federation.refuses_vote(Rule::LongestChain, "a parent below", &fork_request);
    federation.honest.links.push(late);
    federation.serves();
}

/// Every order of the blocks of two chains that fork, three each, with slots that alternate and slots that do not: what is
/// signed is what the voting rules, written again in two lines, allow; so the highest slot and the lock never go back.
pub(crate) fn every_order_of_two_chains() {
    let mut federation = Federation::new();
    federation.honest.grow(2);
    let (mut last, mut lock) = (0, 0);
    let orders = (0u8..64).filter(|order| order.count_ones() == 3);
    for (order, offsets) in orders.flat_map(|order| [[0, 1], [0, 6], [6, 0]].map(|at| (order, at)))
    {
        let start = federation.honest.tip().header.slot.get().max(last) + 1;
        let chains = offsets.map(|offset| {
            federation.on_a_fork(|honest| {
                [0, 2, 4].map(|step| {
                    let tip = &honest.tip().header;
                    let slots = start + offset + step - tip.slot.get();
                    let link = honest.child_of(tip.height.get(), slots, |_| ());
                    let request = honest.approve(&link);
                    honest.links.push(link.clone());
                    (link, request)
                })
            })
        });
        let mut turns = [0, 0];
        for turn in 0..6 {
            let chain = usize::from(order >> turn & 1);
            let (_, request) = &chains[chain][turns[chain]];
            turns[chain] += 1;
            let (slot, parent) = (request.header.slot.get(), request.parent.height.get());
            let what = format!("order {order:06b} of {offsets:?}, turn {turn}");
            if slot <= last {
                federation.refuses_vote(Rule::SlotMonotonic, &what, request);
            } else if parent < lock {
                federation.refuses_vote(Rule::LongestChain, &what, request);
            } else {
                federation.signs(request);
                (last, lock) = (slot, parent);
            }
        }
        let [first, _] = chains;
        federation.honest.links.extend(first.map(|(link, _)| link));
    }
    federation.serves();
}

/// A leader is not made to propose twice, in another's slot, or ahead of its clock.
pub(crate) fn a10_two_proposals_in_one_slot() {
    let mut federation = Federation::new();
    // Member 0 leads every fourth slot; genesis is in one of them.
    let first = federation.honest.child_of(0, 8, |_| ()).header;
    let other = federation
        .honest
        .child_of(0, 8, |link| link.header.next_burn = BurnSequence::new(1))
        .header;
    let propose = |header: &Header| Request::SignProposal(Box::new(header.clone()));
    let signed = federation.signer.ask(propose(&first));
    assert!(matches!(signed, Reply::Signature(_)), "{signed:?}");
    let now = unix_now() / 2;
    for (rule, what, header) in [
        (Rule::SlotMonotonic, "another block", other),
        (
            Rule::SlotMonotonic,
            "a lower slot",
            federation.honest.child_of(0, 4, |_| ()).header,
        ),
        (
            Rule::Leader,
            "another's slot",
            federation.honest.child_of(0, 9, |_| ()).header,
        ),
        (
            Rule::SlotHorizon,
            "a slot to come",
            federation
                .honest
                .child_of(0, (now + 1_000) / 4 * 4 - 1_000, |_| ())
                .header,
        ),
        (
            Rule::Chain,
            "another chain",
            Header {
                chain_id: ChainId::new(1),
                ..first.clone()
            },
        ),
        (
            Rule::Chain,
            "another version",
            Header {
                version: 2,
                ..first.clone()
            },
        ),
        (
            Rule::Epoch,
            "another epoch",
            Header {
                epoch: Epoch::new(1),
                ..first.clone()
            },
        ),
    ] {
        federation.refuses(rule, what, propose(&header));
    }
    assert_eq!(federation.signer.ask(propose(&first)), signed, "a repeat");
    let next = federation.honest.child_of(0, 12, |_| ()).header;
    let honest = federation.signer.ask(propose(&next));
    assert!(matches!(honest, Reply::Signature(_)), "{honest:?}");
    federation.serves();
}

/// A vote far in the future would burn every slot before it.
pub(crate) fn slots_far_in_the_future() {
    let mut federation = Federation::new();
    federation.honest.grow(3);
    let tip = federation.honest.tip().header.slot.get();
    let now = unix_now() / 2;
    for ahead in [100, 100_000, 1 << 40] {
        let link = federation.honest.child_of(3, now + ahead - tip, |_| ());
        let request = federation.honest.approve(&link);
        federation.refuses_vote(Rule::SlotHorizon, "a slot to come", &request);
    }
    let link = federation.child(|_| ());
    let mut last = federation.honest.approve(&link);
    last.header.slot = Slot::new(u64::MAX);
    federation.refuses_vote(Rule::SlotHorizon, "the last slot", &last);
    federation.serves();
}
