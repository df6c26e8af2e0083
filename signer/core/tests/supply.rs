//! Rules `fees-proof`, `withdrawals-exact` and `supply`: nothing is minted but proven deposits and proven fees.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod fixtures;

use alloy_primitives::U256;
use alys_protocol::bounded::BoundedVec;
use alys_protocol::bytes::EvmAddress;
use alys_protocol::execution::Withdrawal;
use alys_protocol::rules::Rule;
use alys_protocol::signer::{ApproveRequest, Refusal};
use alys_protocol::spec::{Chain, Target};
use alys_protocol::units::{Gwei, Sats, SideHeight, Wei};
use alys_signer_core::mint::fees::{FeePayment, FeeShares, fees_proof};
use alys_signer_core::mint::supply::{supply, withdrawals_exact};
use fixtures::evidence::{reseal, state};
use fixtures::{Honest, Link, MEMBERS};
use proptest::prelude::*;

type Deposits = Vec<(EvmAddress, Sats)>;

const EASY: Target = Target::new([0x7f; 32]);
/// What the vault has, a share of a gwei included.
const BALANCE: u128 = 7_000_000_000_123_456_789;
const DISTRIBUTED: u128 = 2_000_000_000_000_000_000;

/// The rules in the order in which a signer asks for them; `deposits` are those that other rules have proven.
fn judge(
    chain: &Chain,
    deposits: &[(EvmAddress, Sats)],
    request: &ApproveRequest,
) -> Result<(), Refusal> {
    let (header, parent) = (&request.header, &request.parent);
    let fees = fees_proof(chain, header, parent, &request.body, request.fees.as_ref())?;
    let withdrawals = &request.withdrawals;
    withdrawals_exact(chain, header, deposits, fees.as_ref(), withdrawals)?;
    supply(header, parent, deposits, withdrawals)
}

fn recipient(number: u8) -> EvmAddress {
    EvmAddress::new([number; 20])
}

fn deposits() -> Deposits {
    vec![
        (recipient(50), Sats::new(1_000_000)),
        (recipient(51), Sats::new(20_000)),
        // Two deposits of one person are two withdrawals.
        (recipient(50), Sats::new(30_000)),
    ]
}

fn withdrawal(height: u64, place: u64, address: EvmAddress, gwei: u64) -> Withdrawal {
    Withdrawal {
        index: height * 65_536 + place,
        validator_index: 0,
        address,
        amount: Gwei::new(gwei),
    }
}

/// Design 7's shares, in unbounded integers.
fn shares(pot: u128, members: u64) -> (U256, U256) {
    let pot = U256::from(pot);
    let gwei = U256::from(1_000_000_000u64);
    (
        pot * U256::from(8) / U256::from(10) / gwei,
        pot * U256::from(2) / (U256::from(10) * U256::from(members)) / gwei,
    )
}

/// A chain whose tip, block 4, has the vault, and the request for a record on top of it.
fn request() -> (Honest, ApproveRequest) {
    with(Some(U256::from(BALANCE)), |_| ())
}

fn with(balance: Option<U256>, change: impl FnOnce(&mut Link)) -> (Honest, ApproveRequest) {
    let mut honest = Honest::of_four();
    honest.grow(3);
    let vault = honest.chain.spec().execution.vault;
    let (root, account) = state(vault, balance);
    let mut tip = honest.child_of(3, 1, |link| {
        if balance.is_some() {
            link.header.fees_distributed = Wei::new(DISTRIBUTED);
        }
    });
    reseal(&honest.chain, &mut tip, |header| header.state_root = root);
    honest.links.push(tip);
    let (record, state) = honest.record(2, EASY);
    let (miner, member) = shares(
        balance.map_or(0, |_| BALANCE - DISTRIBUTED),
        u64::from(MEMBERS),
    );
    let (miner, member): (u64, u64) = (miner.to(), member.to());
    let mut payments: Vec<(EvmAddress, u64)> = deposits()
        .iter()
        .map(|(address, amount)| (*address, amount.get() * 10))
        .collect();
    payments.push((record.fee_recipient, miner));
    let members = honest.chain.roster().members();
    payments.extend(members.iter().map(|to| (to.fee_recipient, member)));
    let link = honest.child_of(4, 1, |link| {
        link.header.pow = state;
        link.body.pow = Some(record);
        let paid = (u128::from(miner) + u128::from(member) * u128::from(MEMBERS)) * 1_000_000_000;
        let before = link.header.fees_distributed;
        link.header.fees_distributed = before.checked_add(paid).unwrap();
        link.withdrawals = (0..)
            .zip(payments.into_iter().filter(|(_, gwei)| *gwei > 0))
            .map(|(place, (address, gwei))| withdrawal(5, place, address, gwei))
            .collect();
        change(link);
    });
    let mut request = honest.approve(&link);
    request.fees = Some(honest.fees_proof(account));
    request.pow = Some(honest.pow_evidence(&link));
    (honest, request)
}

