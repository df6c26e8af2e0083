//! Claim C3, the evidence: burns that did not happen, or not like this, or not under enough work.

use crate::auxpow::{each_forgery, reworked};
use crate::federation::{Federation, Setup, edit};
use crate::support::fixtures::evidence::{event, receipt};
use crate::support::fixtures::pegout::{self, Plan, Source, outpoint, request_from};
use crate::support::fixtures::{Honest, Link};
use alloy_primitives::{Address, Log, LogData};
use alys_protocol::body::PowRecord;
use alys_protocol::bytes::EvmAddress;
use alys_protocol::header::PowState;
use alys_protocol::peg::Burn;
use alys_protocol::rules::Rule;
use alys_protocol::signer::PegOutRequest;
use alys_protocol::spec::Target;
use alys_protocol::units::{BurnSequence, Sats, SideHeight};

/// Three burns paid from two coins.
pub(crate) fn three(first_burn: u64) -> Plan {
    Plan {
        first_burn,
        amounts: vec![2_000_000, 30_000_000, 1_000_001],
        inputs: vec![(outpoint(1), 20_000_000), (outpoint(2), 20_000_000)],
        rate: 5_000,
        replaces: None,
        skipped: Vec::new(),
    }
}

pub(crate) fn link(federation: &Federation, height: u64) -> &Link {
    &federation.honest.links[usize::try_from(height).unwrap()]
}

