//! Burns from receipts.
#![allow(
    clippy::unwrap_used,
    reason = "tests may unwrap; clippy.toml allows it in test functions only, not in their helpers"
)]

mod kit;

use alys_chain::{
    BurnError, PEG_OUT_REQUESTED_TOPIC, PegState, Receipt, burns_of_block, decode_peg_out_requested,
};
use alys_protocol::bytes::{BlockId, Digest, EvmAddress};
use alys_protocol::peg::Burn;
use alys_protocol::units::{BurnSequence, Sats, SideHeight};
use kit::side_chain::{OwnedLog, bridge_log, receipt};
use kit::{chain, federation, payee};
use proptest::prelude::*;

fn read(receipts: &[Receipt<'_>]) -> Result<Vec<Burn>, BurnError> {
    burns_of_block(
        chain(),
        &PegState::genesis(chain()),
        SideHeight::new(1),
        BlockId::new([1; 32]),
        receipts.len(),
        receipts,
    )
}

fn read_logs(logs: &[OwnedLog]) -> Result<Vec<Burn>, BurnError> {
    read(&[receipt(logs)])
}

fn good(sequence: u64) -> OwnedLog {
    bridge_log(sequence, payee(sequence).as_bytes(), 50_000)
}

#[test]
fn burns_are_read_in_order_over_all_receipts() {
    let (first, second) = ([good(0), good(1)], [good(2)]);
    let burns = read(&[receipt(&first), receipt(&[]), receipt(&second)]).unwrap();
    let sequences: Vec<u64> = burns.iter().map(|burn| burn.sequence.get()).collect();
    assert_eq!(sequences, [0, 1, 2]);
    assert_eq!(burns[2].amount, Sats::new(50_000));
    assert_eq!(burns[2].script_pubkey[..], *payee(2).as_bytes());
    assert_eq!(burns[2].sender, EvmAddress::new([0x5e; 20]));
}

#[test]
fn a3_an_event_of_another_contract_is_no_burn() {
    // The same event, topic and data, but not emitted by the bridge: whatever the transaction called.
    let forged = OwnedLog {
        address: EvmAddress::new([0x66; 20]),
        ..good(0)
    };
    assert_eq!(read_logs(&[forged]), Ok(Vec::new()));
    // And beside a true one it neither counts nor shifts the sequence.
    let forged = OwnedLog {
        address: EvmAddress::ZERO,
        ..bridge_log(7, payee(7).as_bytes(), 90_000_000)
    };
    let burns = read_logs(&[forged, good(0)]).unwrap();
    assert_eq!(burns.len(), 1);
    assert_eq!(burns[0].amount, Sats::new(50_000));
}

#[test]
fn a3_a4_a_burn_through_another_contract_or_a_contract_creation_counts() {
    // A receipt's `to` is not even looked at: only who emitted the log. Logs of other contracts may stand around it.
    let other = || OwnedLog {
        address: EvmAddress::new([0x66; 20]),
        topics: vec![Digest::ZERO],
        data: Vec::new(),
    };
    let burns = read_logs(&[other(), good(0), other()]).unwrap();
    assert_eq!(burns.len(), 1);
}

#[test]
fn a4_a_burn_that_the_contract_should_have_refused_is_loud() {
    for sats in [0, 19_999, 100_000_001, u64::MAX] {
        let log = bridge_log(0, payee(0).as_bytes(), sats);
        assert_eq!(
            read_logs(&[log]),
            Err(BurnError::Amount {
                sequence: BurnSequence::ZERO,
                minimum: Sats::new(20_000),
                maximum: Sats::new(100_000_000),
                found: Sats::new(sats),
            })
        );
    }
    for script in [&[][..], &[0x6a, 1, 1], federation().as_bytes()] {
        let found = read_logs(&[bridge_log(0, script, 50_000)]);
        assert!(matches!(found, Err(BurnError::Script { .. })), "{found:?}");
    }
}

#[test]
fn a_failed_transaction_burned_nothing() {
    let logs = [good(0)];
    let failed = Receipt {
        succeeded: false,
        ..receipt(&logs)
    };
    assert_eq!(read(&[failed]), Ok(Vec::new()));
}

#[test]
fn a12_missing_receipts_are_an_error() {
    let logs = [good(0)];
    for (transactions, receipts) in [(1, vec![]), (0, vec![receipt(&logs)])] {
        let found = burns_of_block(
            chain(),
            &PegState::genesis(chain()),
            SideHeight::new(1),
            BlockId::ZERO,
            transactions,
            &receipts,
        );
        assert_eq!(
            found,
            Err(BurnError::Receipts {
                expected: transactions,
                found: receipts.len()
            })
        );
    }
}

#[test]
fn gaps_and_repetitions_are_an_error() {
    for (sequences, expected, found) in [([1, 2], 0, 1), ([0, 0], 1, 0), ([0, 2], 1, 2)] {
        assert_eq!(
            read_logs(&sequences.map(good)),
            Err(BurnError::Sequence {
                expected: BurnSequence::new(expected),
                found: BurnSequence::new(found)
            })
        );
    }
}

#[test]
fn only_the_one_encoding_is_decoded() {
    let OwnedLog { topics, data, .. } = good(3);
    let decode = |topics: &[Digest], data: &[u8]| decode_peg_out_requested(topics, data);
    assert!(decode(&topics, &data).is_ok());
    // Topics: missing, extra, another event, wider than their types.
    assert!(matches!(
        decode(&topics[..2], &data),
        Err(BurnError::Event { .. })
    ));
    let extra = [&topics[..], &[Digest::ZERO]].concat();
    assert!(matches!(
        decode(&extra, &data),
        Err(BurnError::Event { .. })
    ));
    for (place, byte) in [(0, 0), (1, 23), (2, 11)] {
        let mut other = topics.clone();
        let mut bytes = other[place].to_bytes();
        bytes[byte] ^= 1;
        other[place] = Digest::new(bytes);
        assert!(decode(&other, &data).is_err(), "topic {place}");
    }
    // Data: cut, longer, another offset, wide numbers, dirty padding.
    for length in 0..data.len() {
        assert!(decode(&topics, &data[..length]).is_err(), "{length} bytes");
    }
    assert!(decode(&topics, &[&data[..], &[0; 32]].concat()).is_err());
    for byte in [0, 31, 32, 55, 64, 95, data.len() - 1] {
        let mut other = data.clone();
        other[byte] ^= 0x80;
        assert!(decode(&topics, &other).is_err(), "byte {byte}");
    }
}

proptest! {
    #[test]
    fn the_decoder_agrees_with_the_contracts_bindings(
        sequence in any::<u64>(),
        sats in any::<u64>(),
        template in 0usize..5,
        program in any::<[u8; 32]>(),
        flip in proptest::option::of((0usize..288, any::<u8>())),
    ) {
        let script = match template {
            0 => [&[0x76, 0xa9, 0x14][..], &program[..20], &[0x88, 0xac]].concat(),
            1 => [&[0xa9, 0x14][..], &program[..20], &[0x87]].concat(),
            2 => [&[0x00, 0x14][..], &program[..20]].concat(),
            3 => [&[0x00, 0x20][..], &program].concat(),
            _ => [&[0x51, 0x20][..], &program].concat(),
        };
        let OwnedLog { topics, data, .. } = bridge_log(sequence, &script, sats);
        let mut bytes: Vec<u8> = topics.iter().flat_map(|topic| topic.to_bytes()).collect();
        bytes.extend_from_slice(&data);
        if let Some((place, value)) = flip {
            let place = place % bytes.len();
            bytes[place] = value;
        }
        let topics: Vec<Digest> = bytes[..96].chunks(32).map(|word| Digest::new(word.try_into().unwrap())).collect();
        let theirs: Vec<_> = topics.iter().map(|topic| topic.to_bytes().into()).collect();
        let ours = decode_peg_out_requested(&topics, &bytes[96..]);
        match alys_contracts::decode_peg_out_requested(&theirs, &bytes[96..]) {
            Ok(burn) => prop_assert_eq!(
                ours,
                Ok((burn.sequence, burn.sender, burn.script_pubkey.to_bytes(), burn.amount))
            ),
            // They check the script's template in the decoder, we check it beside the amount.
            Err(alys_contracts::DecodeError::Script(_)) => prop_assert!(ours.is_ok()),
            Err(_) => prop_assert!(ours.is_err()),
        }
    }
}

#[test]
fn the_topic_and_the_address_are_the_contracts() {
    assert_eq!(
        PEG_OUT_REQUESTED_TOPIC.to_bytes(),
        alys_contracts::PEG_OUT_REQUESTED_TOPIC.0
    );
    assert_eq!(
        kit::BRIDGE.to_bytes(),
        alys_contracts::BRIDGE_ADDRESS.into_array()
    );
}
