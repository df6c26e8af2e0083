//! Messages to and from signers, and between nodes.

use crate::Seed;
use alys_fuzz::chain::GROWN;
use alys_fuzz::fixtures::pegout::{Plan, request};
use alys_fuzz::fixtures::{Honest, Link, bls_key, schnorr_key, x_only};
use alys_fuzz::sequence::a_minting_request;
use alys_protocol::block::{Block, Proposal, SyncBlock};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{Digest, SpecDigest};
use alys_protocol::certificate::Approval;
use alys_protocol::execution::{ExecutionPayload, LogsBloom};
use alys_protocol::header::approval_message;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{
    BitcoinHeaderBytes, BitcoinStanding, BitcoinTip, Challenge, PROTOCOL_VERSION, ProtocolError,
    Refusal, Reply, Request, RequestEnvelope, SchnorrSignature, SignedStatement, SignerStatus,
};
use alys_protocol::units::{
    BtcHeight, BurnSequence, MemberId, SideHeight, Slot, StatementNumber, Wei,
};
use bitcoin::BlockHash;
use bitcoin::hashes::Hash as _;

pub fn seeds() -> Vec<Seed> {
    let mut seeds = requests();
    seeds.extend(replies());
    seeds.extend(chain());
    seeds
}

fn encoded<T: serde::Serialize>(message: &T) -> Vec<u8> {
    postcard::to_allocvec(message).unwrap()
}

fn requests() -> Vec<Seed> {
    let mut honest = Honest::of_four();
    let batch = request(&mut honest, &Plan::simple(0, 1));
    let link = honest.child_of(honest.tip().header.height.get(), 1, |_| ());
    let headers = vec![BitcoinHeaderBytes::new([3; 80]); 2];
    let statement = SignedStatement {
        text: BoundedVec::new(b"act = \"pause\"".to_vec()).unwrap(),
        signatures: BoundedVec::new(vec![BoundedVec::new(vec![9; 74]).unwrap()]).unwrap(),
    };
    let requests = [
        ("status", Request::Status),
        (
            "sign-proposal",
            Request::SignProposal(Box::new(link.header.clone())),
        ),
        ("approve", Request::Approve(Box::new(honest.approve(&link)))),
        (
            "approve-mint",
            Request::Approve(Box::new(a_minting_request())),
        ),
        ("peg-out", Request::SignPegOut(Box::new(batch))),
        (
            "headers",
            Request::BitcoinHeaders(BoundedVec::new(headers).unwrap()),
        ),
        ("challenge", Request::Challenge),
        ("statement", Request::Statement(Box::new(statement))),
    ];
    let envelope = |request| RequestEnvelope {
        version: PROTOCOL_VERSION,
        request,
    };
    requests
        .map(|(name, request)| Seed::new("messages", name, encoded(&envelope(request))))
        .into()
}