fn refused(change: impl FnOnce(&mut ApproveRequest)) -> Option<Rule> {
    let (honest, mut request) = request();
    change(&mut request);
    judge(&honest.chain, &deposits(), &request)
        .err()
        .map(|refusal| refusal.rule)
}

/// The rule that refuses other withdrawals.
fn minted(change: impl FnOnce(&mut Vec<Withdrawal>)) -> Option<Rule> {
    refused(|request| {
        let mut withdrawals = request.withdrawals.to_vec();
        change(&mut withdrawals);
        request.withdrawals = BoundedVec::new(withdrawals).unwrap();
    })
}

#[test]
fn deposits_and_fees_pass() {
    let (honest, request) = request();
    assert_eq!(judge(&honest.chain, &deposits(), &request), Ok(()));
    // 4 gwei to the miner, 250 million each: 5 BTC less what was paid.
    assert_eq!(request.withdrawals.len(), 3 + 1 + usize::from(MEMBERS));
    assert_eq!(request.withdrawals[3].amount, Gwei::new(4_000_000_000));
    assert_eq!(request.withdrawals[4].amount, Gwei::new(250_000_000));
}

#[test]
fn a_block_without_records_mints_deposits_only() {
    let mut honest = Honest::of_four();
    honest.grow(1);
    let link = honest.child_of(1, 1, |link| {
        link.withdrawals = vec![withdrawal(2, 0, recipient(50), 100)];
    });
    let request = honest.approve(&link);
    let deposit = vec![(recipient(50), Sats::new(10))];
    assert_eq!(judge(&honest.chain, &deposit, &request), Ok(()));
    assert_eq!(
        judge(&honest.chain, &[], &request).unwrap_err().rule,
        Rule::WithdrawalsExact
    );
    let empty = honest.approve(&honest.child_of(1, 1, |_| ()));
    assert_eq!(judge(&honest.chain, &[], &empty), Ok(()));
    assert_eq!(
        judge(&honest.chain, &deposit, &empty).unwrap_err().rule,
        Rule::WithdrawalsExact
    );
    let grown = honest.approve(&honest.child_of(1, 1, |link| {
        link.header.fees_distributed = Wei::new(1);
    }));
    assert_eq!(
        judge(&honest.chain, &[], &grown).unwrap_err().rule,
        Rule::FeesProof
    );
}

#[test]
fn a_vault_that_was_never_paid_shares_nothing() {
    // The account is proven absent: a pot of zero, amounts of zero omitted.
    let (honest, request) = with(None, |_| ());
    assert_eq!(request.withdrawals.len(), 3);
    assert_eq!(judge(&honest.chain, &deposits(), &request), Ok(()));
}

#[test]
fn a1_extra_withdrawals_are_refused() {
    let thief = recipient(0xbd);
    let last = 3 + 1 + u64::from(MEMBERS);
    assert_eq!(
        minted(|all| all.push(withdrawal(5, last, thief, 1))),
        Some(Rule::WithdrawalsExact)
    );
    assert_eq!(
        minted(|all| all.insert(0, withdrawal(5, 0, thief, 1))),
        Some(Rule::WithdrawalsExact)
    );
    // An amount of zero mints nothing, and is refused all the same.
    assert_eq!(
        minted(|all| all.push(withdrawal(5, last, thief, 0))),
        Some(Rule::WithdrawalsExact)
    );
    let changes: [fn(&mut Vec<Withdrawal>); 8] = [
        |all| all[1].amount = Gwei::new(200_001),
        |all| all[1].address = recipient(0xbd),
        |all| all[3].amount = Gwei::new(4_000_000_001),
        |all| all[7].amount = Gwei::new(250_000_001),
        |all| all[2].validator_index = 1,
        |all| all[2].index += 1,
        |all| all.swap(0, 1),
        |all| all.clear(),
    ];
    for change in changes {
        assert_eq!(minted(change), Some(Rule::WithdrawalsExact));
    }
    // Missing ones are refused as well: a depositor is not robbed by leaving out.
    for place in 0..last as usize {
        assert_eq!(
            minted(|all| {
                all.remove(place);
            }),
            Some(Rule::WithdrawalsExact)
        );
    }
}

