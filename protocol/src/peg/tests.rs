use super::*;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, TxIn, TxOut, Witness, absolute, transaction};

fn federation() -> ScriptBuf {
    ScriptBuf::from_bytes([&[0x51, 0x20][..], &[7; 32]].concat())
}

fn deposit(outputs: &[(&[u8], u64)]) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: alloc::vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[1u8; 64]]),
        }],
        output: outputs
            .iter()
            .map(|(script, value)| TxOut {
                script_pubkey: ScriptBuf::from_bytes(script.to_vec()),
                value: Amount::from_sat(*value),
            })
            .collect(),
    }
}

fn read(outputs: &[(&[u8], u64)]) -> Attribution {
    attribute(&deposit(outputs), 1, &federation(), Sats::new(1000))
}

const RAW: [u8; 22] = {
    let mut script = [0xab; 22];
    script[0] = 0x6a;
    script[1] = 0x14;
    script
};

#[test]
fn the_three_exact_forms_are_read() {
    let recipient = EvmAddress::new([0xab; 20]);
    let hex = [&[0x6a, 0x28][..], "Ab".repeat(20).as_bytes()].concat();
    let prefixed = [&[0x6a, 0x2a][..], b"0x", "aB".repeat(20).as_bytes()].concat();
    for script in [&RAW[..], &hex, &prefixed] {
        assert_eq!(
            read(&[(federation().as_bytes(), 5000), (script, 0)]),
            Attribution::Deposit {
                recipient,
                amount: Sats::new(5000)
            }
        );
    }
}

#[test]
fn every_other_form_credits_nobody() {
    let fed = federation();
    let fed = fed.as_bytes();
    #[allow(clippy::type_complexity, reason = "a table of cases")]
    let cases: [(&[(&[u8], u64)], Unattributable); 6] = [
        (&[(fed, 5000)], Unattributable::NoRecipient),
        (
            &[(fed, 5000), (&RAW, 0), (&RAW, 0)],
            Unattributable::ManyRecipients,
        ),
        (&[(fed, 999), (&RAW, 0)], Unattributable::BelowMinimum),
        (
            &[(fed, 5000), (&RAW[..21], 0)],
            Unattributable::MalformedRecipient,
        ),
        (
            &[(fed, 5000), (&[&RAW[..], &[0]].concat(), 0)],
            Unattributable::MalformedRecipient,
        ),
        (
            &[
                (fed, 5000),
                (&[&[0x6a, 0x4c, 0x14][..], &[1; 20]].concat(), 0),
            ],
            Unattributable::MalformedRecipient,
        ),
    ];
    for (outputs, reason) in cases {
        assert_eq!(read(outputs), Attribution::Unattributable(reason));
    }
    let hexish = [&[0x6a, 0x28][..], b"0x", "ab".repeat(19).as_bytes()].concat();
    assert_eq!(
        read(&[(fed, 5000), (&hexish, 0)]),
        Attribution::Unattributable(Unattributable::MalformedRecipient)
    );
    assert_eq!(
        attribute(
            &deposit(&[(fed, 5000), (&RAW, 0)]),
            0,
            &federation(),
            Sats::new(1)
        ),
        Attribution::Unattributable(Unattributable::Coinbase)
    );
    assert_eq!(read(&[(&RAW, 0)]), Attribution::Unrelated);
}

#[test]
fn outputs_below_the_minimum_do_not_count_and_the_others_add_up() {
    let fed = federation();
    let fed = fed.as_bytes();
    assert_eq!(
        read(&[(fed, 1000), (fed, 999), (&RAW, 0), (fed, 2000)]),
        Attribution::Deposit {
            recipient: EvmAddress::new([0xab; 20]),
            amount: Sats::new(3000)
        }
    );
    assert_eq!(
        read(&[(fed, u64::MAX), (fed, 1000), (&RAW, 0)]),
        Attribution::Unattributable(Unattributable::Overflow)
    );
}

#[test]
fn records_carry_no_witness() {
    let transaction = deposit(&[(&RAW, 0)]);
    let stripped = encode_stripped(&transaction).unwrap();
    let read = decode_stripped(&stripped).unwrap();
    assert_eq!(read.compute_txid(), transaction.compute_txid());
    assert_eq!(
        decode_stripped(&bitcoin::consensus::serialize(&transaction)),
        Err(TransactionError::Witness)
    );
    assert!(matches!(
        decode_stripped(&[&stripped[..], &[0]].concat()),
        Err(TransactionError::Encoding { .. })
    ));
}

#[test]
fn every_field_is_in_a_batchs_id() {
    let chain = ChainId::new(1);
    let batch = BatchRecord {
        first_burn: BurnSequence::new(1),
        next_burn: BurnSequence::new(2),
        fee_rate: SatsPerKvb::new(1000),
        replaces: None,
        skipped: BoundedVec::empty(),
        transaction: BoundedVec::new(alloc::vec![1, 2, 3]).unwrap(),
    };
    let ids = [
        batch.id(chain),
        batch.id(ChainId::new(2)),
        BatchRecord {
            first_burn: BurnSequence::ZERO,
            ..batch.clone()
        }
        .id(chain),
        BatchRecord {
            next_burn: BurnSequence::new(3),
            ..batch.clone()
        }
        .id(chain),
        BatchRecord {
            fee_rate: SatsPerKvb::new(1),
            ..batch.clone()
        }
        .id(chain),
        BatchRecord {
            replaces: Some(BatchId::new([1; 32])),
            ..batch.clone()
        }
        .id(chain),
        BatchRecord {
            skipped: BoundedVec::new(alloc::vec![BurnSequence::new(1)]).unwrap(),
            ..batch.clone()
        }
        .id(chain),
        BatchRecord {
            transaction: BoundedVec::empty(),
            ..batch
        }
        .id(chain),
    ];
    for (place, id) in ids.iter().enumerate() {
        assert!(!ids[..place].contains(id));
    }
}

#[test]
fn fees_round_up() {
    assert_eq!(fee(SatsPerKvb::new(1001), 196), Some(Sats::new(197)));
    assert_eq!(fee(SatsPerKvb::MAX, 2), None);
    assert_eq!(fee_share(Sats::new(10), 3), Sats::new(4));
    assert_eq!(fee_share(Sats::new(10), 0), Sats::ZERO);
}

#[test]
fn n7_duplicated_leaves_are_seen() {
    let (a, b, c) = ([1; 32], [2; 32], [3; 32]);
    let three = merkle_root(&[a, b, c]).unwrap();
    let four = merkle_root(&[a, b, c, c]).unwrap();
    assert_eq!(three.0, four.0);
    assert!(three.1);
    assert!(!four.1);
    assert_eq!(merkle_root(&[]), None);
}