fn replies() -> Vec<Seed> {
    let standing = BitcoinStanding {
        tip: Some(BitcoinTip {
            height: BtcHeight::new(170),
            hash: BlockHash::from_byte_array([5; 32]),
        }),
        from: BtcHeight::new(161),
    };
    let refusal = Refusal {
        rule: Rule::SlotMonotonic,
        expected: "a slot above 7, which was signed last".to_owned(),
        found: "7".to_owned(),
    };
    let spec = alys_fuzz::fixtures::spec(None);
    let status = SignerStatus {
        software: "alys-signer 0.1.0".to_owned(),
        protocol: PROTOCOL_VERSION,
        chain_id: spec.chain_id,
        epoch: spec.epoch,
        spec: SpecDigest::new([8; 32]),
        member: MemberId::new(0),
        bls: bls_key(0).public_key().to_bytes(),
        schnorr: x_only(&schnorr_key(0)),
        backend: "sealed file".to_owned(),
        last_slot: Slot::new(1007),
        lock: SideHeight::new(5),
        next_burn: BurnSequence::new(3),
        bitcoin: standing,
        counter: "a file".to_owned(),
        silent: Some(refusal.clone()),
        paused: true,
        last_statement: StatementNumber::new(45),
        skips: BoundedVec::new(vec![BurnSequence::new(5)]).unwrap(),
    };
    let shares = vec![SchnorrSignature::new([6; 64]); 2];
    let challenge = Challenge {
        chain_id: spec.chain_id,
        member: MemberId::new(0),
        nonce: Digest::new([7; 32]),
        slot: Slot::new(1007),
        horizon_slots: 2,
        last_statement: StatementNumber::new(45),
    };
    let version = ProtocolError::Version {
        expected: PROTOCOL_VERSION,
        found: 9,
    };
    [
        ("reply-status", Reply::Status(Box::new(status))),
        (
            "reply-signature",
            Reply::Signature(bls_key(0).sign(&[1; 32])),
        ),
        (
            "reply-shares",
            Reply::Shares(BoundedVec::new(shares).unwrap()),
        ),
        ("reply-bitcoin", Reply::Bitcoin(standing)),
        ("reply-refused", Reply::Refused(refusal)),
        ("reply-error", Reply::Error(version)),
        ("reply-challenge", Reply::Challenge(Box::new(challenge))),
        ("reply-stated", Reply::Stated(StatementNumber::new(46))),
    ]
    .map(|(name, reply)| Seed::new("messages", name, encoded(&reply)))
    .into()
}

/// A chain's parts; the first byte is the target's choice.
fn chain() -> Vec<Seed> {
    let mut honest = Honest::of_four();
    honest.grow(GROWN);
    let tip = honest.tip();
    let id = tip.header.id();
    let certificate = honest.certificate(id);
    let approval = Approval {
        block: id,
        member: MemberId::new(2),
        signature: bls_key(2).sign(&approval_message(honest.chain.id(), id)),
    };
    let proposal = proposal(tip);
    let sync = SyncBlock {
        proposal: proposal.clone(),
        certificate: Some(certificate.clone()),
    };
    let history = honest.history_proof(GROWN, 4);
    let batch = request(&mut Honest::of_four(), &Plan::simple(0, 1));
    let kinds: [(&str, Vec<u8>); 9] = [
        ("header", tip.header.encode().to_vec()),
        ("body", encoded(&tip.body)),
        ("certificate", encoded(&certificate)),
        ("peaks", encoded(&tip.history)),
        ("history", encoded(&history)),
        ("transaction", batch.record.transaction.to_vec()),
        ("approval", encoded(&approval)),
        ("proposal", encoded(&proposal)),
        ("sync-block", encoded(&sync)),
    ];
    (0u8..)
        .zip(kinds)
        .map(|(kind, (name, bytes))| Seed::new("chain", name, [&[kind], &bytes[..]].concat()))
        .collect()
}

fn proposal(link: &Link) -> Proposal {
    let header = &link.header;
    let transaction = BoundedVec::new(vec![2, 0xc0]).unwrap();
    let payload = ExecutionPayload {
        parent_hash: header.execution_hash,
        fee_recipient: alys_protocol::execution::VAULT,
        state_root: Digest::new([1; 32]),
        receipts_root: Digest::new([3; 32]),
        logs_bloom: LogsBloom::new([0; 256]),
        prev_randao: Digest::new([4; 32]),
        block_number: header.height,
        gas_limit: 30_000_000,
        gas_used: 21_000,
        timestamp: 1_767_225_600,
        extra_data: BoundedVec::new(b"alys".to_vec()).unwrap(),
        base_fee_per_gas: Wei::new(1_000_000_000),
        block_hash: header.execution_hash,
        transactions: BoundedVec::new(vec![transaction]).unwrap(),
        withdrawals: BoundedVec::new(link.withdrawals.clone()).unwrap(),
        blob_gas_used: 0,
        excess_blob_gas: 0,
    };
    Proposal {
        block: Block {
            header: header.clone(),
            body: link.body.clone(),
            payload,
        },
        signature: bls_key(0).sign(&header.proposal_message()),
    }
}