#[test]
fn a1_the_supply_is_added_up_apart() {
    // The sum alone, as if the exact list had not been compared.
    let (honest, request) = request();
    let judged = |withdrawals: &[Withdrawal], deposits: &[(EvmAddress, Sats)]| {
        supply(&request.header, &request.parent, deposits, withdrawals)
            .err()
            .map(|refusal| refusal.rule)
    };
    assert_eq!(judged(&request.withdrawals, &deposits()), None);
    let mut more = request.withdrawals.to_vec();
    more.push(withdrawal(5, 8, recipient(0xbd), 1));
    assert_eq!(judged(&more, &deposits()), Some(Rule::Supply));
    assert_eq!(
        judged(&request.withdrawals[1..], &deposits()),
        Some(Rule::Supply)
    );
    assert_eq!(
        judged(&request.withdrawals, &deposits()[1..]),
        Some(Rule::Supply)
    );
    let mut less = request.header.clone();
    less.fees_distributed = Wei::ZERO;
    let refusal = supply(&less, &request.parent, &deposits(), &request.withdrawals).unwrap_err();
    assert_eq!(refusal.rule, Rule::Supply);
    drop(honest);
}

#[test]
fn a2_a_deposit_twice_is_not_minted_twice() {
    // The withdrawals list it twice, the proven deposits once.
    assert_eq!(
        minted(|all| {
            let again = all[0];
            all.insert(1, again);
            for (place, withdrawal) in (0..).zip(all) {
                withdrawal.index = 5 * 65_536 + place;
            }
        }),
        Some(Rule::WithdrawalsExact)
    );
}

#[test]
fn deposits_leave_room_for_fees() {
    let honest = Honest::of_four();
    let most = honest.chain.spec().deposits.max_withdrawals as usize - usize::from(MEMBERS) - 1;
    let header = honest.child_of(0, 1, |_| ()).header;
    for (count, allowed) in [(most, true), (most + 1, false)] {
        let deposits = vec![(recipient(1), Sats::new(1)); count];
        let all: Vec<Withdrawal> = (0..count as u64)
            .map(|place| withdrawal(1, place, recipient(1), 10))
            .collect();
        let judged = withdrawals_exact(&honest.chain, &header, &deposits, None, &all);
        assert_eq!(judged.is_ok(), allowed, "{count}");
    }
    // Heights and amounts that do not fit are refused, not wrapped.
    let mut high = header.clone();
    high.height = SideHeight::new(1 << 48);
    assert!(withdrawals_exact(&honest.chain, &high, &[], None, &[]).is_err());
    let rich = [(recipient(1), Sats::MAX)];
    assert!(withdrawals_exact(&honest.chain, &header, &rich, None, &[]).is_err());
}

#[test]
fn fees_follow_from_the_proven_vault() {
    let changes: [fn(&mut ApproveRequest); 9] = [
        |request| request.fees = None,
        |request| request.body.pow = None,
        |request| {
            let more = request.header.fees_distributed.checked_add(1).unwrap();
            request.header.fees_distributed = more;
        },
        |request| request.header.fees_distributed = request.parent.fees_distributed,
        |request| request.parent.fees_distributed = Wei::new(DISTRIBUTED + 1),
        |request| request.parent.fees_distributed = Wei::new(BALANCE + 1),
        |request| {
            let fees = request.fees.as_mut().unwrap();
            let mut nodes = fees.account.to_vec();
            nodes.pop();
            fees.account = BoundedVec::new(nodes).unwrap();
        },
        |request| request.fees.as_mut().unwrap().account = BoundedVec::empty(),
        // The block's own execution header in place of the parent's: its vault has this block's fees as well.
        |request| {
            let own = request.execution_header.clone();
            request.fees.as_mut().unwrap().execution_header = own;
        },
    ];
    for change in changes {
        assert_eq!(refused(change), Some(Rule::FeesProof));
    }
    // Another account's proof, though it holds, under the vault's name.
    let (_, others) = state(recipient(1), Some(U256::MAX));
    assert_eq!(
        refused(|request| request.fees.as_mut().unwrap().account = others),
        Some(Rule::FeesProof)
    );
    // A balance that no 128 bits hold.
    let (honest, request) = with(Some(U256::MAX), |_| ());
    let refusal = judge(&honest.chain, &deposits(), &request).unwrap_err();
    assert_eq!(refusal.rule, Rule::FeesProof);
}

