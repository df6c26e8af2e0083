//! Claim C4: the signer's own limits hold against a federation that can make anything final.

use crate::federation::{Federation, Setup};
use crate::support::fixtures::pegout::{self, Plan, outpoint};
use alys_protocol::rules::Rule;
use alys_protocol::signer::PegOutRequest;
use alys_protocol::units::{Sats, SatsPerKvb};
use alys_signer_core::policy::ScriptPattern;
use alys_signer_core::window::Payments;

/// A batch of these burns from a coin of its own.
fn batch(federation: &mut Federation, first_burn: u64, amounts: &[u64]) -> PegOutRequest {
    let coin = u8::try_from(first_burn + 1).unwrap();
    federation.batch(&Plan {
        first_burn,
        amounts: amounts.to_vec(),
        inputs: vec![(outpoint(coin), 900_000_000)],
        ..Plan::simple(0, 1)
    })
}

/// Releases two hours of Bitcoin headers, as a private chain or a node that withheld them can.
fn release(federation: &mut Federation) {
    for _block in 0..12 {
        let time = federation.miner.tip().time + 600;
        federation.miner.mine(time, 0);
    }
    federation.feed();
}

/// Regression N3 (limits in another unit): the value window, drained batch by batch down to its last satoshi; then a month of headers that were withheld is
/// released in steps of two hours. Windows do not burst: the signer's own timer has hardly moved.
pub(crate) fn n3_the_value_window_drained_under_headers_released_in_steps() {
    let mut federation = Federation::with(&Setup {
        policy: |policy| {
            policy.max_fee_sats = Sats::new(100_000);
            policy.cap_window_sats = Sats::new(500_100_000);
        },
        tip_age: 30 * 24 * 3_600,
        ..Setup::default()
    });
    let first = batch(&mut federation, 0, &[100_000_000]);
    federation.pays(&first);
    for burn in 1..5 {
        let request = batch(&mut federation, burn, &[100_000_000]);
        federation.pays(&request);
    }
    let sixth = batch(&mut federation, 5, &[1_000_000]);
    federation.refuses_payment(Rule::CapWindow, "a sixth", &sixth);
    for step in 0..300 {
        release(&mut federation);
        if step % 20 == 0 {
            federation.refuses_payment(Rule::CapWindow, "after more headers", &sixth);
        }
    }
    federation.refuses_payment(Rule::CapWindow, "after all headers", &sixth);
    // A family is charged once, at its largest member; a replacement may not take more than is left.
    let id = first.record.id(federation.honest.chain.id());
    let dearer = federation.batch(&Plan {
        amounts: vec![100_000_000],
        inputs: vec![(outpoint(1), 900_000_000)],
        rate: 9_000,
        replaces: Some(id),
        ..Plan::simple(0, 1)
    });
    federation.pays(&dearer);
    // Repeats take nothing.
    federation.pays(&first);
    federation.refuses_payment(Rule::CapWindow, "a sixth, at last", &sixth);
    federation.serves();
}

/// The count window, drained by the smallest payments.
pub(crate) fn the_count_window_drained_in_small_steps() {
    let mut federation = Federation::with(&Setup {
        spec: |spec| spec.pegout.max_burns = 4,
        policy: |policy| policy.count_window_payments = Payments::new(4),
        ..Setup::default()
    });
    for burn in 0..3 {
        let request = batch(&mut federation, burn, &[1_000_000]);
        federation.pays(&request);
    }
    let two = federation.on_a_fork(|honest| {
        let plan = Plan {
            first_burn: 3,
            amounts: vec![1_000_000; 2],
            inputs: vec![(outpoint(99), 900_000_000)],
            ..Plan::simple(0, 1)
        };
        pegout::request(honest, &plan)
    });
    federation.refuses_payment(Rule::CountWindow, "two where one is left", &two);
    let last = batch(&mut federation, 3, &[1_000_000]);
    federation.pays(&last);
    let more = batch(&mut federation, 4, &[1_000_000]);
    for _step in 0..5 {
        federation.refuses_payment(Rule::CountWindow, "one more", &more);
        federation.bury(11);
        federation.feed();
    }
    // A batch without burns makes no payment.
    let refresh = federation.batch(&Plan {
        first_burn: 5,
        amounts: vec![],
        inputs: vec![(outpoint(77), 900_000_000)],
        ..Plan::simple(0, 1)
    });
    federation.pays(&refresh);
    federation.serves();
}

/// Single payments and batches above what the chain itself allows, recorded and final all the same.
pub(crate) fn payments_above_the_caps() {
    let mut federation = Federation::new();
    let above = federation.on_a_fork(|honest| {
        let plan = Plan {
            amounts: vec![1_000_000, 100_000_001],
            inputs: vec![(outpoint(1), 900_000_000)],
            ..Plan::simple(0, 1)
        };
        pegout::request(honest, &plan)
    });
    federation.refuses_payment(Rule::CapSingle, "a payment above its cap", &above);
    let batch_above = federation.on_a_fork(|honest| {
        let plan = Plan {
            amounts: vec![
                100_000_000,
                100_000_000,
                100_000_000,
                100_000_000,
                99_000_000,
                1_000_001,
            ],
            inputs: vec![(outpoint(1), 900_000_000)],
            ..Plan::simple(0, 1)
        };
        pegout::request(honest, &plan)
    });
    federation.refuses_payment(
        Rule::CapWindow,
        "a batch above the chain's limit",
        &batch_above,
    );
    let many = federation.on_a_fork(|honest| {
        let plan = Plan {
            amounts: vec![1_000_000; 50],
            inputs: vec![(outpoint(1), 900_000_000)],
            ..Plan::simple(0, 1)
        };
        let mut request = pegout::request(honest, &plan);
        let burns = request.burns.len();
        request.record.next_burn = alys_protocol::units::BurnSequence::new(burns as u64 + 1);
        request
    });
    federation.refuses_payment(Rule::BatchRecorded, "a burn more than was recorded", &many);
    let honest = batch(&mut federation, 0, &[100_000_000]);
    federation.pays(&honest);
    federation.serves();
}

