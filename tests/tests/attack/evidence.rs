//! Claim C1, the evidence of votes: headers, histories, bodies, execution headers and certificates that were forged.

use crate::federation::{Federation, Setup, edit};
use crate::support::fixtures::evidence::reseal;
use crate::support::fixtures::{Link, bls_key};
use alloy_primitives::B256;
use alys_protocol::bls::{BlsSignature, aggregate};
use alys_protocol::bytes::{BlockId, HistoryRoot};
use alys_protocol::certificate::Certificate;
use alys_protocol::history::Peaks;
use alys_protocol::rules::Rule;
use alys_protocol::units::{BtcHeight, BurnSequence, ChainId, Epoch, PowCount, Slot, Wei};

/// Evidence of a vote that is forged, truncated, swapped or replayed, the header included.
pub(crate) fn evidence_of_votes_forged_truncated_and_swapped() {
    let mut federation = Federation::new();
    federation.honest.grow(5);
    let link = federation.child(|_| ());
    let request = federation.honest.approve(&link);
    let below = federation.honest.links[4].clone();
    let deeper = federation.honest.links[3].history.clone();
    let above = Peaks::new(6, link.history.peaks().to_vec()).unwrap();
    federation.refuses_votes(
        &request,
        &[
            (Rule::Chain, "another chain", &|r| {
                r.header.chain_id = ChainId::new(262_145)
            }),
            (Rule::Chain, "another version", &|r| r.header.version = 0),
            (Rule::Epoch, "another epoch", &|r| {
                r.header.epoch = Epoch::new(1)
            }),
            (Rule::SlotMonotonic, "the parent's slot", &|r| {
                r.header.slot = r.parent.slot
            }),
            (Rule::SlotMonotonic, "slot 0", &|r| {
                r.header.slot = Slot::new(0)
            }),
            (Rule::Height, "a height above", &|r| {
                r.header.height = r.header.height.saturating_add(1)
            }),
            (Rule::Height, "the parent's height", &|r| {
                r.header.height = r.parent.height
            }),
            (Rule::Height, "the grandparent as parent", &|r| {
                r.parent = below.header.clone()
            }),
            (Rule::History, "no history", &|r| {
                r.header.history_root = HistoryRoot::ZERO
            }),
            (Rule::History, "the parent's history", &|r| {
                r.header.history_root = r.parent.history_root
            }),
            (Rule::History, "no peaks", &|r| {
                r.parent_history = Peaks::empty()
            }),
            (Rule::History, "peaks of a block below", &|r| {
                r.parent_history = deeper.clone()
            }),
            (Rule::History, "peaks of the block itself", &|r| {
                r.parent_history = above.clone()
            }),
            (Rule::History, "a parent that mints", &|r| {
                r.parent.fees_distributed = Wei::new(1)
            }),
            (Rule::History, "a parent that paid burns", &|r| {
                r.parent.next_burn = BurnSequence::new(9)
            }),
            (Rule::History, "a parent in another slot", &|r| {
                r.parent.slot = Slot::new(1_001)
            }),
            (Rule::Counters, "an empty body", &|r| {
                r.body = Default::default()
            }),
            (Rule::Counters, "the parent's body", &|r| {
                r.body = below.body.clone()
            }),
            (Rule::Counters, "no certificate", &|r| {
                r.body.parent_certificate = None
            }),
            (Rule::ExecutionHeader, "no execution header", &|r| {
                edit(&mut r.execution_header, Vec::clear)
            }),
            (Rule::ExecutionHeader, "one byte less", &|r| {
                edit(&mut r.execution_header, |rlp| rlp.truncate(rlp.len() - 1))
            }),
            (Rule::ExecutionHeader, "one byte more", &|r| {
                edit(&mut r.execution_header, |rlp| rlp.push(0))
            }),
            (Rule::ExecutionHeader, "one bit", &|r| {
                edit(&mut r.execution_header, |rlp| rlp[90] ^= 1)
            }),
            (Rule::ExecutionHeader, "the parent's", &|r| {
                edit(&mut r.execution_header, |rlp| {
                    *rlp = below.execution_header.clone()
                });
            }),
        ],
    );
    federation.votes(link, &request);
    federation.serves();
}

