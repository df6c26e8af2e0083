//! Claim C2, the fees: more than the vault holds, for others, and by proofs of something else.

use crate::federation::Federation;
use crate::federation::edit;
use crate::support::fixtures::evidence::{reseal, state};
use crate::work::{target_at, with_vault};
use alloy_primitives::{B256, U256};
use alys_protocol::bytes::EvmAddress;
use alys_protocol::execution::Withdrawal;
use alys_protocol::rules::Rule;
use alys_protocol::signer::TrieProof;
use alys_protocol::units::{Gwei, Wei};

/// The wei of a vault, what each gets of it, and the withdrawals that pay it.
fn payments(federation: &Federation, pot: u128) -> (Vec<Withdrawal>, Wei) {
    let gwei = 1_000_000_000;
    let members = federation.honest.chain.roster().members();
    let miner = pot * 8 / 10 / gwei;
    let member = pot * 2 / (10 * members.len() as u128) / gwei;
    let shares = std::iter::once((EvmAddress::new([0xfe; 20]), miner))
        .chain(members.iter().map(|each| (each.fee_recipient, member)));
    let withdrawals = ((federation.height() + 1) << 16..)
        .zip(shares)
        .map(|(index, (address, amount))| Withdrawal {
            index,
            validator_index: 0,
            address,
            amount: Gwei::new(u64::try_from(amount).unwrap()),
        })
        .collect();
    (
        withdrawals,
        Wei::new((miner + member * members.len() as u128) * gwei),
    )
}

