//! Properties of the rules of area `pegout`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod fixtures;

use alys_protocol::bounded::BoundedVec;
use alys_protocol::signer::PegOutRequest;
use alys_protocol::spec::Chain;
use alys_protocol::units::{BurnSequence, Sats, SatsPerKvb};
use alys_signer_core::state::PegOutState;
use bitcoin::{Amount, Transaction};
use fixtures::Honest;
use fixtures::pegout::{Plan, burn, outpoint, record_of, request, request_with};
use fixtures::session::{Session, three};
use proptest::prelude::*;
use std::sync::LazyLock;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever amounts, coins and rate: an honest batch passes, and one satoshi moved anywhere does not.
    #[test]
    fn amounts_decide(
        amounts in proptest::collection::vec(1_000_000u64..100_000_000, 0..5),
        extra in 0u64..50_000_000,
        rate in 1_000u64..=200_000,
        from in 0usize..6,
        to in 0usize..6,
        sats in 1u64..400,
    ) {
        let chain = Honest::of_four().chain;
        let total: u64 = amounts.iter().sum::<u64>() + extra;
        let plan = Plan {
            first_burn: 0,
            inputs: vec![(outpoint(1), total / 2 + 1_000_000), (outpoint(2), total / 2 + 1)],
            amounts,
            rate,
            replaces: None,
            skipped: Vec::new(),
        };
        let check = |transaction: &Transaction| {
            let record = record_of(&plan, transaction);
            let values = plan.inputs.iter().map(|(_, value)| Sats::new(*value)).collect();
            let mut session = Session::new();
            let mut request = request_with(&mut session.honest, &plan, transaction);
            request.values = BoundedVec::new(values).unwrap();
            assert_eq!(request.record, record);
            session.judge(&request)
        };
        let honest = fixtures::pegout::transaction(&chain, &plan);
        prop_assert_eq!(check(&honest), Ok(()));
        let mut moved = honest.clone();
        let outputs = moved.output.len();
        // Index `outputs` stands for the fee.
        let (from, to) = (from % (outputs + 1), to % (outputs + 1));
        if from < outputs {
            moved.output[from].value -= Amount::from_sat(sats);
        }
        if to < outputs {
            moved.output[to].value += Amount::from_sat(sats);
        }
        if moved != honest {
            prop_assert!(check(&moved).is_err());
        }
    }

    /// A7: whatever bytes arrive, no panic; and what decodes and passes is the recorded batch.
    #[test]
    fn a7_changed_bytes_never_panic_nor_change_the_batch(
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        static HONEST: LazyLock<(Session, PegOutRequest)> = LazyLock::new(|| {
            let mut session = Session::new();
            let request = request(&mut session.honest, &three());
            (session, request)
        });
        let (session, honest) = &*HONEST;
        let mut bytes = postcard::to_allocvec(honest).unwrap();
        for (place, byte) in places {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(changed) = postcard::from_bytes::<PegOutRequest>(&bytes)
            && session.judge(&changed).is_ok()
        {
            prop_assert_eq!(&changed.record, &honest.record);
        }
    }

    /// No burn is ever in two signed batches, whatever order batches are asked for in.
    #[test]
    fn burns_are_paid_once(ranges in proptest::collection::vec((0u64..12, 1u64..5), 1..12)) {
        static CHAIN: LazyLock<Chain> = LazyLock::new(|| Honest::of_four().chain);
        let mut state = PegOutState::default();
        let mut paid = std::collections::BTreeSet::new();
        for (first, count) in ranges {
            let record = alys_protocol::peg::BatchRecord {
                first_burn: BurnSequence::new(first),
                next_burn: BurnSequence::new(first + count),
                fee_rate: SatsPerKvb::new(1_000),
                replaces: None,
                skipped: BoundedVec::empty(),
                transaction: BoundedVec::empty(),
            };
            let burns: Vec<_> = (first..first + count)
                .map(|sequence| alys_protocol::signer::BurnEvidence {
                    burn: burn(sequence, 1_000_000),
                    header: CHAIN.genesis().clone(),
                    history: None,
                    execution_header: BoundedVec::empty(),
                    transaction_index: 0,
                    log_index: 0,
                    receipt: BoundedVec::empty(),
                })
                .collect();
            let allowed = alys_signer_core::pegout::evidence::burn_sequence(&state, &record, &burns).is_ok();
            let disjoint = (first..first + count).all(|burn| !paid.contains(&burn));
            prop_assert_eq!(allowed, disjoint);
            if allowed {
                state.pay(alys_signer_core::state::BurnRange {
                    first: record.first_burn,
                    next: record.next_burn,
                });
                paid.extend(first..first + count);
            }
        }
    }
}