/// Headers and execution headers that are consistent and still not what follows from the parent.
pub(crate) fn counters_and_execution_that_do_not_follow() {
    let mut federation = Federation::new();
    federation.honest.grow(4);
    type Change = fn(&mut Link);
    let changes: [(Rule, &str, Change); 9] = [
        (Rule::Counters, "burns without a batch", |link| {
            link.header.next_burn = BurnSequence::new(1)
        }),
        (Rule::Counters, "work without a record", |link| {
            link.header.pow.count = PowCount::new(1)
        }),
        (Rule::Counters, "an end without a record", |link| {
            link.header.pow.id = BlockId::new([1; 32])
        }),
        (Rule::Counters, "fees without a record", |link| {
            link.header.fees_distributed = Wei::new(1)
        }),
        (Rule::Counters, "a cursor back", |link| {
            link.header.bitcoin.height = BtcHeight::new(99)
        }),
        (Rule::Counters, "a cursor within a consumed block", |link| {
            link.header.bitcoin.next_tx = 0
        }),
        (Rule::Counters, "another block at the cursor", |link| {
            link.header.bitcoin.hash =
                bitcoin::BlockHash::from_raw_hash(bitcoin::hashes::Hash::from_byte_array([9; 32]));
        }),
        (
            Rule::DepositDepth,
            "a cursor in a block that nobody mined",
            |link| {
                link.header.bitcoin.height = BtcHeight::new(101);
                link.header.bitcoin.hash = bitcoin::BlockHash::from_raw_hash(
                    bitcoin::hashes::Hash::from_byte_array([9; 32]),
                );
            },
        ),
        (Rule::ParentCertified, "another parent", |link| {
            link.header.parent = BlockId::new([2; 32])
        }),
    ];
    for (rule, what, change) in changes {
        let link = federation.child(change);
        let request = federation.honest.approve(&link);
        federation.refuses_vote(rule, what, &request);
    }
    type Field = fn(&mut alys_signer_core::proof::ExecutionHeader);
    let fields: [(&str, Field); 10] = [
        ("another parent", |header| header.parent_hash = B256::ZERO),
        ("fees to a thief", |header| {
            header.beneficiary = [0xbd; 20].into()
        }),
        ("another number", |header| header.number += 1),
        ("another time", |header| header.timestamp += 1),
        ("chosen randomness", |header| {
            header.prev_randao = B256::ZERO
        }),
        ("withdrawals that are not shown", |header| {
            header.withdrawals_root = B256::repeat_byte(3)
        }),
        ("blobs", |header| header.blob_gas_used = 131_072),
        ("excess blob gas", |header| header.excess_blob_gas = 1),
        ("another beacon root", |header| {
            header.parent_beacon_block_root = B256::ZERO
        }),
        ("requests", |header| header.requests_hash = B256::ZERO),
    ];
    for (what, change) in fields {
        let mut link = federation.child(|_| ());
        reseal(&federation.honest.chain, &mut link, change);
        let request = federation.honest.approve(&link);
        federation.refuses_vote(Rule::ExecutionHeader, what, &request);
    }
    federation.serves();
}