/// Fees that are more than the vault holds, go to others, or rest on another account or block.
pub(crate) fn fees_forged_and_misdirected() {
    const POT: u128 = 5_000_000_000_000_000_000;
    let (mut federation, account) = with_vault(Some(POT));
    let build = |federation: &Federation, change: &dyn Fn(&mut Vec<Withdrawal>, &mut Wei)| {
        let (mut withdrawals, mut paid) = payments(federation, POT);
        change(&mut withdrawals, &mut paid);
        let target = target_at(federation, federation.honest.tip().header.slot);
        let (record, state) = federation.honest.record(4, target);
        let link = federation.honest.child_of(federation.height(), 1, |link| {
            link.header.pow = state;
            link.body.pow = Some(record);
            link.header.fees_distributed = paid;
            link.withdrawals = withdrawals;
        });
        let mut request = federation.honest.approve(&link);
        request.pow = Some(federation.honest.pow_evidence(&link));
        request.fees = Some(federation.honest.fees_proof(account.clone()));
        (link, request)
    };
    type Change<'a> = &'a dyn Fn(&mut Vec<Withdrawal>, &mut Wei);
    let exact = Rule::WithdrawalsExact;
    let changes: [(Rule, &str, Change<'_>); 7] = [
        (Rule::FeesProof, "a wei more on the account", &|_, paid| {
            *paid = Wei::new(paid.get() + 1)
        }),
        (Rule::FeesProof, "nothing on the account", &|_, paid| {
            *paid = Wei::ZERO
        }),
        (exact, "a gwei more for the miner", &|all, _| {
            all[0].amount = Gwei::new(4_000_000_001)
        }),
        (exact, "the miner's to a thief", &|all, _| {
            all[0].address = EvmAddress::new([0xbd; 20])
        }),
        (exact, "one member's to another", &|all, _| {
            all[1].address = all[2].address
        }),
        (exact, "a member left out", &|all, _| all.truncate(4)),
        (exact, "a member twice", &|all, _| {
            all.push(Withdrawal {
                index: all[4].index + 1,
                ..all[4]
            })
        }),
    ];
    for (rule, what, change) in changes {
        let (_, request) = build(&federation, change);
        federation.refuses_vote(rule, what, &request);
    }
    let (link, request) = build(&federation, &|_, _| ());
    let vault = federation.honest.chain.spec().execution.vault;
    let richer = state(vault, Some(U256::from(POT * 2))).1;
    let stranger = state(EvmAddress::new([8; 20]), Some(U256::from(POT))).1;
    let absent = state(vault, None).1;
    let older = federation.honest.links[5].execution_header.clone();
    const RULE: Rule = Rule::FeesProof;
    federation.refuses_votes(
        &request,
        &[
            (RULE, "no proof", &|r| r.fees = None),
            (RULE, "a richer vault", &|r| {
                r.fees.as_mut().unwrap().account = richer.clone()
            }),
            (RULE, "another account", &|r| {
                r.fees.as_mut().unwrap().account = stranger.clone()
            }),
            (RULE, "an account that is not there", &|r| {
                r.fees.as_mut().unwrap().account = absent.clone()
            }),
            (RULE, "no nodes", &|r| {
                edit(&mut r.fees.as_mut().unwrap().account, Vec::clear)
            }),
            (RULE, "a node less", &|r| {
                edit(&mut r.fees.as_mut().unwrap().account, |nodes| {
                    nodes.truncate(nodes.len() - 1)
                });
            }),
            (RULE, "a node more", &|r| {
                edit(&mut r.fees.as_mut().unwrap().account, |nodes| {
                    nodes.push(nodes[0].clone())
                });
            }),
            (RULE, "one bit of a node", &|r| {
                edit(&mut r.fees.as_mut().unwrap().account, |nodes| {
                    edit(&mut nodes[0], |b| b[9] ^= 1)
                });
            }),
            (RULE, "an older block's state", &|r| {
                edit(&mut r.fees.as_mut().unwrap().execution_header, |rlp| {
                    *rlp = older.clone()
                });
            }),
        ],
    );
    // The block's own state instead of its parent's: the attacker fills the vault in the block that empties it.
    let mut own = link.clone();
    let root = state(vault, Some(U256::from(POT * 2))).0;
    reseal(&federation.honest.chain, &mut own, |header| {
        header.state_root = B256::new(root.0)
    });
    let mut forged = federation.honest.approve(&own);
    forged.pow = request.pow.clone();
    forged.fees = request.fees.clone();
    let fees = forged.fees.as_mut().unwrap();
    edit(&mut fees.execution_header, |rlp| {
        *rlp = own.execution_header.clone()
    });
    fees.account = richer.clone();
    federation.refuses_vote(RULE, "the block's own state", &forged);
    federation.votes(link, &request);
    federation.serves();
}

/// Fees that a record paid out are in the vault still, and are not paid again by the next one.
pub(crate) fn fees_paid_twice() {
    const POT: u128 = 5_000_000_000_000_000_000;
    let (mut federation, mut account) = with_vault(Some(POT));
    let build = |federation: &Federation, account: &TrieProof, end, pot: u128| {
        let (withdrawals, paid) = payments(federation, pot);
        let target = target_at(federation, federation.honest.tip().header.slot);
        let (record, state) = federation.honest.record(end, target);
        let link = federation.honest.child_of(federation.height(), 1, |link| {
            let before = link.header.fees_distributed;
            link.header.pow = state;
            link.body.pow = Some(record);
            link.header.fees_distributed = before.checked_add(paid.get()).unwrap();
            link.withdrawals = withdrawals;
        });
        let mut request = federation.honest.approve(&link);
        request.pow = Some(federation.honest.pow_evidence(&link));
        request.fees = Some(federation.honest.fees_proof(account.clone()));
        (link, request)
    };
    let (link, request) = build(&federation, &account, 4, POT);
    federation.votes(link, &request);
    federation.honest.grow(3);
    // The vault has earned as much again.
    account = federation
        .honest
        .extend_with_vault(Some(U256::from(2 * POT)));
    let (_, request) = build(&federation, &account, 8, 2 * POT);
    federation.refuses_vote(Rule::FeesProof, "all that the vault holds", &request);
    let (link, request) = build(&federation, &account, 8, POT);
    federation.votes(link, &request);
    federation.serves();
}
