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

/// One block of a side chain: slots after its parent, and the branch, height and next transaction of its cursor.
type Step = (u64, Option<(usize, u32, u32)>);

pub fn ballots(chain: &Chain, bitcoin: &Bitcoin) -> Vec<Ballot> {
    let to = |height| Some((0, height, WHOLE_BLOCK));
    let chains: [&[Step]; 6] = [
        &[
            (1, None),
            (1, to(151)),
            (1, to(153)),
            (2, to(155)),
            (1, to(158)),
            (1, to(162)),
        ],
        &[
            (2, None),
            (1, to(155)),
            (1, None),
            (1, to(158)),
            (3, to(162)),
            (1, to(175)),
        ],
        &[
            (1, None),
            (1, to(151)),
            (2, Some((0, 153, 2))),
            (1, to(153)),
            (1, None),
        ],
        &[
            (3, None),
            (1, to(155)),
            (1, Some((1, 162, WHOLE_BLOCK))),
            (1, None),
            // From a block that is not Bitcoin's any more.
            (1, to(175)),
        ],
        &[
            (1, None),
            (1, None),
            (1, None),
            (1, None),
            (1, None),
            (1, None),
        ],
        &[(4, None), (1, to(151)), (1, None), (2, None)],
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
    (cursor.height.get(), cursor.hash, cursor.next_tx)
}

/// A child of the tip that consumes Bitcoin as `step` says, and its request; `hostile` is how it breaks the rules.
fn ballot(honest: &Honest, bitcoin: &Bitcoin, step: Step, hostile: Option<u8>) -> (Link, Ballot) {
    let parent = honest.tip().header.clone();
    let from = place_of(&parent.bitcoin);
    let (slots, cursor) = step;
    let (branch, to) = cursor.map_or((0, from), |(branch, height, next_tx)| {
        let hash = bitcoin.branches[branch].headers[height as usize].block_hash();
        (branch, (height, hash, next_tx))
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
    let link = honest.child_of(parent.height.get(), slots, |link| {
        link.header.bitcoin = Cursor {
            height: BtcHeight::new(to.0),
            hash: to.1,
            next_tx: to.2,
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
