//! Blocks, approvals and certificates with real BLS signatures.

// The benchmark uses only a part.
#![allow(dead_code)]

use crate::federation::{GENESIS_SLOT, child_header, voting_key};
use alys_protocol::block::{Block, Proposal};
use alys_protocol::body::Body;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{BlockId, Digest, EvmAddress, ExecutionHash};
use alys_protocol::certificate::{Approval, Certificate};
use alys_protocol::execution::{ExecutionPayload, LogsBloom};
use alys_protocol::header::Header;
use alys_protocol::history::Peaks;
use alys_protocol::spec::Chain;
use alys_protocol::units::{MemberId, SideHeight, Slot, Wei};

pub(crate) fn approve(chain: &Chain, member: usize, block: BlockId) -> Approval {
    let message = alys_protocol::header::approval_message(chain.id(), block);
    Approval {
        block,
        member: MemberId::new(u16::try_from(member).unwrap()),
        signature: voting_key(member).sign(&message),
    }
}

pub(crate) fn propose(chain: &Chain, mut header: Header, body: Body) -> Proposal {
    header.body_root = body.root(chain.id()).unwrap();
    let leader = usize::from(chain.roster().leader(header.slot).get());
    Proposal {
        signature: voting_key(leader).sign(&header.proposal_message()),
        block: Block {
            header,
            body,
            payload: payload(),
        },
    }
}

fn payload() -> ExecutionPayload {
    ExecutionPayload {
        parent_hash: ExecutionHash::ZERO,
        fee_recipient: EvmAddress::ZERO,
        state_root: Digest::ZERO,
        receipts_root: Digest::ZERO,
        logs_bloom: LogsBloom::ZERO,
        prev_randao: Digest::ZERO,
        block_number: SideHeight::ZERO,
        gas_limit: 0,
        gas_used: 0,
        timestamp: 0,
        extra_data: BoundedVec::empty(),
        base_fee_per_gas: Wei::ZERO,
        block_hash: ExecutionHash::ZERO,
        transactions: BoundedVec::empty(),
        withdrawals: BoundedVec::empty(),
        blob_gas_used: 0,
        excess_blob_gas: 0,
    }
}

/// A certificate by the last members that make a quorum.
pub(crate) fn certify(chain: &Chain, block: BlockId) -> Certificate {
    let roster = chain.roster();
    let approvals: Vec<_> = (roster.len() - roster.quorum()..roster.len())
        .map(|member| approve(chain, member, block))
        .collect();
    Certificate::aggregate(roster, &approvals).unwrap()
}

/// So many blocks in consecutive slots from genesis on, lowest first, each with its certificate.
pub(crate) fn range(chain: &Chain, count: u64) -> Vec<(Proposal, Certificate)> {
    let mut made: Vec<(Proposal, Certificate)> = Vec::new();
    let mut history = Peaks::empty();
    for number in 1..=count {
        let (parent, parent_certificate) = match made.last() {
            Some((parent, certificate)) => (&parent.block.header, Some(certificate.clone())),
            None => (chain.genesis(), None),
        };
        let slot = Slot::new(GENESIS_SLOT + number);
        let header = child_header(chain, parent, &history, slot, 0);
        history = history.append(chain.id(), parent.id()).unwrap();
        let body = Body {
            parent_certificate,
            ..Body::default()
        };
        let proposal = propose(chain, header, body);
        let certificate = certify(chain, proposal.block.id());
        made.push((proposal, certificate));
    }
    made
}
