//! Peg-outs: batches of several side chains, each honest by itself.

use super::universe::{LARGE, REPLACED_RATE};
use crate::fixtures::Honest;
use crate::fixtures::pegout::{Plan, outpoint, record_of, request, transaction};
use alys_protocol::bytes::BatchId;
use alys_protocol::signer::PegOutRequest;
use alys_protocol::spec::Chain;
use alys_protocol::units::BurnSequence;
use bitcoin::OutPoint;
use bitcoin::hashes::{Hash as _, sha256d};

pub struct Payment {
    pub request: PegOutRequest,
    pub batch: BatchId,
    pub burns: std::ops::Range<u64>,
    pub amounts: Vec<u64>,
    pub inputs: Vec<OutPoint>,
    pub rate: u64,
    pub fee: u64,
    /// What leaves the wallet.
    pub leaving: u64,
    pub replaces: bool,
    /// Hash of the Bitcoin block whose work is over the burns, as a big-endian number.
    pub work: [u8; 32],
}

fn plan(first: u64, coin: u8, amounts: &[u64]) -> Plan {
    Plan {
        amounts: amounts.to_vec(),
        inputs: vec![(outpoint(coin), amounts.iter().sum::<u64>() + 3_000_000)],
        ..Plan::simple(first, coin)
    }
}

pub fn payments(chain: &Chain) -> Vec<Payment> {
    // One chain that pays burns 0 to 4 in order, and replaces the first two batches.
    let mut honest = Honest::new(chain.clone());
    let first = plan(0, 1, &[LARGE]);
    let second = plan(1, 2, &[LARGE, LARGE]);
    let mut payments = vec![
        payment(&mut honest, &first),
        payment(&mut honest, &second),
        payment(&mut honest, &plan(3, 3, &[2_000_000, LARGE])),
    ];
    for (of, plan, rate) in [
        (0, &first, REPLACED_RATE),
        (0, &first, 7_000),
        (0, &first, 12_000),
        (1, &second, 5_007),
        (1, &second, REPLACED_RATE),
    ] {
        let again = Plan {
            rate,
            replaces: Some(payments[of].batch),
            ..plan.clone()
        };
        payments.push(payment(&mut honest, &again));
    }
    // Others that pay the same burns or spend the same coins otherwise, and batches at the chain's limits and above.
    let small = [2_000_000; 5];
    for (first, coin, amounts) in [
        (0, 4, &[LARGE][..]),
        (0, 1, &[LARGE, LARGE]),
        (1, 1, &[LARGE]),
        (2, 5, &[LARGE, LARGE, LARGE]),
        (5, 6, &[LARGE, LARGE]),
        (7, 7, &[LARGE]),
        (5, 8, &[LARGE, LARGE, LARGE, 1_000_000]),
        (5, 9, &small[..4]),
        (5, 10, &small),
    ] {
        let mut rival = Honest::new(chain.clone());
        rival.grow(2);
        rival.extend(1, |link| {
            link.header.next_burn = BurnSequence::new(first);
            // A batch that another signer signed.
            link.body.batch = (first > 0).then(|| {
                let before = plan(0, 11, &vec![2_000_000; usize::try_from(first).unwrap()]);
                record_of(&before, &transaction(chain, &before))
            });
        });
        payments.push(payment(&mut rival, &plan(first, coin, amounts)));
    }
    payments
}

fn payment(honest: &mut Honest, plan: &Plan) -> Payment {
    let request = request(honest, plan);
    let made = transaction(&honest.chain, plan);
    let spent: u64 = plan.inputs.iter().map(|(_, sats)| sats).sum();
    let sats: Vec<u64> = made
        .output
        .iter()
        .map(|output| output.value.to_sat())
        .collect();
    let change = sats.get(plan.amounts.len()).copied().unwrap_or_default();
    let bytes = &request.pow.as_ref().unwrap().record.auxpow;
    // Namecoin's serialisation ends with the Bitcoin header.
    let mut work = sha256d::Hash::hash(&bytes[bytes.len() - 80..]).to_byte_array();
    work.reverse();
    Payment {
        batch: request.record.id(honest.chain.id()),
        burns: plan.first_burn..plan.first_burn + plan.amounts.len() as u64,
        amounts: plan.amounts.clone(),
        inputs: plan.inputs.iter().map(|(coin, _)| *coin).collect(),
        rate: plan.rate,
        fee: spent - sats.iter().sum::<u64>(),
        leaving: spent - change,
        replaces: plan.replaces.is_some(),
        work,
        request,
    }
}