/// Fees: rates above the policy's or the chain's limit, and a batch large enough to burn the wallet in fees.
pub(crate) fn fees_above_the_limits() {
    let mut federation = Federation::with(&Setup {
        policy: |policy| {
            policy.max_fee_rate_sats_per_kvb = SatsPerKvb::new(10_000);
            policy.max_fee_sats = Sats::new(10_000);
        },
        ..Setup::default()
    });
    for (rule, what, rate, coins) in [
        (Rule::FeeRate, "above the policy's rate", 10_001, 1),
        (Rule::FeeRate, "above the chain's rate", 200_001, 1),
        (Rule::FeeAbsolute, "twenty coins", 10_000, 20),
    ] {
        let request = federation.on_a_fork(|honest| {
            let plan = Plan {
                inputs: (1..=coins)
                    .map(|coin| (outpoint(coin), 5_000_000))
                    .collect(),
                rate,
                ..Plan::simple(0, 1)
            };
            pegout::request(honest, &plan)
        });
        federation.refuses_payment(rule, what, &request);
    }
    let honest = federation.batch(&Plan {
        rate: 10_000,
        ..Plan::simple(0, 1)
    });
    federation.pays(&honest);
    federation.serves();
}

/// Large payments before their hold is over, and the same payment after it.
pub(crate) fn payments_before_their_hold_is_over() {
    let mut federation = Federation::with(&Setup {
        policy: |policy| {
            policy.hold_from_sats = Sats::new(10_000_000);
            policy.hold_blocks = 4;
        },
        ..Setup::default()
    });
    let small = batch(&mut federation, 0, &[9_999_999]);
    federation.pays(&small);
    let held = batch(&mut federation, 1, &[10_000_000]);
    federation.refuses_payment(Rule::Hold, "at once", &held);
    let burned = held.burns[0].header.height.get();
    let mut older = held.clone();
    let below = federation.honest.links[1].header.clone();
    crate::federation::edit(&mut older.burns, |burns| burns[0].header = below.clone());
    federation.refuses_payment(Rule::BurnProof, "under an older block", &older);
    // Each record releases what is four blocks below its end.
    for end in [burned + 1, burned + 3, burned + 4] {
        federation.honest.grow(5);
        let (record, state) = pegout::honest_record(&federation.honest, end);
        let carrier = federation.honest.extend(1, |link| {
            link.header.pow = state;
            link.body.pow = Some(record);
        });
        let carrier = carrier.header.height.get();
        federation.honest.grow(2);
        let mut later = held.clone();
        let at = usize::try_from(carrier).unwrap();
        let headers =
            [at, at + 1, at + 2].map(|place| federation.honest.links[place].header.clone());
        later.finality.certificate = federation.honest.certificate(headers[2].id());
        later.finality.headers = headers;
        let recorded = held.recording.height.get();
        later.recording_history = Some(federation.honest.history_proof(carrier + 1, recorded));
        later.pow = Some(federation.honest.pow_finality(carrier + 1, carrier));
        let history = federation.honest.history_proof(end, burned);
        crate::federation::edit(&mut later.burns, |burns| burns[0].history = Some(history));
        if end < burned + 4 {
            federation.refuses_payment(Rule::Hold, "before the fourth block", &later);
        } else {
            federation.pays(&later);
        }
    }
    federation.serves();
}

/// The script of burn 0, which officers denied.
fn denied() -> ScriptPattern {
    let script = bitcoin::ScriptBuf::from_bytes(pegout::burn(0, 1).script_pubkey.to_vec());
    let address = bitcoin::Address::from_script(&script, bitcoin::Network::Regtest).unwrap();
    address.to_string().parse().unwrap()
}

/// Payments to where officers forbade them.
pub(crate) fn payments_to_denied_destinations() {
    let mut federation = Federation::with(&Setup {
        policy: |policy| policy.destinations.deny = vec![denied()],
        ..Setup::default()
    });
    let forbidden = batch(&mut federation, 0, &[2_000_000]);
    federation.refuses_payment(Rule::Destination, "a denied script", &forbidden);
    let among = federation.on_a_fork(|honest| {
        honest.links.truncate(1);
        let plan = Plan {
            amounts: vec![2_000_000; 3],
            ..Plan::simple(0, 9)
        };
        let plan = Plan {
            inputs: vec![(outpoint(9), 50_000_000)],
            ..plan
        };
        pegout::request(honest, &plan)
    });
    federation.refuses_payment(Rule::Destination, "a denied script among others", &among);
    let allowed = batch(&mut federation, 1, &[2_000_000]);
    federation.pays(&allowed);
    federation.serves();
}
