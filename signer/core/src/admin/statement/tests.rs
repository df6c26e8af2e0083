use super::*;
use crate::pegout::limits::paused;
use crate::state::{BurnRange, Family, FamilyMember, Proposed, Vote};
use alloc::vec;
use alys_protocol::bytes::BatchId;
use alys_protocol::bytes::BlockId;
use alys_protocol::units::Sats;
use bitcoin::BlockHash;
use bitcoin::hashes::Hash as _;

const NOW: WindowTime = WindowTime::from_millis(1_000_000);

fn key(number: u8) -> OfficerKey {
    OfficerKey::new([number; 32])
}

fn officers() -> Officers {
    Officers::new(2, &[key(1), key(2), key(3)]).unwrap()
}

fn moment() -> Moment {
    Moment {
        chain: ChainId::new(7),
        member: MemberId::new(2),
        challenge: Some(Digest::new([9; 32])),
        slot: Slot::new(100),
        window: NOW,
        horizon_slots: 3,
        bitcoin_start: BtcHeight::new(100),
    }
}

const SKIP: Act = Act::Skip(Skipped {
    burn: BurnSequence::new(8),
});

fn acts() -> [Act; 5] {
    [
        Act::Pause,
        Act::Resume,
        Act::Fresh(vouched()),
        SKIP,
        anchor(100),
    ]
}

fn anchor(height: u32) -> Act {
    Act::Anchor(Checkpoint {
        height: BtcHeight::new(height),
        hash: BlockHash::from_byte_array([7; 32]),
    })
}

fn vouched() -> Vouched {
    Vouched {
        challenge: Digest::new([9; 32]),
        slot_floor: Slot::new(104),
        lock: SideHeight::new(50),
        next_burn: BurnSequence::new(20),
    }
}

fn says(act: Act) -> Statement {
    Statement {
        chain_id: ChainId::new(7),
        member: MemberId::new(2),
        number: StatementNumber::new(6),
        act,
    }
}

fn governed(last: u64) -> Governed {
    Governed {
        admin: AdminState {
            statement: StatementNumber::new(last),
            ..AdminState::default()
        },
        vote: VoteState::default(),
        pegout: old_pegouts(),
        bitcoin: HeaderChain::default(),
    }
}

fn judge_after(
    last: u64,
    moment: &Moment,
    said: &Statement,
    signed: &[OfficerKey],
) -> Result<(), Rule> {
    obey(&governed(last), moment, &officers(), said, signed)
        .map(drop)
        .map_err(|refusal| refusal.rule)
}

fn judge(moment: &Moment, said: &Statement, signed: &[OfficerKey]) -> Result<(), Rule> {
    judge_after(5, moment, said, signed)
}

#[test]
fn one_officer_pauses_and_a_quorum_does_the_rest() {
    let (one, two) = ([key(3)], [key(3), key(1)]);
    let cases = [
        (Act::Pause, Ok(())),
        (Act::Resume, Err(Rule::Quorum)),
        (Act::Fresh(vouched()), Err(Rule::Quorum)),
        (SKIP, Err(Rule::Quorum)),
        (anchor(100), Err(Rule::Quorum)),
    ];
    for (act, alone) in cases {
        assert_eq!(judge(&moment(), &says(act), &one), alone, "{act:?}");
        assert_eq!(judge(&moment(), &says(act), &two), Ok(()), "{act:?}");
        for strangers in [&[][..], &[key(8), key(9)]] {
            assert_eq!(
                judge(&moment(), &says(act), strangers),
                Err(Rule::Quorum),
                "{act:?}"
            );
        }
    }
    let twice = [key(1), key(1)];
    assert_eq!(
        judge(&moment(), &says(Act::Resume), &twice),
        Err(Rule::Quorum)
    );
}