/// Evidence of burns that happened, forged, truncated, swapped and replayed.
pub(crate) fn burn_evidence_forged_truncated_swapped_and_replayed() {
    let mut federation = Federation::new();
    let request = federation.batch(&three(0));
    let older = request.burns[0].clone();
    let next = federation.on_a_fork(|honest| pegout::request(honest, &Plan::simple(3, 5)));
    let burned = request.burns[0].header.height.get();
    let below = link(&federation, burned - 1).header.clone();
    let above = link(&federation, burned + 1).header.clone();
    let history = federation.honest.history_proof(burned, 1);
    type Change<'a> = &'a dyn Fn(&mut PegOutRequest);
    let burn = |change: fn(&mut Burn)| {
        move |r: &mut PegOutRequest| edit(&mut r.burns, |burns| change(&mut burns[0].burn))
    };
    let script = |r: &mut PegOutRequest| {
        edit(&mut r.burns, |burns| {
            edit(&mut burns[0].burn.script_pubkey, |bytes| bytes[5] ^= 1)
        });
    };
    let changes: [(Rule, &str, Change<'_>); 23] = [
        (Rule::BurnSequence, "none", &|r| {
            edit(&mut r.burns, Vec::clear)
        }),
        (Rule::BurnSequence, "one missing", &|r| {
            edit(&mut r.burns, |burns| burns.truncate(2))
        }),
        (Rule::BurnSequence, "one twice", &|r| {
            edit(&mut r.burns, |burns| burns[1] = burns[0].clone())
        }),
        (Rule::BurnSequence, "one more", &|r| {
            edit(&mut r.burns, |burns| burns.push(next.burns[0].clone()))
        }),
        (Rule::BurnSequence, "swapped", &|r| {
            edit(&mut r.burns, |burns| burns.swap(0, 1))
        }),
        (
            Rule::BurnSequence,
            "another number",
            &burn(|burn| burn.sequence = BurnSequence::new(7)),
        ),
        (
            Rule::OutputsExact,
            "a larger amount",
            &burn(|burn| burn.amount = Sats::new(2_000_001)),
        ),
        (Rule::OutputsExact, "another script", &script),
        (
            Rule::BurnProof,
            "another sender",
            &burn(|burn| burn.sender = EvmAddress::new([1; 20])),
        ),
        (
            Rule::BurnProof,
            "another block",
            &burn(|burn| burn.block = alys_protocol::bytes::BlockId::ZERO),
        ),
        (
            Rule::BurnProof,
            "another height",
            &burn(|burn| burn.height = SideHeight::new(1)),
        ),
        (Rule::BurnProof, "the block below", &|r| {
            edit(&mut r.burns, |burns| burns[0].header = below.clone());
        }),
        (Rule::Hold, "a block above the work", &|r| {
            edit(&mut r.burns, |burns| burns[0].header = above.clone());
        }),
        (Rule::BurnProof, "a history that is not needed", &|r| {
            edit(&mut r.burns, |burns| {
                burns[0].history = Some(history.clone())
            });
        }),
        (Rule::BurnProof, "no execution header", &|r| {
            edit(&mut r.burns, |burns| {
                edit(&mut burns[0].execution_header, Vec::clear)
            });
        }),
        (Rule::BurnProof, "another receipts root", &|r| {
            edit(&mut r.burns, |burns| {
                edit(&mut burns[0].execution_header, |rlp| rlp[170] ^= 1)
            });
        }),
        (Rule::BurnProof, "no receipt", &|r| {
            edit(&mut r.burns, |burns| {
                edit(&mut burns[0].receipt, Vec::clear)
            });
        }),
        (Rule::BurnProof, "a receipt cut off", &|r| {
            edit(&mut r.burns, |burns| {
                edit(&mut burns[0].receipt, |nodes| {
                    nodes.truncate(nodes.len() - 1)
                });
            });
        }),
        (Rule::BurnProof, "a node more", &|r| {
            edit(&mut r.burns, |burns| {
                edit(&mut burns[0].receipt, |nodes| nodes.push(nodes[0].clone()));
            });
        }),
        (Rule::BurnProof, "another burn's receipt", &|r| {
            edit(&mut r.burns, |burns| {
                burns[0].receipt = burns[1].receipt.clone()
            });
        }),
        (Rule::BurnProof, "another transaction", &|r| {
            edit(&mut r.burns, |burns| burns[0].transaction_index = 1);
        }),
        (Rule::BurnProof, "another log", &|r| {
            edit(&mut r.burns, |burns| burns[0].log_index = 1)
        }),
        (Rule::BurnProof, "the last log there could be", &|r| {
            edit(&mut r.burns, |burns| burns[0].log_index = u32::MAX);
        }),
    ];
    federation.refuses_payments_and_repeats(&request, &changes);
    // The next batch: a paid burn's receipt under the new number.
    let mut replayed = federation.batch(&Plan::simple(3, 5));
    let honest = replayed.clone();
    edit(&mut replayed.burns, |burns| {
        let burn = burns[0].burn.clone();
        burns[0] = older;
        burns[0].burn = burn;
    });
    federation.refuses_payment(Rule::BurnProof, "a paid burn's evidence", &replayed);
    federation.pays(&honest);
    federation.serves();
}

/// A stranger's log of the same event.
fn strangers(burn: &Burn) -> Log {
    Log {
        address: Address::repeat_byte(0xbd),
        ..event(EvmAddress::new([0xbd; 20]), burn)
    }
}

/// Regressions A3 and A4: the event, forged, and the bridge's own, however it was called. The chain that shows it is certified and worked on as any other.
pub(crate) fn a3_a4_burn_logs_forged() {
    let mut federation = Federation::new();
    let plan = Plan::simple(0, 1);
    type Receipts = fn(EvmAddress, &[Burn]) -> Vec<Vec<u8>>;
    let each = |federation: &mut Federation, log: u32, receipts: Receipts| {
        federation.on_a_fork(|honest| {
            let transaction = pegout::transaction(&honest.chain, &plan);
            let source = Source {
                receipts: &receipts,
                ..Source::honest()
            };
            let mut request = request_from(honest, &plan, &transaction, &source);
            edit(&mut request.burns, |burns| burns[0].log_index = log);
            request
        })
    };
    let forgeries: [(Rule, &str, u32, Receipts); 11] = [
        (Rule::BurnEmitter, "another contract's", 0, |_, burns| {
            vec![receipt(2, true, vec![strangers(&burns[0])])]
        }),
        (
            Rule::BurnEmitter,
            "another contract's after the bridge's",
            1,
            |bridge, burns| {
                vec![receipt(
                    2,
                    true,
                    vec![event(bridge, &burns[0]), strangers(&burns[0])],
                )]
            },
        ),
        (
            Rule::BurnStatus,
            "of a transaction that failed",
            0,
            |bridge, burns| vec![receipt(2, false, vec![event(bridge, &burns[0])])],
        ),
        (
            Rule::BurnStatus,
            "of a legacy transaction that failed",
            0,
            |bridge, burns| vec![receipt(0, false, vec![event(bridge, &burns[0])])],
        ),
        (Rule::BurnEmitter, "by nobody, failed", 0, |_, burns| {
            vec![receipt(2, false, vec![strangers(&burns[0])])]
        }),
        (Rule::BurnProof, "no log", 0, |_, _| {
            vec![receipt(2, true, vec![])]
        }),
        (Rule::BurnProof, "of a smaller burn", 0, |bridge, burns| {
            let smaller = Burn {
                amount: Sats::new(1_000_000),
                ..burns[0].clone()
            };
            vec![receipt(2, true, vec![event(bridge, &smaller)])]
        }),
        (Rule::BurnProof, "of another number", 0, |bridge, burns| {
            let other = Burn {
                sequence: BurnSequence::new(1),
                ..burns[0].clone()
            };
            vec![receipt(2, true, vec![event(bridge, &other)])]
        }),
        (
            Rule::BurnProof,
            "another event of the bridge",
            0,
            |bridge, burns| {
                let mut log = event(bridge, &burns[0]);
                let mut topics = log.data.topics().to_vec();
                topics[0] = alloy_primitives::B256::repeat_byte(1);
                log.data = LogData::new_unchecked(topics, log.data.data.clone());
                vec![receipt(2, true, vec![log])]
            },
        ),
        (Rule::BurnProof, "a topic more", 0, |bridge, burns| {
            let mut log = event(bridge, &burns[0]);
            let mut topics = log.data.topics().to_vec();
            topics.push(topics[1]);
            log.data = LogData::new_unchecked(topics, log.data.data.clone());
            vec![receipt(2, true, vec![log])]
        }),
        (Rule::BurnProof, "data more", 0, |bridge, burns| {
            let mut log = event(bridge, &burns[0]);
            let data = [&log.data.data[..], &[0; 32]].concat();
            log.data = LogData::new_unchecked(log.data.topics().to_vec(), data.into());
            vec![receipt(2, true, vec![log])]
        }),
    ];
    for (rule, what, log, receipts) in forgeries {
        let request = each(&mut federation, log, receipts);
        federation.refuses_payment(rule, what, &request);
    }
    // The bridge's own log counts, whoever called it and whatever was logged before.
    let called = each(&mut federation, 2, |bridge, burns| {
        let logs = vec![
            strangers(&burns[0]),
            strangers(&burns[0]),
            event(bridge, &burns[0]),
        ];
        vec![receipt(2, true, logs)]
    });
    for log in [0, 1] {
        let mut wrong = called.clone();
        edit(&mut wrong.burns, |burns| burns[0].log_index = log);
        federation.refuses_payment(Rule::BurnEmitter, "the wrong index", &wrong);
    }
    federation.pays(&called);
    federation.serves();
}

const FLOOR: Target = Target::new([0x0f; 32]);

/// The chain's target for a record in a child of the tip.
fn target_of(honest: &Honest) -> Target {
    let (mining, tip) = (&honest.chain.spec().mining, &honest.tip().header);
    alys_protocol::asert::target(mining, honest.chain.genesis().slot, tip.pow.count, tip.slot)
}

fn weak(honest: &Honest, end: u64) -> (PowRecord, PowState) {
    let (mut record, state) = pegout::honest_record(honest, end);
    let target = target_of(honest);
    reworked(&mut record, |_| (), |hash| *hash <= target && *hash > FLOOR);
    (record, state)
}

/// Regression A5 over burns: AuxPoW that is none, recorded and final all the same.
pub(crate) fn a5_work_over_burns_forged() {
    let mut federation = Federation::new();
    let plan = Plan::simple(0, 1);
    let aux_chain_id = federation.honest.chain.spec().mining.aux_chain_id;
    each_forgery(aux_chain_id, |rule, what, forge| {
        let record = |honest: &Honest, end| {
            let (mut record, state) = pegout::honest_record(honest, end);
            let target = target_of(honest);
            reworked(&mut record, forge, |hash| *hash <= target);
            (record, state)
        };
        let request = federation.on_a_fork(|honest| {
            let transaction = pegout::transaction(&honest.chain, &plan);
            let source = Source {
                record: &record,
                ..Source::honest()
            };
            request_from(honest, &plan, &transaction, &source)
        });
        federation.refuses_payment(rule, what, &request);
    });
    let honest = federation.batch(&plan);
    federation.pays(&honest);
    federation.serves();
}

/// Work that meets the chain's target, eased as far as one likes, and not the policy's floor; and work that does not even
/// meet the target.
pub(crate) fn work_below_the_policys_floor() {
    let mut federation = Federation::with(&Setup {
        policy: |policy| policy.pow_floor_target = FLOOR,
        ..Setup::default()
    });
    let plan = Plan::simple(0, 1);
    let from = |federation: &mut Federation,
                late: u64,
                record: &dyn Fn(&Honest, u64) -> (PowRecord, PowState)| {
        federation.on_a_fork(|honest| {
            honest.grow(1);
            honest.extend(1 + late, |_| ());
            let transaction = pegout::transaction(&honest.chain, &plan);
            let source = Source {
                record,
                ..Source::honest()
            };
            request_from(honest, &plan, &transaction, &source)
        })
    };
    for late in [0, 300, 1_000_000] {
        let request = from(&mut federation, late, &weak);
        federation.refuses_payment(Rule::PowFloor, "work below the floor", &request);
    }
    let none = from(&mut federation, 0, &|honest, end| {
        let (mut record, state) = pegout::honest_record(honest, end);
        reworked(&mut record, |_| (), |hash| hash.as_bytes()[0] > 0xf0);
        (record, state)
    });
    federation.refuses_payment(Rule::Target, "work above the target", &none);
    let thief = from(&mut federation, 0, &|honest, end| {
        let (mut record, state) = honest.record(end, FLOOR);
        record.fee_recipient = EvmAddress::new([0xbd; 20]);
        (record, state)
    });
    federation.refuses_payment(Rule::Commitment, "work for another payout", &thief);
    let honest = from(&mut federation, 0, &|honest, end| honest.record(end, FLOOR));
    federation.pays(&honest);
    federation.serves();
}
