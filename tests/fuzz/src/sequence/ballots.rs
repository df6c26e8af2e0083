//! Votes: blocks of several side chains that consume several branches of Bitcoin.

use super::universe::{Bitcoin, Place, recipient};
use crate::fixtures::{Honest, Link};
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::{BlockId, EvmAddress};
use alys_protocol::execution::Withdrawal;
use alys_protocol::peg::{Cursor, WHOLE_BLOCK};
use alys_protocol::signer::{ApproveRequest, DepositProof};
use alys_protocol::spec::Chain;
use alys_protocol::units::{BtcHeight, BurnSequence, Gwei};
use bitcoin::BlockHash;

pub struct Ballot {
    pub request: ApproveRequest,
    /// Whether the block mints or records what it may not.
    pub hostile: bool,
    pub block: BlockId,
    pub slot: u64,
    pub parent_slot: u64,
    pub parent_height: u64,
    pub from: Place,
    pub to: Place,
    /// Height, block and amount of each deposit.
    pub deposits: Vec<(u32, BlockHash, u64)>,
}

impl Ballot {
    /// What it mints.
    pub fn minted(&self) -> u64 {
        self.deposits.iter().map(|(.., sats)| sats).sum()
    }
}

/// One block of a side chain.
#[derive(Clone, Copy)]
struct Step {
    /// Slots after its parent.
    slots: u64,
    /// Where its cursor goes: branch, height, next transaction.
    cursor: Option<(usize, u32, u32)>,
}

const fn stay(slots: u64) -> Step {
    Step {
        slots,
        cursor: None,
    }
}

/// Consumes a branch up to the whole block at a height.
const fn consume(slots: u64, branch: usize, height: u32) -> Step {
    Step {
        slots,
        cursor: Some((branch, height, WHOLE_BLOCK)),
    }
}

/// The same of the main branch.
const fn to(slots: u64, height: u32) -> Step {
    consume(slots, 0, height)
}

const WITHIN_A_BLOCK: Step = Step {
    slots: 2,
    cursor: Some((0, 153, 2)),
};

pub fn ballots(chain: &Chain, bitcoin: &Bitcoin) -> Vec<Ballot> {
    let chains: [&[Step]; 6] = [
        &[
            stay(1),
            to(1, 151),
            to(1, 153),
            to(2, 155),
            to(1, 158),
            to(1, 162),
        ],
        &[
            stay(2),
            to(1, 155),
            stay(1),
            to(1, 158),
            to(3, 162),
            to(1, 175),
        ],
        &[stay(1), to(1, 151), WITHIN_A_BLOCK, to(1, 153), stay(1)],
        // The last is from a block that is not Bitcoin's any more.
        &[stay(3), to(1, 155), consume(1, 1, 162), stay(1), to(1, 175)],
        &[stay(1), stay(1), stay(1), stay(1), stay(1), stay(1)],
        &[stay(4), to(1, 151), stay(1), stay(2)],
    ];
    let mut ballots = Vec::new();
    for steps in chains {
        let mut honest = Honest::new(chain.clone());
        for (number, step) in steps.iter().enumerate() {
            for hostile in 0..if number == 1 { 5 } else { 0 } {
                ballots.push(ballot(&honest, bitcoin, *step, Some(hostile)).1);
            }
            let (link, honest_one) = ballot(&honest, bitcoin, *step, None);
            ballots.push(honest_one);
            honest.links.push(link);
        }
    }
    ballots
}

fn place_of(cursor: &Cursor) -> Place {
    Place {
        height: cursor.height.get(),
        block: cursor.hash,
        next_tx: cursor.next_tx,
    }
}

/// A child of the tip that consumes Bitcoin as `step` says, and its request; `hostile` is how it breaks the rules.
fn ballot(honest: &Honest, bitcoin: &Bitcoin, step: Step, hostile: Option<u8>) -> (Link, Ballot) {
    let parent = honest.tip().header.clone();
    let from = place_of(&parent.bitcoin);
    let (branch, to) = step.cursor.map_or((0, from), |(branch, height, next_tx)| {
        let place = Place {
            height,
            block: bitcoin.branches[branch].headers[height as usize].block_hash(),
            next_tx,
        };
        (branch, place)
    });
    let mut consumed = Vec::new();
    let mut proofs: Vec<DepositProof> = Vec::new();
    let mut withdrawals = Vec::new();
    let mut deposits = Vec::new();
    let found = bitcoin.consumed(branch, from, to);
    for (number, (height, hash, place)) in (0u32..).zip(found) {
        let (_, block) = &bitcoin.blocks[&hash];
        let sats = block.0[place].output[0].value.to_sat();
        consumed.push(block.consumed(height, hash, place));
        proofs.push(block.proof(place, number));
        withdrawals.push(Withdrawal {
            index: ((parent.height.get() + 1) << 16) + u64::from(number),
            validator_index: 0,
            address: recipient(height, place),
            amount: Gwei::new(sats * 10),
        });
        deposits.push((height, hash, sats));
    }
    let broke = hostile.is_none_or(|how| spoil_mint(how, parent.height.get(), &mut withdrawals));
    let link = honest.child_of(parent.height.get(), step.slots, |link| {
        link.header.bitcoin = Cursor {
            height: BtcHeight::new(to.height),
            hash: to.block,
            next_tx: to.next_tx,
        };
        link.body.consumed = BoundedVec::new(consumed).unwrap();
        link.withdrawals = withdrawals;
        if !broke {
            // Nothing to spoil: a burn that no batch pays is skipped instead.
            link.header.next_burn = BurnSequence::new(1);
        }
    });
    let mut request = honest.approve(&link);
    request.deposits = BoundedVec::new(proofs).unwrap();
    let ballot = Ballot {
        hostile: hostile.is_some(),
        block: link.header.id(),
        slot: link.header.slot.get(),
        parent_slot: parent.slot.get(),
        parent_height: parent.height.get(),
        from,
        to,
        deposits,
        request,
    };
    (link, ballot)
}

/// Makes the execution block mint something else than the deposits; false where there is none to change.
fn spoil_mint(how: u8, parent: u64, withdrawals: &mut Vec<Withdrawal>) -> bool {
    let index = ((parent + 1) << 16) + withdrawals.len() as u64;
    let extra = |address, amount| Withdrawal {
        index,
        validator_index: 0,
        address,
        amount,
    };
    match (how, withdrawals.last().copied()) {
        (0, None) => withdrawals.push(extra(EvmAddress::new([3; 20]), Gwei::new(1))),
        (0, Some(last)) => withdrawals.push(extra(last.address, last.amount)),
        (1, Some(last)) => {
            let more = Gwei::new(last.amount.get() + 1);
            withdrawals.last_mut().unwrap().amount = more;
        }
        (2, Some(_)) => drop(withdrawals.pop()),
        (3, Some(_)) => withdrawals.last_mut().unwrap().address = EvmAddress::new([3; 20]),
        (4, Some(_)) => withdrawals.last_mut().unwrap().index += 1,
        _nothing => return false,
    }
    true
}