#[test]
fn a_statement_counts_once_and_for_one_signer() {
    let signed = [key(1), key(2)];
    for act in acts() {
        for (number, verdict) in [
            (4, Err(Rule::Iteration)),
            (5, Err(Rule::Iteration)),
            (6, Ok(())),
            (90, Ok(())),
        ] {
            let mut said = says(act);
            said.number = StatementNumber::new(number);
            assert_eq!(
                judge(&moment(), &said, &signed),
                verdict,
                "{act:?} {number}"
            );
        }
        for (number, verdict) in [(0, Err(Rule::Iteration)), (1, Ok(()))] {
            let mut said = says(act);
            said.number = StatementNumber::new(number);
            assert_eq!(judge_after(0, &moment(), &said, &signed), verdict);
        }

        let mut said = says(act);
        said.chain_id = ChainId::new(8);
        assert_eq!(judge(&moment(), &said, &signed), Err(Rule::Chain));
        let mut said = says(act);
        said.member = MemberId::new(3);
        assert_eq!(judge(&moment(), &said, &signed), Err(Rule::Chain));
    }
}

#[test]
fn vouching_answers_the_open_challenge_with_a_floor_beyond_the_horizon() {
    let signed = [key(1), key(2)];
    let fresh = |moment: &Moment, challenge: u8, floor: u64| {
        let mut vouched = vouched();
        vouched.challenge = Digest::new([challenge; 32]);
        vouched.slot_floor = Slot::new(floor);
        judge(moment, &says(Act::Fresh(vouched)), &signed)
    };
    assert_eq!(fresh(&moment(), 9, 104), Ok(()));
    assert_eq!(fresh(&moment(), 9, 103), Err(Rule::Fresh));
    assert_eq!(fresh(&moment(), 9, 103 + MAX_FLOOR_SLOTS), Ok(()));
    assert_eq!(fresh(&moment(), 9, 104 + MAX_FLOOR_SLOTS), Err(Rule::Fresh));
    assert_eq!(fresh(&moment(), 9, 0), Err(Rule::Fresh));
    assert_eq!(fresh(&moment(), 8, 104), Err(Rule::Fresh));
    let mut none_open = moment();
    none_open.challenge = None;
    assert_eq!(fresh(&none_open, 9, 104), Err(Rule::Fresh));
    let mut end_of_time = moment();
    end_of_time.slot = Slot::new(u64::MAX);
    assert_eq!(fresh(&end_of_time, 9, u64::MAX), Err(Rule::Fresh));
}

#[test]
fn bitcoin_never_starts_below_the_chain_specs_block() {
    let signed = [key(1), key(2)];
    for (height, judged) in [
        (0, Err(Rule::ReorgDepth)),
        (99, Err(Rule::ReorgDepth)),
        (100, Ok(())),
        (u32::MAX, Ok(())),
    ] {
        assert_eq!(judge(&moment(), &says(anchor(height)), &signed), judged);
    }
}

#[test]
fn each_act_changes_its_states_and_takes_the_number() {
    let before = governed(5);
    let mut resumed = before.clone();
    resumed.pegout.paused = false;
    let signed = [key(1), key(2)];
    for act in acts() {
        for start in [&before, &resumed] {
            let after = obey(start, &moment(), &officers(), &says(act), &signed).unwrap();
            assert_eq!(after.admin.statement, StatementNumber::new(6));
            assert_eq!(after.admin.policy, start.admin.policy);
            let skips = match act {
                Act::Skip(skipped) => vec![skipped.burn],
                Act::Pause | Act::Resume | Act::Fresh(_) | Act::Anchor(_) => Vec::new(),
            };
            assert_eq!(after.admin.skips, skips);
            let (vote, pegout) = match act {
                Act::Skip(_) | Act::Anchor(_) => (start.vote.clone(), start.pegout.clone()),
                Act::Pause => (start.vote.clone(), start.pegout.with_paused(true)),
                Act::Resume => (start.vote.clone(), start.pegout.with_paused(false)),
                Act::Fresh(vouched) => (
                    start.vote.raised(&vouched.marks(), NOW),
                    start.pegout.raised(&vouched.marks(), NOW),
                ),
            };
            assert_eq!((after.vote, after.pegout), (vote, pegout), "{act:?}");
            let bitcoin = match act {
                Act::Anchor(checkpoint) => HeaderChain::anchored(checkpoint),
                Act::Pause | Act::Resume | Act::Fresh(_) | Act::Skip(_) => start.bitcoin.clone(),
            };
            assert_eq!(after.bitcoin, bitcoin, "{act:?}");
        }
    }
}