/// The parent's certificate: absent, another's, of too few, of strangers, of proposals, replayed.
pub(crate) fn certificates_forged_truncated_swapped_and_replayed() {
    let mut federation = Federation::new();
    let genesis = federation.honest.chain.genesis_id();
    let of_genesis = federation.honest.certificate(genesis);
    let link = federation.child(|link| link.body.parent_certificate = Some(of_genesis));
    let request = federation.honest.approve(&link);
    federation.refuses_vote(Rule::ParentCertified, "a certificate of genesis", &request);
    federation.honest.grow(4);
    let parent = federation.honest.tip().header.clone();
    let honest = federation.honest.certificate(parent.id());
    let older = federation.honest.certificate(parent.parent);
    let sign = |members: &[u16], message: [u8; 32]| -> BlsSignature {
        let signatures: Vec<_> = members
            .iter()
            .map(|member| bls_key(*member).sign(&message))
            .collect();
        aggregate(&signatures).unwrap()
    };
    let approval = parent.approval_message();
    let with_bits = |bits: Vec<u8>| {
        let mut certificate = honest.clone();
        edit(&mut certificate.signers, |signers| *signers = bits);
        certificate
    };
    let with_signature = |signature| Certificate {
        signature,
        ..honest.clone()
    };
    let mut infinity = [0; 96];
    infinity[0] = 0xc0;
    for (what, forged) in [
        ("none", None),
        ("the grandparent's", Some(older.clone())),
        (
            "the parent's under the grandparent's name",
            Some(Certificate {
                block: parent.parent,
                ..honest.clone()
            }),
        ),
        (
            "the grandparent's under the parent's name",
            Some(Certificate {
                block: parent.id(),
                ..older
            }),
        ),
        (
            "two members",
            Some(Certificate {
                signature: sign(&[1, 2], approval),
                ..with_bits(vec![0b0110])
            }),
        ),
        (
            "two members in the name of three",
            Some(with_signature(sign(&[1, 2], approval))),
        ),
        (
            "one member three times",
            Some(with_signature(sign(&[1, 1, 1], approval))),
        ),
        (
            "strangers",
            Some(with_signature(sign(&[51, 52, 53], approval))),
        ),
        (
            "three members in the name of four",
            Some(with_bits(vec![0b1111])),
        ),
        (
            "members that do not exist",
            Some(with_bits(vec![0b1111_1110])),
        ),
        ("a longer bitfield", Some(with_bits(vec![0b1110, 0]))),
        ("an empty bitfield", Some(with_bits(vec![]))),
        (
            "proposals of the parent",
            Some(with_signature(sign(&[1, 2, 3], parent.proposal_message()))),
        ),
        (
            "a point that is none",
            Some(with_signature(BlsSignature::new([0xff; 96]))),
        ),
        (
            "the point at infinity",
            Some(with_signature(BlsSignature::new(infinity))),
        ),
    ] {
        let link = federation.child(|link| link.body.parent_certificate = forged);
        let request = federation.honest.approve(&link);
        federation.refuses_vote(Rule::ParentCertified, what, &request);
    }
    federation.serves();
}

/// Production without miners ends when too many final blocks lack a record.
pub(crate) fn blocks_without_work_beyond_the_distance() {
    let mut federation = Federation::with(&Setup {
        spec: |spec| spec.mining.max_blocks_without_pow = 4,
        ..Setup::default()
    });
    federation.honest.grow(4);
    // Blocks 5 and 6: the newest final blocks that they show are 3 and 4.
    federation.serves();
    federation.serves();
    let link = federation.child(|_| ());
    let request = federation.honest.approve(&link);
    federation.refuses_vote(Rule::PowDistance, "no record", &request);
    let account = federation.honest.extend_with_vault(None);
    let (link, request) = federation.honest.child_with_record(5, account);
    federation.votes(link, &request);
    federation.serves();
}

/// The same by nodes that hide what is final.
pub(crate) fn blocks_without_work_and_without_ancestors() {
    let mut federation = Federation::with(&Setup {
        spec: |spec| spec.mining.max_blocks_without_pow = 4,
        ..Setup::default()
    });
    federation.honest.grow(8);
    let link = federation.child(|_| ());
    let request = federation.honest.approve(&link);
    let below = federation.honest.links[1].header.clone();
    federation.refuses_votes(
        &request,
        &[
            (Rule::PowDistance, "no ancestors", &|r| {
                edit(&mut r.ancestors, Vec::clear)
            }),
            (Rule::PowDistance, "one ancestor", &|r| {
                edit(&mut r.ancestors, |all| all.truncate(1))
            }),
            (Rule::PowDistance, "ancestors swapped", &|r| {
                edit(&mut r.ancestors, |all| all.swap(0, 1))
            }),
            (Rule::PowDistance, "another ancestor", &|r| {
                edit(&mut r.ancestors, |all| all[1] = below.clone());
            }),
        ],
    );
    let account = federation.honest.extend_with_vault(None);
    let (link, request) = federation.honest.child_with_record(5, account);
    federation.votes(link, &request);
    federation.serves();
}