proptest! {
    /// Shares are those of the design, and never pay more than there is; what is left is less than a gwei each.
    #[test]
    fn shares_are_exact_and_never_above_the_pot(pot in 0u128..1 << 90, members in 1usize..=64) {
        let (miner, member) = shares(pot, members as u64);
        let found = FeeShares::of_pot(Wei::new(pot), members);
        if miner > U256::from(u64::MAX) {
            prop_assert_eq!(found, None);
            return Ok(());
        }
        let found = found.unwrap();
        prop_assert_eq!(U256::from(found.miner.get()), miner);
        prop_assert_eq!(U256::from(found.member.get()), member);
        let paid = (U256::from(found.miner.get()) + U256::from(found.member.get()) * U256::from(members))
            * U256::from(1_000_000_000u64);
        prop_assert_eq!(U256::from(found.paid.get()), paid);
        prop_assert!(found.paid.get() <= pot);
        prop_assert!(pot - found.paid.get() < 1_000_000_000 * (members as u128 + 1));
    }

    #[test]
    fn no_pot_makes_the_shares_panic(pot in any::<u128>(), members in any::<usize>()) {
        if let Some(shares) = FeeShares::of_pot(Wei::new(pot), members) {
            prop_assert!(shares.paid.get() <= pot);
        }
        prop_assert_eq!(FeeShares::of_pot(Wei::new(pot), 0), None);
    }

    /// The list that follows passes with the supply; any other one, changed in one place, does not.
    #[test]
    fn exactly_one_list_passes(
        amounts in proptest::collection::vec(0u64..1 << 50, 0..20), fees in proptest::option::of(0u128..1 << 80),
        height in 1u64..1 << 40, place in any::<prop::sample::Index>(), kind in 0u8..5
    ) {
        let honest = Honest::of_four();
        let members = honest.chain.roster().members();
        let mut header = honest.child_of(0, 1, |_| ()).header;
        header.height = SideHeight::new(height);
        let deposits: Deposits = amounts.iter().zip(0..)
            .map(|(amount, number)| (recipient(number), Sats::new(*amount))).collect();
        let fees = fees.map(|pot| FeePayment {
            miner: recipient(0xfe),
            shares: FeeShares::of_pot(Wei::new(pot), members.len()).unwrap(),
        });
        let mut payments: Vec<(EvmAddress, u64)> = deposits.iter().map(|(to, sats)| (*to, sats.get() * 10)).collect();
        if let Some(fees) = &fees {
            payments.push((fees.miner, fees.shares.miner.get()));
            payments.extend(members.iter().map(|to| (to.fee_recipient, fees.shares.member.get())));
            header.fees_distributed = fees.shares.paid;
        }
        payments.retain(|(_, gwei)| *gwei > 0);
        let mut all: Vec<Withdrawal> = (0..).zip(payments)
            .map(|(place, (to, gwei))| withdrawal(height, place, to, gwei)).collect();
        let judge = |all: &[Withdrawal]| withdrawals_exact(&honest.chain, &header, &deposits, fees.as_ref(), all);
        prop_assert_eq!(judge(&all), Ok(()));
        prop_assert_eq!(supply(&header, honest.chain.genesis(), &deposits, &all), Ok(()));
        let extra = withdrawal(height, all.len() as u64, recipient(0xbd), 1);
        if all.is_empty() {
            all.push(extra);
        } else {
            let place = place.index(all.len());
            match kind {
                0 => { all.remove(place); }
                1 => all.insert(place, extra),
                2 => all[place].amount = Gwei::new(all[place].amount.get() + 1),
                3 => all[place].index ^= 1 << 16,
                _ => all[place].address = recipient(0xbd),
            }
        }
        prop_assert_eq!(judge(&all).unwrap_err().rule, Rule::WithdrawalsExact);
    }
}