#[test]
fn a_pause_stops_peg_outs_and_changes_nothing_else() {
    let state = PegOutState {
        next_burn: BurnSequence::new(4),
        ..PegOutState::default()
    };
    let stopped = state.with_paused(true);
    assert_eq!(paused(&stopped).unwrap_err().rule, Rule::Paused);
    assert_eq!(stopped.with_paused(false), state);
}

fn old_pegouts() -> PegOutState {
    let range = |first, next| BurnRange {
        first: BurnSequence::new(first),
        next: BurnSequence::new(next),
    };
    PegOutState {
        next_burn: BurnSequence::new(10),
        gaps: vec![range(1, 3)],
        families: vec![Family {
            burns: range(3, 10),
            inputs: vec![],
            charged: Sats::new(5),
            members: vec![FamilyMember {
                batch: BatchId::new([4; 32]),
                request: Digest::new([5; 32]),
                fee: Sats::new(1),
                randomness: [6; 32],
            }],
        }],
        paused: true,
        ..PegOutState::default()
    }
}

#[test]
fn vouching_leaves_no_burn_below_its_mark_to_pay() {
    let old = old_pegouts();
    assert!(old.family_of(BatchId::new([4; 32])).is_some());
    let next = old.raised(&vouched().marks(), NOW);
    assert_eq!(next.next_burn, BurnSequence::new(20));
    assert!(next.gaps.is_empty(), "neither the old gap nor 10 to 20");
    assert!(next.family_of(BatchId::new([4; 32])).is_none());
    assert!(next.paused, "only a resume ends a pause");
    let mut full = PegOutState::default();
    full.fill_windows(NOW);
    assert_eq!(next.value_window, full.value_window);
    assert_eq!(next.count_window, full.count_window);
    assert_ne!(next.value_window, old.value_window);

    let mut lower = vouched();
    lower.next_burn = BurnSequence::new(7);
    assert_eq!(old.raised(&lower.marks(), NOW).next_burn, old.next_burn);
}

#[test]
fn vouching_raises_slots_and_lock_and_repeats_nothing() {
    let old = VoteState {
        last_slot: Slot::new(90),
        lock: SideHeight::new(40),
        voted: Some(Vote {
            block: BlockId::new([1; 32]),
            final_height: SideHeight::new(30),
        }),
        proposed: Some(Proposed {
            slot: Slot::new(91),
            block: BlockId::new([2; 32]),
        }),
        ..VoteState::default()
    };
    let mut full = old.clone();
    full.fill_windows(NOW);
    assert_ne!(full.mint_window, old.mint_window);
    let raised = |state: &VoteState, floor: u64, lock: u64| {
        let mut vouched = vouched();
        vouched.slot_floor = Slot::new(floor);
        vouched.lock = SideHeight::new(lock);
        let next = state.raised(&vouched.marks(), NOW);
        assert_eq!(next.voted, None);
        assert_eq!(next.mint_window, full.mint_window);
        let proposed = next.proposed.unwrap();
        assert_eq!(proposed.block, BlockId::ZERO);
        (next.last_slot.get(), proposed.slot.get(), next.lock.get())
    };
    assert_eq!(raised(&old, 104, 50), (104, 104, 50));
    assert_eq!(raised(&old, 7, 7), (90, 91, 40), "never lower");
    assert_eq!(raised(&VoteState::default(), 104, 50), (104, 104, 50));
}
