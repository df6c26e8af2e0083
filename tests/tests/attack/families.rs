//! Claim C3, once: burns that were paid before, and replacements of what was signed.

use crate::burns::three;
use crate::federation::Federation;
use crate::payments::changed;
use crate::support::fixtures::Honest;
use crate::support::fixtures::pegout::{self, Plan, outpoint};
use alys_protocol::rules::Rule;
use bitcoin::OutPoint;

/// Burns that were paid are paid again: with other coins, at another rate, in part, and together with others.
pub(crate) fn burns_paid_twice() {
    let mut federation = Federation::new();
    let plan = three(0);
    let paid = federation.batch(&plan);
    let shares = federation.pays(&paid);
    const RULE: Rule = Rule::BurnSequence;
    let others = Plan {
        inputs: vec![(outpoint(8), 50_000_000)],
        ..three(0)
    };
    let faster = Plan {
        rate: 9_000,
        ..three(0)
    };
    for (what, plan) in [
        ("with other coins", &others),
        ("with the same coins", &faster),
    ] {
        let request = changed(&federation, plan, |_| ());
        federation.refuses_payment(RULE, what, &request);
    }
    // On chains of the attacker's that paid a part before.
    let behind = |first: &Plan, second: &Plan| {
        let mut honest = Honest::new(federation.honest.chain.clone());
        pegout::request(&mut honest, first);
        pegout::request(&mut honest, second)
    };
    let one = Plan::simple(0, 11);
    let rest = Plan {
        first_burn: 1,
        amounts: vec![30_000_000, 1_000_001],
        inputs: vec![(outpoint(12), 50_000_000)],
        ..three(0)
    };
    let last_and_next = Plan {
        first_burn: 2,
        amounts: vec![1_000_001, 2_000_000],
        inputs: vec![(outpoint(13), 50_000_000)],
        ..three(0)
    };
    let two = Plan {
        amounts: vec![2_000_000, 30_000_000],
        ..three(0)
    };
    for (what, request) in [
        (
            "the first alone",
            behind(
                &Plan {
                    amounts: vec![],
                    ..three(0)
                },
                &one,
            ),
        ),
        ("the rest", behind(&one, &rest)),
        ("the last and a new one", behind(&two, &last_and_next)),
    ] {
        federation.refuses_payment(RULE, what, &request);
    }
    assert_eq!(
        federation.pays(&paid),
        shares,
        "a repeat is the same signatures"
    );
    let next = federation.batch(&Plan::simple(3, 9));
    federation.pays(&next);
    federation.serves();
}

/// Regression N8's double sweep: a coin of one batch in another, and replacements that could confirm beside what they
/// replace, or cost nothing.
pub(crate) fn n8_replacements_with_other_inputs_and_lower_fees() {
    let mut federation = Federation::new();
    let original = federation.batch(&Plan::simple(0, 1));
    let id = original.record.id(federation.honest.chain.id());
    let replacing = |rate: u64| Plan {
        rate,
        replaces: Some(id),
        ..Plan::simple(0, 1)
    };
    let with = |inputs: &[u8]| Plan {
        inputs: inputs
            .iter()
            .map(|coin| (outpoint(*coin), 5_000_000))
            .collect(),
        ..replacing(50_000)
    };
    const RULE: Rule = Rule::Replacement;
    let early = federation.batch(&replacing(6_000));
    federation.refuses_payment(RULE, "before its original", &early);
    federation.pays(&original);
    for (rule, what, plan) in [
        (RULE, "at the same fee", replacing(5_000)),
        (RULE, "at a lower fee", replacing(4_000)),
        (RULE, "with another coin", with(&[9])),
        (Rule::Inputs, "with one coin more", with(&[1, 9])),
        (Rule::Inputs, "with one coin more in front", with(&[9, 1])),
        (
            Rule::Inputs,
            "of other burns",
            Plan {
                first_burn: 0,
                amounts: vec![],
                ..replacing(50_000)
            },
        ),
    ] {
        let request = federation.batch(&plan);
        federation.refuses_payment(rule, what, &request);
    }
    let request = federation.batch(&Plan {
        inputs: vec![(OutPoint::new(outpoint(1).txid, 1), 5_000_000)],
        ..replacing(50_000)
    });
    federation.refuses_payment(
        RULE,
        "with another output of the coin's transaction",
        &request,
    );
    let sweep = federation.batch(&Plan::simple(1, 1));
    federation.refuses_payment(Rule::Inputs, "the coin for another burn", &sweep);
    let higher = federation.batch(&replacing(8_000));
    federation.pays(&higher);
    let between = federation.batch(&replacing(7_000));
    federation.refuses_payment(RULE, "between two that were signed", &between);
    // What was signed stays signed: repeats give nothing new.
    federation.pays(&original);
    federation.pays(&higher);
    federation.serves();
}
